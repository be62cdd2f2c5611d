//! Deliveries driven by hand, event by event: what each makes the desk do.

mod failover;

use super::*;
use crate::delivery::record::Delivered;
use crate::delivery::{Disposal, Placed, Staged};
use crate::digest::{Algorithm, Digest, Digests};
use crate::shipment::ShipmentKind;
use crate::stamp::Stamp;

const RETRY: Retry = Retry { first: Duration::from_secs(1), max: Duration::from_secs(60), attempts: None };

fn at(seconds: u64) -> Moment {
    Moment::since_start(Duration::from_secs(seconds))
}

fn shipment(names: &[&str]) -> Shipment {
    let stamp = Stamp { dev: 1, ino: 1, size: 1, mtime_ns: 0, ctime_ns: 0 };
    let item =
        |name: &&str| Item { path: RelPath::parse(name.as_bytes()).expect("a path"), stamp, mode: 0o644 };
    Shipment::new("w", "d", ShipmentKind::Batch, names.iter().map(item).collect())
}

fn desk(limit: usize, retry: Retry) -> Desk {
    let mut desk = Desk::new();
    desk.add_destination("d", limit, retry);
    desk.add_watch("w", Retry { attempts: Some(2), ..RETRY });
    desk
}

fn digests(byte: u8) -> Digests {
    Digests { blake3: Digest::new(Algorithm::Blake3, [byte; 32]), sha256: None }
}

fn landed(ours: u8, theirs: u8) -> Staged {
    Staged::Landed { digests: digests(ours), theirs: digests(theirs).blake3 }
}

fn failed(fault: Fault, destination: bool) -> Event {
    Event::Failed { fault, destination, reason: "why".to_owned() }
}

fn starts(effects: &[Effect]) -> Vec<&Command> {
    effects
        .iter()
        .filter_map(|e| if let Effect::Start(_, command) = e { Some(command) } else { None })
        .collect()
}

#[test]
fn the_plan_is_recorded_before_the_worker_starts() {
    let mut desk = desk(1, RETRY);
    let effects = desk.plan(shipment(&["a"]), false, at(0));
    assert!(matches!(
        &effects[..],
        [Effect::Record(Record::Planned(_)), Effect::Start(_, Command::Stage { survey: false })]
    ));
}

/// Which would otherwise wait as if it had failed itself each time that nobody could be reached.
#[test]
fn trouble_of_the_destination_is_no_failure_of_the_shipment() {
    let mut desk = desk(1, RETRY);
    let shipment = shipment(&["a"]);
    let id = shipment.id.clone();
    desk.plan(shipment, false, at(0));
    for day in 1..=5 {
        desk.on(&id, failed(Fault::Retryable, true), at(86_400 * day), 1.0);
        assert_eq!(starts(&desk.tick(at(86_400 * day + 60))).len(), 1);
    }
    let waits = [1, 2].map(|attempt| {
        let now = at(86_400 * (5 + attempt));
        let effects = desk.on(&id, failed(Fault::Retryable, false), now, 1.0);
        desk.tick(now + Duration::from_secs(60));
        effects
            .into_iter()
            .find_map(|effect| if let Effect::Failed(_, _, wait) = effect { wait } else { None })
    });
    assert_eq!(waits, [1, 2].map(|seconds| Some(Duration::from_secs(seconds))));
}

#[test]
fn a_delivery_goes_through_and_is_finished_on_record() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    let effects = desk.on(&plan.id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
    assert!(matches!(starts(&effects)[..], [Command::Publish(_)]));
    let effects =
        desk.on(&plan.id, Event::Published(vec![Placed::At(plan.items[0].path.clone())]), at(2), 0.5);
    assert!(matches!(starts(&effects)[..], [Command::Finish(receipts)] if receipts.len() == 1));
    let effects = desk.on(&plan.id, Event::Finished(vec![Disposal::Kept]), at(3), 0.5);
    assert!(
        matches!(&effects[0], Effect::Record(Record::Finished { delivered, .. }) if delivered.len() == 1)
    );
    assert_eq!((desk.items(), desk.shipments()), (0, 0));
}

