//! `skiff run`: watch and deliver until told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use sd_notify::NotifyState;
use skiff_config::Settings;
use tokio::sync::{Notify, mpsc, oneshot};

use super::args::ConfigFile;
use super::{config, exit, signals};
use crate::control::Reload;
use crate::dispatch::{Stop, Urgency};
use crate::error::AgentError;
use crate::journal::{JournalError, NO_SPACE_PAUSE};
use crate::login;
use crate::status::Status;
use crate::supervise::{Agent, Plan};
use crate::telemetry;

/// Runs the agent.
pub(super) async fn run(args: &ConfigFile) -> ExitCode {
    let settings = match config::load(args) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    telemetry::start(settings.log.format, settings.log.level);
    let problems = tokio::task::block_in_place(|| login::problems(&settings));
    if !problems.is_empty() {
        return exit::fail(exit::USAGE, &problems.join("\nskiff: "), "");
    }
    let (mut stop, hung_up) = match signals::listen() {
        Ok(heard) => heard,
        Err(error) => return exit::fail(exit::FAILED, &format!("cannot listen for signals: {error}"), ""),
    };
    let plan = Plan { service: Some(args.config.clone()), ..Plan::default() };
    let agent = match start(&settings, &plan, &mut stop).await {
        Ok(Some(agent)) => agent,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return ended(&error),
    };
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tracing::info!(watches = settings.watches.len(), version = env!("CARGO_PKG_VERSION"), "ready");
    if let Some(reloads) = agent.reloader() {
        tokio::spawn(reload_on(hung_up, reloads));
    }
    let status = Arc::clone(&agent.status);
    let outcome = agent.run(stop).await;
    tracing::info!(
        delivered_files = Status::get(&status.delivered_files),
        delivered_bytes = Status::get(&status.delivered_bytes),
        standing_files = Status::get(&status.standing_files),
        sent_bytes = Status::get(&status.sent_bytes),
        "stopped"
    );
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    #[cfg(feature = "otel")]
    tokio::task::block_in_place(crate::otel::end);
    match outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => ended(&error),
    }
}

/// Starts it, once there is space: a full disk is waited for now as it is later. `None`: told to stop meanwhile.
async fn start(settings: &Settings, plan: &Plan, stop: &mut Stop) -> Result<Option<Agent>, AgentError> {
    let mut told = false;
    loop {
        match tokio::task::block_in_place(|| Agent::start(settings, plan)) {
            Err(error @ AgentError::Journal(JournalError::NoSpace { .. })) => {
                // Once: the log may stand on the same disk.
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("{error}; waiting for space in {}", settings.state_dir.display());
                }
            }
            started => return started.map(Some),
        }
        let more = NotifyState::ExtendTimeoutUsec(60_000_000);
        let _ = sd_notify::notify(&[NotifyState::Status("waiting for space in the state folder"), more]);
        tokio::select! {
            () = tokio::time::sleep(NO_SPACE_PAUSE) => {}
            _ = stop.wait_for(|urgency| *urgency > Urgency::Run) => return Ok(None),
        }
    }
}

/// What has changed, or why nothing has, is logged by who reads it.
async fn reload_on(hung_up: Arc<Notify>, reloads: mpsc::Sender<Reload>) {
    loop {
        hung_up.notified().await;
        let begins = NotifyState::monotonic_usec_now().map(|now| [NotifyState::Reloading, now]);
        let _ = begins.map(|begins| sd_notify::notify(&begins));
        let (answer, answered) = oneshot::channel();
        if reloads.send(Reload { answer }).await.is_err() {
            return;
        }
        let _ = answered.await;
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }
}

fn ended(error: &AgentError) -> ExitCode {
    let hint = match error {
        AgentError::Journal(JournalError::Locked { .. }) => {
            "stop the other skiff, or give this one its own state_dir"
        }
        AgentError::Journal(_) | AgentError::Receipts { .. } => {
            "look at state_dir: its rights, its space, its disk"
        }
        _ => "start it again; it goes on where it was",
    };
    tracing::error!("{error}");
    exit::fail(exit::FAILED, &error.to_string(), hint)
}
