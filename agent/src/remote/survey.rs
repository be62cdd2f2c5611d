//! Whether a delivery asks first what is there already: a crash may have come between it and its record.

/// Whether what stands under the final names is asked for before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survey {
    /// It isn't.
    No,
    /// It is, where anything stood there when the connection was made.
    IfUsed,
    /// It is.
    Yes,
}

impl Survey {
    /// Whether it is asked for in a folder that was used or wasn't.
    pub(super) const fn asks(self, used: bool) -> bool {
        match self {
            Self::No => false,
            Self::IfUsed => used,
            Self::Yes => true,
        }
    }

    /// Whether a part of it may lie in staging.
    pub(super) fn resumes(self) -> bool {
        self != Self::No
    }
}
