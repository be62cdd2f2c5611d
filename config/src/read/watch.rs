//! The keys of `[[watch]]` and of `[defaults.watch]`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{Placed, rules};
use crate::globs::WatchGlobs;
use crate::problem::{Complaint, code};
use crate::raw::{Context, Given, Node, Section};
use crate::settings::{AfterDelivery, Route, Taken, Watch};
use crate::value::{
    check_command, choice, count, count_up_to, duration, local_path, mark, name, remote_sub_folder, retain,
    size, word,
};

const DAY: Duration = Duration::from_secs(86_400);
const AGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400 * 36_500);
/// A pause shorter than this would be a busy loop.
const BREATH: Duration = Duration::from_millis(10);
const SETTLE: RangeInclusive<Duration> = Duration::ZERO..=DAY;
const FLUSH: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(3600);
const BATCH_WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const RESCAN: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
const RETRY: RangeInclusive<Duration> = BREATH..=DAY;
/// A delivery waits for its command, so that isn't for ever.
const HOOK: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// As many as somebody may mean; which of them have a file is kept in the bits of one number.
const MOST_DESTINATIONS: usize = 64;
/// A batch is sent again as a whole when it fails, and stands in one tar.
const BATCH_BYTES: RangeInclusive<u64> = 1..=1 << 30;

/// `base`, with what `section` says.
pub(super) fn overlaid(base: &Watch, section: &mut Section<'_>) -> Watch {
    Watch {
        include: include(&base.include, section),
        exclude: section.list("exclude", &base.exclude, pattern),
        taken: taken(&base.taken, section),
        empty_folders: section.get("empty_folders", &base.empty_folders, choice),
        symlinks: section.get("symlinks", &base.symlinks, choice),
        mode: section.get("mode", &base.mode, choice),
        flush_interval: section.get("flush_interval", &base.flush_interval, duration(FLUSH)),
        settle: section.get("settle", &base.settle, duration(SETTLE)),
        settle_marker: section.get("settle_marker", &base.settle_marker, settle_marker),
        after_delivery: section.get("after_delivery", &base.after_delivery, after_delivery),
        retain: section.get("retain", &base.retain, retain),
        high_water: section.get("high_water", &base.high_water, mark),
        when_full: section.get("when_full", &base.when_full, choice),
        order: section.get("order", &base.order, choice),
        first: section.list("first", &base.first, pattern),
        small_file: section.get("small_file", &base.small_file, size(0..=*BATCH_BYTES.end())),
        batch_bytes: section.get("batch_bytes", &base.batch_bytes, size(BATCH_BYTES)),
        batch_items: section.get("batch_items", &base.batch_items, count_up_to(100_000)),
        batch_wait: section.get("batch_wait", &base.batch_wait, duration(BATCH_WAIT)),
        rescan: section.get("rescan", &base.rescan, duration(RESCAN)),
        on_conflict: section.get("on_conflict", &base.on_conflict, choice),
        retry_first: section.get("retry_first", &base.retry_first, duration(RETRY)),
        retry_max: section.get("retry_max", &base.retry_max, duration(RETRY)),
        retry_attempts: section.get("retry_attempts", &base.retry_attempts, retry_attempts),
        on_delivery: command("on_delivery", &base.on_delivery, section),
        on_quarantine: command("on_quarantine", &base.on_quarantine, section),
        hook_timeout: section.get("hook_timeout", &base.hook_timeout, duration(HOOK)),
        manifest: section.get("manifest", &base.manifest, choice),
        destination_path: section.get("destination_path", &base.destination_path, remote_sub_folder),
        ..base.clone()
    }
}

/// Which files are taken; 0 is no limit.
fn taken(base: &Taken, section: &mut Section<'_>) -> Taken {
    Taken {
        hidden: section.get("hidden", &base.hidden, choice),
        max_depth: section.get("max_depth", &base.max_depth, max_depth),
        min_size: section.get("min_size", &base.min_size, size(0..=u64::MAX)),
        max_size: section.get("max_size", &base.max_size, |given| size(0..=u64::MAX)(given).map(limit)),
        min_age: section.get("min_age", &base.min_age, duration(AGE)),
        max_age: section.get("max_age", &base.max_age, |given| duration(AGE)(given).map(limit)),
        ignore_file: section.get("ignore_file", &base.ignore_file, ignore_file),
    }
}

fn limit<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

/// -1, which no depth is, means any.
fn max_depth(given: Given<'_>) -> Result<Option<u32>, Complaint> {
    if given.number() == Some(-1) { Ok(None) } else { count(0..=10_000)(given).map(Some) }
}

/// A command and its arguments. No shell reads it, so it is found by its path alone.
fn command(key: &'static str, base: &[String], section: &mut Section<'_>) -> Vec<String> {
    let words = section.list(key, base, word);
    if let Err(complaint) = check_command(&words) {
        section.report_at(key, complaint);
    }
    words
}

