//! What to do about a pull that failed, in words for the person who asked for it.
//!
//! Nothing is to be written at the server, so that what helps a delivery there is beside the point.

use skiff_common::scp::ScpError;

use crate::remote::{Reason, RemoteError};

pub(super) fn hint(error: &RemoteError) -> String {
    match error {
        RemoteError::Refused { why, .. } if is_about_the_files(why) => look_at_the_files(),
        // What it says is all that there is to say.
        RemoteError::Refused { .. } => String::new(),
        RemoteError::Scp(error) => match error {
            ScpError::Refused { .. } | ScpError::SenderFailed { .. } => look_at_the_files(),
            ScpError::Cut { .. } => {
                "see in the server's log what ended it (`journalctl -u ssh`), and pull again".to_owned()
            }
            ScpError::NotScp { .. }
            | ScpError::Early { .. }
            | ScpError::Malformed { .. }
            | ScpError::Folder { .. } => {
                "nothing but scp may have a word there; see what says something: `ssh HOST true`".to_owned()
            }
        },
        error => error.hint(),
    }
}

fn look_at_the_files() -> String {
    "look at the server whether the login user may read what was asked for".to_owned()
}

/// Whether the server's words are of files that are not there, or not to be read.
fn is_about_the_files(why: &str) -> bool {
    let is_missing = why.to_lowercase().contains("no such file");
    is_missing || matches!(Reason::of(why), Some(Reason::NoPermission | Reason::Policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(why: &str) -> RemoteError {
        RemoteError::Refused { attempt: "listing", why: why.to_owned() }
    }

    #[test]
    fn only_what_is_about_rights_sends_one_to_look_at_them() {
        let text = || "scp: x: Permission denied".to_owned();
        for error in [
            refused("cat: x: Permission denied"),
            refused("find: x: No such file or directory"),
            ScpError::SenderFailed { text: text() }.into(),
        ] {
            assert_eq!(hint(&error), look_at_the_files(), "{error}");
        }
        for error in [
            refused("the server cannot list what it has without sending it"),
            refused("what the server lists takes more than 256 MiB: name fewer folders at once"),
            ScpError::Cut { missing_bytes: 1 }.into(),
            ScpError::Malformed { reason: "no letter", text: text() }.into(),
        ] {
            assert!(!hint(&error).contains("may read"), "{error}: {}", hint(&error));
        }
    }
}
