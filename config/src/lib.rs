//! What skiff is told to do: typed settings, read once and checked as a whole.
//!
//! Owns the file format, its defaults (`default.toml` is embedded and *is* the default) and the rules that a configuration
//! has to keep. It promises that [`Settings`] hold together: every watch names a destination that exists, every pattern
//! compiles, no watch would deliver its own moved files again or delete what another one still needs. Whatever is wrong is
//! reported at once, as [`Problems`], each with its line and what to do about it.
//!
//! It lacks every secret (only paths to them pass through here) and every look at the watched world: whether a folder
//! exists or a server answers is for `skiff check` to find out.
//!
//! [`address`] takes apart what people write, here and on the command line.

pub mod address;
mod environment;
mod globs;
mod load;
mod problem;
mod raw;
mod read;
mod schema;
mod settings;
mod show;
mod value;

pub use environment::Environment;
pub use globs::{PatternError, WatchGlobs};
pub use load::{load, parse};
pub use problem::{Problem, Problems, code};
pub use settings::{
    AfterDelivery, Agent, Allowance, Compression, Control, Destination, Duplicates, EmptyFolders, Hidden,
    Jump, KeepFree, Log, LogFormat, LogLevel, ManifestFile, Mode, OnConflict, Order, Owner, Part,
    PathTemplate, PauseWhen, ReceiptFiles, Retain, Route, Settings, SshConfig, Symlinks, Taken, TimeZone,
    Transport, Watch, WhenFull, Window,
};

pub use show::quoted;

/// A JSON Schema of the configuration.
pub fn schema() -> String {
    schema::schema()
}

/// Every setting with its default and an explanation; ends with an example that only needs its `#` removed.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");
