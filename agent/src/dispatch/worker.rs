//! Does one command of one shipment and reports one event.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::Value;
use skiff_common::delivery::manifest::ManifestStyle;
use skiff_common::delivery::record::Delivered;
use skiff_common::delivery::{Command, Disposal, Event, Placement, Receipt, Stood, Trouble};
use skiff_common::fault::Classify as _;
use skiff_common::{Digest, Fault, ItemId, RelPath, RemotePath, Shipment, Stamp};
use skiff_config::ManifestFile;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tracing::Instrument as _;

use super::Failure;
use super::manifest::{self, ManifestError};
use crate::admission::Admission;
use crate::context::WatchContext;
use crate::finish::{self, After};
use crate::hooks;
use crate::journal::Journal;
use crate::receipts::{Earlier, Receipts};
use crate::remote::{Conflicts, RemoteError};
use crate::route;
use crate::ship;
use crate::source::Root;
use crate::status::{Progress, counting};

/// A worker's report.
pub(super) struct Report {
    /// For the desk.
    pub(super) event: Event,
    /// Where the destination failed.
    pub(super) failure: Option<Failure>,
    /// Whether it was cut off, as its destination rests, which is no failure.
    pub(super) cut: bool,
}

impl Report {
    /// Why it failed, as one word; `None`: it has not.
    pub(super) fn code(&self) -> Option<&'static str> {
        let failed = matches!(self.event, Event::Failed { .. }) && !self.cut;
        failed.then(|| self.failure.as_ref().map_or("local", |failure| failure.code))
    }
}

/// What a worker needs.
pub(super) struct Work {
    pub(super) context: Arc<WatchContext>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) journal: Option<Journal>,
    pub(super) admission: Arc<Admission>,
    pub(super) shipment: Shipment,
}

/// Waits for `work`, unless it is cut off before: then it goes on later where it was, as after a lost connection.
pub(super) async fn until_cut(work: impl Future<Output = Report>, cut: Option<Arc<Notify>>) -> Report {
    let Some(cut) = cut else { return work.await };
    tokio::select! {
        biased;
        report = work => report,
        () = cut.notified() => {
            Report { cut: true, ..local_failure("cut off, as its destination is paused".to_owned()) }
        }
    }
}

/// How long a watched folder may take to be opened before that is told.
const LATE: Duration = Duration::from_secs(30);

/// Waits for what only the watched folder's file system can hold up. Those who ask how things stand are told, since others
/// that deliver to the same destination may wait for it, too.
pub(super) async fn told_if_late<T>(context: &WatchContext, opened: impl Future<Output = T>) -> T {
    let late = async {
        tokio::time::sleep(LATE).await;
        let path = context.settings.path.display();
        let why = "it does not answer, so what is to be read from it keeps its place at its destination";
        tracing::warn!(watch = %context.settings.name, %path, "the watched folder: {why}");
        context.failed(&path, why);
        std::future::pending().await
    };
    tokio::select! {
        biased;
        opened = opened => opened,
        never = late => never,
    }
}

/// Tells who traces how `work` ends.
pub(super) async fn traced(span: tracing::Span, work: impl Future<Output = Report>) -> Report {
    let report = work.instrument(span.clone()).await;
    if let Some(code) = report.code() {
        span.record("otel.status_code", "error");
        span.record("error.type", code);
    }
    report
}

impl Work {
    /// Does `command`.
    pub(super) async fn run(self, command: Command) -> Report {
        // On a file system that hangs, none of the runtime's own threads is to hang. The shipment does, in its place at the
        // destination.
        let context = Arc::clone(&self.context);
        let root = told_if_late(&self.context, spawn_blocking(move || context.root())).await;
        let Some(root) = root.expect("opening doesn't panic and isn't aborted") else {
            return local_failure("the watched folder isn't there".to_owned());
        };
        match command {
            Command::Stage { survey } => self.stage(&root, survey).await,
            Command::Publish(placements) => self.publish(&placements).await,
            Command::Finish(receipts) => Box::pin(self.finish(root, receipts)).await,
        }
    }

    async fn stage(&self, root: &Root, survey: bool) -> Report {
        let context = &self.context;
        let place = context.place(&self.shipment.destination);
        let outward = place.naming.outward(&self.shipment, root);
        if let Some(shipment) =
            outward.shipment.as_ref().filter(|of| place.remote.wants_to_know(&place.root, of))
        {
            let stood = self.delivered_lately(&shipment.destination).await;
            place.remote.knows(&place.root, stood);
        }
        let staged = match &outward.shipment {
            Some(shipment) => {
                let also_sha256 = context.settings.manifest == ManifestFile::Sha256sum;
                let staged = Box::pin(place.remote.stage(&place.root, &outward.source, shipment, survey));
                ship::also_sha256(also_sha256, staged).await
            }
            None => Ok(Vec::new()),
        };
        match staged {
            Ok(staged) => report(Event::Staged(outward.whole(&self.shipment, staged))),
            Err(error) => failure(&error, &place.root),
        }
    }

