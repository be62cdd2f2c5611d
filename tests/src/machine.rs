//! Faults of the machine itself: file systems that are full, gone or read-only, errors of single system calls, limits.
//!
//! Most need root. [`is_root`] tells, so that a test can say that it shows nothing and end.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use crate::process;

/// Names a file that gets a line for each test that shows nothing: what a test prints that passes, nobody sees.
pub const NOT_SHOWN: &str = "SKIFF_NOT_SHOWN";

/// Says that a test does not show `what` on this machine, and why.
#[expect(clippy::print_stderr, reason = "a test that shows nothing has to say so")]
pub fn not_shown(what: &str, why: &str) {
    let line = format!("{what}: {}", why.lines().collect::<Vec<_>>().join(" "));
    eprintln!("not shown: {line}");
    let Some(path) = std::env::var_os(NOT_SHOWN) else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // At once, for other tests write there, too.
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("there is room for a line");
}

/// Whether this is root; if not, it says that `what` is not shown.
pub fn is_root(what: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        not_shown(what, "only root can make it happen");
    }
    root
}

/// Whether this machine has a command; if not, it says that `what` is not shown, and what to install.
pub fn has(command: &str, package: &str, what: &str) -> bool {
    let there = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(command));
    let has = there.iter().any(|path| path.exists());
    if !has {
        not_shown(what, &format!("there is no {command} (package {package})"));
    }
    has
}

/// Something mounted; gone when dropped, even if it is in use.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// A file system in memory at `at`, which is made, with options such as `size=1m,mode=755` or `nr_inodes=10`.
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).expect("the place to mount at can be made");
        process::run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "skiff-test"]).arg(at));
        Mounted { at: at.to_owned() }
    }

    /// Gives it other options. What is in it stays.
    pub fn set(&self, options: &str) {
        process::run(Command::new("mount").arg("-o").arg(format!("remount,{options}")).arg(&self.at));
    }

    /// `at` once more, over itself, and read-only.
    pub fn read_only(at: &Path) -> Self {
        process::run(Command::new("mount").arg("--bind").arg(at).arg(at));
        let mounted = Mounted { at: at.to_owned() };
        process::run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(at));
        mounted
    }

    /// What somebody else mounts at `at`.
    pub fn already(at: &Path) -> Self {
        Mounted { at: at.to_owned() }
    }

    /// Whether it can be unmounted as anybody would do it.
    pub fn try_unmount(&self) -> bool {
        let output = Command::new("umount").arg(&self.at).output().expect("umount can be started");
        output.status.success()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone_before = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// The words of an strace that puts faults into the system calls of the command that follows, which stays the child:
/// `inject` as strace writes it (`fsync:error=EIO:when=2`), on `path` alone if there is one. Takes root: of a process that may
/// not be dumped, strace sees no paths otherwise.
pub fn inject(inject: &str, path: Option<&Path>) -> Vec<OsString> {
    let calls = inject.split(':').next().expect("a text has a first part");
    let mut words: Vec<OsString> =
        ["strace", "-D", "-f", "-qq", "-o", "/dev/null"].map(OsString::from).into();
    words.extend(["-e".into(), format!("trace={calls}").into()]);
    words.extend(["-e".into(), format!("inject={inject}").into()]);
    if let Some(path) = path {
        words.extend(["-P".into(), path.into()]);
    }
    words
}

/// A setting of the kernel that is put back when this is dropped.
#[derive(Debug)]
pub struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    /// Sets the file `path` below `/proc/sys`.
    pub fn set(path: &str, value: &str) -> Self {
        let path = Path::new("/proc/sys").join(path);
        let before = fs::read_to_string(&path).expect("the setting can be read");
        let setting = Setting { path, before };
        fs::write(&setting.path, value).expect("root may change the setting");
        setting
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _shown_by_the_next = fs::write(&self.path, &self.before);
    }
}
