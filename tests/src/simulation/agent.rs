//! The agent without its world: the production desk, planner, settler and admission, held together as
//! `agent::dispatch` and `agent::scan` do it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use skiff::admission::{Admission, Standing};
use skiff_common::batch::{Planned, Planner};
use skiff_common::delivery::{Command, Event, Receipt, Record};
use skiff_common::desk::{Desk, Effect};
use skiff_common::settle::{Observation, Settler};
use skiff_common::{Item, ItemId, Moment, RelPath, Shipment, ShipmentId};

use super::defect::Defect;
use super::disk::Opening;
use super::names::{DESTINATION, MOST, Names, WATCH};
use super::worker::Worker;
use super::world::{Crash, World};

/// How often all is looked at, in milliseconds.
const RESCAN_MS: u64 = 10_000;

/// A running agent; what it knows dies with it.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) workers: Vec<Worker>,
    /// Whole scans since there was last anything to do.
    pub(super) idle_scans: u32,
    /// What is quarantined, by file: the stamp.
    pub(super) quarantined: [Option<u64>; MOST],
    desk: Desk,
    planner: Planner,
    settler: Settler,
    admission: Admission,
    held: BinaryHeap<Reverse<(Moment, usize)>>,
    found: VecDeque<(Item, bool)>,
    take_at: Option<u64>,
    delivered: [Option<u64>; MOST],
    fresh: bool,
    first_scan: bool,
    next_scan_ms: u64,
    woken: [bool; MOST],
    woken_at: Option<u64>,
}

impl Agent {
    /// Starts with what the journal says.
    pub(super) fn start(world: &mut World<'_>, opening: Opening) -> Result<Self, Crash> {
        let mut desk = Desk::new();
        desk.add_destination(DESTINATION, world.scenario.in_flight, world.scenario.destination_retry());
        desk.add_watch(WATCH, world.scenario.watch_retry());
        let mut agent = Self {
            workers: Vec::new(),
            idle_scans: 0,
            quarantined: [None; MOST],
            desk,
            planner: Planner::new(world.scenario.limits),
            settler: Settler::new(world.scenario.quiet, 1000),
            admission: Admission::default(),
            held: BinaryHeap::new(),
            found: VecDeque::new(),
            take_at: None,
            delivered: opening.delivered,
            fresh: opening.fresh,
            first_scan: true,
            next_scan_ms: world.now_ms,
            woken: [false; MOST],
            woken_at: None,
        };
        agent.recall(world, opening)?;
        Ok(agent)
    }

    fn recall(&mut self, world: &mut World<'_>, opening: Opening) -> Result<(), Crash> {
        for held in opening.held {
            self.desk.recall(&held);
            if held.quarantined {
                self.quarantined[world.names.item(held.item)] = Some(held.stamp);
                self.admission.set(held.item, Standing::Held(held.stamp));
            }
        }
        for shipment in &opening.pending {
            for item in &shipment.items {
                self.admission.set(shipment.item_id(item), Standing::UnderWay { asked: false });
            }
        }
        if world.scenario.defect == Some(Defect::ForgetsPending) {
            return Ok(());
        }
        for shipment in opening.pending {
            let effects = self.desk.resume(shipment, world.now());
            self.apply(world, effects)?;
        }
        Ok(())
    }

    /// When it has something to do by itself, in milliseconds.
    pub(super) fn due_ms(&mut self, world: &World<'_>) -> u64 {
        let settles = self.settler.next_due().map(|due| world.ms(due));
        let timers =
            [self.desk.next_due(), self.planner.cut_at(), self.held.peek().map(|Reverse((at, _))| *at)];
        let timers = timers.into_iter().flatten().map(|due| world.ms(due));
        let own = [settles, self.take_at, self.woken_at].into_iter().flatten();
        timers.chain(own).min().map_or(self.next_scan_ms, |due| due.min(self.next_scan_ms))
    }

