//! Who is timed: command lines as people type them, with the same key, host key and ciphers for all.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use super::rig::Trip;
use crate::skiff;

/// A way to get a folder to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// `skiff push`: verified
    Skiff,
    /// `skiff push --transport sftp`: verified by reading back
    SkiffSftp,
    /// `scp -r`: over SFTP, as scp is today
    Scp,
    /// `scp -O -r`: the old protocol
    ScpO,
    /// `tar | ssh tar`
    Tar,
    /// `rsync -a`
    Rsync,
    /// `tar -czf`, `scp`, `sha256sum` at both ends, unpack: verified
    Recipe,
    /// `rclone copy` over SFTP: verified
    Rclone,
}

/// `$1` is the configuration of ssh, `$2` and `$3` are the source's parent and name, `$4` is the destination.
const TAR: &str = r#"tar -C "$2" -cf - "$3" | ssh -F "$1" bench "tar -C '$4' -xf -""#;

/// `$5` is a folder for the archive at this end.
const RECIPE: &str = r#"set -e
tar -C "$2" -czf "$5/bench.tgz" "$3"
ours=$(sha256sum <"$5/bench.tgz")
scp -q -F "$1" "$5/bench.tgz" "bench:$4/bench.tgz"
theirs=$(ssh -F "$1" bench "sha256sum <'$4/bench.tgz'")
[ "$ours" = "$theirs" ]
ssh -F "$1" bench "tar -C '$4' -xzf '$4/bench.tgz' && rm '$4/bench.tgz'"
rm "$5/bench.tgz""#;

impl Contender {
    /// All, in the order in which they are shown.
    pub const ALL: [Contender; 8] = [
        Contender::Skiff,
        Contender::SkiffSftp,
        Contender::Scp,
        Contender::ScpO,
        Contender::Tar,
        Contender::Rsync,
        Contender::Recipe,
        Contender::Rclone,
    ];

    /// What people type.
    pub fn title(self) -> &'static str {
        match self {
            Contender::Skiff => "skiff push",
            Contender::SkiffSftp => "skiff push (SFTP)",
            Contender::Scp => "scp -r",
            Contender::ScpO => "scp -O -r",
            Contender::Tar => "tar | ssh tar",
            Contender::Rsync => "rsync -a",
            Contender::Recipe => "tar -cz, scp, sha256sum",
            Contender::Rclone => "rclone copy",
        }
    }

    /// Whether it makes sure that what arrived is what was sent.
    pub fn verifies(self) -> bool {
        match self {
            Contender::Skiff | Contender::SkiffSftp | Contender::Recipe | Contender::Rclone => true,
            Contender::Scp | Contender::ScpO | Contender::Tar | Contender::Rsync => false,
        }
    }

    /// Whether this machine has it.
    pub fn is_installed(self) -> bool {
        let program = match self {
            Contender::Skiff | Contender::SkiffSftp => return true,
            Contender::Scp | Contender::ScpO => "scp",
            Contender::Tar | Contender::Recipe => "tar",
            Contender::Rsync => "rsync",
            Contender::Rclone => "rclone",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }

    /// The command that brings the folder `source` below the folder of the trip's destination.
    pub(super) fn command(self, trip: &Trip, source: &Path) -> Command {
        let mut command = match self {
            Contender::Skiff => return push(trip, source),
            Contender::SkiffSftp => {
                let mut push = push(trip, source);
                push.args(["--transport", "sftp"]);
                return push;
            }
            Contender::Scp | Contender::ScpO => {
                let mut scp = Command::new("scp");
                scp.args(if self == Contender::ScpO { ["-q", "-O", "-r"].as_slice() } else { &["-q", "-r"] });
                scp.arg("-F").arg(trip.ssh_config).arg(source).arg(format!("bench:{}/", trip.out.display()));
                scp
            }
            Contender::Tar => script(TAR, trip, source),
            Contender::Recipe => script(RECIPE, trip, source),
            Contender::Rsync => {
                let mut rsync = Command::new("rsync");
                rsync.arg("-a").arg("-e").arg(format!("ssh -F {}", trip.ssh_config.display()));
                rsync.arg(source).arg(format!("bench:{}/", trip.out.display()));
                rsync
            }
            Contender::Rclone => rclone(trip, source),
        };
        command.env_remove("SSH_AUTH_SOCK").env("HOME", trip.scratch);
        command
    }
}

fn push(trip: &Trip, source: &Path) -> Command {
    let mut push = skiff::command(trip.scratch);
    push.args(["push", "-q", "-P", &trip.port.to_string(), "-i"]).arg(trip.key);
    push.arg("--known-hosts").arg(trip.known_hosts).arg("--state-dir").arg(trip.scratch.join("state"));
    push.arg(source).arg(format!("{}@127.0.0.1:{}", trip.user, trip.out.display()));
    push
}

fn script(text: &str, trip: &Trip, source: &Path) -> Command {
    let (parent, name) = (source.parent(), source.file_name());
    let mut sh = Command::new("sh");
    sh.args(["-c", text, "sh"]).arg(trip.ssh_config);
    sh.arg(parent.expect("a workload has a folder")).arg(name.expect("a workload has a name"));
    sh.arg(trip.out).arg(trip.scratch);
    sh
}

fn rclone(trip: &Trip, source: &Path) -> Command {
    let name = source.file_name().expect("a workload has a name");
    let mut rclone = Command::new("rclone");
    rclone.args(["copy", "--config", "/dev/null", "--sftp-host", "127.0.0.1"]);
    rclone.args(["--sftp-user", trip.user, "--sftp-port", &trip.port.to_string(), "--sftp-key-file"]);
    rclone.arg(trip.key).arg("--sftp-known-hosts-file").arg(trip.known_hosts);
    rclone.arg(source).arg(format!(":sftp:{}", trip.out.join(name).display()));
    rclone
}