#[test]
fn a_wrong_digest_is_never_published_and_its_retries_are_capped() {
    let mut desk = desk(1, RETRY);
    for attempt in 1..=2 {
        let plan = shipment(&["a"]);
        desk.plan(plan.clone(), false, at(0));
        let effects = desk.on(&plan.id, Event::Staged(vec![landed(1, 2)]), at(1), 0.5);
        assert!(matches!(starts(&effects)[..], [Command::Finish(receipts)] if receipts.is_empty()));
        let held = effects.iter().find_map(|e| if let Effect::Hold(held, _) = e { Some(held) } else { None });
        assert_eq!(held.map(|held| (held.attempts, held.quarantined)), Some((attempt, attempt == 2)));
        desk.on(&plan.id, Event::Finished(Vec::new()), at(2), 0.5);
    }
}

#[test]
fn one_bad_member_leaves_and_the_others_go_on() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a", "b"]);
    desk.plan(plan.clone(), false, at(0));
    let staged = vec![Staged::Spoiled(Trouble::Changed), landed(1, 1)];
    let effects = desk.on(&plan.id, Event::Staged(staged), at(1), 0.5);
    assert!(effects.iter().any(|e| matches!(e, Effect::Release(_, path, _) if path.as_bytes() == b"a")));
    assert!(matches!(starts(&effects)[..], [Command::Publish(placements)] if placements.len() == 1));
}

#[test]
fn a_destination_in_trouble_is_tried_by_one_at_a_time() {
    let mut desk = desk(3, RETRY);
    let plans = [shipment(&["a"]), shipment(&["b"]), shipment(&["c"])];
    for plan in &plans {
        desk.plan(plan.clone(), false, at(0));
    }
    for plan in &plans {
        assert!(starts(&desk.on(&plan.id, failed(Fault::Retryable, true), at(1), 1.0)).is_empty());
    }
    assert_eq!(desk.next_due(), Some(at(2)));
    assert!(desk.tick(at(1)).is_empty());
    assert!(matches!(starts(&desk.tick(at(2)))[..], [Command::Stage { survey: true }]));
    assert_eq!(desk.next_due(), None);
}

#[test]
fn one_shipment_in_trouble_holds_up_no_other() {
    let mut desk = desk(1, RETRY);
    let plans = [shipment(&["a"]), shipment(&["b"])];
    for plan in &plans {
        desk.plan(plan.clone(), false, at(0));
    }
    let effects = desk.on(&plans[0].id, failed(Fault::Retryable, false), at(1), 1.0);
    assert_eq!(starts(&effects).len(), 1);
}

#[test]
fn what_somebody_has_to_mend_is_asked_for_rarely_and_given_up_where_attempts_end() {
    let plan = shipment(&["a"]);
    let mut forever = desk(1, RETRY);
    forever.plan(plan.clone(), false, at(0));
    let effects = forever.on(&plan.id, failed(Fault::Fatal, true), at(0), 1.0);
    assert!(matches!(&effects[0], Effect::Failed(_, _, Some(wait)) if *wait == RETRY.max));

    let mut once = desk(1, Retry { attempts: Some(5), ..RETRY });
    once.plan(plan.clone(), false, at(0));
    let effects = once.on(&plan.id, failed(Fault::Fatal, true), at(0), 1.0);
    assert!(matches!(&effects[0], Effect::Failed(_, _, None)));
    assert_eq!(once.shipments(), 0);
}

#[test]
fn a_resumed_shipment_asks_the_destination_first() {
    let mut desk = desk(1, RETRY);
    let effects = desk.resume(shipment(&["a"]), at(0));
    assert!(matches!(&effects[..], [Effect::Start(_, Command::Stage { survey: true })]));
}

