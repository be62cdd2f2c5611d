//! What the machine can do, each thing alone: nothing that is delivered can be faster.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::link::{DelayedLink, Line};
use super::rig::Rig;
use crate::Tree;

/// One speed.
#[derive(Debug, Clone, Default)]
pub struct Speed {
    /// Of what.
    pub what: String,
    /// In MB/s. `None`: this machine lacks the tool.
    pub megabytes_per_s: Option<f64>,
    /// What is no speed but takes its time: so many ms.
    pub takes_ms: Option<f64>,
}

impl Speed {
    /// In a line for people.
    pub fn as_text(&self) -> String {
        let speed = match (self.megabytes_per_s, self.takes_ms) {
            (Some(speed), _) => format!("{speed:.0} MB/s"),
            (None, Some(takes_ms)) => format!("{takes_ms:.0} ms"),
            (None, None) => "not there".to_owned(),
        };
        format!("  {:52} {speed:>12}", self.what)
    }

    /// As JSON.
    pub fn as_json(&self) -> Value {
        json!({ "what": self.what, "megabytes_per_s": self.megabytes_per_s, "takes_ms": self.takes_ms })
    }
}

/// Measures all of them with `bytes` each.
pub fn limits(rig: &Rig, bytes: usize, mut done: impl FnMut(&Speed)) -> Vec<Speed> {
    let data = vec![0x5a; bytes];
    let dir = TempDir::new().expect("there is room for a temporary folder");
    let file = dir.path().join("data");
    let mut speeds = Vec::new();
    let mut add = |what: &str, speed: Speed| {
        let speed = Speed { what: what.to_owned(), ..speed };
        done(&speed);
        speeds.push(speed);
    };
    for cipher in ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"] {
        add(&format!("cipher {cipher} (openssl, 16 KiB)"), by_openssl(cipher));
    }
    add("digest sha256 (openssl, 16 KiB)", by_openssl("sha256"));
    add("digest blake3 (one thread, from memory)", rate(bytes, || _ = blake3::hash(&data)));
    add("writing a file and syncing it", rate(bytes, || write_and_sync(&file, &data)));
    for tool in ["sha256sum", "b3sum"] {
        add(&format!("{tool} of a file in the cache"), timed(Command::new(tool).arg(&file), bytes));
    }
    let road = rig.road(Line::rtt_ms(0));
    many_small(dir.path(), &mut add);
    for cipher in [None, Some("aes128-gcm@openssh.com"), Some("chacha20-poly1305@openssh.com")] {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&road.ssh_config);
        if let Some(cipher) = cipher {
            ssh.args(["-c", cipher]);
        }
        ssh.args(["bench", "cat >/dev/null"]).stdin(File::open(&file).expect("it was written"));
        let cipher = cipher.unwrap_or("default cipher");
        add(&format!("ssh to sshd, thrown away there ({cipher})"), timed(&mut ssh, bytes));
    }
    for rtt_ms in [0, 100] {
        let what = format!("ssh, a command that does nothing, round trip {rtt_ms} ms");
        add(&what, nothing(rig, Line::rtt_ms(rtt_ms)));
    }
    for rtt_ms in [0, 100] {
        let what = format!("the benchmark's own line, round trip {rtt_ms} ms");
        add(&what, rate(bytes, || carry(Line::rtt_ms(rtt_ms), &data)));
    }
    speeds
}

/// What connecting, logging in and a command's own round trips take.
fn nothing(rig: &Rig, line: Line) -> Speed {
    let road = rig.road(line);
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&road.ssh_config).args(["bench", "true"]);
    let begin = Instant::now();
    let status = ssh.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let worked = status.is_ok_and(|status| status.success());
    Speed { takes_ms: worked.then(|| begin.elapsed().as_secs_f64() * 1e3), ..Speed::default() }
}

/// 10,000 files of 4 KiB without any network, and with no more than it takes: what is to be made, read back and named there is
/// more work for the file system than for the link.
fn many_small(dir: &Path, add: &mut impl FnMut(&str, Speed)) {
    const FILES: u64 = 10_000;
    const FILE_BYTES: usize = 4096;
    let (source, copy) = (dir.join("small"), dir.join("copy"));
    let mut tree = Tree::new(&source, 1);
    (0..FILES).for_each(|n| drop(tree.file(format!("{:02}/{n}", n % 100), FILE_BYTES as u64)));
    fs::create_dir(&copy).expect("the scratch folder is writable");
    let bytes = usize::try_from(FILES).expect("a few") * FILE_BYTES;
    let script = |text: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-c", text, "sh"]).arg(&source).arg(&copy);
        sh
    };
    add("10,000 × 4 KiB: read all (tar)", timed(&mut script(r#"tar -C "$1" -cf - . | cat"#), bytes));
    add(
        "10,000 × 4 KiB: read and make all (tar | tar)",
        timed(&mut script(r#"tar -C "$1" -cf - . | tar -C "$2" -xf -"#), bytes),
    );
    for tool in ["sha256sum", "b3sum"] {
        let what = format!("10,000 × 4 KiB: {tool} of all");
        add(&what, timed(&mut script(&format!(r#"find "$1" -type f -exec {tool} {{}} +"#)), bytes));
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a few GiB")]
fn rate(bytes: usize, work: impl FnOnce()) -> Speed {
    let begin = Instant::now();
    work();
    let megabytes_per_s = Some(bytes as f64 / 1e6 / begin.elapsed().as_secs_f64());
    Speed { megabytes_per_s, ..Speed::default() }
}

/// Of no speed where there is no such command, or it failed.
fn timed(command: &mut Command, bytes: usize) -> Speed {
    let mut worked = false;
    let rate = rate(bytes, || {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        worked = status.is_ok_and(|status| status.success());
    });
    if worked { rate } else { Speed::default() }
}

fn by_openssl(algorithm: &str) -> Speed {
    Speed { megabytes_per_s: openssl(algorithm), ..Speed::default() }
}

/// openssl says it in thousands of bytes a second, as the last word.
fn openssl(algorithm: &str) -> Option<f64> {
    let mut command = Command::new("openssl");
    command.args(["speed", "-seconds", "1", "-bytes", "16384", "-evp", algorithm]);
    let output = command.output().ok().filter(|output| output.status.success())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let thousands: f64 = said.split_whitespace().last()?.strip_suffix('k')?.parse().ok()?;
    Some(thousands / 1e3)
}

fn write_and_sync(path: &Path, data: &[u8]) {
    let mut file = File::create(path).expect("the scratch folder is writable");
    file.write_all(data).and_then(|()| file.sync_all()).expect("there is room");
    fs::metadata(path).expect("it was written");
}

/// Sends all of it over a line and waits until it is there.
fn carry(line: Line, data: &[u8]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
    let delayed = DelayedLink::to(listener.local_addr().expect("a listener knows its port").port(), line);
    let receiver = thread::spawn(move || {
        let (mut from, _) = listener.accept().expect("the line connects");
        let (mut room, mut received) = (vec![0; 256 << 10], 0);
        while let Ok(length @ 1..) = from.read(&mut room) {
            received += length;
        }
        received
    });
    let mut to = TcpStream::connect((Ipv4Addr::LOCALHOST, delayed.port())).expect("the line listens");
    to.write_all(data).expect("the line takes it");
    drop(to);
    assert_eq!(receiver.join().expect("it counts"), data.len(), "the line lost something");
}
