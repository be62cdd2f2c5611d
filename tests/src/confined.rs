//! A server that confines a key to one folder, by `packaging/server/skiff-shell`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::hand::{self, ASKED, HAND};
use crate::sshd::Sshd;

/// The script, as it is delivered.
pub const SHELL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/server/skiff-shell");

/// A server's `skiff-shell`, and the folder that it confines to.
pub struct Confined {
    home: TempDir,
}

impl Default for Confined {
    fn default() -> Self {
        Confined::new()
    }
}

impl Confined {
    /// One that knows the program of this skiff. Beside the folder lies a secret.
    pub fn new() -> Self {
        let home = TempDir::new().expect("a temporary folder");
        fs::create_dir_all(home.path().join("lib/hands")).expect("a new folder is writable");
        fs::copy(SHELL, home.path().join("lib/skiff-shell")).expect("a new folder is writable");
        fs::copy(HAND, home.path().join("lib/hands/0.1.0.sh")).expect("a new folder is writable");
        fs::create_dir(home.path().join("folder")).expect("a new folder is writable");
        fs::write(home.path().join("secret"), "a secret\n").expect("a new folder is writable");
        Confined { home }
    }

    /// What holds all of it, and is out of bounds.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its script.
    pub fn shell(&self) -> PathBuf {
        self.home.path().join("lib/skiff-shell")
    }

    /// Where a key may deliver to.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("folder")
    }

    /// An sshd whose every session gets it, however it is asked for.
    pub fn sshd(&self, options: &str) -> Sshd {
        let (shell, folder) = (self.shell(), self.folder());
        Sshd::start_with(&format!(
            "ForceCommand {} {options} {}\nDisableForwarding yes\nPermitTTY no",
            shell.display(),
            folder.display()
        ))
    }

    /// A destination called `confined`, for the configuration of an agent.
    pub fn destination(&self, sshd: &Sshd) -> String {
        format!(
            "[destination.confined]\naddress = '{}@127.0.0.1:{}'\npath = '{}'\nidentity = '{}'\nknown_hosts = '{}'\n",
            sshd.user(),
            sshd.port(),
            self.folder().display(),
            sshd.key().display(),
            sshd.known_hosts().display(),
        )
    }

    /// What a client that speaks the protocol itself is told, after the program.
    pub fn say(&self, verbs: &[&str]) -> String {
        self.session(ASKED, &hand::sent(), verbs)
    }

    /// The same, for one who asks for something else, or sends another program.
    pub fn session(&self, asked: &str, program: &str, verbs: &[&str]) -> String {
        let mut command = Command::new("sh");
        command.arg(self.shell()).arg(self.folder()).env("SSH_ORIGINAL_COMMAND", asked);
        // A server may let a client bring variables; none of them has a say in the tools that run here.
        command.env("TAR_OPTIONS", "--to-command=cat");
        hand::say(&mut command, program, verbs)
    }
}
