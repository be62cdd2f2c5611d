//! Signals: the first drains, the second ends the workers, the third ends the process.

use std::fs;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

use tokio::sync::{Notify, watch};

use crate::dispatch::{Stop, Urgency};

static LISTENS: AtomicBool = AtomicBool::new(false);

/// Whether somebody ends what is under way when a signal comes.
pub(super) fn are_listened_to() -> bool {
    LISTENS.load(Ordering::Relaxed)
}

/// Listens for SIGINT and SIGTERM from now on, and for SIGHUP, which asks for the configuration to be read again.
pub(super) fn listen() -> io::Result<(Stop, Arc<Notify>)> {
    let hung_up = Arc::new(Notify::new());
    let stop = start(Hangup(Some(signal(SignalKind::hangup())?)), Some(Arc::clone(&hung_up)))?;
    Ok((stop, hung_up))
}

/// The same for what has no configuration to read again: SIGHUP says that its terminal has gone.
pub(super) fn listen_at_a_terminal() -> io::Result<Stop> {
    start(Hangup::listen()?, None)
}

/// SIGHUP; it never comes where whoever started this has it ignored, as `nohup` does.
pub(super) struct Hangup(Option<Signal>);

impl Hangup {
    pub(super) fn listen() -> io::Result<Self> {
        let is_heard = !is_ignored(SignalKind::hangup());
        Ok(Self(is_heard.then(|| signal(SignalKind::hangup())).transpose()?))
    }

    pub(super) async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => pending().await,
        }
    }
}

/// `reload`: who is told of a SIGHUP that ends nothing.
fn start(mut hangup: Hangup, reload: Option<Arc<Notify>>) -> io::Result<Stop> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    LISTENS.store(true, Ordering::Relaxed);
    let (sender, stop) = watch::channel(Urgency::Run);
    tokio::spawn(async move {
        let mut next = async || loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                () = hangup.recv() => match &reload {
                    Some(reload) => reload.notify_one(),
                    None => break,
                },
            }
        };
        for urgency in [Urgency::Drain, Urgency::Abort] {
            next().await;
            tracing::info!("told to stop");
            if sender.send(urgency).is_err() {
                return;
            }
        }
        next().await;
        super::silence::unsilence();
        std::process::exit(i32::from(super::exit::INTERRUPTED));
    });
    Ok(stop)
}

/// Whether this process ignores the signal; not, where nobody can tell.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let number = kind.as_raw_value();
    (1..=64).contains(&number) && (mask >> (number - 1)) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        // Rust programs start so, and nobody has a reason to ignore the other one.
        assert!(is_ignored(SignalKind::pipe()));
        assert!(!is_ignored(SignalKind::from_raw(rustix::process::Signal::WINCH.as_raw())));
    }
}
