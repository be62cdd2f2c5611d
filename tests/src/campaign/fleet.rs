//! A fleet that comes back to its collector, by skiff's backoff and by worse ones. A run is a policy; `--count` is the
//! fleet's size in thousands. With `SKIFF_FLEET_PICTURE` set, the picture is written to that file.

use super::{Campaign, Order, Tally};
use crate::fleet::{self, Course, Limits, Policy};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "fleet",
    about: "a fleet that comes back to its collector after an outage, in thousands of agents; simulated",
    run,
};

/// A hundred thousand agents.
const WHOLE: u64 = 100;

#[expect(clippy::print_stderr, reason = "the figures are what it is made for")]
fn run(order: &Order) -> Tally {
    let agents = usize::try_from(order.count.unwrap_or(WHOLE)).expect("a number of thousands") * 1000;
    let come_back = |policy| (policy, fleet::come_back(agents, policy, &Limits::default(), order.seed));
    let courses = Policy::ALL.map(come_back);
    for (policy, course) in &courses {
        let seconds = |time: Option<std::time::Duration>| {
            time.map_or_else(|| "never".to_owned(), |time| format!("{:.0} s", time.as_secs_f64()))
        };
        eprintln!(
            "{:24} half {:>8}, all {:>8}, refused {:>13}, at worst {:>9} in a second",
            policy.title(),
            seconds(course.half),
            seconds(course.drained),
            course.refused,
            course.refused_at_worst
        );
    }
    let mut tally = judged(&courses);
    if let Some(file) = std::env::var_os("SKIFF_FLEET_PICTURE")
        && let Err(error) = std::fs::write(&file, fleet::as_picture(&courses))
    {
        tally.failures.push(format!("cannot write {}: {error}", file.display()));
    }
    tally
}

/// All drains by skiff's backoff, and with a small part of the refusals of one that doesn't wait.
fn judged(courses: &[(Policy, Course)]) -> Tally {
    let of = |policy| courses.iter().find(|(of, _)| *of == policy).map(|(_, course)| course);
    let (skiff, at_once) = (of(Policy::Skiff).expect("it ran"), of(Policy::AtOnce).expect("it ran"));
    let mut tally = Tally::default();
    for (policy, course) in courses {
        let drains = course.drained.is_some() || !matches!(policy, Policy::Skiff | Policy::SkiffSpread(_));
        tally.add(course.refused > 0, (!drains).then(|| format!("{} never drains", policy.title())));
    }
    if skiff.refused * 20 > at_once.refused {
        tally.failures.push(format!("refused {} times, {} without a wait", skiff.refused, at_once.refused));
    }
    tally
}