#[test]
fn an_item_that_is_found_again_before_its_shipment_is_over_is_looked_at_afterwards() {
    let mut desk = desk(2, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    // It has failed, and its wait is over before the slow clearing of the staging is.
    desk.on(&plan.id, Event::Staged(vec![landed(1, 2)]), at(1), 0.5);
    assert!(desk.plan(plan.clone(), false, at(2)).is_empty());
    let effects = desk.on(&plan.id, Event::Finished(Vec::new()), at(3), 0.5);
    assert!(matches!(effects.last(), Some(Effect::Again(_, path, _)) if path.as_bytes() == b"a"));
    assert_eq!(starts(&desk.plan(plan, false, at(4))).len(), 1);
}

#[test]
fn an_item_travels_in_one_shipment_at_a_time() {
    let mut desk = desk(2, RETRY);
    desk.plan(shipment(&["a", "b"]), false, at(0));
    let effects = desk.plan(shipment(&["b", "c"]), false, at(1));
    let Some(Effect::Record(Record::Planned(second))) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(*second, shipment(&["c"]));
    assert_eq!(desk.items(), 3);
}

#[test]
fn of_two_remembered_shipments_with_one_item_the_second_goes_without_it() {
    let mut desk = desk(3, RETRY);
    desk.resume(shipment(&["a", "b"]), at(0));
    let effects = desk.resume(shipment(&["a"]), at(0));
    assert!(matches!(&effects[..], [Effect::Record(Record::Finished { .. })]));
    let both = shipment(&["a", "c"]);
    desk.resume(both.clone(), at(0));
    assert_eq!(desk.shipment(&both.id).map(|left| left.items.len()), Some(1));
}

#[test]
fn an_item_that_was_found_twice_before_it_was_planned_goes_once() {
    let mut desk = desk(1, RETRY);
    let effects = desk.plan(shipment(&["a", "a", "b"]), false, at(0));
    let Some(Effect::Record(Record::Planned(plan))) = effects.first() else { panic!("{effects:?}") };
    assert_eq!(*plan, shipment(&["a", "b"]));
}

#[test]
fn what_cannot_be_disposed_of_is_tried_less_and_less_and_sent_once() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    for attempt in 1..=2 {
        let effects = desk.plan(plan.clone(), false, at(0));
        let survey = attempt > 1;
        assert_eq!(starts(&effects), [&Command::Stage { survey }]);
        desk.on(&plan.id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
        let placed = Placed::At(plan.items[0].path.clone());
        desk.on(&plan.id, Event::Published(vec![placed]), at(2), 0.5);
        let left = Disposal::Left(Trouble::retryable("read-only"));
        let effects = desk.on(&plan.id, Event::Finished(vec![left]), at(3), 0.5);
        let held = effects.iter().find_map(|e| if let Effect::Hold(held, _) = e { Some(held) } else { None });
        assert_eq!(held.map(|held| (held.attempts, held.quarantined)), Some((attempt, attempt == 2)));
    }
}

/// It was out of its folder for a moment: with the stamp of before, each attempt would make it a new version.
#[test]
fn what_was_put_back_is_held_as_it_stands_now_and_is_that_version_for_others_too() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    desk.on(&plan.id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
    desk.on(&plan.id, Event::Published(vec![Placed::At(plan.items[0].path.clone())]), at(2), 0.5);
    let stamp = Stamp { ctime_ns: 9, ..plan.items[0].stamp };
    let other = Delivered {
        folder: ItemId::of_folder("v", None),
        item: ItemId::of("v", &plan.items[0].path),
        stamp: stamp.fingerprint(),
        digest: digests(1).blake3,
    };
    let put_back =
        Disposal::PutBack { stamp, others: vec![other], trouble: Trouble::retryable("no room there") };
    let effects = desk.on(&plan.id, Event::Finished(vec![put_back]), at(3), 0.5);
    assert!(
        matches!(&effects[0], Effect::Record(Record::Finished { delivered, .. }) if *delivered == [other])
    );
    let held = effects.iter().find_map(|e| if let Effect::Hold(held, _) = e { Some(held) } else { None });
    assert_eq!(held.map(|held| (held.stamp, held.attempts)), Some((stamp.fingerprint(), 1)));
}

#[test]
fn nothing_of_a_paused_watch_starts_and_what_runs_goes_on() {
    let mut desk = desk(1, RETRY);
    let (first, second) = (shipment(&["a"]), shipment(&["b"]));
    desk.plan(first.clone(), false, at(0));
    desk.set_paused("w", true);
    assert!(starts(&desk.plan(second, false, at(0))).is_empty());
    let effects = desk.on(&first.id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
    assert!(matches!(starts(&effects)[..], [Command::Publish(_)]));
    let placed = Placed::At(first.items[0].path.clone());
    desk.on(&first.id, Event::Published(vec![placed]), at(2), 0.5);
    let effects = desk.on(&first.id, Event::Finished(vec![Disposal::Kept]), at(3), 0.5);
    assert!(starts(&effects).is_empty());
    assert_eq!(desk.next_due(), None, "a paused watch is no reason to wake");
    desk.set_paused("w", false);
    assert_eq!(starts(&desk.tick(at(4))).len(), 1);
}

#[test]
fn a_withdrawn_watch_drops_what_waits_and_ends_what_runs() {
    let mut desk = desk(1, RETRY);
    let (runs, waits) = (shipment(&["a"]), shipment(&["b"]));
    desk.plan(runs.clone(), false, at(0));
    desk.plan(waits.clone(), false, at(0));
    let effects = desk.withdraw("w");
    assert!(matches!(&effects[..],
        [Effect::Record(Record::Finished { shipment, delivered }), Effect::Release(_, path, _)]
        if *shipment == waits.id && delivered.is_empty() && path.as_bytes() == b"b"));
    assert_eq!((desk.items(), desk.shipments()), (1, 1));
    // It isn't tried again: its watch is another now, and finds the file itself.
    let effects = desk.on(&runs.id, failed(Fault::Retryable, true), at(1), 0.5);
    assert!(effects.iter().any(|e| matches!(e, Effect::Release(_, path, _) if path.as_bytes() == b"a")));
    assert_eq!((desk.items(), desk.shipments(), desk.next_due()), (0, 0, None));
}

#[test]
fn a_withdrawn_shipment_that_works_is_finished_as_any_other() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    assert!(desk.withdraw("w").is_empty());
    desk.on(&plan.id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
    desk.on(&plan.id, Event::Published(vec![Placed::At(plan.items[0].path.clone())]), at(2), 0.5);
    let effects = desk.on(&plan.id, Event::Finished(vec![Disposal::Kept]), at(3), 0.5);
    assert!(
        matches!(&effects[0], Effect::Record(Record::Finished { delivered, .. }) if delivered.len() == 1)
    );
}

#[test]
fn a_forgiven_item_has_all_its_attempts_again_and_asks_the_destination_first() {
    let mut desk = desk(1, RETRY);
    let mut held = None;
    for _ in 1..=2 {
        let plan = shipment(&["a"]);
        desk.plan(plan.clone(), false, at(0));
        let effects = desk.on(&plan.id, Event::Staged(vec![landed(1, 2)]), at(1), 0.5);
        held =
            effects.into_iter().find_map(|e| if let Effect::Hold(held, _) = e { Some(held) } else { None });
        desk.on(&plan.id, Event::Finished(Vec::new()), at(2), 0.5);
    }
    let held = held.expect("two attempts quarantine it");
    assert!(held.quarantined);
    let effects = desk.forgive(held);
    assert!(matches!(&effects[..],
        [Effect::Record(Record::Held(held)), Effect::Release(..)] if held.attempts == 0 && !held.quarantined));
    let plan = shipment(&["a"]);
    assert_eq!(starts(&desk.plan(plan.clone(), false, at(3))), [&Command::Stage { survey: true }]);
    let effects = desk.on(&plan.id, Event::Staged(vec![landed(1, 2)]), at(4), 0.5);
    let again = effects.iter().find_map(|e| if let Effect::Hold(held, _) = e { Some(held) } else { None });
    assert_eq!(again.map(|held| (held.attempts, held.quarantined)), Some((1, false)));
}

#[test]
fn a_retuned_destination_is_tried_at_once() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    desk.on(&plan.id, failed(Fault::Retryable, true), at(0), 1.0);
    assert!(desk.tick(at(0)).is_empty());
    assert_eq!(starts(&desk.retune("d", 2, RETRY, at(0))).len(), 1);
}

#[test]
fn a_destination_in_trouble_holds_up_no_other() {
    let mut desk = desk(1, RETRY);
    desk.add_destination("e", 1, RETRY);
    desk.add_watch("v", RETRY);
    let stuck = shipment(&["a"]);
    desk.plan(stuck.clone(), false, at(0));
    desk.on(&stuck.id, failed(Fault::Retryable, true), at(0), 1.0);
    let other = Shipment::new("v", "e", ShipmentKind::Single, shipment(&["a"]).items);
    let effects = desk.plan(other, false, at(0));
    assert_eq!(starts(&effects).len(), 1);
    assert_eq!((desk.load("w"), desk.load("v")), (1, 1));
}

#[test]
fn one_that_drains_ends_what_runs_and_starts_nothing() {
    let mut desk = desk(1, RETRY);
    let plans = [shipment(&["a"]), shipment(&["b"])];
    for plan in &plans {
        desk.plan(plan.clone(), false, at(0));
    }
    desk.drain();
    let effects = desk.on(&plans[0].id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
    assert!(matches!(starts(&effects)[..], [Command::Publish(_)]), "what runs goes on");
    let placed = Placed::At(plans[0].items[0].path.clone());
    desk.on(&plans[0].id, Event::Published(vec![placed]), at(1), 0.5);
    let effects = desk.on(&plans[0].id, Event::Finished(vec![Disposal::Kept]), at(1), 0.5);
    assert!(starts(&effects).is_empty() && desk.next_due().is_none());
}

#[test]
fn what_is_cut_off_for_a_pause_waits_no_longer_than_the_pause() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    for pause in 0..5 {
        desk.rest("d", true, at(pause));
        assert!(starts(&desk.put_back(&plan.id, at(pause))).is_empty());
        assert_eq!(starts(&desk.rest("d", false, at(pause))).len(), 1);
    }
    desk.on(&plan.id, failed(Fault::Retryable, false), at(9), 1.0);
    assert_eq!(desk.next_due(), Some(at(10)), "as after its first failure");
}

#[test]
fn held_items_are_bounded_and_those_beyond_are_left_to_a_later_scan() {
    let mut desk = desk(1, RETRY);
    let fails = |desk: &mut Desk| {
        let plan = shipment(&["a"]);
        desk.plan(plan.clone(), false, at(0));
        let effects =
            desk.on(&plan.id, Event::Staged(vec![Staged::Spoiled(Trouble::retryable("why"))]), at(1), 0.5);
        desk.on(&plan.id, Event::Finished(Vec::new()), at(1), 0.5);
        effects
    };
    let item = |n: usize| ItemId::from_bytes((n as u128).to_le_bytes());
    desk.attempts.extend((0..MOST_HELD).map(|n| (item(n), 1)));
    let effects = fails(&mut desk);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Pass(held) if held.reason == "why")));
    assert!(
        !effects.iter().any(|effect| matches!(effect, Effect::Record(Record::Held(_)) | Effect::Hold(..)))
    );
    assert_eq!(desk.attempts.len(), MOST_HELD);
    desk.forget(item(0));
    assert!(fails(&mut desk).iter().any(|effect| matches!(effect, Effect::Hold(..))), "there is room again");
}

