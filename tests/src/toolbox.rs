//! The commands that a session of the server finds: fewer than this machine has, or some that misbehave.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// All that skiff may call at a destination, digest tools apart. `printf` is nearly every shell's own, but not mksh's.
const USUAL: &[&str] = &[
    "cat", "chmod", "chown", "cp", "cut", "df", "find", "ln", "mkdir", "mv", "printf", "rm", "scp", "sh",
    "sync", "tail", "tar", "touch", "tr", "wc",
];
/// All digest tools that skiff knows.
const DIGESTS: &[&str] = &["b3sum", "openssl", "sha256sum", "shasum"];

/// A folder of commands, and a home for the sessions that use it.
pub struct Toolbox {
    home: TempDir,
}

impl Toolbox {
    /// With all commands that a usual server has.
    pub fn usual() -> Self {
        Toolbox::of(&[USUAL, DIGESTS].concat())
    }

    /// With these commands of this machine.
    pub fn of(names: &[&str]) -> Self {
        let toolbox = Toolbox { home: TempDir::new().expect("there is room for a temporary folder") };
        fs::create_dir(toolbox.bin()).expect("a new folder is writable");
        for name in names {
            symlink(real(name), toolbox.bin().join(name)).expect("a new folder is writable");
        }
        toolbox
    }

    /// The same with more commands.
    #[must_use]
    pub fn and(self, names: &[&str]) -> Self {
        for name in names {
            symlink(real(name), self.bin().join(name)).expect("the folder is writable");
        }
        self
    }

    /// The same with more names for busybox.
    #[must_use]
    pub fn and_busybox(self, names: &[&str]) -> Self {
        for name in names {
            symlink("/bin/busybox", self.bin().join(name)).expect("the folder is writable");
        }
        self
    }

    /// With busybox in the place of everything, scp apart, which it does not have.
    pub fn busybox() -> Self {
        let toolbox = Toolbox::of(&["scp"]);
        for name in USUAL.iter().chain(DIGESTS).filter(|name| **name != "scp") {
            symlink("/bin/busybox", toolbox.bin().join(name)).expect("a new folder is writable");
        }
        toolbox
    }

    /// The usual ones without some.
    pub fn without(names: &[&str]) -> Self {
        let left: Vec<&str> =
            [USUAL, DIGESTS].concat().into_iter().filter(|name| !names.contains(name)).collect();
        Toolbox::of(&left)
    }

    /// The same with a script in the place of a command. `$REAL` is the command itself, `$HOME` a folder for notes.
    #[must_use]
    pub fn with(self, name: &str, script: &str) -> Self {
        let path = self.bin().join(name);
        let _missing = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\nREAL={}\n{script}\n", real(name).display()))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .expect("the folder is writable");
        self
    }

    /// Puts the command itself back.
    pub fn repair(&self, name: &str) {
        let beside = self.home.path().join("next");
        symlink(real(name), &beside).expect("the folder is writable");
        fs::rename(beside, self.bin().join(name)).expect("the folder is writable");
    }

    /// What to add to the server's configuration.
    pub fn lines(&self) -> String {
        format!("SetEnv PATH={} HOME={}", self.bin().display(), self.home().display())
    }

    /// The folder of the commands.
    pub fn path(&self) -> PathBuf {
        self.bin()
    }

    /// The home of the sessions.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where a script notes that it was called.
    pub fn note(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn bin(&self) -> PathBuf {
        self.home.path().join("bin")
    }
}

fn real(name: &str) -> PathBuf {
    let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    let found = places.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("this machine has no {name}. Try: apt install it"))
}
