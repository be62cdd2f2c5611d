//! Signals: the first drains, the second ends the workers, the third ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

use tokio::sync::{Notify, watch};

use crate::dispatch::{Stop, Urgency};

static LISTENS: AtomicBool = AtomicBool::new(false);

/// Whether somebody ends what is under way when a signal comes.
pub(super) fn are_listened_to() -> bool {
    LISTENS.load(Ordering::Relaxed)
}

/// Listens for SIGINT and SIGTERM from now on, and for SIGHUP, which asks for the configuration to be read again.
pub(crate) fn listen() -> std::io::Result<(Stop, Arc<Notify>)> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    LISTENS.store(true, Ordering::Relaxed);
    let (sender, stop) = watch::channel(Urgency::Run);
    let hung_up = Arc::new(Notify::new());
    let tell = Arc::clone(&hung_up);
    tokio::spawn(async move {
        for urgency in [Urgency::Drain, Urgency::Abort] {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    _ = hangup.recv() => tell.notify_one(),
                }
            }
            tracing::info!("told to stop");
            if sender.send(urgency).is_err() {
                return;
            }
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        super::silence::unsilence();
        std::process::exit(i32::from(super::exit::INTERRUPTED));
    });
    Ok((stop, hung_up))
}
