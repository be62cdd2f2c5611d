//! Does what the desk decided: records first, then what relies on them.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use skiff_common::delivery::{Command, HeldItem, Receipt, Record};
use skiff_common::desk::Effect;
use skiff_common::{ItemId, Moment, RelPath, Shipment, ShipmentId};
use tracing::field::Empty;

use super::{Begun, DispatchError, Dispatcher, Stop, Urgency, board, worker};
use crate::admission::Standing;
use crate::clock;
use crate::journal::{JournalError, NO_SPACE_PAUSE};
use crate::status::{Progress, Status, counting};

/// How often those who watch are told meanwhile.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Orders that wait for space: as many as may be on their way here.
const MOST_DEFERRED: usize = 16;

impl Dispatcher {
    pub(super) async fn apply(&mut self, mut effects: Vec<Effect>) -> Result<(), DispatchError> {
        // Whoever delivers once waits for the end.
        if !self.once {
            let Some(urgent) = self.late.keep(effects, clock::now()) else { return Ok(()) };
            effects = urgent;
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Record(_))) {
            effects.splice(0..0, self.late.take());
        }
        self.apply_now(effects).await
    }

    /// What has waited for company.
    pub(super) async fn apply_late(&mut self) -> Result<(), DispatchError> {
        let late = self.late.take();
        self.apply_now(late).await
    }

    async fn apply_now(&mut self, effects: Vec<Effect>) -> Result<(), DispatchError> {
        let (records, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Record(_)));
        let unwrap = |effect| if let Effect::Record(record) = effect { Some(record) } else { None };
        self.store(records.into_iter().filter_map(unwrap).collect()).await?;
        if !rest.is_empty() {
            // Also where a timer began it.
            self.board.touch();
        }
        for effect in rest {
            self.act(effect);
        }
        // Not before: what is delivered and stays is held by now, with the stamp that it has.
        for (watch, path) in std::mem::take(&mut self.wanted) {
            if let Some(context) = self.context(&watch) {
                context.waker.path(path);
            }
        }
        Ok(())
    }

    pub(super) async fn store(&mut self, records: Vec<Record>) -> Result<(), DispatchError> {
        let Some(journal) = self.journal.clone().filter(|_| !records.is_empty()) else { return Ok(()) };
        let mut told = false;
        loop {
            match journal.record(&records).await {
                Err(error @ JournalError::NoSpace { .. }) => {
                    // Once: the log may stand on the same disk.
                    if !std::mem::replace(&mut told, true) {
                        tracing::error!(%error, "waiting for space; nothing is accepted or deleted meanwhile");
                    }
                    self.board.problem("the state folder", &error.to_string());
                    self.wait_for_space().await?;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Waits a while, and tells meanwhile who asks.
    pub(super) async fn wait_for_space(&mut self) -> Result<(), DispatchError> {
        let over = tokio::time::sleep(NO_SPACE_PAUSE);
        tokio::pin!(over);
        let mut tell = tokio::time::interval(TELL_EVERY);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                () = told(self.stop.as_mut()) => return Err(DispatchError::Stopped),
                Some(order) = self.orders.recv(), if self.deferred.len() < MOST_DEFERRED => self.defer(order),
                _ = tell.tick() => {
                    // Waiting for space is what it is to do, so systemd need not mind.
                    self.pulse.beat();
                    self.publish();
                }
            }
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Record(_) => unreachable!("records are stored before"),
            Effect::Start(id, command) => self.start(id, command),
            Effect::Delivered(shipment, receipts) => self.delivered(&shipment, &receipts),
            Effect::Release(item, path, watch) => {
                self.board.released(&watch, item);
                if self.once && self.changes_too_often(item) {
                    self.admission.clear(item);
                    return self.give_up(&path, "it keeps changing while it is read");
                }
                tracing::debug!(%watch, %path, "changed or gone: looked at again");
                self.look_again(&watch, item, path);
            }
            Effect::Again(item, path, watch) => self.look_again(&watch, item, path),
            Effect::Hold(held, until) => self.hold(held, until),
            Effect::Pass(held) => self.pass(&held),
            Effect::Failed(id, reason, Some(wait)) => {
                tracing::warn!(shipment = %id, again_in_ms = wait.as_millis(), "{reason}");
            }
            Effect::Failed(id, reason, None) => {
                // Its items would only meet the same trouble again.
                self.given_up = true;
                tracing::warn!(shipment = %id, "given up: {reason}");
            }
        }
    }

    fn hold(&mut self, held: HeldItem, until: Option<Moment>) {
        let again = self.admission.set(held.item, Standing::Held(held.stamp));
        self.board.held(&held);
        if held.quarantined
            && let Some(context) = self.context(&held.watch)
        {
            self.quarantines.tell(&context.settings, &held);
        }
        self.status.failed(if held.quarantined { "quarantined" } else { "item" });
        tracing::warn!(watch = %held.watch, path = %held.path, attempts = held.attempts,
            quarantined = held.quarantined, "not delivered: {}", held.reason);
        if let Some(context) = self.context(&held.watch).filter(|_| again) {
            context.waker.path(held.path.clone());
        }
        match (until, self.context(&held.watch).map(|context| context.number)) {
            (Some(until), Some(watch)) if !self.given_up => {
                self.held.push(Reverse((until, watch, held.path, held.item)));
            }
            _ => self.give_up(&held.path, &held.reason),
        }
    }

    fn pass(&mut self, held: &HeldItem) {
        self.status.failed("item");
        tracing::warn!(watch = %held.watch, path = %held.path,
            "not delivered, and left to a later scan, as too many are held: {}", held.reason);
        let most = skiff_common::desk::MOST_HELD;
        self.board.problem(
            "held items",
            &format!("there are more than {most}; those beyond are tried by each scan"),
        );
        self.admission.clear(held.item);
        if self.once {
            self.give_up(&held.path, &held.reason);
        }
    }

    pub(super) fn look_again(&self, watch: &str, item: ItemId, path: RelPath) {
        self.admission.clear(item);
        if let Some(context) = self.context(watch) {
            context.waker.path(path);
        }
    }

    fn changes_too_often(&mut self, item: ItemId) -> bool {
        // A person waits, so a file that never holds still is told instead of tried for ever.
        const MOST_CHANGES: u32 = 5;
        let changes = self.changes.entry(item).or_insert(0);
        *changes += 1;
        *changes >= MOST_CHANGES
    }

    fn give_up(&mut self, path: &RelPath, reason: &str) {
        // A screenful is enough for a person; the log has them all.
        const MOST_PROBLEMS: usize = 20;
        self.outcome.undelivered += 1;
        if self.outcome.problems.len() < MOST_PROBLEMS {
            self.outcome.problems.push(format!("{path}: {reason}"));
        }
    }

    fn start(&mut self, id: ShipmentId, command: Command) {
        let shipment = self.desk.shipment(&id).expect("only shipments under way are started").clone();
        // Begun once, it ends by the settings that held then.
        let goes_on = self.begun.remove(&id).or_else(|| self.begin(&shipment));
        let Some(mut begun) = goes_on else { return };
        begun.step = match command {
            Command::Stage { .. } => "sending",
            Command::Publish(_) => "publishing",
            Command::Finish(_) => "finishing",
        };
        begun.runs = true;
        begun.cut = Arc::default();
        let cut = matches!(command, Command::Stage { .. }).then(|| Arc::clone(&begun.cut));
        let span = tracing::info_span!(target: "delivery", parent: &begun.span, "step",
            otel.name = begun.step, otel.status_code = Empty, error.type = Empty);
        let (context, progress) = (Arc::clone(&begun.context), Arc::clone(&begun.progress));
        self.begun.insert(id.clone(), begun);
        let work = worker::Work {
            context,
            receipts: Arc::clone(&self.receipts),
            journal: self.journal.clone(),
            admission: Arc::clone(&self.admission),
            shipment,
        };
        let work = worker::until_cut(counting(progress, Box::pin(work.run(command))), cut);
        self.workers.spawn(async move { (id, worker::traced(span, work).await) });
    }

    fn begin(&self, shipment: &Shipment) -> Option<Begun> {
        Some(Begun {
            context: self.context(&shipment.watch)?,
            step: "",
            cut: Arc::default(),
            runs: false,
            since: clock::now(),
            progress: Progress::default(),
            wire_bytes: board::wire_bytes(shipment),
            span: tracing::info_span!(target: "delivery", parent: None, "delivery", shipment = %shipment.id,
                watch = %shipment.watch, destination = %shipment.destination,
                files = shipment.items.len(), bytes = shipment.bytes()),
        })
    }

    pub(super) fn delivered(&mut self, shipment: &Shipment, receipts: &[Receipt]) {
        let bytes = receipts.iter().map(|receipt| receipt.item().stamp.size).sum();
        let standing = receipts.iter().filter(|receipt| !receipt.sent()).count();
        Status::add(&self.status.delivered_files, receipts.len() as u64);
        Status::add(&self.status.delivered_bytes, bytes);
        Status::add(&self.status.standing_files, standing as u64);
        let items: Vec<_> = receipts.iter().map(Receipt::item).collect();
        self.board.delivered(shipment, &items);
        // It works again: what is in the way of others is their own.
        self.outcome.destination_failure = None;
        tracing::info!(shipment = %shipment.id, watch = %shipment.watch, files = receipts.len(), bytes, standing,
            "delivered and verified");
        for receipt in receipts {
            let delivered = Standing::Delivered(receipt.item().stamp.fingerprint());
            if self.admission.set(shipment.item_id(receipt.item()), delivered) {
                self.wanted.push((shipment.watch.clone(), receipt.item().path.clone()));
            }
        }
    }
}

/// Waits until it is told to stop, which may have been before.
async fn told(stop: Option<&mut Stop>) {
    let heard = match stop {
        Some(stop) => stop.wait_for(|urgency| *urgency > Urgency::Run).await.is_ok(),
        None => false,
    };
    if !heard {
        std::future::pending::<()>().await;
    }
}
