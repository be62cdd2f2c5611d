//! An SSH server by other hands: asyncssh's, with its own SCP and SFTP, and no shell.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::sshd::Sshd;
use crate::{process, wait};

const SERVER: &str = r#"
import asyncio, stat, sys, asyncssh
class Liar(asyncssh.SFTPServer):
    async def scandir(self, path):
        attributes = asyncssh.SFTPAttrs(permissions=stat.S_IFREG | 0o644, size=5, atime=0, mtime=0)
        yield asyncssh.SFTPName(bytes.fromhex(sys.argv[3]), attrs=attributes)
async def main():
    host_key, keys = sys.argv[1:3]
    server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=keys,
                                   sftp_factory=Liar if len(sys.argv) > 3 else True, allow_scp=True)
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"#;

/// The server, with the keys of an `Sshd`. Ends when dropped.
pub struct AsyncSsh {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// A `known_hosts` file with its key.
    pub known_hosts: PathBuf,
    server: Child,
}

impl AsyncSsh {
    /// Starts it; what it needs is kept in `home`, the package in `cache`. An error says why it can't be had here.
    pub fn beside(sshd: &Sshd, home: &Path, cache: &Path) -> Result<Self, String> {
        AsyncSsh::start(sshd, home, cache, None)
    }

    /// The same where each folder holds one file of this name, over SFTP.
    pub fn that_lists(name: &[u8], sshd: &Sshd, home: &Path, cache: &Path) -> Result<Self, String> {
        AsyncSsh::start(sshd, home, cache, Some(name))
    }

    fn start(sshd: &Sshd, home: &Path, cache: &Path, name: Option<&[u8]>) -> Result<Self, String> {
        let packages = cache.join("asyncssh");
        if !can_import(&packages) {
            install(&packages)?;
        }
        let key = home.join("asyncssh_key");
        process::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        let said = home.join("asyncssh.port");
        let mut server = python(&packages);
        server.args(["-c", SERVER]).arg(&key).arg(sshd.key().with_extension("pub"));
        server
            .args(name.map(|name| name.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))));
        server.current_dir(home).stdin(Stdio::null()).stdout(File::create(&said).expect("home is writable"));
        let server = server.stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
        let port = || fs::read_to_string(&said).ok()?.trim().parse::<u16>().ok();
        let mut started = AsyncSsh { port: 0, known_hosts: home.join("asyncssh_known_hosts"), server };
        if !wait::came_true(wait::LIMIT, || port().is_some()) {
            return Err("it does not start".to_owned());
        }
        started.port = port().expect("it was just there");
        let mut public = String::new();
        File::open(key.with_extension("pub"))
            .and_then(|mut file| file.read_to_string(&mut public))
            .expect("ssh-keygen wrote it");
        fs::write(&started.known_hosts, format!("[127.0.0.1]:{} {public}", started.port))
            .expect("home is writable");
        Ok(started)
    }
}

impl Drop for AsyncSsh {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        self.server.wait().expect("a child can be waited for");
    }
}

fn python(packages: &Path) -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn can_import(packages: &Path) -> bool {
    let import = python(packages).args(["-c", "import asyncssh"]).stderr(Stdio::null()).status();
    import.is_ok_and(|status| status.success())
}

fn install(packages: &Path) -> Result<(), String> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(packages);
    let done = pip.arg("asyncssh").output().map_err(|error| format!("no python3: {error}"))?;
    if done.status.success() && can_import(packages) {
        return Ok(());
    }
    Err(format!("pip cannot install asyncssh: {}", String::from_utf8_lossy(&done.stderr)))
}
