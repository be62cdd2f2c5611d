//! What people ask of a running agent, and the change of its configuration.

use std::sync::Arc;

use skiff_common::delivery::record::HeldItem;
use skiff_common::retry::Retry;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{DispatchError, Dispatcher, Live};
use crate::clock;
use crate::context::WatchContext;
use crate::remote::Remote;
use crate::route;
use crate::status::snapshot::{Item, ItemState};

/// An order to the dispatcher.
pub enum Order {
    /// Whether it still takes orders.
    Ping(oneshot::Sender<()>),
    /// These items are to be tried now.
    Retry(Vec<HeldItem>, oneshot::Sender<()>),
    /// The destinations are to be tried now.
    RetryDestinations(oneshot::Sender<()>),
    /// The files of these items that waited are gone.
    Gone(Vec<HeldItem>),
    /// These watches of the configuration, with all their legs, are to be paused, or to go on.
    Pause(Vec<String>, bool, oneshot::Sender<()>),
    /// This destination is to rest, and why; or to go on.
    Rest(String, Option<String>, oneshot::Sender<()>),
    /// What is under way? At most so many.
    Items(usize, oneshot::Sender<Vec<Item>>),
    /// The configuration has changed.
    Change(Box<Change>, oneshot::Sender<()>),
}

/// What a new configuration changes. What isn't named stays as it is.
#[derive(Default)]
pub struct Change {
    /// Watches that end, by number: those that are gone, and those that come back otherwise.
    pub leave: Vec<usize>,
    /// Watches that begin.
    pub join: Vec<Arc<WatchContext>>,
    /// Destinations with another limit or pace, and new ones.
    pub retune: Vec<(String, usize, Retry)>,
    /// All destinations there are now.
    pub destinations: Vec<Arc<Remote>>,
    /// Destinations that begin at rest, and why; until they are looked at, which is said by [`Order::Rest`].
    pub rest: Vec<(String, String)>,
}

impl Dispatcher {
    pub(super) async fn obey(&mut self, order: Order) -> Result<(), DispatchError> {
        // Who asked may have gone meanwhile.
        match order {
            Order::Ping(answer) => drop(answer.send(())),
            Order::Items(most, answer) => drop(answer.send(self.items(most))),
            Order::Retry(held, answer) => {
                let effects = held.into_iter().flat_map(|held| self.desk.forgive(held)).collect();
                self.apply(effects).await?;
                let _ = answer.send(());
            }
            Order::RetryDestinations(answer) => {
                let effects = self.desk.retry_now(clock::now());
                self.apply(effects).await?;
                let _ = answer.send(());
            }
            Order::Gone(items) => self.forget(&items).await?,
            Order::Pause(watches, paused, answer) => {
                for watch in &watches {
                    self.pause(watch, paused).await?;
                }
                let _ = answer.send(());
            }
            Order::Rest(destination, reason, answer) => {
                self.rest(&destination, reason).await?;
                let _ = answer.send(());
            }
            Order::Change(change, answer) => {
                self.change(*change).await?;
                let _ = answer.send(());
            }
        }
        Ok(())
    }

    /// Answers what only asks; the rest waits until records can be stored.
    pub(super) fn defer(&mut self, order: Order) {
        match order {
            Order::Ping(answer) => drop(answer.send(())),
            Order::Items(most, answer) => drop(answer.send(self.items(most))),
            order => self.deferred.push_back(order),
        }
    }

    /// Nothing more goes to the destination, and what is being sent there is cut off; or it goes on.
    pub(crate) async fn rest(
        &mut self,
        destination: &str,
        reason: Option<String>,
    ) -> Result<(), DispatchError> {
        let rests = reason.is_some();
        if let Some(remote) = self.remotes.iter().find(|remote| remote.name() == destination) {
            remote.rest(rests);
        }
        if let Some(reason) = reason {
            tracing::info!(destination, "paused: {reason}");
            self.rests.insert(destination.to_owned(), reason);
        } else if self.rests.remove(destination).is_some() {
            tracing::info!(destination, "goes on");
        }
        if rests {
            let desk = &self.desk;
            let of_it = |id| desk.shipment(id).is_some_and(|shipment| shipment.destination == destination);
            let cut = self.begun.iter().filter(|(id, begun)| begun.runs && of_it(id));
            cut.for_each(|(_, begun)| begun.cut.notify_one());
        }
        let effects = self.desk.rest(destination, rests, clock::now());
        self.apply(effects).await
    }

    async fn pause(&mut self, watch: &str, paused: bool) -> Result<(), DispatchError> {
        if paused {
            self.paused.insert(watch.to_owned());
        } else {
            self.paused.remove(watch);
        }
        let contexts = self.watches.values().map(|live| &live.context);
        let legs = contexts.filter(|context| route::base(&context.settings.name) == watch);
        for context in legs {
            context.waker.pause(paused);
            self.desk.set_paused(&context.settings.name, paused);
        }
        let effects = self.desk.tick(clock::now());
        self.apply(effects).await
    }