/// One watch, and where its keys stand.
pub(super) fn read(base: &Watch, mut section: Section<'_>, context: &Context<'_>) -> Placed {
    let name = section.need("name", r#"add a line such as name = "sensors""#, name);
    if let Some(name) = &name {
        section.rename(&format!("watch.{name}"));
    }
    let path = section.need("path", r#"add a line such as path = "/var/spool/sensors""#, local_path);
    let route = route(&mut section);
    let rules = overlaid(base, &mut section);
    let (name, path) = (name.unwrap_or_default(), path.unwrap_or_default());
    let (to, route) = route;
    let watch = Watch { name, path, to, route, ..rules };
    let places = section.finish();
    rules::one_watch(&watch, &places, context);
    Placed { watch, places }
}

/// The first destination, and how several share the files. One of the three keys has to be there.
fn route(section: &mut Section<'_>) -> (String, Route) {
    let count_before = section.context().count();
    let keys = ["to", "failover", "spread"];
    let lists = keys.map(|key| (key, section.list(key, &[], name_of_destination)));
    let mut given = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let Some((key, names)) = given.next() else {
        if section.context().count() == count_before {
            let missing = Complaint::new(code::MISSING_KEY, "\"to\" is missing");
            section.report(missing.suggest("name the destination that it delivers to"));
        }
        return (String::new(), Route::One);
    };
    if let Some((other, _)) = given.next() {
        let both = Complaint::new(code::BAD_CHOICE, format!("stands beside {key:?}"));
        section.report_at(other, both.suggest(format!("keep one of them: {ROUTES}")));
    }
    if let Some(twice) =
        names.iter().enumerate().find_map(|(nth, name)| names[..nth].contains(name).then_some(name))
    {
        section.report_at(key, Complaint::new(code::BAD_CHOICE, format!("names {twice:?} twice")));
    }
    if names.len() > MOST_DESTINATIONS {
        let many = format!("names {} destinations, but {MOST_DESTINATIONS} is the most", names.len());
        section.report_at(key, Complaint::new(code::BAD_CHOICE, many));
    }
    let first = names[0].clone();
    match (key, names.len()) {
        (_, 1) => (first, Route::One),
        ("failover", _) => (first, Route::Failover(names)),
        ("spread", _) => (first, Route::Spread(names)),
        (_, _) => (first, Route::All(names)),
    }
}

const ROUTES: &str =
    r#""to" delivers to all that it names, "failover" to the first that works, "spread" to one"#;

fn include(base: &[String], section: &mut Section<'_>) -> Vec<String> {
    let count_before = section.context().count();
    let include = section.list("include", base, pattern);
    if include.is_empty() && !base.is_empty() && section.context().count() == count_before {
        let empty =
            Complaint::new(code::EMPTY_LIST, "includes nothing").suggest("write [\"**\"] for every file");
        section.report_at("include", empty);
    }
    include
}

/// Whether it exists is checked with all destinations at hand; a name it cannot be is not reported twice.
fn name_of_destination(given: Given<'_>) -> Result<String, Complaint> {
    given.text().map(std::borrow::Cow::into_owned)
}

fn pattern(given: Given<'_>) -> Result<String, Complaint> {
    let pattern = [given.text()?.into_owned()];
    match WatchGlobs::new(&pattern, &pattern) {
        Ok(_) => Ok(String::from_iter(pattern)),
        Err(error) => Err(Complaint::new(code::BAD_PATTERN, error.to_string())
            .suggest(r#"write one such as "*.csv" or "2024/**/*.log""#)),
    }
}

/// The ending of a done-file; none if empty.
fn settle_marker(given: Given<'_>) -> Result<Option<String>, Complaint> {
    let text = given.text()?;
    let is_bad = |c: char| c == '/' || c.is_control();
    if text.contains(is_bad) {
        return Err(Complaint::new(code::BAD_NAME, format!("{text:?} is not the ending of a file name"))
            .suggest("write one such as \".done\""));
    }
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

/// The name of a file, in whatever folder; none if empty.
fn ignore_file(given: Given<'_>) -> Result<Option<String>, Complaint> {
    let text = given.text()?;
    if text.contains(|c: char| c == '/' || c.is_control()) || matches!(&*text, "." | "..") {
        return Err(Complaint::new(code::BAD_NAME, format!("{text:?} is not the name of a file"))
            .suggest("write one such as \".skiffignore\": it is looked for in each folder"));
    }
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

fn after_delivery(given: Given<'_>) -> Result<AfterDelivery, Complaint> {
    if let Some(table) = given.table() {
        let mut keys = table.iter();
        return match (keys.next(), keys.next()) {
            (Some((key, target)), None) if key == "move" => {
                move_target(target, given).map(AfterDelivery::Move)
            }
            _ => Err(Complaint::new(code::BAD_CHOICE, "is not a single \"move\"").suggest(AFTER_DELIVERY)),
        };
    }
    match &*given.text()? {
        "keep" => Ok(AfterDelivery::Keep),
        "delete" => Ok(AfterDelivery::Delete),
        other => {
            let unknown = Complaint::new(code::BAD_CHOICE, format!("{other:?} is not known here"));
            Err(unknown.suggest(AFTER_DELIVERY))
        }
    }
}

const AFTER_DELIVERY: &str = r#"write "keep", "delete" or { move = "/some/folder" }"#;

fn move_target(target: &Node, given: Given<'_>) -> Result<PathBuf, Complaint> {
    local_path(Given::new(target, given.environment))
}

/// 0 means for ever.
fn retry_attempts(given: Given<'_>) -> Result<Option<u32>, Complaint> {
    let attempts = count(0..=u32::MAX)(given)?;
    Ok(Some(attempts).filter(|attempts| *attempts != 0))
}
