//! The embedded server against OpenSSH's clients, and against russh's for what those can't do.

use std::fs::File;
use std::process::{Output, Stdio};
use std::time::Instant;

use russh::client::{self, AuthResult};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{ChannelMsg, Sig};
use tempfile::TempDir;
use tokio::process::Command;

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

/// A server whose commands find the real scp, and its folder.
struct Fixture {
    server: EmbeddedServer,
    home: TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let server =
            EmbeddedServer::start_with(home.path(), Some("/usr/bin/scp".into())).await.expect("a server");
        Self { server, home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// `ssh` or `scp`, with everything that they need to log in.
    fn client(&self, program: &str, port_flag: &str, key: &Path) -> Command {
        let mut command = Command::new(program);
        command.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "LogLevel=ERROR",
        ]);
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=none", "-i"]).arg(key);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.server.known_hosts().display()));
        command.arg(port_flag).arg(self.server.address().port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn ssh(&self, line: &str) -> Command {
        let mut command = self.client("ssh", "-p", self.server.client_key());
        command.args(["anyone@127.0.0.1", line]);
        command
    }

    /// A connection of russh's client, logged in.
    async fn connect(&self) -> client::Handle<TrustsAll> {
        let config = Arc::new(client::Config {
            channel_buffer_size: 4096,
            nodelay: true,
            ..client::Config::default()
        });
        let mut handle =
            client::connect(config, self.server.address(), TrustsAll).await.expect("a connection");
        let key = load_secret_key(self.server.client_key(), None).expect("a key");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let login = handle.authenticate_publickey("anyone", key).await.expect("an answer");
        assert!(matches!(login, AuthResult::Success));
        handle
    }
}

struct TrustsAll;

impl client::Handler for TrustsAll {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn output(command: &mut Command) -> Output {
    timeout(DEADLINE, command.output()).await.expect("it ends in time").expect("it starts")
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_be_bytes());
    }
    noise.truncate(bytes);
    noise
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a command has left its process number in `file`, whole.
async fn process_in(file: &Path) -> PathBuf {
    let read = || std::fs::read_to_string(file).unwrap_or_default();
    eventually("a process number", || read().ends_with('\n')).await;
    Path::new("/proc").join(read().trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_runs_commands_and_learns_how_they_ended() {
    let fixture = Fixture::start().await;
    let ran = output(&mut fixture.ssh("pwd; command -v scp; echo trouble >&2; cat; exit 7")).await;
    let stdout = String::from_utf8(ran.stdout).expect("text");
    let (pwd, scp) = stdout.trim().split_once('\n').expect("two lines");
    assert_eq!(Path::new(pwd), fixture.home.path());
    assert!(Path::new(scp).is_symlink(), "{scp}");
    assert_eq!(ran.stderr, b"trouble\n");
    assert_eq!(ran.status.code(), Some(7));
    let private = rustix::fs::stat(fixture.server.client_key()).expect("a file").st_mode & 0o777;
    assert_eq!(private, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_mebibytes_go_there_and_back() {
    let fixture = Fixture::start().await;
    let body = noise(64 << 20);
    std::fs::write(fixture.path("from"), &body).expect("a file");
    let mut ssh = fixture.ssh("cat");
    ssh.stdin(File::open(fixture.path("from")).expect("a file"));
    ssh.stdout(File::create(fixture.path("to")).expect("a file"));
    // Not `output`, which would take the output for itself.
    let ended = timeout(DEADLINE, ssh.status()).await.expect("in time").expect("ssh starts");
    assert!(ended.success());
    // Not `assert_eq`, which would print them.
    assert!(std::fs::read(fixture.path("to")).expect("a file") == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_scp_delivers_and_fetches() {
    let fixture = Fixture::start().await;
    let body = noise(5_000_001);
    std::fs::write(fixture.path("from"), &body).expect("a file");
    let mut there = fixture.client("scp", "-P", fixture.server.client_key());
    let sent =
        output(there.args(["-O", "-p"]).arg(fixture.path("from")).arg("anyone@127.0.0.1:landed")).await;
    assert!(sent.status.success(), "{}", sent.stderr.escape_ascii());
    assert!(std::fs::read(fixture.path("landed")).expect("a file") == body);
    let mut back = fixture.client("scp", "-P", fixture.server.client_key());
    let fetched = output(back.args(["-O", "anyone@127.0.0.1:landed"]).arg(fixture.path("back"))).await;
    assert!(fetched.status.success(), "{}", fetched.stderr.escape_ascii());
    assert!(std::fs::read(fixture.path("back")).expect("a file") == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused_at_once() {
    let (fixture, stranger) = (Fixture::start().await, Fixture::start().await);
    let since = Instant::now();
    let mut ssh = fixture.client("ssh", "-p", stranger.server.client_key());
    let refused = output(ssh.args(["anyone@127.0.0.1", "true"])).await;
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied (publickey)"));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_is_refused_and_not_ignored() {
    let fixture = Fixture::start().await;
    let mut sftp = fixture.client("ssh", "-p", fixture.server.client_key());
    let refused = output(sftp.args(["-s", "anyone@127.0.0.1", "sftp"])).await;
    assert_eq!(refused.status.code(), Some(255), "{}", refused.stderr.escape_ascii());
}

/// Sends `body` through `cat` on a channel of its own.
async fn there_and_back(connection: Arc<client::Handle<TrustsAll>>, body: Arc<Vec<u8>>) {
    let channel = connection.channel_open_session().await.expect("a channel");
    channel.exec(true, "cat").await.expect("it is sent");
    let (mut read, write) = channel.split();
    let sent = Arc::clone(&body);
    let sending = tokio::spawn(async move {
        for piece in sent.chunks(100_000) {
            write.data_bytes(piece.to_vec()).await.expect("it is sent");
        }
        write.eof().await.expect("it is sent");
        write
    });
    let (mut received, mut status) = (Vec::new(), None);
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } => received.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
    }
    sending.await.expect("no panic");
    assert!(received == *body, "{} of {} bytes came back", received.len(), body.len());
    assert_eq!(status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_channels_at_once_on_one_connection() {
    let fixture = Fixture::start().await;
    let connection = Arc::new(fixture.connect().await);
    let body = Arc::new(noise(8 << 20));
    let mut channels = JoinSet::new();
    for _ in 0..20 {
        channels.spawn(there_and_back(Arc::clone(&connection), Arc::clone(&body)));
    }
    timeout(DEADLINE, channels.join_all()).await.expect("no deadlock");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_connections_at_once() {
    let fixture = Fixture::start().await;
    let mut commands: Vec<_> = (0..10).map(|n| fixture.ssh(&format!("sleep 0.2; echo {n}"))).collect();
    let running: Vec<_> = commands.iter_mut().map(|command| command.spawn().expect("ssh starts")).collect();
    for (n, child) in running.into_iter().enumerate() {
        let ran = timeout(DEADLINE, child.wait_with_output()).await.expect("in time").expect("it ends");
        assert_eq!(ran.stdout, format!("{n}\n").into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_told_by_name() {
    let fixture = Fixture::start().await;
    let connection = fixture.connect().await;
    let mut channel = connection.channel_open_session().await.expect("a channel");
    channel.exec(true, "kill -TERM $$").await.expect("it is sent");
    let mut signals = Vec::new();
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::ExitSignal { signal_name, .. } = message {
            signals.push(signal_name);
        }
    }
    assert!(matches!(signals[..], [Sig::TERM]), "{signals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_channel_closes_is_killed_with_its_children() {
    let fixture = Fixture::start().await;
    let connection = fixture.connect().await;
    let channel = connection.channel_open_session().await.expect("a channel");
    channel.exec(true, "sleep 1000 & echo $! > pid; wait").await.expect("it is sent");
    let process = process_in(&fixture.path("pid")).await;
    channel.close().await.expect("it is sent");
    eventually("the sleep's end", || !process.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_break_and_new_ones_work() {
    let fixture = Fixture::start().await;
    let cut = fixture.ssh("echo $$ > pid; exec sleep 1000").spawn().expect("ssh starts");
    let process = process_in(&fixture.path("pid")).await;
    assert_eq!(fixture.server.kill_connections(), 1);
    let ended = timeout(DEADLINE, cut.wait_with_output()).await.expect("in time").expect("it ends");
    assert_eq!(ended.status.code(), Some(255));
    eventually("the command's end", || !process.exists()).await;
    assert_eq!(output(&mut fixture.ssh("echo again")).await.stdout, b"again\n");
    eventually("an empty list", || fixture.server.kill_connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_stuffed_can_still_be_killed() {
    let fixture = Fixture::start().await;
    let mut ssh = fixture.ssh("echo $$ > pid; exec sleep 1000");
    let cut = ssh.stdin(File::open("/dev/zero").expect("a device")).spawn().expect("ssh starts");
    let process = process_in(&fixture.path("pid")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    fixture.server.kill_connections();
    eventually("the command's end", || !process.exists()).await;
    let ended = timeout(DEADLINE, cut.wait_with_output()).await.expect("in time").expect("it ends");
    assert_eq!(ended.status.code(), Some(255));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_and_never_reads_loses_its_command() {
    let fixture = Fixture::start().await;
    let mut ssh = fixture.ssh("echo $$ > pid; exec cat");
    let deaf = ssh.stdin(File::open("/dev/zero").expect("a device")).spawn().expect("ssh starts");
    let process = process_in(&fixture.path("pid")).await;
    eventually("the command's end", || !process.exists()).await;
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_says_goodbye_and_is_quick() {
    let fixture = Fixture::start().await;
    let address = fixture.server.address();
    let waits = fixture.ssh("echo $$ > pid; exec sleep 1000").spawn().expect("ssh starts");
    let process = process_in(&fixture.path("pid")).await;
    let since = Instant::now();
    fixture.server.shutdown().await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let ended = timeout(DEADLINE, waits.wait_with_output()).await.expect("in time").expect("it ends");
    assert_eq!(ended.status.code(), Some(255));
    eventually("the command's end", || !process.exists()).await;
    TcpStream::connect(address).await.expect_err("nobody listens");
}