    /// Watches that leave end first, so that no file has two.
    async fn change(&mut self, change: Change) -> Result<(), DispatchError> {
        let Change { leave, join, retune, destinations, rest } = change;
        let leaving: Vec<Live> = leave.iter().filter_map(|number| self.watches.remove(number)).collect();
        for live in &leaving {
            live.context.waker.stop();
        }
        for context in join {
            self.board.expect(&context.settings.name);
            // Whatever legs it had when somebody said so.
            let paused = self.paused.contains(route::base(&context.settings.name));
            context.waker.pause(paused);
            self.desk.set_paused(&context.settings.name, paused);
            self.desk.add_watch(&context.settings.name, super::setup::watch_retry(&context.settings));
            self.desk.set_failover(&context.settings.name, route::destinations(&context.settings));
            context.waker.tell_idle(&self.idle);
            self.watches.insert(context.number, Live::new(context));
        }
        for live in leaving {
            self.let_go(live).await?;
        }
        self.end_dropped();
        for (name, limit, retry) in retune {
            let effects = self.desk.retune(&name, limit, retry, clock::now());
            self.apply(effects).await?;
        }
        self.desk.keep_destinations(|name| destinations.iter().any(|remote| remote.name() == name));
        let old = std::mem::replace(&mut self.remotes, destinations);
        self.rests.retain(|name, _| self.remotes.iter().any(|remote| remote.name() == name));
        for (name, why) in rest {
            // One that rests already may have another reason.
            if !self.rests.contains_key(&name) {
                self.rest(&name, Some(why)).await?;
            }
        }
        // One that is new to an old name rests as the old one did: nobody says so again. One that was gone meanwhile
        // rests no longer, though the desk may remember that it did.
        for remote in self.remotes.clone() {
            let rests = self.rests.contains_key(remote.name());
            remote.rest(rests);
            let effects = self.desk.rest(remote.name(), rests, clock::now());
            self.apply(effects).await?;
        }
        let still = |remote: &Arc<Remote>| self.remotes.iter().any(|new| Arc::ptr_eq(new, remote));
        let retired: Vec<_> = old.into_iter().filter(|remote| !still(remote)).collect();
        self.retired.extend(retired);
        self.close_retired();
        Ok(())
    }

    /// What waited of a watch is found again by its successor, if it has one.
    async fn let_go(&mut self, Live { context, mut planner, .. }: Live) -> Result<(), DispatchError> {
        let watch = &context.settings.name;
        for item in planner.cut().into_iter().flat_map(|planned| planned.items) {
            self.look_again(watch, skiff_common::ItemId::of(watch, &item.path), item.path);
        }
        let held = std::mem::take(&mut self.held);
        let (of_it, others): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|std::cmp::Reverse((_, number, ..))| *number == context.number);
        self.held = others.into();
        for std::cmp::Reverse((_, _, path, item)) in of_it {
            self.look_again(watch, item, path);
        }
        let effects = self.desk.withdraw(watch);
        self.apply(effects).await?;
        if self.context(watch).is_none() {
            // One that comes back by this name is paused if it is to be then.
            self.desk.set_paused(watch, false);
        }
        self.forget_unless_watched(watch).await
    }

    /// As at a start: a watch that is gone, and comes back, finds its files again, as new ones.
    pub(super) async fn forget_unless_watched(&mut self, watch: &str) -> Result<(), DispatchError> {
        if self.context(watch).is_some() {
            return Ok(());
        }
        if let Some(journal) = self.journal.clone() {
            let held = spawn_blocking(move || journal.held()).await;
            match held.expect("reading doesn't panic and isn't aborted") {
                Ok(mut held) => {
                    held.retain(|held| held.watch == watch);
                    self.forget(&held).await?;
                }
                Err(error) => {
                    tracing::warn!(watch, %error, "what is held of it is forgotten at the next start");
                }
            }
        }
        self.board.forget(watch);
        Ok(())
    }

    async fn forget(&mut self, items: &[HeldItem]) -> Result<(), DispatchError> {
        for held in items {
            self.admission.clear(held.item);
            self.board.released(&held.watch, held.item);
        }
        let effects = items.iter().flat_map(|held| self.desk.forget(held.item)).collect();
        self.apply(effects).await
    }

    /// Ends the connections to what is no longer a destination, once nothing is on its way there.
    pub(super) fn close_retired(&mut self) {
        let used = |remote: &Arc<Remote>| {
            let places = self.begun.values().flat_map(|begun| &begun.context.places);
            places.into_iter().any(|place| Arc::ptr_eq(&place.remote, remote))
        };
        let (busy, free): (Vec<_>, Vec<_>) = std::mem::take(&mut self.retired).into_iter().partition(used);
        self.retired = busy;
        for remote in free {
            // A server that doesn't answer its goodbye holds up nobody.
            tokio::spawn(async move { remote.close().await });
        }
    }

    fn items(&self, most: usize) -> Vec<Item> {
        let planned = self.desk.all_shipments().flat_map(|(shipment, runs)| {
            let state = if runs { ItemState::OnItsWay } else { ItemState::Pending };
            let items = shipment.items.iter();
            items.map(move |item| Item::at(&shipment.watch, &item.path, item.stamp.size, state))
        });
        let gathered = self.watches.values().flat_map(|live| {
            let watch = &live.context.settings.name;
            let waiting = live.planner.waiting().iter();
            waiting.map(move |item| Item::at(watch, &item.path, item.stamp.size, ItemState::Pending))
        });
        planned.chain(gathered).take(most).collect()
    }
}
