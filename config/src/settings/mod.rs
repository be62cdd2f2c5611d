//! What skiff is told to do, in types that only hold what makes sense.

mod control;
mod destination;
mod log;
mod receipts;
mod retain;
mod taken;
mod template;
mod watch;
mod window;

use std::path::PathBuf;

pub use control::Control;
pub use destination::{
    Agent, Compression, Destination, Duplicates, Jump, KeepFree, Owner, SshConfig, TimeZone, Transport,
};
pub use log::{Log, LogFormat, LogLevel};
pub use receipts::ReceiptFiles;
pub use retain::{Retain, WhenFull};
pub use taken::{EmptyFolders, Hidden, Symlinks, Taken};
pub use template::{Part, PathTemplate};
pub use watch::{AfterDelivery, ManifestFile, Mode, OnConflict, Order, Route, Watch};
pub use window::{Allowance, PauseWhen, Window};

/// A whole configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder where skiff keeps its journal. Absolute.
    pub state_dir: PathBuf,
    /// The most to send to all destinations together, in bits a second.
    pub bandwidth: Option<u64>,
    /// What is logged, and how.
    pub log: Log,
    /// Who may ask a running agent what it does.
    pub control: Control,
    /// When receipts are set aside, and how many of them are kept.
    pub receipts: ReceiptFiles,
    /// The destinations, sorted by name.
    pub destinations: Vec<Destination>,
    /// The watches, in the order they were written.
    pub watches: Vec<Watch>,
}

impl Settings {
    /// The destination called `name`.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.iter().find(|destination| destination.name == name)
    }

    /// The watch called `name`.
    pub fn watch(&self, name: &str) -> Option<&Watch> {
        self.watches.iter().find(|watch| watch.name == name)
    }
}
