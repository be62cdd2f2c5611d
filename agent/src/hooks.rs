//! Commands that run when something was delivered or quarantined: no shell, a deadline, JSON on standard input.
//!
//! A command that fails or takes too long is logged and counted; it changes nothing about the delivery. After a
//! delivery it runs before the source goes and before the delivery is recorded as finished, so a crash may run it
//! again, but never leaves it out.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use skiff_common::delivery::record::HeldItem;
use skiff_config::Watch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};

/// Of what a command says about its failure.
const SAID: u64 = 500;
/// How long what a command said may take to come after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Quarantines whose command waits for its turn; more than these at once are one trouble, and a person's.
const WAITING: usize = 256;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It can't be started.
    #[error("cannot run {command}: {source}")]
    Start {
        /// The command.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took too long, and was killed with all that it had started.
    #[error("{command} was killed: it took longer than {} s", .after.as_secs_f32())]
    TimedOut {
        /// The command.
        command: String,
        /// How long it was given.
        after: Duration,
    },
    /// It failed.
    #[error("{command} ended with {status}{said}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// The first that it said on standard error.
        said: String,
    },
}

/// Runs the command of `words` with `input` on its standard input. Does nothing where there are no words.
pub async fn run(words: &[String], input: Vec<u8>, deadline: Duration) -> Result<(), HookError> {
    let Some((command, arguments)) = words.split_first() else { return Ok(()) };
    let started = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // So that what it starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|source| HookError::Start { command: command.clone(), source })?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let ended = tokio::time::timeout(deadline, talk(&mut child, input)).await;
    if matches!(ended, Ok(Ok(_))) {
        // What it has left in the background goes on.
        group.let_go();
    } else {
        drop(group);
    }
    match ended {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => {
            let said = skiff_common::escape::escaped_up_to(said.trim_ascii(), 200);
            let said = if said.is_empty() { said } else { format!(", saying: {said}") };
            Err(HookError::Failed { command: command.clone(), status: status.to_string(), said })
        }
        Ok(Err(source)) => Err(HookError::Start { command: command.clone(), source }),
        Err(_) => {
            let _ = child.wait().await;
            Err(HookError::TimedOut { command: command.clone(), after: deadline })
        }
    }
}

/// A command and all that it has started: killed when this is dropped, as it is where nobody waits for its end any longer.
struct Group(Option<Pid>);

