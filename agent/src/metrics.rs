//! Figures for Prometheus, in its text format 0.0.4.
//!
//! A dozen families need no library: a name, a type, a line of help, and values.

use std::fmt::{Display, Write as _};

use crate::status::snapshot::{DestinationState, Snapshot, Watch};
use crate::status::{BUCKETS, Status};

/// The type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures.
pub fn text(snapshot: &Snapshot, status: &Status) -> String {
    let mut page = Page(String::new());
    let totals = &snapshot.totals;
    page.one("skiff_build_info", "gauge", "The version that runs.", &[("version", &snapshot.skiff)], 1);
    page.one(
        "skiff_start_time_seconds",
        "gauge",
        "When the agent was started, in seconds since 1970.",
        &[],
        seconds(snapshot.started_ms),
    );
    page.one("skiff_sent_bytes_total", "counter", "Bytes sent.", &[], totals.sent_bytes);
    page.one(
        "skiff_resent_bytes_total",
        "counter",
        "Bytes sent that had been sent before, after a cut or a failure.",
        &[],
        totals.resent_bytes,
    );
    page.one(
        "skiff_standing_files_total",
        "counter",
        "Delivered files whose content stood at the destination already.",
        &[],
        totals.standing_files,
    );
    page.one(
        "skiff_expired_files_total",
        "counter",
        "Delivered files that were deleted later, to make room.",
        &[],
        Status::get(&status.expired_files),
    );
    page.one(
        "skiff_lost_files_total",
        "counter",
        "Files deleted undelivered, as the configuration allows when the disk is full.",
        &[],
        Status::get(&status.lost_files),
    );
    watches(&mut page, snapshot);
    destinations(&mut page, snapshot);
    page.family("skiff_failures_total", "counter", "Failures by their stable code.");
    for (class, count) in &snapshot.failures {
        page.value("skiff_failures_total", &[("class", class)], count);
    }
    digest_times(&mut page, status);
    page.one("skiff_journal_bytes", "gauge", "What the journal takes on disk.", &[], snapshot.journal_bytes);
    page.0
}

fn watches(page: &mut Page, snapshot: &Snapshot) {
    page.by_watch(
        snapshot,
        ("skiff_found_files_total", "counter", "Settled files that were taken on."),
        |watch| watch.found_files,
    );
    page.by_watch(
        snapshot,
        ("skiff_delivered_files_total", "counter", "Files delivered and verified."),
        |watch| watch.delivered_files,
    );
    page.by_watch(
        snapshot,
        ("skiff_delivered_bytes_total", "counter", "Bytes of the files that were delivered and verified."),
        |watch| watch.delivered_bytes,
    );
    page.by_watch(
        snapshot,
        ("skiff_backlog_items", "gauge", "Files found and not yet delivered; at least so many."),
        |watch| watch.pending.items,
    );
    page.by_watch(snapshot, ("skiff_backlog_bytes", "gauge", "Their bytes."), |watch| watch.pending.bytes);
    page.by_watch(
        snapshot,
        ("skiff_oldest_pending_age_seconds", "gauge", "Since when the oldest of them waits; 0: none does."),
        |watch| watch.pending.oldest_ms.map_or(0.0, |since| seconds(snapshot.time_ms.saturating_sub(since))),
    );
    page.by_watch(
        snapshot,
        ("skiff_waiting_items", "gauge", "Files that failed and are tried again by themselves."),
        |watch| watch.held.waiting,
    );
    page.by_watch(
        snapshot,
        ("skiff_quarantined_items", "gauge", "Files that failed and wait for somebody."),
        |watch| watch.held.quarantined,
    );
    page.by_watch(
        snapshot,
        ("skiff_last_success_timestamp_seconds", "gauge", "When a file was delivered last; 0: none yet."),
        |watch| watch.last_delivery_ms.map_or(0.0, seconds),
    );
    page.by_watch(snapshot, ("skiff_watch_paused", "gauge", "1: somebody paused it."), |watch| {
        u8::from(watch.paused)
    });
    page.by_watch(
        snapshot,
        ("skiff_watch_folder_present", "gauge", "0: its folder can't be watched."),
        |watch| u8::from(watch.trouble.is_none()),
    );
}

