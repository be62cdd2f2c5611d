//! An SFTP server whose files are fetched away the moment they have their names, before its client hears of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::sshd::Sshd;
use crate::tree;

const BETWEEN: &str = r#"
import os, struct, subprocess, sys, threading
server, away, links = sys.argv[1:4]
inner = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
# One for each pipe: who waits for one of them must not keep the other from being emptied.
locks, named = {}, {}
def take(pipe, size):
    data = b""
    while len(data) < size:
        piece = os.read(pipe, size - len(data))
        if not piece: os._exit(0)
        data += piece
    return data
def packet(pipe):
    size = take(pipe, 4)
    return take(pipe, struct.unpack(">I", size)[0])
def say(pipe, data):
    data = struct.pack(">I", len(data)) + data
    with locks.setdefault(pipe, threading.Lock()):
        while data: data = data[os.write(pipe, data):]
def texts(data):
    while data:
        size = struct.unpack(">I", data[:4])[0]
        yield data[4:4 + size]
        data = data[4 + size:]
def replies():
    while True:
        data = packet(inner.stdout.fileno())
        name = named.pop(data[1:5], None) if data[0] == 101 else None
        if name and data[5:9] == bytes(4) and b".skiff/" not in name:
            number = len(os.listdir(away))
            os.rename(name, os.path.join(away.encode(), b"%d-%s" % (number, os.path.basename(name))))
        say(1, data)
threading.Thread(target=replies, daemon=True).start()
while True:
    data = packet(0)
    words = list(texts(data[5:])) if data[0] in (18, 200) else []
    is_link = data[0] == 200 and words[0] == b"hardlink@openssh.com"
    if is_link and links != "real":
        # 8: there is no such operation.
        say(1, b"\x65" + data[1:5] + struct.pack(">I", 0 if links == "lies" else 8) + bytes(8))
        continue
    if data[0] == 18 or is_link: named[data[1:5]] = words[-1]
    say(inner.stdin.fileno(), data)
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
    place: TempDir,
}

impl Consumer {
    /// Starts it; `None` where there is no Python, in which it is written.
    pub fn start(links: Links) -> Option<Self> {
        Command::new("python3").arg("--version").output().ok()?;
        let place = TempDir::new().expect("there is room for a temporary folder");
        let (script, away) = (place.path().join("between.py"), place.path().join("away"));
        fs::write(&script, BETWEEN).expect("the folder is writable");
        fs::create_dir(&away).expect("the folder is writable");
        let links = format!("{links:?}").to_lowercase();
        let server = server();
        let [script, away, server] = [&script, &away, &server].map(|path| path.display());
        let sshd = Sshd::start_with(&format!("Subsystem sftp python3 {script} {server} {away} {links}"));
        Some(Consumer { sshd, place })
    }

    /// How many files were fetched, each time counted.
    pub fn fetched(&self) -> usize {
        tree::count(&self.place.path().join("away"))
    }
}

/// OpenSSH's SFTP server as a program.
///
/// # Panics
///
/// If this machine has none.
pub fn server() -> PathBuf {
    let places = ["/usr/lib/openssh", "/usr/lib/ssh", "/usr/libexec/openssh", "/usr/libexec"];
    let server = places.iter().map(|folder| Path::new(folder).join("sftp-server")).find(|path| path.exists());
    server.expect("this machine has no sftp-server. Try: apt install openssh-sftp-server")
}
