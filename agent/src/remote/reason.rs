//! What lies behind a refusal at the destination, as far as the server's own words tell.
//!
//! Owns the few reasons that a person can do something about, and what that is. The words come from tools that run with
//! `LC_ALL=C`; where they are others, nothing is made of them.

/// Why a server did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No blocks, or no inodes.
    NoSpace,
    /// The user's share is used up.
    Quota,
    /// The file system takes no writes.
    ReadOnly,
    /// The modes allow it, but a security module doesn't.
    Policy,
    /// The user may not.
    NoPermission,
}

/// By parts of the C library's messages; the first that fits counts.
const KNOWN: [(&str, Reason); 7] = [
    ("no space left", Reason::NoSpace),
    ("disk quota exceeded", Reason::Quota),
    ("read-only file system", Reason::ReadOnly),
    // Said by `hand.sh`, together with what was refused.
    ("selinux enforces", Reason::Policy),
    ("permission denied", Reason::NoPermission),
    ("operation not permitted", Reason::NoPermission),
    // Said by dropbear's and by busybox' tools.
    ("access denied", Reason::NoPermission),
];

impl Reason {
    /// What the server's words mean, if that is known.
    pub(crate) fn of(words: &str) -> Option<Self> {
        let words = words.to_lowercase();
        KNOWN.iter().find(|(part, _)| words.contains(part)).map(|(_, reason)| *reason)
    }

    /// A stable word for programs.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::NoSpace => "no-space",
            Self::Quota => "quota",
            Self::ReadOnly => "read-only",
            Self::Policy => "selinux",
            Self::NoPermission => "no-permission",
        }
    }

    /// What to do about it at the server, in the folder `path`.
    pub(crate) fn hint(self, path: &str) -> String {
        match self {
            Self::NoSpace => format!(
                "make room at the destination: `df -h {path}` there; if that shows room, `df -i {path}`, for its inodes \
                 may be used up"
            ),
            Self::Quota => "free some of the user's share there, or raise it: `quota -s`".to_owned(),
            Self::ReadOnly => format!(
                "find out why it is read-only there, often after an error of the disk: `dmesg | tail`, `findmnt -T {path}`; \
                 then `mount -o remount,rw`"
            ),
            Self::Policy => format!(
                "look there at what was denied: `ausearch -m avc -ts recent`; `ls -dZ {path}` shows the label, and \
                 `restorecon -Rv {path}` or `semanage fcontext` mends it"
            ),
            Self::NoPermission => format!(
                "let the login user write there: `ls -ld {path}` shows who may; where the modes allow it already, look for \
                 SELinux or AppArmor (`dmesg | tail`) and for the immutable flag (`lsattr -d {path}`)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_common_tools_are_understood() {
        for (words, code) in [
            ("mkdir: cannot create directory 'x': Permission denied", Some("no-permission")),
            ("mkdir: can't create directory 'x': Read-only file system", Some("read-only")),
            ("scp: part: No space left on device", Some("no-space")),
            ("scp: part: Disk quota exceeded", Some("quota")),
            ("ln: x: Operation not permitted", Some("no-permission")),
            ("mkdir: x: Permission denied (SELinux enforces its rules there)", Some("selinux")),
            ("kein Platz", None),
        ] {
            assert_eq!(Reason::of(words).map(Reason::code), code, "{words}");
        }
    }
}