    /// What this watch delivered to the destination, by the receipts.
    async fn delivered_lately(&self, destination: &str) -> Vec<Stood> {
        // Each is a few KiB in memory while it is looked at.
        const MOST: usize = 1024;
        let receipts = Arc::clone(&self.receipts);
        let recent = spawn_blocking(move || receipts.recent(MOST)).await;
        let recent = recent.expect("reading doesn't panic and isn't aborted").unwrap_or_default();
        let watch = route::base(&self.shipment.watch);
        let of_it = |receipt: &&Value| receipt["destination"] == *destination && receipt["watch"] == *watch;
        recent.iter().filter(of_it).filter_map(crate::receipts::stood).collect()
    }

    /// What is published is claimed before: if nobody hears that it is there, it still counts as ours later.
    async fn publish(&self, placements: &[Placement]) -> Report {
        let context = &self.context;
        let place = context.place(&self.shipment.destination);
        let placements = Arc::new(place.naming.placed(placements));
        if let Err(error) = self.claim(Arc::clone(&placements)).await {
            return local_failure(format!("cannot write the claims: {error}"));
        }
        let (destination, watch) = (&self.shipment.destination, route::base(&self.shipment.watch));
        let names = placements.iter().map(|placement| placement.item.path.clone());
        let earlier = Arc::new(Mutex::new(self.receipts.earlier(destination, watch, names)));
        let ours_before = |name: &RelPath, digest: &Digest| {
            delivered_before(Arc::clone(&earlier), name.clone(), *digest).boxed()
        };
        let conflicts = Conflicts { policy: context.on_conflict, ours_before: &ours_before };
        let placed = place.remote.publish(&place.root, &self.shipment, &placements, &conflicts).await;
        placed.map_or_else(|error| failure(&error, &place.root), |placed| report(Event::Published(placed)))
    }

    async fn claim(&self, placements: Arc<Vec<Placement>>) -> std::io::Result<()> {
        let receipts = Arc::clone(&self.receipts);
        let destination = self.shipment.destination.clone();
        let watch = route::base(&self.shipment.watch).to_owned();
        let written = spawn_blocking(move || receipts.claim(&watch, &destination, &placements)).await;
        written.expect("claiming doesn't panic and isn't aborted")
    }

    async fn finish(self, root: Root, receipts: Vec<Receipt>) -> Report {
        match self.write_manifest(&receipts).await {
            Ok(()) => {}
            Err(ManifestError::Remote(error)) => {
                return failure(&error, &self.context.place(&self.shipment.destination).root);
            }
            Err(error) => return local_failure(error.to_string()),
        }
        let work = Arc::new(self);
        let here = Arc::clone(&work).finish_here(root, receipts);
        // What is published needs no staging, whatever becomes of the receipts.
        let place = work.context.place(&work.shipment.destination);
        let there = place.remote.discard(&place.root, &work.shipment);
        let (disposals, discarded) = tokio::join!(here, there);
        if let Err(error) = discarded {
            tracing::debug!(shipment = %work.shipment.id, %error, "staging is left behind; it is cleared later");
        }
        match disposals {
            Ok(disposals) => report(Event::Finished(disposals)),
            Err(error) => local_failure(format!("cannot write the receipts: {error}")),
        }
    }

    async fn write_manifest(&self, receipts: &[Receipt]) -> Result<(), ManifestError> {
        let style = match self.context.settings.manifest {
            ManifestFile::Off => return Ok(()),
            ManifestFile::Sha256sum => ManifestStyle::Sha256sum,
            ManifestFile::B3sum => ManifestStyle::B3sum,
        };
        let place = self.context.place(&self.shipment.destination);
        // What is sent for it is none of the shipment's own bytes.
        let delivering = Box::pin(manifest::deliver(place, &self.shipment, receipts, style));
        counting(Progress::default(), delivering).await
    }

