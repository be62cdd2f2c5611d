//! The simulated world, its clock and its faults.

use std::time::Duration;

use skiff_common::{Moment, ShipmentId};

use super::agent::Agent;
use super::blob::Blob;
use super::chance::Chance;
use super::defect::Defect;
use super::destination::{Destination, Manner, Verb};
use super::disk::{Journal, Proof};
use super::inspect::Seen;
use super::names::{MOST, Names, PLACES};
use super::scenario::{Happening, PEACE_MS, Scenario, acts};
use super::source::{Act, Source};
use super::worker::{Next, Trip};

/// Steps of one run; a quiet one takes some hundreds.
const MOST_STEPS: u32 = 20_000;
/// How long after the last fault all has to be done.
const LONGEST_MS: u64 = PEACE_MS + 1_800_000;
/// The agent's monotonic clock is this far when a run begins.
const EPOCH_MS: u64 = 1 << 40;

/// The agent dies here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crash;

/// All that there is.
#[derive(Debug, Clone)]
pub(super) struct World<'a> {
    pub(super) names: &'a Names,
    pub(super) scenario: Scenario,
    pub(super) chance: Chance,
    pub(super) now_ms: u64,
    pub(super) source: Source,
    pub(super) destination: Destination,
    pub(super) journal: Journal,
    pub(super) receipts: Vec<Proof>,
    /// What was about to be published.
    pub(super) claims: Vec<Proof>,
    /// Shells that were used so far.
    pub(super) shells: u32,
    /// What an idle shell of this connection said of the folder when it was started.
    pub(super) idle: Option<(u32, bool)>,
    /// What is wrong, once something is.
    pub(super) wrong: Option<String>,
    /// What stood under the final names when they were last looked at.
    pub(super) seen: [Option<Seen>; PLACES],
    /// When somebody else last touched a final name.
    pub(super) touched_ms: [Option<u64>; PLACES],
    /// Whether a name of its own beside the other may be needed.
    pub(super) may_double: [bool; MOST],
    pub(super) story: Option<Vec<String>>,
    /// Crash points passed until the agent dies.
    fuse: Option<u32>,
    crashes: u32,
    wall_offset_ms: i64,
    longest_ms: u64,
    writers: [(u64, Vec<(u32, Act)>); MOST],
    script: Vec<(u64, Happening)>,
    server_back_ms: u64,
    late: Vec<(u64, ShipmentId, u32, Verb)>,
}

enum Actor {
    Writer(usize),
    Script,
    Late(usize),
    Worker(usize),
    Agent,
}

