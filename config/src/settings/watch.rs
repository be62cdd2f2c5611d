//! What is watched, and the rules for what appears there.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::Environment;
use crate::globs::{PatternError, WatchGlobs};
use crate::read::Base;
use crate::settings::{EmptyFolders, Hidden, PathTemplate, Retain, Symlinks, Taken, WhenFull};
use crate::value::Choice;

/// A watched folder and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What it is called: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The watched folder. Absolute; need not exist yet.
    pub path: PathBuf,
    /// The name of the destination; of several, the first.
    pub to: String,
    /// How several destinations share its files.
    pub route: Route,
    /// Patterns of what is delivered.
    pub include: Vec<String>,
    /// Patterns of what is not.
    pub exclude: Vec<String>,
    /// Which files of those are taken.
    pub taken: Taken,
    /// What becomes of folders that hold nothing.
    pub empty_folders: EmptyFolders,
    /// What symlinks stand for.
    pub symlinks: Symlinks,
    /// Whether files are delivered when they are complete, or while they grow.
    pub mode: Mode,
    /// How long what a file grew by waits at most, of files that are delivered while they grow.
    pub flush_interval: Duration,
    /// How long a file has to hold still before it counts as complete.
    pub settle: Duration,
    /// If `.done`, `a.csv` counts as complete once `a.csv.done` stands beside it.
    pub settle_marker: Option<String>,
    /// What becomes of a file that was delivered.
    pub after_delivery: AfterDelivery,
    /// How much of what was delivered and stays is kept.
    pub retain: Retain,
    /// How full the disk of the folder may be, in percent, before delivered files go.
    pub high_water: Option<u8>,
    /// What goes when no delivered files are left.
    pub when_full: WhenFull,
    /// Which of the files that wait goes first.
    pub order: Order,
    /// Patterns of files that go before others; those of an earlier one before those of a later one.
    pub first: Vec<String>,
    /// Files up to this many bytes travel in batches.
    pub small_file: u64,
    /// The most bytes in a batch; at least [`small_file`](Self::small_file).
    pub batch_bytes: u64,
    /// The most files in a batch.
    pub batch_items: NonZeroUsize,
    /// How long a batch waits for more files.
    pub batch_wait: Duration,
    /// How often the whole folder is read again, whatever events said.
    pub rescan: Duration,
    /// What to do about a foreign file that already has the name.
    pub on_conflict: OnConflict,
    /// The pause after the first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// The longest pause between attempts; at least [`retry_first`](Self::retry_first).
    pub retry_max: Duration,
    /// After how many attempts a file is quarantined; `None` is never.
    pub retry_attempts: Option<u32>,
    /// A command and its arguments, to be run after a delivery; the command is an absolute path. Empty: none.
    pub on_delivery: Vec<String>,
    /// The same for an item that is quarantined.
    pub on_quarantine: Vec<String>,
    /// How long such a command may take.
    pub hook_timeout: Duration,
    /// Whether each shipment leaves a manifest at the destination.
    pub manifest: ManifestFile,
    /// A folder below the destination's path, relative, without `..`; empty: none.
    pub destination_path: PathTemplate,
}

impl Watch {
    /// A watch with the defaults of `default.toml`. Nothing is checked.
    pub fn with_defaults(name: impl Into<String>, path: impl Into<PathBuf>, to: impl Into<String>) -> Self {
        let base = Base::embedded(&Environment::default()).watch;
        Self { name: name.into(), path: path.into(), to: to.into(), ..base }
    }

    /// Its patterns, compiled. Never fails for a watch that was loaded.
    pub fn globs(&self) -> Result<WatchGlobs, PatternError> {
        WatchGlobs::new(&self.include, &self.exclude)
    }

    /// The names of all its destinations.
    pub fn destinations(&self) -> &[String] {
        match &self.route {
            Route::One => std::slice::from_ref(&self.to),
            Route::All(names) | Route::Failover(names) | Route::Spread(names) => names,
        }
    }

