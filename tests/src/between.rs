//! Somebody between an SFTP client and OpenSSH's server: does a few things in the server's place, or behind its back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::sshd::Sshd;

/// Everything is handed on. Asked to rename, to link and for all extensions, `instead(words)` may give the number of a
/// status to answer with; `after(words, status)` hears how it ended, before the client does. `words` are the name of
/// what is asked for, and its arguments.
const BETWEEN: &str = r#"
import os, shutil, struct, subprocess, sys, threading
server, hooks = sys.argv[1:3]
def instead(words): return None
def after(words, status): pass
exec(open(hooks).read())
inner = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
# One for each pipe: who waits for one of them must not keep the other from being emptied.
locks, asked = {}, {}
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
        words = asked.pop(data[1:5], None)
        if words and data[0] == 101: after(words, struct.unpack(">I", data[5:9])[0])
        say(1, data)
threading.Thread(target=replies, daemon=True).start()
while True:
    data = packet(0)
    if data[0] in (18, 200):
        words = ([b"rename"] if data[0] == 18 else []) + list(texts(data[5:]))
        status = instead(words)
        if status is not None:
            say(1, b"\x65" + data[1:5] + struct.pack(">I", status) + bytes(8))
            continue
        asked[data[1:5]] = words
    say(inner.stdin.fileno(), data)
"#;

/// Such a server.
pub struct Between {
    /// The server.
    pub sshd: Sshd,
    /// A folder for whatever it needs.
    pub place: TempDir,
}

impl Between {
    /// Starts it with `hooks`, Python that may define `instead` and `after`; the word `PLACE` in it stands for its folder. `None`
    /// where there is no Python.
    pub fn start(hooks: &str) -> Option<Self> {
        Command::new("python3").arg("--version").output().ok()?;
        let place = TempDir::new().expect("there is room for a temporary folder");
        let (script, own) = (place.path().join("between.py"), place.path().join("hooks.py"));
        fs::write(&script, BETWEEN).expect("the folder is writable");
        // No temporary folder has a quote in its name.
        let folder = format!("b'{}'", place.path().display());
        fs::write(&own, hooks.replace("PLACE", &folder)).expect("the folder is writable");
        let server = server();
        let [script, own, server] = [&script, &own, &server].map(|path| path.display());
        let sshd = Sshd::start_with(&format!("Subsystem sftp python3 {script} {server} {own}"));
        Some(Between { sshd, place })
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