fn destinations(page: &mut Page, snapshot: &Snapshot) {
    let families = [
        ("skiff_destination_connected", "1: there is a connection. Idle destinations have none."),
        ("skiff_destination_failures", "Failures in a row; 0: it works."),
        ("skiff_destination_in_flight", "Shipments on their way."),
        ("skiff_destination_queued", "Shipments that wait for their turn."),
    ];
    for (at, (name, help)) in families.into_iter().enumerate() {
        page.family(name, "gauge", help);
        for destination in &snapshot.destinations {
            let values = [
                u64::from(destination.state == DestinationState::Connected),
                u64::from(destination.failures),
                destination.running,
                destination.queued,
            ];
            page.value(name, &[("destination", &destination.name)], values[at]);
        }
    }
}

fn digest_times(page: &mut Page, status: &Status) {
    const NAME: &str = "skiff_digest_seconds";
    page.family(NAME, "histogram", "What the destination took to read back what was sent, a shipment.");
    let (bucket, mut so_far) = (format!("{NAME}_bucket"), 0);
    let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(status.digest_times.counts()) {
        so_far += count;
        page.value(&bucket, &[("le", &bound)], so_far);
    }
    page.value(&format!("{NAME}_sum"), &[], status.digest_times.total().as_secs_f64());
    page.value(&format!("{NAME}_count"), &[], so_far);
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, labels: &[(&str, &str)], value: impl Display) {
        self.family(name, kind, help);
        self.value(name, labels, value);
    }

    fn by_watch<V: Display>(
        &mut self,
        snapshot: &Snapshot,
        (name, kind, help): (&str, &str, &str),
        value: impl Fn(&Watch) -> V,
    ) {
        self.family(name, kind, help);
        for watch in &snapshot.watches {
            self.value(name, &[("watch", &watch.name)], value(watch));
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::snapshot::{Held, Pending, Source};

    fn snapshot() -> Snapshot {
        let watch = Watch {
            name: "sensors".to_owned(),
            path: "/w".to_owned(),
            to: "collector".to_owned(),
            paused: false,
            trouble: None,
            found_files: 7,
            delivered_files: 3,
            delivered_bytes: 3000,
            last_delivery_ms: Some(1_790_000_000_500),
            pending: Pending { items: 4, bytes: 4000, oldest_ms: Some(1_790_000_000_000), more: false },
            held: Held { waiting: 1, quarantined: 2 },
        };
        Snapshot { time_ms: 1_790_000_060_000, watches: vec![watch], ..Snapshot::empty(Source::Agent) }
    }

    #[test]
    fn figures_stand_under_their_names() {
        let status = Status::default();
        status.digest_times.observe(Duration::from_millis(10));
        status.failed("login-refused");
        let mut snapshot = snapshot();
        snapshot.failures = status.failures_by_code();
        let text = text(&snapshot, &status);
        for line in [
            "skiff_delivered_files_total{watch=\"sensors\"} 3",
            "skiff_oldest_pending_age_seconds{watch=\"sensors\"} 60",
            "skiff_last_success_timestamp_seconds{watch=\"sensors\"} 1790000000.5",
            "skiff_failures_total{class=\"login-refused\"} 1",
            "skiff_digest_seconds_bucket{le=\"0.005\"} 0",
            "skiff_digest_seconds_bucket{le=\"0.02\"} 1",
            "skiff_digest_seconds_bucket{le=\"+Inf\"} 1",
            "skiff_digest_seconds_count 1",
            "# TYPE skiff_backlog_bytes gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\\\"b\nc"), r#"a\\\"b\nc"#);
    }
}
