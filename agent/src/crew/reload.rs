//! A new configuration, taken up while the agent runs.
//!
//! Restarts just the watches that it changes, and those whose destination it changes; what is on its way goes on. One that
//! can't be read or doesn't hold together changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use skiff_common::retry::Retry;
use skiff_config::{Destination, Environment, Mode, Settings, Watch};
use tokio::sync::oneshot;

use super::Crew;
use crate::context::{WatchContext, context};
use crate::control::{Reload, Reloaded};
use crate::dispatch::{Change, Order, destination_retry};
use crate::error::AgentError;
use crate::login;
use crate::machine::machine;
use crate::reach::reach;
use crate::route;
use crate::windows;

impl Crew {
    /// Reads the configuration again whenever it is asked to. Ends only with an error.
    pub(crate) async fn serve(&mut self) -> Result<(), AgentError> {
        while let Some(Reload { answer }) = self.ends.reloads.recv().await {
            let told = self.reload().await?;
            match &told {
                Ok(reloaded) => tracing::info!("configuration read again: {reloaded}"),
                Err(problems) => {
                    tracing::error!(
                        "the new configuration is refused, the old one stays: {}",
                        problems.join("; ")
                    );
                }
            }
            // Who asked may have gone.
            let _ = answer.send(told);
        }
        std::future::pending().await
    }

    async fn reload(&mut self) -> Result<Result<Reloaded, Vec<String>>, AgentError> {
        let Some(config) = self.config.clone() else {
            return Ok(Err(vec!["it was started without a configuration file".to_owned()]));
        };
        let read = move || skiff_config::load(&config, &Environment::from_process());
        let read = tokio::task::spawn_blocking(read).await.expect("reading doesn't panic and isn't aborted");
        let settings = match read {
            Ok(settings) => settings,
            Err(problems) => return Ok(Err(problems.iter().map(ToString::to_string).collect())),
        };
        let stays = self.what_cannot_change(&settings);
        if !stays.is_empty() {
            return Ok(Err(stays));
        }
        let looked = settings.clone();
        let unreachable = tokio::task::spawn_blocking(move || login::problems(&looked)).await;
        let unreachable = unreachable.expect("reading doesn't panic and isn't aborted");
        if !unreachable.is_empty() {
            return Ok(Err(unreachable));
        }
        Ok(Ok(self.change(settings).await?))
    }

    /// What takes a new start.
    fn what_cannot_change(&self, new: &Settings) -> Vec<String> {
        let old = &self.settings;
        let changed = [
            ("state_dir", old.state_dir != new.state_dir),
            ("[log]", old.log != new.log),
            ("[control]", old.control != new.control),
            ("[receipts]", old.receipts != new.receipts),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| format!("{key} has changed, which takes a restart: restart skiff")).collect()
    }

    async fn change(&mut self, new: Settings) -> Result<Reloaded, AgentError> {
        let new = route::legs(&new, &machine());
        let moved = moved(&self.settings, &new);
        self.reach(&moved, &new);
        let mut change = Change {
            retune: retuned(&self.settings, &new, &moved),
            rest: resting(&self.settings, &new, &moved),
            destinations: self.shared.remotes.values().cloned().collect(),
            ..Change::default()
        };
        let left = self.part_with(&new, &moved);
        let mut reloaded = Reloaded::default();
        change.join = self.joining(&new, &left, &mut reloaded)?;
        let gone = left.iter().filter(|context| new.watch(&context.settings.name).is_none());
        reloaded.removed = gone.map(|context| context.settings.name.clone()).collect();
        reloaded.destinations = moved;
        change.leave = left.iter().map(|context| context.number).collect();
        let join = change.join.clone();
        self.end_followers(&left).await;
        let (answer, answered) = oneshot::channel();
        // A dispatcher that has ended needs no change; its end is reported elsewhere.
        if self.ends.orders.send(Order::Change(Box::new(change), answer)).await.is_ok()
            && answered.await.is_ok()
        {
            self.shared.overall.set(new.bandwidth);
            self.ends.live.send_replace(windows::live(&new, &self.shared.remotes));
            self.settings = new;
            self.start(join)?;
            // Not before its successor has joined: whoever stays and is scanned meanwhile would forget what both have met.
            if let Some(census) = &self.census {
                for context in &left {
                    census.leave(context.number);
                }
            }
        }
        self.join_ended();
        Ok(reloaded)
    }

