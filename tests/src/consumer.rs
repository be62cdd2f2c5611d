//! An SFTP server whose files are fetched away the moment they have their names, before its client hears of it.

use std::fs;

use crate::between::Between;
pub use crate::between::server;
use crate::sshd::Sshd;
use crate::tree;

const FETCHES: &str = r#"
away = os.path.join(PLACE, b"away")
def instead(words):
    if words[0] == b"hardlink@openssh.com": return LINKS
def after(words, status):
    name = words[-1]
    if words[0] in (b"rename", b"hardlink@openssh.com") and status == 0 and b".skiff/" not in name:
        number = len(os.listdir(away))
        os.rename(name, os.path.join(away, b"%d-%s" % (number, os.path.basename(name))))
"#;

/// What the server does when it is asked for a hard link.
#[derive(Debug, Clone, Copy)]
pub enum Links {
    /// It makes one.
    Real,
    /// It says yes and does nothing.
    Lies,
    /// It says that it can't.
    None,
}

/// The server, and where its files go.
pub struct Consumer {
    /// The server.
    pub sshd: Sshd,
    place: tempfile::TempDir,
}

impl Consumer {
    /// Starts it; `None` where there is no Python, in which it is written.
    pub fn start(links: Links) -> Option<Self> {
        let answer = match links {
            Links::Real => "None",
            Links::Lies => "0",
            // There is no such operation.
            Links::None => "8",
        };
        let Between { sshd, place } = Between::start(&FETCHES.replace("LINKS", answer))?;
        fs::create_dir(place.path().join("away")).expect("the folder is writable");
        Some(Consumer { sshd, place })
    }

    /// How many files were fetched, each time counted.
    pub fn fetched(&self) -> usize {
        tree::count(&self.place.path().join("away"))
    }
}
