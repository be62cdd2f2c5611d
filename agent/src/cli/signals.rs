//! Signals: the first drains, the second ends the workers, the third ends the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::dispatch::{Stop, Urgency};

/// Listens for SIGINT and SIGTERM from now on. SIGHUP is taken too, so that it doesn't end the agent.
pub(crate) fn listen() -> std::io::Result<Stop> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, stop) = watch::channel(Urgency::Run);
    tokio::spawn(async move {
        for urgency in [Urgency::Drain, Urgency::Abort] {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    _ = hangup.recv() => tracing::warn!("restart to read the configuration again"),
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
        std::process::exit(i32::from(super::exit::INTERRUPTED));
    });
    Ok(stop)
}