impl<'a> World<'a> {
    pub(super) fn new(names: &'a Names, seed: u64, defect: Option<Defect>) -> Self {
        let mut chance = Chance::new(seed);
        let scenario = Scenario::draw(&mut chance, defect);
        let source = Source::new(scenario.leases);
        let destination = Destination::new(scenario.links, defect);
        let mut script = scenario.script(&mut chance);
        script.reverse();
        let mut world = Self {
            names,
            source,
            destination,
            script,
            journal: Journal::default(),
            receipts: Vec::new(),
            claims: Vec::new(),
            idle: None,
            shells: 0,
            now_ms: 0,
            wrong: None,
            seen: [None; PLACES],
            touched_ms: [None; PLACES],
            may_double: [false; MOST],
            story: None,
            fuse: None,
            crashes: scenario.crashes,
            longest_ms: LONGEST_MS,
            wall_offset_ms: 1_700_000_000_000,
            writers: Default::default(),
            server_back_ms: 0,
            late: Vec::new(),
            chance,
            scenario,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for name in 0..self.scenario.files {
            let len = self.chance.pick(&[0, 10, 30, 100]);
            let wall = self.wall_ms();
            if !self.chance.one_in(4) {
                self.source.act(name, Act::Replace(len), wall);
            }
            let mut plan = acts(&mut self.chance);
            plan.reverse();
            let wait = plan.last().map_or(0, |(wait, _)| u64::from(*wait));
            self.writers[name] = (wait, plan);
            // An earlier agent, whose state is lost, delivered it.
            if let Some(blob) = self.source.first_version(name)
                && self.chance.one_in(8)
            {
                self.destination.put(name, Some(blob));
                self.may_double[name] = true;
            }
        }
        self.inspect();
        self.light();
    }

    /// Runs until nothing is left to do.
    pub(super) fn run(&mut self) -> Option<Agent> {
        let mut agent = self.boot();
        let mut steps = 0;
        while steps < MOST_STEPS && self.now_ms < self.longest_ms {
            steps += 1;
            if self.is_quiet(&agent) {
                return Some(agent);
            }
            let stepped = self.step(&mut agent);
            self.inspect();
            if self.wrong.is_some() {
                return None;
            }
            if stepped.and_then(|()| self.fuse()).is_err() {
                self.crash(&agent, false);
                agent = self.boot();
            }
        }
        self.wrong = Some(format!("it does not come to an end: {steps} steps, {} ms", self.now_ms));
        None
    }

    fn is_quiet(&self, agent: &Agent) -> bool {
        self.now_ms > PEACE_MS && agent.idle_scans >= 2 && agent.is_idle() && self.late.is_empty()
    }

    fn boot(&mut self) -> Agent {
        loop {
            if self.scenario.delete {
                let wall = self.wall_ms();
                (0..MOST).for_each(|name| self.source.put_back(name, wall));
            }
            let opening = self.journal.open(self.names);
            match Agent::start(self, opening) {
                Ok(agent) => return agent,
                Err(Crash) => self.cut_journal(),
            }
        }
    }

    fn crash(&mut self, agent: &Agent, power: bool) {
        self.tell(|| format!("the agent dies, power {power}"));
        for worker in &agent.workers {
            if let Some(verb) = worker.verb_under_way(self.names) {
                self.maybe_later(&worker.id, worker.shell, verb);
            }
        }
        self.destination.session += 1;
        self.cut_journal();
        if power {
            self.source.power_cut(self.now_ms, &mut self.chance);
        }
        if self.scenario.loses_state {
            self.tell(|| "the state folder is lost".to_owned());
            self.journal.cut(0);
            if self.chance.one_in(2) {
                self.receipts.clear();
                self.claims.clear();
                self.may_double = [true; MOST];
            }
        }
        self.now_ms += u64::from(self.chance.below(2000));
    }

    fn cut_journal(&mut self) {
        let unsynced = self.journal.len() - self.journal.synced();
        let kept = self.journal.synced() + self.chance.index(unsynced + 1);
        self.journal.cut(kept);
        self.light();
    }

    /// The agent is to die after so many crash points.
    fn light(&mut self) {
        self.fuse = None;
        if self.crashes > 0 && self.now_ms < PEACE_MS {
            self.crashes -= 1;
            let most = self.chance.pick(&[10, 40, 150]);
            self.fuse = Some(self.chance.below(most));
        }
    }

    /// A point at which a crash may come.
    pub(super) fn fuse(&mut self) -> Result<(), Crash> {
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => Err(Crash),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn next(&self, agent: &mut Agent) -> (u64, Actor) {
        let mut next = (agent.due_ms(self), Actor::Agent);
        let mut offer = |at, actor| {
            if at < next.0 {
                next = (at, actor);
            }
        };
        for (number, worker) in agent.workers.iter().enumerate() {
            offer(worker.due_ms, Actor::Worker(number));
        }
        for (name, (at, acts)) in self.writers.iter().enumerate() {
            if !acts.is_empty() {
                offer(*at, Actor::Writer(name));
            }
        }
        for (number, (at, ..)) in self.late.iter().enumerate() {
            offer(*at, Actor::Late(number));
        }
        if let Some((at, _)) = self.script.last() {
            offer(*at, Actor::Script);
        }
        next
    }

    fn step(&mut self, agent: &mut Agent) -> Result<(), Crash> {
        let (at, actor) = self.next(agent);
        self.now_ms = self.now_ms.max(at);
        match actor {
            Actor::Agent => return agent.step(self),
            Actor::Worker(number) => return self.step_worker(agent, number),
            Actor::Writer(name) => self.write(agent, name),
            Actor::Late(number) => {
                let (_, id, shell, verb) = self.late.swap_remove(number);
                self.tell(|| format!("late {id} {verb:?}"));
                self.destination.perform(&id, shell, &verb, Manner::Late);
            }
            Actor::Script => {
                let Some((_, happening)) = self.script.pop() else { return Ok(()) };
                self.happen(agent, happening);
            }
        }
        Ok(())
    }

    fn step_worker(&mut self, agent: &mut Agent, number: usize) -> Result<(), Crash> {
        match agent.workers[number].step(self) {
            Next::Again => {
                let slow = self.chance.one_in(self.scenario.slow_in);
                let wait = self.chance.wait(if slow { 10_000 } else { 30 });
                let worker = &mut agent.workers[number];
                worker.due_ms = self.now_ms + u64::try_from(wait.as_millis()).expect("it is short");
                Ok(())
            }
            Next::Report(event) => {
                let worker = agent.workers.swap_remove(number);
                self.tell(|| format!("report {} {event:?}", worker.id));
                agent.report(self, &worker.id, event)
            }
        }
    }

    fn write(&mut self, agent: &mut Agent, name: usize) {
        let wall = self.wall_ms();
        let (at, plan) = &mut self.writers[name];
        let Some((_, act)) = plan.pop() else { return };
        *at = plan.last().map_or(0, |(wait, _)| self.now_ms + u64::from(*wait));
        self.source.act(name, act, wall);
        self.tell(|| format!("writer {name} {act:?}"));
        if !self.chance.one_in(self.scenario.event_lost_in) {
            agent.wake(name, self.now_ms);
        }
    }

    fn happen(&mut self, agent: &mut Agent, happening: Happening) {
        self.tell(|| format!("{happening:?}"));
        match happening {
            Happening::ServerPowerCut(for_ms) => {
                // What was under way there is over.
                self.late.clear();
                self.destination.power_cut(&mut self.chance);
                self.server_back_ms = self.now_ms + u64::from(for_ms);
                self.forget_seen();
            }
            Happening::ServerFull(full) => self.destination.full = full,
            Happening::AgentPowerCut => {
                self.crash(agent, true);
                *agent = self.boot();
            }
            Happening::ClockJump(by_ms) => self.wall_offset_ms += by_ms,
            Happening::Foreign(name) => {
                let blob = Blob::new(self.source.stream(), 1 + self.chance.below(60));
                self.may_double[name] = true;
                // Only where nothing stands: who overwrites ours takes it away from us, which isn't ours to prevent.
                if self.destination.at(name).is_none() {
                    self.foreign(name, Some(blob));
                }
            }
            Happening::Consumed(name) => self.foreign(name, None),
        }
    }

    fn foreign(&mut self, place: usize, blob: Option<Blob>) {
        self.destination.put(place, blob);
        self.touched_ms[place] = Some(self.now_ms);
        self.seen[place] = None;
    }

    /// One round trip on a connection.
    pub(super) fn trip(&mut self, session: u32) -> Trip {
        if session != self.destination.session || self.now_ms < self.server_back_ms {
            return Trip::Cut;
        }
        if !self.fault(1) {
            return Trip::Fine;
        }
        // A cut takes all channels of a connection with it, a stalled one itself alone.
        if self.chance.one_in(2) {
            self.destination.session += 1;
        }
        if self.chance.one_in(2) { Trip::Cut } else { Trip::Unheard }
    }

    /// Whether a fault strikes, once in `rarer` of all.
    pub(super) fn fault(&mut self, rarer: u32) -> bool {
        self.now_ms < PEACE_MS && self.chance.one_in(self.scenario.fault_in * rarer)
    }

    /// A verb whose sender has gone may be done all the same, later.
    pub(super) fn maybe_later(&mut self, id: &ShipmentId, shell: u32, verb: Verb) {
        if self.scenario.late_verbs && self.chance.one_in(2) && self.now_ms < PEACE_MS {
            let wait = u64::from(self.chance.below(10_000));
            self.late.push((self.now_ms + wait, id.clone(), shell, verb));
        }
    }

    /// What the agent takes for the time.
    pub(super) fn now(&self) -> Moment {
        let skew = if self.scenario.defect == Some(Defect::ReadsWallClock) { self.wall_skew() } else { 0 };
        Moment::since_start(Duration::from_millis((EPOCH_MS + self.now_ms).saturating_add_signed(skew)))
    }

    /// When that is on this world's clock.
    pub(super) fn ms(&self, moment: Moment) -> u64 {
        let skew = if self.scenario.defect == Some(Defect::ReadsWallClock) { self.wall_skew() } else { 0 };
        let since = moment.since(Moment::since_start(Duration::from_millis(EPOCH_MS)));
        // Rounded up: a timer never rings early.
        u64::try_from(since.as_nanos().div_ceil(1_000_000))
            .expect("runs are short")
            .saturating_add_signed(-skew)
    }

    const fn wall_skew(&self) -> i64 {
        self.wall_offset_ms - 1_700_000_000_000
    }

    /// What the wall clock says.
    pub(super) fn wall_ms(&self) -> i64 {
        self.wall_offset_ms + i64::try_from(self.now_ms).expect("runs are short")
    }

    /// Whether a receipt or a claim says that we brought this under that name.
    pub(super) fn delivered_before(&self, place: usize, blob: Blob) -> bool {
        let proof = Proof { place, blob };
        self.receipts.contains(&proof) || self.claims.contains(&proof)
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = self.now_ms;
        if let Some(story) = &mut self.story {
            story.push(format!("{now:>7} {}", what()));
        }
    }

    /// The same world, as a restart from another journal finds it.
    pub(super) fn again_from(&self, kept: usize) -> Self {
        let mut again = self.clone();
        again.journal.cut(kept);
        again.fuse = None;
        again.longest_ms = self.now_ms + LONGEST_MS;
        again
    }
}
