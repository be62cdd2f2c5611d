use super::*;
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
fn a_member_that_is_due_again_before_its_shipment_is_cleared_away_goes_afterwards() {
    let mut desk = desk(1, RETRY);
    let plan = shipment(&["a"]);
    desk.plan(plan.clone(), false, at(0));
    desk.on(&plan.id, Event::Staged(vec![landed(1, 2)]), at(1), 0.5);
    assert!(desk.plan(plan.clone(), false, at(2)).is_empty(), "it is still being cleared away");
    let effects = desk.on(&plan.id, Event::Finished(Vec::new()), at(3), 0.5);
    assert!(matches!(
        &effects[..],
        [
            Effect::Record(Record::Finished { .. }),
            Effect::Record(Record::Planned(_)),
            Effect::Start(_, Command::Stage { survey: true })
        ]
    ));
    assert_eq!((desk.items(), desk.shipments()), (1, 1));
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