    /// Does all that is due.
    pub(super) fn step(&mut self, world: &mut World<'_>) -> Result<(), Crash> {
        self.scan(world);
        if self.take_at.is_some_and(|at| at <= world.now_ms) {
            self.take_at = None;
            while let Some((item, first)) = self.found.pop_front() {
                let survey = self.fresh && first;
                for planned in self.planner.add(item, world.now()) {
                    self.plan(world, planned, survey)?;
                }
            }
        }
        self.timers(world)
    }

    /// A worker reports.
    pub(super) fn report(
        &mut self,
        world: &mut World<'_>,
        id: &ShipmentId,
        event: Event,
    ) -> Result<(), Crash> {
        let chance = world.chance.unit();
        let effects = self.desk.on(id, event, world.now(), chance);
        self.apply(world, effects)
    }

    /// Something was heard of a file.
    pub(super) fn wake(&mut self, name: usize, at_ms: u64) {
        self.woken[name] = true;
        self.woken_at.get_or_insert(at_ms);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.workers.is_empty()
            && self.found.is_empty()
            && self.desk.shipments() == 0
            && self.held.is_empty()
            && self.settler.is_empty()
            && self.planner.cut_at().is_none()
    }

    /// Whether this version of a file needs no further look, for it was delivered.
    pub(super) fn has_delivered(&self, name: usize, stamp: u64) -> bool {
        self.delivered[name] == Some(stamp)
    }

    fn timers(&mut self, world: &mut World<'_>) -> Result<(), Crash> {
        if self.planner.cut_at().is_some_and(|cut| cut <= world.now())
            && let Some(planned) = self.planner.cut()
        {
            let survey = self.fresh;
            self.plan(world, planned, survey)?;
        }
        while self.held.peek().is_some_and(|Reverse((due, _))| *due <= world.now()) {
            let Some(Reverse((_, name))) = self.held.pop() else { break };
            if world.scenario.defect != Some(Defect::ForgetsHeld) {
                self.admission.clear(world.names.items[name]);
                self.wake(name, world.now_ms);
            }
        }
        let effects = self.desk.tick(world.now());
        self.apply(world, effects)
    }

    fn plan(&mut self, world: &mut World<'_>, planned: Planned, survey: bool) -> Result<(), Crash> {
        let shipment = Shipment::new(WATCH, DESTINATION, planned.kind, planned.items);
        let effects = self.desk.plan(shipment, survey, world.now());
        self.apply(world, effects)
    }

