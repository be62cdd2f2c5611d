//! What the agent is doing at one moment, as `skiff status --json` and `GET /v1/status` tell it.
//!
//! The JSON is stable: within a version keys are added, never renamed, and none changes its meaning. Points in time are
//! milliseconds since 1970 and end in `_ms`, as lengths of time do that are named so; sizes are bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_common::{ItemId, RelPath};

/// The version of the JSON.
pub const VERSION: u32 = 1;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of this object.
    pub version: u32,
    /// The version of skiff.
    pub skiff: String,
    /// Who tells it.
    pub source: Source,
    /// The agent's process; of the journal: 0.
    pub pid: u32,
    /// When this was so.
    pub time_ms: u64,
    /// When the agent was started; of the journal: 0.
    pub started_ms: u64,
    /// Counts since then.
    pub totals: Totals,
    /// Found and not yet delivered.
    pub pending: Pending,
    /// Files that failed.
    pub held: Held,
    /// How fast it goes.
    pub throughput: Throughput,
    /// The destinations, by name.
    pub destinations: Vec<Destination>,
    /// The watches, in the order of the configuration.
    pub watches: Vec<Watch>,
    /// Shipments that are being sent, verified or published; at most 64 of them.
    pub on_its_way: Vec<OnItsWay>,
    /// What went wrong last, the latest first; at most 20.
    pub problems: Vec<Problem>,
    /// What has failed how often, by stable code.
    pub failures: BTreeMap<String, u64>,
    /// What the journal takes on disk.
    pub journal_bytes: u64,
}

/// Who tells a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A running agent.
    Agent,
    /// The journal; no agent is running.
    Journal,
}

/// Counts since the start of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Settled files that were taken on.
    pub found_files: u64,
    /// Their bytes.
    pub found_bytes: u64,
    /// Files delivered and verified.
    pub delivered_files: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Files of these that stood at the destination already.
    pub standing_files: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Bytes of these that had been sent before.
    pub resent_bytes: u64,
    /// Failures of whole shipments.
    pub failures: u64,
    /// When something was delivered last.
    pub last_delivery_ms: Option<u64>,
}

/// Found and not yet delivered, what logs that grow have more included. While a backlog is larger than what the agent takes on at
/// once, a watch is paused or nobody has seen yet how long a log is, more lies in the folders than is counted here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Files.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest was last changed or moved into its folder; since when nothing came of a log that has more.
    pub oldest_ms: Option<u64>,
    /// Whether more lies in the folders than is counted here.
    pub more: bool,
}

/// Files that failed for reasons of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Files that are tried again by themselves.
    pub waiting: u64,
    /// Files that wait for somebody: `skiff retry`.
    pub quarantined: u64,
}

/// How fast it goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Delivered bytes a second, over the last ten.
    pub bytes_per_second: f64,
    /// Delivered files a second, over the last ten.
    pub files_per_second: f64,
    /// Sent bytes a second, over the last ten.
    pub sent_bytes_per_second: f64,
    /// Sent bytes in each of the last seconds, the oldest first; at most 60.
    pub seconds: Vec<u64>,
    /// How long what is pending takes at the larger of these rates.
    pub drain_seconds: Option<u64>,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Where it is: `user@host:port`.
    pub address: String,
    /// How it stands.
    pub state: DestinationState,
    /// When it is tried again, while it is in trouble.
    pub retry_at_ms: Option<u64>,
    /// Its failures in a row.
    pub failures: u32,
    /// Shipments on their way to it.
    pub running: u64,
    /// Shipments that wait for their turn.
    pub queued: u64,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// What went wrong last.
    pub last_error: Option<LastError>,
}

/// How a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// There is no connection, as there is nothing to send.
    Idle,
    /// A connection is being made.
    Connecting,
    /// There is a connection.
    Connected,
    /// It is in trouble, and is tried again later.
    Waiting,
    /// Nothing is sent, by its schedule or because something says that the link costs.
    Paused,
}

impl DestinationState {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Idle, Self::Connecting, Self::Connected, Self::Waiting, Self::Paused];

    /// As the JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
        }
    }
}

/// What went wrong last with a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// A stable word.
    pub code: String,
    /// What it was, and what to do.
    pub message: String,
    /// When.
    pub at_ms: u64,
}

/// A watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: String,
    /// The destination's name.
    pub to: String,
    /// Whether somebody paused it.
    pub paused: bool,
    /// What is wrong with its folder.
    pub trouble: Option<String>,
    /// Whether a file system that was mounted at its folder is missing there.
    #[serde(default)]
    pub unmounted: bool,
    /// Files found since the start.
    pub found_files: u64,
    /// Files delivered since the start.
    pub delivered_files: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// When something of it was delivered last.
    pub last_delivery_ms: Option<u64>,
    /// Found and not yet delivered.
    pub pending: Pending,
    /// Files that failed.
    pub held: Held,
    /// Files that are still written to.
    #[serde(default)]
    pub settling: Settling,
}

/// Files that have been written to, or held open for writing, for more than a minute: nothing of them is pending yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// Files.
    pub files: u64,
    /// Since when the oldest is waited for.
    pub since_ms: Option<u64>,
}

