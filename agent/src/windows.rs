//! When each destination may be sent to, and how much: by the clock, and by what says that the link costs.
//!
//! Owns the looks at both. Sets the limits itself and tells the dispatcher what is to rest; what is on its way to a
//! destination that rests is cut off there, and goes on where it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Zoned;
use skiff_config::{Allowance, Destination, PauseWhen, Settings};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dispatch::Order;
use crate::hooks::{self, HookError};
use crate::remote::Remote;

/// How often the clock is looked at: a window may begin half a second late.
const CLOCK: Duration = Duration::from_millis(500);
/// How long a command may take to say whether the link costs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A destination and the connection to it.
pub type Live = (Destination, Arc<Remote>);

/// The destinations of these settings.
pub(crate) fn live(settings: &Settings, remotes: &HashMap<String, Arc<Remote>>) -> Vec<Live> {
    let one = |destination: &Destination| (destination.clone(), Arc::clone(&remotes[&destination.name]));
    settings.destinations.iter().map(one).collect()
}

/// Why a destination rests until it is known whether its link costs.
const UNKNOWN: &str = "it is not known yet whether the link costs";
const CLOSED: &str = "by its schedule";

/// Why nothing goes to a destination that is `new`, or set otherwise than the `old` one, until it is looked at.
pub(crate) fn rests_at_first(old: Option<&Destination>, new: &Destination) -> Option<String> {
    let (day, minute) = clock();
    let is_known =
        new.pause_when == PauseWhen::Never || old.is_some_and(|old| old.pause_when == new.pause_when);
    match allowance(new, day, minute) {
        Allowance::Nothing => Some(CLOSED.to_owned()),
        Allowance::Rate(_) => (!is_known).then(|| UNKNOWN.to_owned()),
    }
}

/// Looks at the clock for all destinations.
pub struct Windows {
    destinations: watch::Receiver<Vec<Live>>,
    /// What was said last, and of which connection.
    told: HashMap<String, (Arc<Remote>, Option<String>)>,
    looked: HashMap<String, Looked>,
    /// Who is asked now, each once at a time, so that one that hangs holds up nothing else.
    asking: JoinSet<(Destination, Option<String>)>,
}

/// What is known of whether a link costs.
struct Looked {
    by: PauseWhen,
    /// When it was asked last; `None` while it is being asked.
    at: Option<Instant>,
    reason: Option<String>,
}

impl Windows {
    /// Of these destinations; those of a new configuration come by the same way.
    pub fn new(destinations: watch::Receiver<Vec<Live>>) -> Self {
        Self { destinations, told: HashMap::new(), looked: HashMap::new(), asking: JoinSet::new() }
    }

    /// Sets the limits, and says which destinations are to rest or to go on, where that has changed or the connection is
    /// another: why, or `None`. Who has to be asked is asked meanwhile; until the first answer nothing goes there. Needs a
    /// tokio runtime.
    pub fn look(&mut self) -> Vec<(String, Option<String>)> {
        while let Some(answer) = self.asking.try_join_next() {
            self.hear(answer.expect("asking doesn't panic and isn't aborted"));
        }
        let destinations = self.destinations.borrow_and_update().clone();
        let is_there = |name: &String| destinations.iter().any(|(destination, _)| destination.name == *name);
        self.told.retain(|name, _| is_there(name));
        self.looked.retain(|name, _| is_there(name));
        let (day, minute) = clock();
        let mut changes = Vec::new();
        for (destination, remote) in destinations {
            let reason = match allowance(&destination, day, minute) {
                Allowance::Nothing => {
                    // When it opens, the link may be another.
                    self.looked.remove(&destination.name);
                    Some(CLOSED.to_owned())
                }
                Allowance::Rate(rate) => {
                    remote.set_limit(rate);
                    self.pausing(&destination)
                }
            };
            let before = self.told.insert(destination.name.clone(), (Arc::clone(&remote), reason.clone()));
            // One that was made anew may have begun at rest.
            let is_told = before.is_some_and(|(of, told)| Arc::ptr_eq(&of, &remote) && told == reason);
            if !is_told {
                changes.push((destination.name, reason));
            }
        }
        changes
    }

    /// Looks for ever, and tells the dispatcher.
    pub async fn run(mut self, orders: mpsc::Sender<Order>) {
        loop {
            let is_idle =
                self.destinations.borrow().iter().all(|(destination, _)| is_always_open(destination));
            if is_idle && self.told.values().all(|(_, told)| told.is_none()) {
                // Nothing to look at until the configuration changes.
                if self.destinations.changed().await.is_err() {
                    return std::future::pending().await;
                }
            } else {
                tokio::select! {
                    () = tokio::time::sleep(CLOCK) => {}
                    Ok(()) = self.destinations.changed() => {}
                    Some(answer) = self.asking.join_next() => {
                        self.hear(answer.expect("asking doesn't panic and isn't aborted"));
                    }
                }
            }
            for (destination, reason) in self.look() {
                let (answer, answered) = oneshot::channel();
                if orders.send(Order::Rest(destination, reason, answer)).await.is_err() {
                    return std::future::pending().await;
                }
                // A dispatcher that has ended answers nobody.
                let _ = answered.await;
            }
        }
    }