    fn apply(&mut self, world: &mut World<'_>, effects: Vec<Effect>) -> Result<(), Crash> {
        let (records, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Record(_)));
        let late = world.scenario.defect == Some(Defect::ActsBeforeRecording);
        if !late {
            self.store(world, &records)?;
        }
        for effect in rest {
            self.act(world, effect);
            world.fuse()?;
        }
        if late { self.store(world, &records) } else { Ok(()) }
    }

    fn store(&mut self, world: &mut World<'_>, records: &[Effect]) -> Result<(), Crash> {
        for record in records {
            let Effect::Record(record) = record else { unreachable!("nothing else is stored") };
            world.journal.write(record.clone());
            world.fuse()?;
            if let Record::Finished { delivered, .. } = record {
                for delivered in delivered {
                    self.delivered[world.names.item(delivered.item)] = Some(delivered.stamp);
                }
            }
        }
        if !records.is_empty() && world.scenario.defect != Some(Defect::TakesUnsyncedForSynced) {
            world.journal.sync();
            world.fuse()?;
        }
        Ok(())
    }

    fn act(&mut self, world: &mut World<'_>, effect: Effect) {
        match effect {
            Effect::Record(_) => unreachable!("records are stored before"),
            Effect::Start(id, command) => self.begin(world, &id, command),
            Effect::Delivered(shipment, receipts) => self.delivered(world, &shipment, &receipts),
            Effect::Release(item, path, _) => self.release(world, item, &path),
            Effect::Again(item, path, _) => {
                self.admission.clear(item);
                self.wake(world.names.name(&path), world.now_ms);
            }
            Effect::Pass(_) => unreachable!("a simulated folder is small"),
            Effect::Hold(held, until) => {
                world.tell(|| format!("hold {:?} until {until:?}: {}", held.path, held.reason));
                let name = world.names.item(held.item);
                world.expect(!held.reason.is_empty(), "an item waits without a reason");
                self.quarantined[name] = held.quarantined.then_some(held.stamp);
                if self.admission.set(held.item, Standing::Held(held.stamp)) {
                    self.wake(name, world.now_ms);
                }
                if let Some(until) = until {
                    self.held.push(Reverse((until, name)));
                }
            }
            Effect::Failed(_, reason, _) => world.expect(!reason.is_empty(), "a failure without a reason"),
        }
    }

    fn release(&mut self, world: &World<'_>, item: ItemId, path: &RelPath) {
        if world.scenario.defect != Some(Defect::ForgetsReleased) {
            self.admission.clear(item);
            self.wake(world.names.name(path), world.now_ms);
        }
    }

    fn begin(&mut self, world: &mut World<'_>, id: &ShipmentId, command: Command) {
        self.idle_scans = 0;
        world.expect(world.journal.remembers(id), "a worker acts on what the journal may not know");
        let shipment = self.desk.shipment(id).expect("only shipments under way are started").clone();
        world.tell(|| {
            format!(
                "start {id} {:?} {command:?}",
                shipment.items.iter().map(|i| (&i.path, i.stamp.ctime_ns)).collect::<Vec<_>>()
            )
        });
        self.workers.push(Worker::new(shipment, command, world.now_ms));
    }

    fn delivered(&mut self, world: &World<'_>, shipment: &Shipment, receipts: &[Receipt]) {
        for receipt in receipts {
            let standing = Standing::Delivered(receipt.item().stamp.fingerprint());
            if self.admission.set(shipment.item_id(receipt.item()), standing) {
                self.wake(world.names.name(&receipt.item().path), world.now_ms);
            }
        }
    }

    fn scan(&mut self, world: &mut World<'_>) {
        while let Some(path) = self.settler.take_due(world.now()) {
            self.look(world, world.names.name(&path));
        }
        if self.woken_at.is_some_and(|at| at <= world.now_ms) {
            self.woken_at = None;
            for name in 0..MOST {
                if std::mem::take(&mut self.woken[name]) {
                    self.look(world, name);
                }
            }
        }
        let deaf = world.scenario.defect == Some(Defect::TrustsEvents) && !self.first_scan;
        if self.next_scan_ms <= world.now_ms {
            if !deaf {
                (0..MOST).for_each(|name| self.look(world, name));
            }
            self.first_scan = false;
            self.next_scan_ms = world.now_ms + RESCAN_MS;
            self.idle_scans = if self.is_idle() { self.idle_scans + 1 } else { 0 };
        }
    }

    fn look(&mut self, world: &mut World<'_>, name: usize) {
        let Names { paths, items, .. } = world.names;
        let (path, id) = (&paths[name], items[name]);
        let Some(file) = world.source.files[name] else { return self.settler.forget(path) };
        let stamp = file.stamp.fingerprint();
        if self.delivered[name] == Some(stamp) || !self.admission.is_new(id, stamp) {
            return self.settler.forget(path);
        }
        match self.settler.observe(path, file.stamp, world.now()) {
            Observation::Waits(_) => {}
            Observation::Full => unreachable!("there are fewer files than it keeps in mind"),
            Observation::Settled if file.writer && world.source.leases => {
                self.settler.postpone(path, file.stamp, world.now());
            }
            Observation::Settled => {
                self.settler.forget(path);
                self.admission.set(id, Standing::UnderWay { asked: false });
                self.found.push_back((
                    Item { path: path.clone(), stamp: file.stamp, mode: 0o644 },
                    self.first_scan,
                ));
                let wait = u64::from(world.chance.below(20));
                self.take_at.get_or_insert(world.now_ms + wait);
            }
        }
    }

    /// Whether nothing would ever look at this version again.
    pub(super) fn ignores(&self, item: ItemId, stamp: u64) -> bool {
        !self.admission.is_new(item, stamp)
    }
}
