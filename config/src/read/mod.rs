//! What the keys mean: from a tree of values to settings.
//!
//! `default.toml` is read by the same code as every other file; what it says is the base that all else is laid over.

mod control;
mod destination;
mod receipts;
mod rules;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::raw::{self, Context, Place, Places, Section, Table};
use crate::settings::{Control, Destination, Log, LogFormat, LogLevel, ReceiptFiles, Settings, Watch};
use crate::value::{choice, local_path, rate};
use crate::{DEFAULT_TOML, Environment};

/// What holds where a configuration says nothing.
pub(crate) struct Base {
    pub(crate) state_dir: PathBuf,
    pub(crate) bandwidth: Option<u64>,
    pub(crate) log: Log,
    pub(crate) control: Control,
    pub(crate) receipts: ReceiptFiles,
    pub(crate) destination: Destination,
    pub(crate) watch: Watch,
}

impl Base {
    /// What `default.toml` says. A `~` that is not known in `environment` is left out.
    pub(crate) fn embedded(environment: &Environment) -> Self {
        let file = Path::new("default.toml");
        let context = Context::new(file, environment);
        let table =
            raw::parse(DEFAULT_TOML, &Arc::from(file)).expect("default.toml is TOML, a test reads it");
        let mut root = Section::new(&context, "", Place { file: Arc::from(file), line: None }, table);
        Self::blank().overlaid(&mut root)
    }

    /// This, with what `root` says about defaults.
    fn overlaid(&self, root: &mut Section<'_>) -> Self {
        let state_dir = root.get("state_dir", &self.state_dir, local_path);
        let bandwidth = root.get("bandwidth", &self.bandwidth, rate);
        let mut log = root.table("log");
        let format = log.get("format", &self.log.format, choice);
        let level = log.get("level", &self.log.level, choice);
        log.finish();
        let mut section = root.table("control");
        let control = control::overlaid(&self.control, &mut section);
        section.finish();
        let mut section = root.table("receipts");
        let receipts = receipts::overlaid(&self.receipts, &mut section);
        section.finish();
        let mut defaults = root.table("defaults");
        let mut section = defaults.table("destination");
        let destination = destination::overlaid(&self.destination, &mut section);
        section.finish();
        let mut section = defaults.table("watch");
        let watch = watch::overlaid(&self.watch, &mut section);
        rules::one_watch(&watch, &section.finish(), root.context());
        defaults.finish();
        let log = Log { format, level };
        Self { state_dir, bandwidth, log, control, receipts, destination, watch }
    }

    fn blank() -> Self {
        Self {
            state_dir: PathBuf::new(),
            bandwidth: Some(1),
            log: Log { format: LogFormat::Json, level: LogLevel::Trace },
            control: Control::default(),
            receipts: receipts::BLANK,
            destination: Destination::blank(),
            watch: Watch::blank(),
        }
    }
}

/// A watch, and where its keys stand.
struct Placed {
    watch: Watch,
    places: Places,
}

/// Reads the settings. Problems go to the context; the result only counts if there are none. `is_complete` is false if a
/// file could not be read: what seems to be missing then may well stand there.
pub(crate) fn settings(table: Table, file: &Arc<Path>, is_complete: bool, context: &Context<'_>) -> Settings {
    let mut root = Section::new(context, "", Place { file: Arc::clone(file), line: None }, table);
    let base = Base::embedded(context.environment).overlaid(&mut root);
    let destinations = root.tables("destination").into_iter();
    let destinations: Vec<_> =
        destinations.map(|(name, section)| destination::read(name, &base.destination, section)).collect();
    let watches = root.entries("watch").into_iter();
    let watches: Vec<_> = watches.map(|section| watch::read(&base.watch, section, context)).collect();
    let places = root.finish();
    if is_complete {
        rules::destinations_exist(&watches, &destinations, context);
        rules::empty_folders_have_a_place(&watches, &destinations, context);
        rules::logs_have_one_name(&watches, &destinations, context);
        rules::logs_have_a_shell(&watches, &destinations, context);
        rules::something_is_watched(&watches, &places, context);
    }
    rules::names_differ(&watches, context);
    rules::folders_stay_apart(&watches, context);
    rules::state_is_apart(&base.state_dir, &watches, context);
    let watches = watches.into_iter().map(|placed| placed.watch).collect();
    let Base { state_dir, bandwidth, log, control, receipts, .. } = base;
    Settings { state_dir, bandwidth, log, control, receipts, destinations, watches }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code;
    use crate::load::tests::environment;

    /// What blank settings would be mistaken for, if a key were missing in `default.toml`.
    #[test]
    fn default_toml_sets_every_key() {
        let file: Arc<Path> = Arc::from(Path::new("default.toml"));
        let table = raw::parse(DEFAULT_TOML, &file).expect("default.toml is TOML");
        let environment = environment();
        let context = Context::new(&file, &environment);
        let mut root = Section::new(&context, "", Place { file: Arc::clone(&file), line: None }, table);
        let mut defaults = root.table("defaults");
        let mut destination = defaults.table("destination");
        destination::overlaid(&Destination::blank(), &mut destination);
        let mut watch = defaults.table("watch");
        watch::overlaid(&Watch::blank(), &mut watch);
        let mut log = root.table("log");
        log.get("format", &LogFormat::Auto, choice);
        log.get("level", &LogLevel::Info, choice);
        let mut control = root.table("control");
        control::overlaid(&Control::default(), &mut control);
        let mut files = root.table("receipts");
        receipts::overlaid(&receipts::BLANK, &mut files);
        root.get("state_dir", &PathBuf::new(), local_path);
        root.get("bandwidth", &None, rate);
        for section in [root, defaults, destination, watch, log, control, files] {
            assert_eq!(section.unset(), Vec::<&str>::new());
            section.finish();
        }
        assert_eq!(context.finish(), Ok(()));
    }

    #[test]
    fn default_toml_as_a_file_of_its_own_only_lacks_something_to_watch() {
        let problems = crate::parse(DEFAULT_TOML, Path::new("skiff.toml"), &environment())
            .expect_err("nothing is watched");
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code::NOTHING_TO_WATCH]);
    }
}