    /// Its classes, compiled, the first one first. Never fails for a watch that was loaded.
    pub fn classes(&self) -> Result<Vec<WatchGlobs>, PatternError> {
        self.first.iter().map(|pattern| WatchGlobs::new(std::slice::from_ref(pattern), &[])).collect()
    }

    /// Whether files leave the folder, when they are delivered or later.
    pub fn removes(&self) -> bool {
        self.after_delivery != AfterDelivery::Keep || self.makes_room()
    }

    /// Whether files that were delivered and stayed are deleted later.
    pub fn makes_room(&self) -> bool {
        self.retain.is_limited() || self.high_water.is_some()
    }

    /// Without any defaults: what `default.toml` is read into.
    pub(crate) fn blank() -> Self {
        Self {
            name: String::new(),
            path: PathBuf::new(),
            to: String::new(),
            route: Route::One,
            include: Vec::new(),
            exclude: Vec::new(),
            taken: Taken {
                hidden: Hidden::Skip,
                max_depth: Some(0),
                min_size: 1,
                max_size: Some(1),
                min_age: Duration::MAX,
                max_age: Some(Duration::ZERO),
                ignore_file: None,
            },
            empty_folders: EmptyFolders::Deliver,
            symlinks: Symlinks::FollowInside,
            mode: Mode::Append,
            flush_interval: Duration::ZERO,
            settle: Duration::ZERO,
            settle_marker: None,
            after_delivery: AfterDelivery::Keep,
            retain: Retain::default(),
            high_water: Some(1),
            when_full: WhenFull::DeleteUndelivered,
            order: Order::Newest,
            first: Vec::new(),
            small_file: 0,
            batch_bytes: 0,
            batch_items: NonZeroUsize::MIN,
            batch_wait: Duration::ZERO,
            rescan: Duration::ZERO,
            on_conflict: OnConflict::Park,
            retry_first: Duration::ZERO,
            retry_max: Duration::ZERO,
            retry_attempts: Some(1),
            on_delivery: Vec::new(),
            on_quarantine: Vec::new(),
            hook_timeout: Duration::ZERO,
            manifest: ManifestFile::B3sum,
            destination_path: PathTemplate::default(),
        }
    }
}

/// When a file is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When it is complete, each version whole.
    Whole,
    /// While it grows.
    Append,
}

impl Choice for Mode {
    const NAMES: &'static [(&'static str, Self)] = &[("whole", Self::Whole), ("append", Self::Append)];
}

/// How several destinations share the files of a watch; each list names two or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// There is just one.
    One,
    /// Each gets all files.
    All(Vec<String>),
    /// The first that works gets them.
    Failover(Vec<String>),
    /// One of them gets all; which one follows from the machine and the watch.
    Spread(Vec<String>),
}

/// What becomes of a file that was delivered and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterDelivery {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
    /// It is moved below this absolute folder, under its relative path.
    Move(PathBuf),
}

/// Which of the files that wait goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one that was found first.
    Found,
    /// The one whose content is oldest.
    Oldest,
    /// The one whose content is newest.
    Newest,
    /// The smallest.
    Smallest,
}

impl Choice for Order {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("found", Self::Found),
        ("oldest", Self::Oldest),
        ("newest", Self::Newest),
        ("smallest", Self::Smallest),
    ];
}

/// A manifest at the destination of what a shipment delivered, and which tool accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestFile {
    /// There is none.
    Off,
    /// `sha256sum -c`.
    Sha256sum,
    /// `b3sum -c`.
    B3sum,
}

impl Choice for ManifestFile {
    const NAMES: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("sha256sum", Self::Sha256sum), ("b3sum", Self::B3sum)];
}

/// What to do about a foreign file that already has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Deliver under a second name beside it.
    KeepBoth,
    /// Overwrite it.
    Replace,
    /// Leave the item waiting and say so.
    Park,
}

impl Choice for OnConflict {
    const NAMES: &'static [(&'static str, Self)] =
        &[("keep_both", Self::KeepBoth), ("replace", Self::Replace), ("park", Self::Park)];
}