    /// Connects anew to the destinations that moved, and forgets those that are gone.
    fn reach(&mut self, moved: &[String], new: &Settings) {
        for name in moved {
            let destination = new.destination(name).expect("its name was just read there");
            self.shared.remotes.insert(
                name.clone(),
                reach(destination, &self.shared.status, (None, Arc::clone(&self.shared.overall))),
            );
        }
        self.shared.remotes.retain(|name, _| new.destination(name).is_some());
    }

    /// Gives the watches that can't go on as they are; the others stay.
    fn part_with(&mut self, new: &Settings, moved: &[String]) -> Vec<Arc<WatchContext>> {
        let old = &self.settings;
        let stays = |watch: &Watch| {
            old.watch(&watch.name) == Some(watch)
                && !route::destinations(watch).iter().any(|to| moved.contains(to))
        };
        let (kept, left) = std::mem::take(&mut self.contexts)
            .into_iter()
            .partition(|context| new.watch(&context.settings.name).is_some_and(stays));
        self.contexts = kept;
        left
    }

    /// A context for each watch that is new, or was `left` as it was before.
    fn joining(
        &mut self,
        new: &Settings,
        left: &[Arc<WatchContext>],
        reloaded: &mut Reloaded,
    ) -> Result<Vec<Arc<WatchContext>>, AgentError> {
        let mut join = Vec::new();
        for (order, watch) in new.watches.iter().enumerate() {
            if let Some(context) = self.contexts.iter().find(|context| context.settings.name == watch.name) {
                context.order.store(order, Ordering::Relaxed);
                continue;
            }
            let numbers = (self.numbers, order);
            join.push(context(
                new,
                watch,
                (&self.shared.remotes, &self.shared.muster),
                numbers,
                (None, false),
            )?);
            self.numbers += 1;
            let is_known = left.iter().any(|before| before.settings.name == watch.name);
            let list = if is_known { &mut reloaded.changed } else { &mut reloaded.added };
            list.push(watch.name.clone());
        }
        Ok(join)
    }

    /// Ends the followers of watches that leave, before their connections close and a successor begins at the same logs: that
    /// one takes up what they recorded last. They stay in the list until they have ended, so that an end of the agent
    /// meanwhile waits for them, too.
    async fn end_followers(&self, left: &[Arc<WatchContext>]) {
        let leaves = |watch: &String| left.iter().any(|context| context.settings.name == *watch);
        left.iter()
            .filter(|context| context.settings.mode == Mode::Append)
            .for_each(|context| context.waker.stop());
        for follower in self.followers.iter().filter(|follower| leaves(&follower.watch)) {
            follower.ended().await;
        }
    }
}

/// The destinations that are new, or set otherwise than before.
fn moved(old: &Settings, new: &Settings) -> Vec<String> {
    let moved = new.destinations.iter().filter(|now| old.destination(&now.name) != Some(now));
    moved.map(|destination| destination.name.clone()).collect()
}

/// Those that moved, and those of which more or fewer shipments may be on their way, or that are retried otherwise.
fn retuned(old: &Settings, new: &Settings, moved: &[String]) -> Vec<(String, usize, Retry)> {
    let pace = |settings: &Settings, name: &str| {
        let limit = settings.destination(name).map(|destination| destination.in_flight.get());
        (limit, destination_retry(settings, name))
    };
    let retuned = new
        .destinations
        .iter()
        .filter(|Destination { name, .. }| moved.contains(name) || pace(old, name) != pace(new, name));
    let pace = |destination: &Destination| {
        let Destination { name, in_flight, .. } = destination;
        (name.clone(), in_flight.get(), destination_retry(new, name))
    };
    retuned.map(pace).collect()
}

/// Of those that moved, which begin at rest, and why.
fn resting(old: &Settings, new: &Settings, moved: &[String]) -> Vec<(String, String)> {
    let resting = moved.iter().filter_map(|name| {
        let why = windows::rests_at_first(old.destination(name), new.destination(name)?)?;
        Some((name.clone(), why))
    });
    resting.collect()
}

#[cfg(test)]
mod tests;
