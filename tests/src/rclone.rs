//! An SFTP server by other hands: rclone's, which knows few of OpenSSH's extensions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::sshd::{self, Sshd};
use crate::{process, wait};

/// `rclone serve sftp` of the folder of an `Sshd`, which is all that it shows. Ends when dropped.
pub struct Rclone {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// A `known_hosts` file with its key.
    pub known_hosts: PathBuf,
    server: Child,
}

impl Rclone {
    /// Starts it; what it needs is kept in `home`. `None`: this machine has no rclone.
    pub fn beside(sshd: &Sshd, home: &Path) -> Option<Self> {
        let key = home.join("rclone_key");
        process::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let port = sshd::random_port();
        let mut rclone = Command::new("rclone");
        rclone.args(["serve", "sftp", "--config", "/dev/null", "--key"]).arg(&key);
        rclone.arg("--authorized-keys").arg(sshd.key().with_extension("pub"));
        rclone.args(["--addr", &format!("127.0.0.1:{port}")]).arg(sshd.root());
        let server = rclone.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let public = fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen wrote it");
        let known_hosts = home.join("rclone_known_hosts");
        fs::write(&known_hosts, format!("[127.0.0.1]:{port} {public}")).expect("home is writable");
        let started = Rclone { port, known_hosts, server };
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait::came_true(wait::LIMIT, listens), "rclone does not listen");
        Some(started)
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        self.server.wait().expect("a child can be waited for");
    }
}