#[test]
fn a_destination_that_rests_starts_nothing_and_goes_on_at_once() {
    let mut desk = desk(1, RETRY);
    desk.rest("d", true, at(0));
    let effects = desk.plan(shipment(&["a"]), false, at(0));
    assert!(starts(&effects).is_empty() && desk.next_due().is_none());
    assert_eq!(starts(&desk.rest("d", false, at(9))).len(), 1);
}

/// Each reload says so of each destination.
#[test]
fn what_waits_after_a_failure_goes_on_waiting_where_nothing_rested() {
    let mut desk = desk(1, RETRY);
    let shipment = shipment(&["a"]);
    let id = shipment.id.clone();
    desk.plan(shipment, false, at(0));
    desk.on(&id, failed(Fault::Retryable, false), at(1), 1.0);
    assert_eq!(starts(&desk.rest("d", false, at(1))).len(), 0);
    assert_eq!(starts(&desk.tick(at(60))).len(), 1);
}

#[test]
fn the_least_rank_goes_first_and_none_waits_for_ever() {
    let mut desk = desk(1, RETRY);
    let plan = |desk: &mut Desk, name: &str, rank| {
        let one = Shipment::new("w", "d", ShipmentKind::Single, shipment(&[name]).items);
        desk.rank(&one.id, rank);
        let effects = desk.plan(one, false, at(0));
        started(&effects)
    };
    let mut running = plan(&mut desk, "first", (1, 9));
    assert_eq!(running.len(), 1);
    let _queued = plan(&mut desk, "waits", (9, 0));
    let mut order = Vec::new();
    for number in 0..6 {
        let _queued = plan(&mut desk, &format!("{number}"), (0, -number));
    }
    for _ in 0..8 {
        let id = running.pop().expect("one runs at a time");
        let now = desk.shipment(&id).expect("it runs").clone();
        order.push(now.items[0].path.to_string());
        desk.on(&id, Event::Staged(vec![landed(1, 1)]), at(1), 0.5);
        desk.on(&id, Event::Published(vec![Placed::At(now.items[0].path.clone())]), at(1), 0.5);
        running = started(&desk.on(&id, Event::Finished(vec![Disposal::Kept]), at(1), 0.5));
    }
    assert_eq!(order, ["first", "5", "4", "waits", "3", "2", "1", "0"]);
    assert!(desk.ranks.is_empty(), "nothing is kept of what is over");
}

fn started(effects: &[Effect]) -> Vec<ShipmentId> {
    let start = |effect: &Effect| if let Effect::Start(id, _) = effect { Some(id.clone()) } else { None };
    effects.iter().filter_map(start).collect()
}