/// A shipment on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnItsWay {
    /// Its name.
    pub shipment: String,
    /// The watch's name.
    pub watch: String,
    /// The destination's name.
    pub destination: String,
    /// The path of its first file.
    pub first: String,
    /// How many files it has.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were sent of it so far, at most [`bytes`](Self::bytes).
    pub sent_bytes: u64,
    /// What is being done: `sending`, `publishing` or `finishing`.
    pub step: String,
    /// Since when it is on its way.
    pub since_ms: u64,
    /// Sent bytes a second since then.
    pub bytes_per_second: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// When.
    pub at_ms: u64,
    /// The watch's name; empty where it is none of a watch: a destination failed as a whole, the state folder is full.
    pub watch: String,
    /// The file, the log that grows, the destination, or what else is in the way.
    pub what: String,
    /// Why, and what to do.
    pub reason: String,
    /// Whether the file waits for somebody.
    pub quarantined: bool,
}

/// An item, as `skiff items` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// 32 hexadecimal digits; the same for all versions of a file.
    pub item: String,
    /// The watch's name.
    pub watch: String,
    /// Its path below the watched folder.
    pub path: String,
    /// How it stands.
    pub state: ItemState,
    /// Its size, where it is known.
    pub bytes: Option<u64>,
    /// Failed attempts.
    pub attempts: u32,
    /// Why it isn't delivered.
    pub reason: Option<String>,
    /// When it was delivered, as RFC 3339.
    pub delivered: Option<String>,
    /// Its digest, as `algorithm:hex`.
    pub digest: Option<String>,
    /// Of a log that grows: how many of its first bytes are delivered.
    #[serde(default)]
    pub delivered_bytes: Option<u64>,
}

impl Item {
    /// One that isn't delivered and has not failed.
    pub(crate) fn at(watch: &str, path: &RelPath, bytes: u64, state: ItemState) -> Self {
        Self {
            item: ItemId::of(watch, path).to_string(),
            watch: watch.to_owned(),
            path: path.to_string(),
            state,
            bytes: Some(bytes),
            attempts: 0,
            reason: None,
            delivered: None,
            digest: None,
            delivered_bytes: None,
        }
    }
}

/// How an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It is being sent, verified or published.
    OnItsWay,
    /// It waits for its turn.
    Pending,
    /// It failed and is tried again by itself.
    Waiting,
    /// It failed and waits for somebody.
    Quarantined,
    /// It is delivered.
    Delivered,
    /// A log that is delivered while it grows.
    Growing,
    /// It has been written to, or held open for writing, for more than a minute.
    Settling,
}

impl Snapshot {
    /// Of an agent that does nothing yet.
    pub fn empty(source: Source) -> Self {
        Self {
            version: VERSION,
            skiff: env!("CARGO_PKG_VERSION").to_owned(),
            source,
            pid: 0,
            time_ms: super::wall_ms(),
            started_ms: 0,
            totals: Totals::default(),
            pending: Pending::default(),
            held: Held::default(),
            throughput: Throughput::default(),
            destinations: Vec::new(),
            watches: Vec::new(),
            on_its_way: Vec::new(),
            problems: Vec::new(),
            failures: BTreeMap::new(),
            journal_bytes: 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::documented::assert_documented;

    /// One that has delivered and failed.
    pub(crate) fn watch() -> Watch {
        Watch {
            name: "sensors".to_owned(),
            path: "/w".to_owned(),
            to: "collector".to_owned(),
            paused: false,
            trouble: None,
            unmounted: false,
            found_files: 7,
            delivered_files: 3,
            delivered_bytes: 3000,
            last_delivery_ms: Some(1_790_000_000_500),
            pending: Pending { items: 4, bytes: 4000, oldest_ms: Some(1_790_000_000_000), more: false },
            held: Held { waiting: 1, quarantined: 2 },
            settling: Settling::default(),
        }
    }

    /// With something in each list.
    fn full() -> Snapshot {
        let some = Some(1);
        let text = String::new;
        let destination = Destination {
            name: text(),
            address: text(),
            state: DestinationState::Paused,
            retry_at_ms: some,
            failures: 0,
            running: 0,
            queued: 0,
            paused: Some(text()),
            last_error: Some(LastError { code: text(), message: text(), at_ms: 0 }),
        };
        let watch =
            Watch { trouble: Some(text()), settling: Settling { files: 0, since_ms: some }, ..watch() };
        let on_its_way = OnItsWay {
            shipment: text(),
            watch: text(),
            destination: text(),
            first: text(),
            files: 0,
            bytes: 0,
            sent_bytes: 0,
            step: text(),
            since_ms: 0,
            bytes_per_second: 0,
        };
        let problem = Problem { at_ms: 0, watch: text(), what: text(), reason: text(), quarantined: false };
        Snapshot {
            throughput: Throughput { seconds: vec![0], ..Throughput::default() },
            pending: watch.pending.clone(),
            destinations: vec![destination],
            watches: vec![watch],
            on_its_way: vec![on_its_way],
            problems: vec![problem],
            failures: BTreeMap::from([("CODE".to_owned(), 0)]),
            ..Snapshot::empty(Source::Agent)
        }
    }

    #[test]
    fn every_key_is_documented() {
        let value = serde_json::to_value(full()).expect("JSON");
        assert_documented("skiff status --json", &value);
        let item = Item {
            item: String::new(),
            watch: String::new(),
            path: String::new(),
            state: ItemState::Delivered,
            bytes: None,
            attempts: 0,
            reason: None,
            delivered: None,
            digest: None,
            delivered_bytes: None,
        };
        assert_documented("skiff items --json", &serde_json::to_value([item]).expect("JSON"));
    }

    #[test]
    fn states_are_named_alike_everywhere() {
        for state in DestinationState::ALL {
            assert_eq!(serde_json::to_value(state).expect("JSON"), state.name());
        }
    }
}
