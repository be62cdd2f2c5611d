//! OpenSSH's own server on the loopback address, as the user who runs the tests.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid};
use tempfile::TempDir;

use crate::process;
use crate::wait;

const SERVER: &str = "/usr/sbin/sshd";

thread_local! {
    static SFTP_ONLY: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose servers give SFTP and nothing else: files go there by the other transport.
pub fn sftp_only<T>(test: impl FnOnce() -> T) -> T {
    SFTP_ONLY.set(true);
    let outcome = test();
    SFTP_ONLY.set(false);
    outcome
}

/// Whether this test's servers give SFTP and nothing else.
pub fn is_sftp_only() -> bool {
    SFTP_ONLY.get()
}

/// Runs tests of this file once more, by SFTP.
#[macro_export]
macro_rules! by_sftp_too {
    ($($name:ident),+ $(,)?) => {
        mod by_sftp {
            $(#[test]
            fn $name() {
                $crate::sshd::sftp_only(super::$name);
            })+
        }
    };
}

/// A running server with keys of its own. Ends, with all its sessions, when dropped.
pub struct Sshd {
    home: TempDir,
    port: u16,
    user: String,
    more: String,
    shell: Option<PathBuf>,
    password: Option<String>,
    server: Option<Child>,
}

impl Sshd {
    /// A server as it comes: shell, scp and SFTP; only the key of [`Sshd::key`] logs in.
    pub fn start() -> Self {
        Sshd::start_with("")
    }

    /// The same with further lines of `sshd_config`, which come first and so win. A `SetEnv` among them takes the place of
    /// the one that keeps sessions from the user's own start-up files, which on some machines run for seconds.
    pub fn start_with(more: &str) -> Self {
        Sshd::start_in(None, None, None, more)
    }

    /// The same where somebody else logs in, with this login shell, if it is not the one of the account list. Takes root.
    pub fn start_for(user: &str, shell: Option<&Path>, more: &str) -> Self {
        Sshd::start_in(Some(user), shell, None, more)
    }

    /// The same where that somebody has a password, too; `more` says by which methods it counts.
    pub fn start_with_password(user: &str, password: &str, more: &str) -> Self {
        Sshd::start_in(Some(user), Some(Path::new("/bin/sh")), Some(password), more)
    }

    /// The same where the user's login shell is this program. Takes root: the server sees an account list of its own.
    pub fn start_with_shell(shell: &Path, more: &str) -> Self {
        Sshd::start_in(None, Some(shell), None, more)
    }

    fn start_in(user: Option<&str>, shell: Option<&Path>, password: Option<&str>, more: &str) -> Self {
        if geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        }
        let home = TempDir::new().expect("there is room for a temporary folder");
        for name in ["host_key", "id_ed25519", "stranger"] {
            make_key(&home.path().join(name));
        }
        fs::create_dir(home.path().join("root")).expect("a new folder is writable");
        fs::copy(home.path().join("id_ed25519.pub"), home.path().join("authorized_keys"))
            .expect("a new folder is writable");
        let user = match user {
            Some(user) => {
                // The server reads the list of keys as that user.
                fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
                user.to_owned()
            }
            None => process::run(Command::new("id").arg("-un")),
        };
        let shell = shell.map(Path::to_owned);
        let password = password.map(str::to_owned);
        let only = if SFTP_ONLY.get() { "ForceCommand internal-sftp\n" } else { "" };
        let more = format!("{only}{more}");
        let mut sshd = Sshd { home, port: 0, user, more, shell, password, server: None };
        // Another test may take the same port at the same moment; a server that cannot have it ends at once.
        let started = (0..20).any(|_| {
            sshd.port = random_port();
            sshd.try_start()
        });
        assert!(started, "{SERVER} does not start:\n{}", sshd.log());
        sshd.write_known_hosts();
        sshd
    }

    /// The process that waits for connections; each session is a child of it.
    pub fn pid(&self) -> Pid {
        process::pid(self.server.as_ref().expect("the server runs"))
    }

    /// The port on 127.0.0.1. It stays the same when the server is stopped and started again.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who logs in: the user who runs the tests, unless it was said otherwise.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The private key that is let in.
    pub fn key(&self) -> PathBuf {
        self.home.path().join("id_ed25519")
    }

    /// A private key that is not let in.
    pub fn stranger_key(&self) -> PathBuf {
        self.home.path().join("stranger")
    }

    /// A `known_hosts` file with the key that the server had when it first started.
    pub fn known_hosts(&self) -> PathBuf {
        self.home.path().join("known_hosts")
    }

    /// A `known_hosts` file for whoever comes through a proxy at `port`.
    pub fn known_hosts_at(&self, port: u16) -> PathBuf {
        let path = self.home.path().join(format!("known_hosts-{port}"));
        fs::write(&path, self.host_key_line(port)).expect("the server's folder is writable");
        path
    }

    /// A `known_hosts` file that knows nobody.
    pub fn empty_known_hosts(&self) -> PathBuf {
        let path = self.home.path().join("known_nobody");
        File::create(&path).expect("the server's folder is writable");
        path
    }

    /// The folder to deliver to. Empty at first.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The server and every session do nothing more, until [`Sshd::stop`] ends them: nobody hears what happens next.
    pub fn freeze(&self) {
        let server = process::pid(self.server.as_ref().expect("the server runs"));
        // From the top, so that what begins meanwhile has nobody left to talk through.
        process::signal(server, Signal::STOP);
        process::wait_for_rest(server);
        for below in process::descendants(server) {
            process::signal(below, Signal::STOP);
            process::wait_for_rest(below);
        }
    }

    /// Ends the server and every session, as a crash of the machine would: nobody says goodbye.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // Stopped first, so that no session begins between the look and the kill.
        process::signal(process::pid(&server), Signal::STOP);
        kill_below(&server);
        let _gone = server.kill();
        server.wait().expect("a child can be waited for");
    }

    /// Starts a stopped server again, on the same port.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let started = wait::came_true(wait::LIMIT, || self.try_start());
        assert!(started, "{SERVER} does not start again:\n{}", self.log());
    }

    /// What the sessions hold open below the folder to deliver to, also what has no name any longer.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let open = |session: Pid| fs::read_dir(format!("/proc/{}/fd", session.as_raw_nonzero())).ok();
        let open = process::descendants(self.pid()).into_iter().filter_map(open).flatten().flatten();
        let files = open.filter_map(|file| fs::read_link(file.path()).ok());
        files.filter(|file| file.starts_with(self.root())).collect()
    }

    /// Ends every session but not the server. Returns how many processes that were.
    pub fn kill_sessions(&self) -> usize {
        kill_below(self.server.as_ref().expect("the server runs"))
    }

    /// Starts the server again with another host key; [`Sshd::known_hosts`] keeps the old one.
    pub fn change_host_key(&mut self) {
        self.stop();
        let host_key = self.home.path().join("host_key");
        fs::remove_file(&host_key).expect("the server's folder is writable");
        make_key(&host_key);
        self.start_again();
    }

    /// Whether the key of [`Sshd::key`] is let in. Sessions that are open stay.
    pub fn set_authorized(&self, authorized: bool) {
        let keys =
            if authorized { fs::read(self.home.path().join("id_ed25519.pub")) } else { Ok(Vec::new()) };
        fs::write(self.home.path().join("authorized_keys"), keys.expect("ssh-keygen wrote it"))
            .expect("the server's folder is writable");
    }

    fn try_start(&mut self) -> bool {
        let config = self.home.path().join("sshd_config");
        fs::write(&config, self.config()).expect("the server's folder is writable");
        let log = self.home.path().join("log");
        let mut server = self
            .server()
            .args(["-D", "-e", "-f"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log).expect("the server's folder is writable"))
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {SERVER}: {error}. Try: apt install openssh-server")
            });
        let mut ended = false;
        let listens = wait::came_true(Duration::from_secs(10), || {
            ended = server.try_wait().expect("a child can be waited for").is_some();
            ended || self.log().contains("Server listening on")
        });
        if ended || !listens {
            let _gone = server.kill();
            server.wait().expect("a child can be waited for");
            return false;
        }
        self.server = Some(server);
        true
    }

    /// The server's program; with a shell or a password of our own, in a namespace where the account lists say so.
    fn server(&self) -> Command {
        let Some(shell) = &self.shell else { return Command::new(SERVER) };
        let own = format!("{}:", self.user);
        let with_shell = |line: &str| match line.rsplit_once(':') {
            Some((before, _)) if line.starts_with(&own) => format!("{before}:{}\n", shell.display()),
            _ => format!("{line}\n"),
        };
        let accounts = fs::read_to_string("/etc/passwd").expect("every machine has one");
        let mut lists = vec![("/etc/passwd", accounts.lines().map(with_shell).collect::<String>())];
        if let Some(password) = &self.password {
            let hash = process::run(Command::new("openssl").args(["passwd", "-6", password]));
            lists.push(("/etc/shadow", format!("{own}{hash}:19000:0:99999:7:::\n")));
        }
        let in_namespace = "while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit; shift 2; done; shift; exec \"$@\"";
        let mut server = Command::new("unshare");
        server.args(["-m", "sh", "-c", in_namespace, "sh"]);
        for (place, text) in lists {
            let list = self.home.path().join(place.replace('/', "_"));
            fs::write(&list, text).expect("the server's folder is writable");
            server.arg(list).arg(place);
        }
        server.arg("--").arg(SERVER);
        server
    }

    /// Where start-up files of the sessions' shells are looked for.
    pub fn session_home(&self) -> &Path {
        self.home.path()
    }

    /// Sessions have an empty home: what the user's own start-up files wait for may never come after a session was killed.
    fn config(&self) -> String {
        let home = self.home.path().display();
        format!(
            "{more}\n\
             ListenAddress 127.0.0.1\n\
             Port {port}\n\
             HostKey {home}/host_key\n\
             AuthorizedKeysFile {home}/authorized_keys\n\
             PidFile none\n\
             StrictModes no\n\
             UsePAM no\n\
             PermitRootLogin prohibit-password\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PrintMotd no\n\
             {startups}\n\
             LogLevel VERBOSE\n\
             SetEnv HOME={home}\n\
             {subsystem}\n",
            more = self.more,
            // Of this one the last line wins.
            startups = if self.more.contains("MaxStartups") { "" } else { "MaxStartups 100:30:200" },
            subsystem = if self.more.contains("Subsystem") { "" } else { "Subsystem sftp internal-sftp" },
            port = self.port,
        )
    }

    fn write_known_hosts(&self) {
        fs::write(self.known_hosts(), self.host_key_line(self.port))
            .expect("the server's folder is writable");
    }

    fn host_key_line(&self, port: u16) -> String {
        let public = fs::read_to_string(self.home.path().join("host_key.pub")).expect("ssh-keygen wrote it");
        let key: Vec<&str> = public.split_whitespace().take(2).collect();
        format!("[127.0.0.1]:{port} {}\n", key.join(" "))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn kill_below(server: &Child) -> usize {
    let sessions = process::descendants(process::pid(server));
    for &session in &sessions {
        process::signal(session, Signal::KILL);
    }
    sessions.len()
}

fn make_key(path: &Path) {
    process::run(
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path),
    );
}

/// Below the range from which the kernel hands out ports, so that nobody gets it while the server is stopped.
pub(crate) fn random_port() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).expect("the kernel has randomness");
    20_000 + u16::from_le_bytes(bytes) % 12_000
}