    /// The receipt is durable, and told, before its source goes.
    async fn finish_here(
        self: Arc<Self>,
        root: Root,
        receipts: Vec<Receipt>,
    ) -> std::io::Result<Vec<Disposal>> {
        // Of thousands of files, one copy is enough.
        let receipts = Arc::new(receipts);
        let (own, written) = (Arc::clone(&self), Arc::clone(&receipts));
        let written = spawn_blocking(move || own.write_receipts(&written)).await;
        written.expect("writing doesn't panic and isn't aborted")?;
        self.run_hook(&receipts).await;
        let disposals = spawn_blocking(move || self.dispose(&root, &receipts)).await;
        Ok(disposals.expect("disposing doesn't panic and isn't aborted"))
    }

    fn write_receipts(&self, receipts: &[Receipt]) -> std::io::Result<()> {
        let (destination, watch) = (&self.shipment.destination, route::base(&self.shipment.watch));
        self.receipts.append(watch, destination, receipts)?;
        let place = self.context.place(destination);
        place.remote.delivered(&place.root, receipts);
        Ok(())
    }

    async fn run_hook(&self, receipts: &[Receipt]) {
        let settings = &self.context.settings;
        if settings.on_delivery.is_empty() || receipts.is_empty() {
            return;
        }
        let (destination, watch) = (&self.shipment.destination, route::base(&self.shipment.watch));
        let input = crate::receipts::lines(watch, destination, receipts);
        if let Err(error) = hooks::run(&settings.on_delivery, input, settings.hook_timeout).await {
            tracing::warn!(%watch, shipment = %self.shipment.id, "delivered, but its command failed: {error}");
        }
    }

    /// Only after the receipt is durable.
    fn dispose(&self, root: &Root, receipts: &[Receipt]) -> Vec<Disposal> {
        if self.context.after == After::Keep {
            return vec![Disposal::Kept; receipts.len()];
        }
        let complete = self.context.muster.arrived(&self.context.settings, receipts, self.journal.as_ref());
        match complete {
            Ok(complete) => {
                let each = receipts.iter().zip(complete);
                let disposals = each.map(|(receipt, complete)| self.dispose_of(root, receipt, complete));
                let disposals: Vec<_> = disposals.collect();
                finish::tidy(root);
                if disposals.iter().any(|disposal| matches!(disposal, Disposal::Left(_))) {
                    self.context.tell_aside(root);
                }
                disposals
            }
            Err(error) => {
                let left = Trouble::retryable(format!("cannot tell whether the others have it: {error}"));
                vec![Disposal::Left(left); receipts.len()]
            }
        }
    }

    /// What another destination still has to get stays; who delivers it there last disposes of it.
    fn dispose_of(&self, root: &Root, receipt: &Receipt, complete: bool) -> Disposal {
        if !complete {
            return Disposal::Kept;
        }
        let marker = self.context.settings.settle_marker.as_deref();
        match finish::dispose(root, receipt, &self.context.after, marker) {
            Disposal::PutBack { stamp, trouble, .. } => {
                let others = self.of_others(receipt, stamp);
                // Their scanners have been told already that it came back.
                for other in &others {
                    self.admission.restamp(other.item, other.stamp);
                }
                Disposal::PutBack { stamp, others, trouble }
            }
            disposal => disposal,
        }
    }

    /// What the other legs, all of which have it, have delivered, now that it has another stamp.
    fn of_others(&self, receipt: &Receipt, stamp: Stamp) -> Vec<Delivered> {
        let path = &receipt.item().path;
        let delivered = route::others(&self.context.settings).into_iter().map(|leg| Delivered {
            folder: ItemId::of_folder(&leg, path.folder().as_ref()),
            item: ItemId::of(&leg, path),
            stamp: stamp.fingerprint(),
            digest: receipt.digests().blake3,
        });
        delivered.collect()
    }
}

/// Asked of each file that was rewritten here: all of a shipment share what was read of the receipts.
async fn delivered_before(earlier: Arc<Mutex<Earlier>>, name: RelPath, digest: Digest) -> bool {
    let mut earlier = earlier.lock_owned().await;
    let known = spawn_blocking(move || earlier.had(&name, &digest)).await;
    known.expect("reading doesn't panic and isn't aborted").unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the receipts, so the file at the destination counts as foreign");
        false
    })
}

fn report(event: Event) -> Report {
    Report { event, failure: None, cut: false }
}

fn failure(error: &RemoteError, root: &RemotePath) -> Report {
    let failure = Failure { code: error.code(), what: error.to_string(), hint: error.hint_in(root) };
    let event =
        Event::Failed { fault: error.fault(), destination: error.is_destination(), reason: failure.reason() };
    Report { event, failure: Some(failure), cut: false }
}

fn local_failure(reason: String) -> Report {
    report(Event::Failed { fault: Fault::Retryable, destination: false, reason })
}