impl Group {
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is just as well.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn talk(child: &mut Child, input: Vec<u8>) -> std::io::Result<(std::process::ExitStatus, Vec<u8>)> {
    let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    let tell = async {
        if let Some(stdin) = &mut stdin {
            // One that doesn't care to read is free not to.
            let _ = stdin.write_all(&input).await;
        }
        drop(stdin);
    };
    let mut said = Vec::new();
    let hear = async {
        if let Some(stderr) = &mut stderr {
            stderr.take(SAID).read_to_end(&mut said).await?;
            tokio::io::copy(stderr, &mut tokio::io::sink()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let ended = Notify::new();
    let end = async {
        let status = child.wait().await;
        ended.notify_one();
        status
    };
    // What it started in the background may hold both for ever; its own end counts.
    let late = async {
        ended.notified().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    let rest = async {
        tokio::select! {
            _ = async { tokio::join!(tell, hear) } => {}
            () = late => {}
        }
    };
    let (status, ()) = tokio::join!(end, rest);
    Ok((status?, said))
}

/// Runs the commands for quarantined items, one after the other.
pub(crate) struct Quarantines(mpsc::Sender<Quarantined>);

struct Quarantined {
    words: Vec<String>,
    deadline: Duration,
    input: Vec<u8>,
}

impl Quarantines {
    /// Needs a tokio runtime.
    pub(crate) fn start() -> Self {
        let (sender, mut queue) = mpsc::channel::<Quarantined>(WAITING);
        tokio::spawn(async move {
            while let Some(Quarantined { words, deadline, input }) = queue.recv().await {
                if let Err(error) = run(&words, input, deadline).await {
                    tracing::warn!("the command for a quarantined item failed: {error}");
                }
            }
        });
        Self(sender)
    }

    /// An item of this watch is quarantined.
    pub(crate) fn tell(&self, watch: &Watch, held: &HeldItem) {
        if watch.on_quarantine.is_empty() {
            return;
        }
        let input = format!("{}\n", told(held)).into_bytes();
        let (words, deadline) = (watch.on_quarantine.clone(), watch.hook_timeout);
        if self.0.try_send(Quarantined { words, deadline, input }).is_err() {
            tracing::warn!(watch = %held.watch, path = %held.path,
                "on_quarantine is left out for this item: too many at once");
        }
    }
}

/// What such a command gets on its standard input.
fn told(held: &HeldItem) -> Value {
    json!({
        "v": 1,
        "event": "quarantined",
        "watch": held.watch,
        "path": held.path.to_string(),
        "item": held.item.to_string(),
        "attempts": held.attempts,
        "reason": held.reason,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use skiff_common::{ItemId, RelPath};

    use super::*;

    #[test]
    fn every_key_is_documented() {
        let path = RelPath::parse(b"a").expect("a path");
        let (item, watch, reason) = (ItemId::of("w", &path), "w".to_owned(), String::new());
        let held = HeldItem { item, watch, path, stamp: 0, attempts: 0, reason, quarantined: true };
        crate::documented::assert_documented("on_quarantine", &told(&held));
    }

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn it_gets_its_input_and_its_failure_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("said");
        let input = "x".repeat(1 << 20);
        let write = vec!["/usr/bin/tee".to_owned(), file.display().to_string()];
        run(&write, input.clone().into_bytes(), LONG).await.expect("it works");
        assert_eq!(std::fs::read_to_string(&file).expect("written"), input);
        // It reads nothing and says much.
        let noisy = shell("yes no | head -c 1000000 >&2; echo end >&2; exit 3");
        let error = run(&noisy, input.into_bytes(), LONG).await.expect_err("it fails").to_string();
        assert!(error.contains("exit status: 3, saying: no"), "{error}");
        let nothing = vec!["/no/such/command".to_owned()];
        assert!(matches!(run(&nothing, vec![], LONG).await, Err(HookError::Start { .. })));
    }

    #[tokio::test]
    async fn one_that_leaves_something_in_the_background_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; echo why >&2; exit $0", pid.display());
        for (code, works) in [("0", true), ("3", false)] {
            let begun = Instant::now();
            let words = [shell(&script), vec![code.to_owned()]].concat();
            let ended = run(&words, vec![], Duration::from_secs(20)).await;
            assert!(begun.elapsed() < Duration::from_secs(10), "it waits for the child: {ended:?}");
            assert_eq!(ended.is_ok(), works, "{ended:?}");
            if let Err(error) = ended {
                assert!(error.to_string().contains("exit status: 3, saying: why"), "{error}");
            }
            let child = std::fs::read_to_string(&pid).expect("it was begun");
            let child = Pid::from_raw(child.trim().parse().expect("a number")).expect("a process");
            rustix::process::kill_process(child, Signal::KILL).expect("it goes on");
        }
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let begun = Instant::now();
        let ended = run(&shell(&script), vec![], Duration::from_secs(3)).await;
        assert!(matches!(ended, Err(HookError::TimedOut { .. })), "{ended:?}");
        assert!(begun.elapsed() < LONG);
        assert_ends(&pid).await;
    }

    /// As it is where the agent is told to stop at once.
    #[tokio::test]
    async fn one_that_nobody_waits_for_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
        let words = shell(&script);
        tokio::select! {
            ended = run(&words, vec![], LONG) => panic!("{ended:?}"),
            () = async { while !pid.exists() { tokio::task::yield_now().await; } } => {}
        }
        assert_ends(&pid).await;
    }

    /// Waits until the process with the number in this file has ended.
    async fn assert_ends(pid: &std::path::Path) {
        let begun = Instant::now();
        let child = std::fs::read_to_string(pid).expect("it was begun");
        let stat = format!("/proc/{}/stat", child.trim());
        // Killed, it may still be a zombie that init has to reap.
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while lives() {
            assert!(begun.elapsed() < LONG, "the child goes on");
            tokio::task::yield_now().await;
        }
    }
}
