//! Another SSH server than OpenSSH's, as small machines have it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::sshd::{self, Sshd};
use crate::{process, wait};

/// dropbear with the keys and the user of an `Sshd`. Ends, with all its sessions, when dropped.
pub struct Dropbear {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// A `known_hosts` file with its key.
    pub known_hosts: PathBuf,
    server: Child,
}

impl Dropbear {
    /// Starts it; what it needs is kept in `home`.
    pub fn beside(sshd: &Sshd, home: &Path) -> Self {
        Dropbear::start(sshd, home, "")
    }

    /// The same on a machine without an SFTP server's program.
    pub fn without_sftp(sshd: &Sshd, home: &Path) -> Self {
        Dropbear::start(sshd, home, "mount --bind /dev/null /usr/lib/openssh/sftp-server && ")
    }

    fn start(sshd: &Sshd, home: &Path, first: &str) -> Self {
        let key = home.join("dropbear_key");
        process::run(Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&key));
        let public = process::run(Command::new("dropbearkey").arg("-y").arg("-f").arg(&key));
        let public =
            public.lines().find(|line| line.starts_with("ssh-")).expect("it prints the key").to_owned();
        // It reads the user's own list of keys; in a mount namespace that is ours.
        let user_home = home.join("user");
        fs::create_dir_all(user_home.join(".ssh")).expect("the home is writable");
        fs::copy(sshd.key().with_extension("pub"), user_home.join(".ssh/authorized_keys"))
            .expect("the home is writable");
        process::run(Command::new("chmod").args(["-R", "go="]).arg(&user_home));
        let in_own_home = format!("{first}eval \"mount --bind '$0' ~$(id -un)\" && exec dropbear \"$@\"");
        let port = sshd::random_port();
        let known_hosts = home.join("dropbear_known_hosts");
        fs::write(&known_hosts, format!("[127.0.0.1]:{port} {public}\n")).expect("the home is writable");
        let mut dropbear = Command::new("unshare");
        dropbear
            .args(["-m", "sh", "-c", &in_own_home])
            .arg(user_home)
            .args(["-F", "-E", "-s", "-r"])
            .arg(&key);
        dropbear.args(["-P", "/dev/null", "-p", &format!("127.0.0.1:{port}")]);
        let server = dropbear.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = server.expect("dropbear can be started");
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait::came_true(wait::LIMIT, listens), "dropbear does not listen");
        Dropbear { port, known_hosts, server }
    }
}

impl Drop for Dropbear {
    fn drop(&mut self) {
        let sessions = process::descendants(process::pid(&self.server));
        for session in sessions.into_iter().chain([process::pid(&self.server)]) {
            process::signal(session, rustix::process::Signal::KILL);
        }
        self.server.wait().expect("a child can be waited for");
    }
}
