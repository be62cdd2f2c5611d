//! Figures for Prometheus and all that read its text format 0.0.4, or `OpenMetrics` 1.0.
//!
//! Two dozen families need no library: a name, a type, a line of help, and values.

use std::fmt::Write as _;

use crate::status::snapshot::{Destination, DestinationState, Snapshot, Watch};
use crate::status::{BUCKETS, Status};

/// How the figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own.
    Plain,
    /// The same, made a standard: counters are named without their ending where they are described.
    OpenMetrics,
}

impl Format {
    /// What is best understood by who sends this `Accept` header.
    pub fn for_who_accepts(header: &str) -> Self {
        if header.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    /// The type of [`text`].
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One kind of figure.
#[derive(Debug, Clone)]
pub struct Family {
    /// Its name; a counter's ends in `_total`.
    pub name: &'static str,
    /// What it is to who reads it.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// What may happen to a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, while the agent runs.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bounds, a count and a sum.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A value of a figure.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What follows its family's name; for histograms.
    pub ending: &'static str,
    /// What it is of.
    pub labels: Vec<(&'static str, String)>,
    /// It.
    pub value: f64,
}

/// All figures, written for a scraper.
pub fn text(snapshot: &Snapshot, status: &Status, format: Format) -> String {
    let mut text = String::new();
    for Family { name, kind, help, samples } in families(snapshot, status) {
        let described = match format {
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Format::Plain => name,
        };
        let _ = write!(text, "# HELP {described} {help}\n# TYPE {described} {}\n", kind.name());
        for Sample { ending, labels, value } in samples {
            let labels: Vec<_> =
                labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{ending}{labels} {value}");
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

/// All figures.
pub fn families(snapshot: &Snapshot, status: &Status) -> Vec<Family> {
    let totals = &snapshot.totals;
    let version = vec![("version", snapshot.skiff.clone())];
    let build = Sample { ending: "", labels: version, value: 1.0 };
    let mut all = vec![
        family("skiff_build_info", Kind::Gauge, "The version that runs.", vec![build]),
        one(
            "skiff_start_time_seconds",
            Kind::Gauge,
            "When the agent was started, in seconds since 1970.",
            seconds(snapshot.started_ms),
        ),
        one("skiff_sent_bytes_total", Kind::Counter, "Bytes sent.", number(totals.sent_bytes)),
        one(
            "skiff_resent_bytes_total",
            Kind::Counter,
            "Bytes sent that had been sent before, after a cut or a failure.",
            number(totals.resent_bytes),
        ),
        one(
            "skiff_standing_files_total",
            Kind::Counter,
            "Delivered files whose content stood at the destination already.",
            number(totals.standing_files),
        ),
        one(
            "skiff_expired_files_total",
            Kind::Counter,
            "Delivered files that were deleted later, to make room.",
            number(Status::get(&status.expired_files)),
        ),
        one(
            "skiff_lost_files_total",
            Kind::Counter,
            "Files deleted undelivered, as the configuration allows when the disk is full.",
            number(Status::get(&status.lost_files)),
        ),
    ];
    all.extend(watches(snapshot));
    all.extend(destinations(snapshot));
    let failures = snapshot.failures.iter().map(|(class, count)| sample("class", class, number(*count)));
    all.push(family(
        "skiff_failures_total",
        Kind::Counter,
        "Failures by their stable code.",
        failures.collect(),
    ));
    all.push(digest_times(status));
    all.push(one(
        "skiff_journal_bytes",
        Kind::Gauge,
        "What the journal takes on disk.",
        number(snapshot.journal_bytes),
    ));
    all
}

fn watches(snapshot: &Snapshot) -> Vec<Family> {
    type Of = fn(&Watch, u64) -> f64;
    let families: [(&str, Kind, &str, Of); 11] = [
        ("skiff_found_files_total", Kind::Counter, "Settled files that were taken on.", |watch, _| {
            number(watch.found_files)
        }),
        ("skiff_delivered_files_total", Kind::Counter, "Files delivered and verified.", |watch, _| {
            number(watch.delivered_files)
        }),
        (
            "skiff_delivered_bytes_total",
            Kind::Counter,
            "Bytes of the files that were delivered and verified.",
            |watch, _| number(watch.delivered_bytes),
        ),
        (
            "skiff_backlog_items",
            Kind::Gauge,
            "Files found and not yet delivered, logs that have more among them; at least so many.",
            |watch, _| number(watch.pending.items),
        ),
        ("skiff_backlog_bytes", Kind::Gauge, "Their bytes.", |watch, _| number(watch.pending.bytes)),
        (
            "skiff_oldest_pending_age_seconds",
            Kind::Gauge,
            "Since when the oldest of them waits, or nothing came of a log; 0: none does.",
            |watch, now| watch.pending.oldest_ms.map_or(0.0, |since| seconds(now.saturating_sub(since))),
        ),
        (
            "skiff_waiting_items",
            Kind::Gauge,
            "Files that failed and are tried again by themselves.",
            |watch, _| number(watch.held.waiting),
        ),
        ("skiff_quarantined_items", Kind::Gauge, "Files that failed and wait for somebody.", |watch, _| {
            number(watch.held.quarantined)
        }),
        (
            "skiff_last_success_timestamp_seconds",
            Kind::Gauge,
            "When a file, or more of a log, was delivered last; 0: none yet.",
            |watch, _| watch.last_delivery_ms.map_or(0.0, seconds),
        ),
        ("skiff_watch_paused", Kind::Gauge, "1: somebody paused it.", |watch, _| {
            f64::from(u8::from(watch.paused))
        }),
        ("skiff_watch_folder_present", Kind::Gauge, "0: its folder can't be watched.", |watch, _| {
            f64::from(u8::from(watch.trouble.is_none()))
        }),
    ];
    let of = |(name, kind, help, value): (&'static str, Kind, &'static str, Of)| {
        let samples = snapshot.watches.iter();
        let samples = samples.map(|watch| sample("watch", &watch.name, value(watch, snapshot.time_ms)));
        family(name, kind, help, samples.collect())
    };
    families.into_iter().map(of).collect()
}

fn destinations(snapshot: &Snapshot) -> Vec<Family> {
    type Of = fn(&Destination) -> f64;
    let families: [(&str, &str, Of); 4] = [
        (
            "skiff_destination_connected",
            "1: there is a connection. Idle destinations have none.",
            |destination| f64::from(u8::from(destination.state == DestinationState::Connected)),
        ),
        ("skiff_destination_failures", "Failures in a row; 0: it works.", |destination| {
            f64::from(destination.failures)
        }),
        ("skiff_destination_in_flight", "Shipments on their way.", |destination| number(destination.running)),
        ("skiff_destination_queued", "Shipments that wait for their turn.", |destination| {
            number(destination.queued)
        }),
    ];
    let of = |(name, help, value): (&'static str, &'static str, Of)| {
        let samples = snapshot.destinations.iter();
        let samples = samples.map(|destination| sample("destination", &destination.name, value(destination)));
        family(name, Kind::Gauge, help, samples.collect())
    };
    let states = snapshot.destinations.iter().flat_map(|destination| {
        DestinationState::ALL.map(|state| Sample {
            ending: "",
            labels: vec![("destination", destination.name.clone()), ("state", state.name().to_owned())],
            value: f64::from(u8::from(destination.state == state)),
        })
    });
    let help = "How it stands: 1 for the state that it is in.";
    let states = family("skiff_destination_state", Kind::Gauge, help, states.collect());
    families.into_iter().map(of).chain([states]).collect()
}

fn digest_times(status: &Status) -> Family {
    let mut so_far = 0;
    let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    let buckets = bounds.zip(status.digest_times.counts()).map(|(bound, count)| {
        so_far += count;
        Sample { ending: "_bucket", labels: vec![("le", bound)], value: number(so_far) }
    });
    let mut samples: Vec<_> = buckets.collect();
    let total = status.digest_times.total().as_secs_f64();
    samples.extend([("_sum", total), ("_count", number(so_far))].map(|(ending, value)| Sample {
        ending,
        labels: Vec::new(),
        value,
    }));
    family(
        "skiff_digest_seconds",
        Kind::Histogram,
        "What the destination took to read back what was sent, a shipment.",
        samples,
    )
}

fn one(name: &'static str, kind: Kind, help: &'static str, value: f64) -> Family {
    family(name, kind, help, vec![Sample { ending: "", labels: Vec::new(), value }])
}

fn family(name: &'static str, kind: Kind, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, kind, help, samples }
}

fn sample(label: &'static str, of: &str, value: f64) -> Sample {
    Sample { ending: "", labels: vec![(label, of.to_owned())], value }
}

#[expect(clippy::cast_precision_loss, reason = "whole up to 2^53, which Prometheus keeps as well")]
fn number(count: u64) -> f64 {
    count as f64
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
    use crate::status::snapshot::Source;
    use crate::status::snapshot::tests::watch;

    fn snapshot() -> Snapshot {
        Snapshot { time_ms: 1_790_000_060_000, watches: vec![watch()], ..Snapshot::empty(Source::Agent) }
    }

    #[test]
    fn figures_stand_under_their_names() {
        let status = Status::default();
        status.digest_times.observe(Duration::from_millis(10));
        status.failed("login-refused");
        let mut snapshot = snapshot();
        snapshot.failures = status.failures_by_code();
        let text = text(&snapshot, &status, Format::Plain);
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
    fn open_metrics_describes_counters_without_their_ending_and_has_an_end() {
        let text = text(
            &snapshot(),
            &Status::default(),
            Format::for_who_accepts("application/openmetrics-text;q=0.5"),
        );
        assert!(text.contains("# TYPE skiff_sent_bytes counter\nskiff_sent_bytes_total 0\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(Format::for_who_accepts("text/plain, */*"), Format::Plain);
    }

    /// What the rules and the dashboard ask for is there.
    #[test]
    fn alerts_and_dashboard_name_figures_that_there_are() {
        let text = text(&snapshot(), &Status::default(), Format::Plain);
        let files = [
            include_str!("../../packaging/monitoring/alerts.yml"),
            include_str!("../../packaging/monitoring/grafana.json"),
            include_str!("../../packaging/monitoring/README.md"),
        ];
        for file in files {
            let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let names = file.split(|c| !in_name(c)).filter(|word| word.starts_with("skiff_"));
            for name in names {
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                assert!(text.contains(&format!("# TYPE {name} ")), "{name}");
            }
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\\\"b\nc"), r#"a\\\"b\nc"#);
    }
}
