//! Watches that deliver to the first destination that works.

use super::*;

/// A desk whose watch delivers to the first that works of two.
fn failover_desk() -> Desk {
    let mut desk = Desk::new();
    for name in ["first", "second"] {
        desk.add_destination(name, 1, RETRY);
    }
    desk.add_watch("w", RETRY);
    desk.set_failover("w", &["first".to_owned(), "second".to_owned()]);
    desk
}

/// Plans one file for where it is to go now; says where that is.
fn plan_one(desk: &mut Desk, name: &str, now: Moment) -> (Shipment, Vec<Effect>) {
    let destination = desk.destination("w", "first", now);
    let items = shipment(&[name]).items;
    let shipment = Shipment::new("w", &destination, ShipmentKind::Single, items);
    let effects = desk.plan(shipment.clone(), false, now);
    (shipment, effects)
}

fn releases(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Release(..))).count()
}

fn deliver(desk: &mut Desk, shipment: &Shipment, now: Moment) {
    desk.on(&shipment.id, Event::Staged(vec![landed(1, 1)]), now, 0.5);
    desk.on(&shipment.id, Event::Published(vec![Placed::At(shipment.items[0].path.clone())]), now, 0.5);
    desk.on(&shipment.id, Event::Finished(vec![Disposal::Kept]), now, 0.5);
}

#[test]
fn failover_takes_the_next_destination_and_goes_back_by_one_that_tries() {
    let mut desk = failover_desk();
    let (a, _) = plan_one(&mut desk, "a", at(0));
    let (b, _) = plan_one(&mut desk, "b", at(0));
    assert_eq!([&*a.destination, &*b.destination], ["first", "first"]);
    let effects = desk.on(&a.id, failed(Fault::Retryable, true), at(1), 1.0);
    assert_eq!(releases(&effects), 2, "what failed and what waited behind it are found again");
    assert_eq!((desk.items(), desk.load("w")), (0, 0));

    let (a, _) = plan_one(&mut desk, "a", at(1));
    assert_eq!(a.destination, "second");
    assert!(desk.is_detouring("w"), "what is at the first already must be asked for later");
    // The first's wait of a second is over: one shipment tries it, the others don't wait for that.
    let (tries, _) = plan_one(&mut desk, "b", at(3));
    let (c, _) = plan_one(&mut desk, "c", at(3));
    assert_eq!([&*tries.destination, &*c.destination], ["first", "second"]);
    deliver(&mut desk, &tries, at(4));
    let (d, _) = plan_one(&mut desk, "d", at(4));
    assert_eq!(d.destination, "first");
    assert!(!desk.is_detouring("w"));
}

#[test]
fn failover_waits_where_none_works_and_moves_when_one_does() {
    let mut desk = failover_desk();
    let (a, _) = plan_one(&mut desk, "a", at(0));
    desk.on(&a.id, failed(Fault::Retryable, true), at(0), 1.0);
    let (a, _) = plan_one(&mut desk, "a", at(0));
    assert_eq!(a.destination, "second");
    // Both are closed now: it stays where it is, and nothing is dropped again and again.
    let effects = desk.on(&a.id, failed(Fault::Retryable, true), at(0), 1.0);
    assert_eq!((releases(&effects), desk.items()), (0, 1));
    let due = desk.next_due().expect("it waits for something");
    assert_eq!(due, at(1));
    let effects = desk.tick(due);
    assert!(releases(&effects) == 1 || starts(&effects).len() == 1, "{effects:?}");
    assert!(desk.next_due().is_none_or(|next| next > due), "no busy loop");
}

/// Ten shipments that wait for the second, as neither answers.
fn neither_answers() -> Desk {
    let mut desk = failover_desk();
    for (name, goes_on) in [("first", 10), ("second", 0)] {
        let mut plans: Vec<_> = (0..10).map(|n| plan_one(&mut desk, &n.to_string(), at(0)).0).collect();
        assert!(plans.iter().all(|plan| plan.destination == name));
        let effects = desk.on(&plans.remove(0).id, failed(Fault::Retryable, true), at(0), 1.0);
        assert_eq!(releases(&effects), goes_on);
    }
    desk
}

#[test]
fn failover_moves_one_alone_to_where_the_last_one_failed() {
    let mut desk = neither_answers();
    let runs = |desk: &Desk| desk.all_shipments().find(|(_, runs)| *runs).map(|(one, _)| one.clone());
    desk.tick(at(1));
    let tries = runs(&desk).expect("the second is tried");
    assert_eq!((&*tries.destination, desk.items()), ("second", 10));
    let effects = desk.on(&tries.id, failed(Fault::Retryable, true), at(2), 1.0);
    assert_eq!((releases(&effects), desk.items()), (1, 9), "the first may work by now");
    assert_eq!(releases(&desk.tick(at(2))), 0, "it is on its way");
    let (again, _) = plan_one(&mut desk, "again", at(2));
    assert_eq!(again.destination, "first");
    let effects = desk.on(&again.id, failed(Fault::Retryable, true), at(2), 1.0);
    assert_eq!((releases(&effects), desk.items()), (0, 10));
}

#[test]
fn failover_moves_all_when_the_one_that_tries_has_arrived() {
    let mut desk = neither_answers();
    desk.rest("second", true, at(0));
    assert_eq!(desk.next_due(), Some(at(1)));
    assert_eq!(releases(&desk.tick(at(1))), 1);
    // Its file is gone, so it comes nowhere.
    assert_eq!(releases(&desk.tick(at(1))), 0);
    assert_eq!(desk.next_due(), Some(at(2)));
    assert_eq!(releases(&desk.tick(at(2))), 1);
    let (tries, _) = plan_one(&mut desk, "again", at(2));
    assert_eq!((&*tries.destination, desk.items()), ("first", 9));
    desk.on(&tries.id, Event::Staged(vec![landed(1, 1)]), at(3), 0.5);
    desk.on(&tries.id, Event::Published(vec![Placed::At(tries.items[0].path.clone())]), at(3), 0.5);
    let effects = desk.on(&tries.id, Event::Finished(vec![Disposal::Kept]), at(3), 0.5);
    assert_eq!((releases(&effects), desk.items()), (8, 0));
}

#[test]
fn failover_passes_by_a_destination_that_rests() {
    let mut desk = failover_desk();
    desk.rest("first", true, at(0));
    assert_eq!(desk.destination("w", "first", at(0)), "second");
    desk.rest("second", true, at(0));
    desk.rest("first", false, at(0));
    assert_eq!(desk.destination("w", "first", at(0)), "first");
}
