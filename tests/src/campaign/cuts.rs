//! Fault 46 and 47: a session is cut at every byte, in either direction, by an end, a reset or a stall.
//!
//! One agent goes on delivering files through a proxy that cuts each of its connections, each at another byte. There is
//! always something to deliver, so each connection gets to its byte. Nothing is ever wrong at the destination, and in the
//! end all has arrived. The places of the cuts are spread evenly over all bytes of both directions, ends, resets and stalls
//! in turn; a count of all bytes cuts each once, three times that cuts each in each way. Runs of the same count with seeds 1, 2, 3, …
//! share none.

mod course;
mod places;

use std::time::{Duration, Instant};
use std::{iter, thread};

use super::{Campaign, Order, Tally};
use crate::fault_proxy::Plan;
use course::Course;
use places::{Place, Places};

/// The campaign.
pub const CAMPAIGN: Campaign = Campaign {
    name: "cuts",
    about: "cuts a session at every byte of either direction, by FIN, by RST and by silence",
    run,
};

/// Agents at work side by side: a cut session is mostly waiting for somebody.
const LANES: u64 = 12;
/// Plans that wait for a connection: an agent that connects faster than it is looked at meets the next one.
const PLANS_AHEAD: usize = 32;
/// Longer than any deadline of the agent: a connection that stays for longer is a hang.
const HANG: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(3);
/// So many failures tell all there is to tell.
const MOST_FAILURES: usize = 10;

#[expect(clippy::print_stdout, reason = "who asks for a count wants to know of how many")]
fn run(order: &Order) -> Tally {
    let places = Course::measured(order.seed);
    println!("a session of {} bytes, both directions together", places.bytes());
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| scope.spawn(move || drive(Course::start(order.seed), part(&places, order, lane))))
            .collect();
        let tallies = lanes.into_iter().map(|lane| lane.join().expect("a lane reports its failures"));
        tallies.fold(Tally::default(), together)
    })
}

/// Cuts the connections of one agent at these places.
fn drive(mut course: Course, mut places: impl Iterator<Item = Place>) -> Tally {
    let mut tally = Tally::default();
    let mut under_way: Vec<Place> = Vec::new();
    let mut again: Vec<Place> = Vec::new();
    let mut moved = Instant::now();
    // One that came through without a place would live on, and leave none to the places that are to be met again.
    course.proxy.turn_away_others();
    while tally.failures.len() < MOST_FAILURES {
        let next = iter::from_fn(|| places.next().or_else(|| again.pop()));
        let next: Vec<Place> = next.take(PLANS_AHEAD - under_way.len()).collect();
        for place in &next {
            course.proxy.next(place.plan());
        }
        under_way.extend(next);
        if under_way.is_empty() {
            break;
        }
        course.feed();
        thread::sleep(GLANCE);
        let over = course.newly_over();
        if over.is_empty() && moved.elapsed() > HANG {
            tally.failures.push(format!(
                "{}: nothing happens any longer\n{}",
                under_way[0],
                course.log_end()
            ));
            break;
        }
        course.take_away();
        if over.is_empty() {
            continue;
        }
        let cut: Vec<Place> = under_way.drain(..over.len()).collect();
        for (place, carried) in cut.iter().zip(&over) {
            moved = Instant::now();
            tally.add(carried.met, None);
            // A connection that a busy machine made late has ended by a deadline before it came so far.
            if !carried.met && tally.runs < 2 * tally.met + 100 {
                again.push(*place);
            }
        }
        let named = || cut.iter().map(Place::to_string).collect::<Vec<_>>().join(", ");
        tally.failures.extend(course.wrong().map(|wrong| format!("after {}: {wrong}", named())));
    }
    course.proxy.always(Plan::default());
    tally.failures.extend(course.end());
    tally
}

fn together(one: Tally, other: Tally) -> Tally {
    Tally {
        runs: one.runs + other.runs,
        met: one.met + other.met,
        failures: [one.failures, other.failures].concat(),
        resent_bytes: one.resent_bytes + other.resent_bytes,
        skipped: one.skipped.or(other.skipped),
    }
}

/// A lane's share of all places that this order is about.
fn part(places: &Places, order: &Order, lane: u64) -> impl Iterator<Item = Place> + use<> {
    let (all, places) = (places.count(), *places);
    let count = order.count.unwrap_or(all);
    let first = order.seed.saturating_sub(1) * count;
    let lane = usize::try_from(lane).expect("there are few lanes");
    let own = (first..first + count).skip(lane).step_by(usize::try_from(LANES).expect("there are few lanes"));
    own.map(move |number| places.nth(number % all))
}