    fn hear(&mut self, (destination, reason): (Destination, Option<String>)) {
        // Meanwhile it may be gone, or somebody else is to be asked.
        let looked = self.looked.get_mut(&destination.name);
        if let Some(looked) = looked.filter(|looked| looked.by == destination.pause_when) {
            (looked.at, looked.reason) = (Some(Instant::now()), reason);
        }
    }

    /// What is known, which is asked for anew where it is too old.
    fn pausing(&mut self, destination: &Destination) -> Option<String> {
        let by = &destination.pause_when;
        if *by == PauseWhen::Never {
            self.looked.remove(&destination.name);
            return None;
        }
        let unknown = || Looked { by: by.clone(), at: None, reason: Some(UNKNOWN.to_owned()) };
        let known = self.looked.get(&destination.name);
        let is_due = match known {
            Some(looked) if looked.by == *by => {
                looked.at.is_some_and(|at| at.elapsed() >= destination.pause_check)
            }
            Some(_) | None => {
                self.looked.insert(destination.name.clone(), unknown());
                true
            }
        };
        let looked = self.looked.get_mut(&destination.name).expect("it is known, or was just put there");
        if is_due {
            looked.at = None;
            let destination = destination.clone();
            self.asking.spawn(async move {
                let reason = says_pause(&destination).await;
                (destination, reason)
            });
        }
        looked.reason.clone()
    }
}

fn is_always_open(destination: &Destination) -> bool {
    destination.schedule.is_empty() && destination.pause_when == PauseWhen::Never
}

fn allowance(destination: &Destination, day: u8, minute: u16) -> Allowance {
    let covers = destination.schedule.iter().find(|window| window.covers(day, minute));
    covers.map_or(Allowance::Rate(destination.bandwidth), |window| window.allows)
}

/// The day, Monday being 0, and the minute by this machine's clock.
fn clock() -> (u8, u16) {
    let now = Zoned::now();
    let day = u8::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(0);
    let minute = i16::from(now.hour()) * 60 + i16::from(now.minute());
    (day, u16::try_from(minute).unwrap_or(0))
}

