//! What kind of trouble an error is. Read only where it is decided what is tried again: by the dispatcher, and by a pull.

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The same may work later: try again after a while.
    Retryable,
    /// It won't work until somebody changes something: quarantine.
    Permanent,
    /// Nothing works there until somebody changes something: a person is told at once; a service tells it and tries again.
    Fatal,
}

/// An error that knows its fault.
pub trait Classify {
    /// The fault; match exhaustively, so that a new variant has to choose.
    fn fault(&self) -> Fault;
}