async fn says_pause(destination: &Destination) -> Option<String> {
    match &destination.pause_when {
        PauseWhen::Never => None,
        PauseWhen::File(file) => {
            let asked = file.clone();
            // On a thread of its own: where the file system hangs, so does the look, and nobody waits for it at the end.
            let (answer, answered) = oneshot::channel();
            let looks = std::thread::Builder::new().name("pause_when".to_owned());
            let looking = looks.spawn(move || answer.send(asked.exists()));
            if let Err(error) = looking {
                tracing::warn!(destination = %destination.name, "cannot tell whether to pause, so it goes on: {error}");
            }
            answered.await.unwrap_or(false).then(|| format!("{} is there", file.display()))
        }
        PauseWhen::Command(words) => match hooks::run(words, Vec::new(), PATIENCE).await {
            Ok(()) => Some(format!("{} says so", words[0])),
            Err(HookError::Failed { .. }) => None,
            Err(error @ (HookError::Start { .. } | HookError::TimedOut { .. })) => {
                // What was meant to save costs must not stop the deliveries by its own fault.
                tracing::warn!(destination = %destination.name, "cannot tell whether to pause, so it goes on: {error}");
                None
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn destination(more: &str) -> Destination {
        let text = format!(
            "state_dir = '/s'\n[destination.d]\naddress = 'h'\nknown_hosts = ['/k']\n{more}\n\
             [[watch]]\nname = 'w'\npath = '/w'\nto = 'd'\n"
        );
        let environment = skiff_config::Environment::default();
        let settings =
            skiff_config::parse(&text, Path::new("skiff.toml"), &environment).expect("it is right");
        settings.destinations[0].clone()
    }

    #[test]
    fn the_first_window_counts_and_outside_of_all_the_destinations_own_limit() {
        let of = destination(
            "bandwidth = '8 Mbit/s'\nschedule = ['sun pause', '22:00-06:00 unlimited', 'mon-sun 08:00-18:00 1 Mbit/s']",
        );
        let (monday, sunday) = (0, 6);
        assert_eq!(allowance(&of, sunday, 600), Allowance::Nothing);
        assert_eq!(allowance(&of, monday, 23 * 60), Allowance::Rate(None));
        assert_eq!(allowance(&of, monday, 9 * 60), Allowance::Rate(Some(1_000_000)));
        assert_eq!(allowance(&of, monday, 19 * 60), Allowance::Rate(Some(8_000_000)));
    }

    /// The look itself never waits, so neither does what looks before the first delivery; and nothing goes unasked.
    #[tokio::test]
    async fn a_command_that_hangs_holds_up_no_look_and_no_other_destination() {
        let slow = destination("pause_when = ['/bin/sleep', '20']");
        let quick = Destination { name: "e".to_owned(), ..destination("pause_when = ['/bin/false']") };
        let lives = vec![(slow.clone(), reached(&slow)), (quick.clone(), reached(&quick))];
        let (_live, destinations) = watch::channel(lives);
        let mut windows = Windows::new(destinations);
        let begun = Instant::now();
        assert_eq!(windows.look(), [said("d", Some(UNKNOWN)), said("e", Some(UNKNOWN))]);
        let answer = windows.asking.join_next().await.expect("it is asked").expect("it doesn't panic");
        windows.hear(answer);
        assert_eq!(windows.look(), [said("e", None)]);
        assert!(begun.elapsed() < Duration::from_secs(10), "it was waited for");
    }

    fn reached(destination: &Destination) -> Arc<Remote> {
        let limiter = Arc::new(crate::remote::Limiter::new(None));
        crate::reach::reach(destination, &Arc::default(), (None, limiter))
    }

    fn said(name: &str, why: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), why.map(str::to_owned))
    }

    /// A link may have become another while nobody looked at it.
    #[tokio::test]
    async fn what_was_known_before_a_schedule_closed_is_asked_anew_when_it_opens() {
        const COSTS_NOTHING: &str = "pause_when = ['/bin/false']";
        let open = destination(COSTS_NOTHING);
        let closed = destination(&format!("{COSTS_NOTHING}\nschedule = ['mon-sun pause']"));
        let remote = reached(&open);
        let (live, destinations) = watch::channel(vec![(open.clone(), Arc::clone(&remote))]);
        let mut windows = Windows::new(destinations);
        assert_eq!(windows.look(), [said("d", Some(UNKNOWN))]);
        let answer = windows.asking.join_next().await.expect("it is asked").expect("it doesn't panic");
        windows.hear(answer);
        assert_eq!(windows.look(), [said("d", None)]);

        live.send_replace(vec![(closed, Arc::clone(&remote))]);
        assert_eq!(windows.look(), [said("d", Some("by its schedule"))]);
        live.send_replace(vec![(open, remote)]);
        assert_eq!(windows.look(), [said("d", Some(UNKNOWN))]);
    }

    /// A connection that was made anew may rest by a configuration that was gone again before anybody looked.
    #[tokio::test]
    async fn of_a_new_connection_it_is_always_said() {
        let of = destination("");
        let (live, destinations) = watch::channel(vec![(of.clone(), reached(&of))]);
        let mut windows = Windows::new(destinations);
        windows.look();
        assert!(windows.look().is_empty(), "nothing has changed");
        live.send_replace(vec![(of.clone(), reached(&of))]);
        assert_eq!(windows.look(), [said("d", None)]);
    }

    #[test]
    fn what_is_set_anew_rests_until_it_is_known_whether_it_may_be_sent_to() {
        let (plain, closed) = (destination(""), destination("schedule = ['mon-sun pause']"));
        let by = |command: &str| destination(&format!("pause_when = ['{command}']"));
        let why = |old: Option<&Destination>, new: &Destination| rests_at_first(old, new);
        assert_eq!(why(None, &plain), None);
        assert_eq!(why(None, &closed).as_deref(), Some("by its schedule"));
        assert_eq!(why(None, &by("/bin/false")).as_deref(), Some(UNKNOWN));
        assert_eq!(why(Some(&plain), &by("/bin/false")).as_deref(), Some(UNKNOWN));
        assert_eq!(why(Some(&by("/bin/true")), &by("/bin/false")).as_deref(), Some(UNKNOWN));
        assert_eq!(why(Some(&by("/bin/false")), &by("/bin/false")), None, "that is known");
    }

    #[tokio::test]
    async fn a_file_or_a_command_says_that_the_link_costs() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("metered");
        let of = destination(&format!("pause_when = '{}'", file.display()));
        assert_eq!(says_pause(&of).await, None);
        std::fs::write(&file, "").expect("there is room");
        assert!(says_pause(&of).await.is_some_and(|why| why.ends_with("metered is there")));
        for (command, pauses) in [("/bin/true", true), ("/bin/false", false), ("/nowhere", false)] {
            let of = destination(&format!("pause_when = ['{command}']"));
            assert_eq!(says_pause(&of).await.is_some(), pauses, "{command}");
        }
    }
}
