//! What several settings have to keep together.
//!
//! Paths are compared as they are written: where a symlink leads is for `skiff check` to find out. A watch that already has
//! a problem is left out, since what follows from it would only hide it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::Placed;
use crate::problem::{Complaint, code};
use crate::raw::{Context, Places};
use crate::settings::{
    AfterDelivery, Destination, EmptyFolders, ManifestFile, Mode, OnConflict, Order, Route, Symlinks,
    Transport, Watch,
};
use crate::value::{show_duration, show_size};

/// The rules within one watch, or within the defaults for all. Reports only what is said here, not what is inherited.
pub(super) fn one_watch(watch: &Watch, places: &Places, context: &Context<'_>) {
    if !places.is_sound {
        return;
    }
    let sizes = ["batch_bytes", "small_file"];
    if places.sets(&sizes) && watch.batch_bytes < watch.small_file {
        places.report(context, &sizes, batch_too_small(watch));
    }
    let pauses = ["retry_max", "retry_first"];
    if places.sets(&pauses) && watch.retry_max < watch.retry_first {
        places.report(context, &pauses, retry_order(watch));
    }
    let stays = ["symlinks", "after_delivery", "retain", "high_water"];
    if places.sets(&stays) && watch.symlinks == Symlinks::FollowInside && watch.removes() {
        let both = Complaint::new(code::BAD_CHOICE, "follows symlinks, and delivered files are to go");
        places.report(context, &stays, both.suggest("keep what is delivered, or symlinks = \"skip\""));
    }
    takes_something(watch, places, context);
    if watch.mode == Mode::Append {
        grows(watch, places, context);
    }
    if let AfterDelivery::Move(target) = &watch.after_delivery
        && !watch.path.as_os_str().is_empty()
        && delivers(watch, target)
    {
        places.report(context, &["after_delivery"], move_inside(watch, target));
    }
}

/// No two limits leave nothing between them.
fn takes_something(watch: &Watch, places: &Places, context: &Context<'_>) {
    let taken = &watch.taken;
    let sizes = (taken.max_size.filter(|most| *most < taken.min_size))
        .map(|most| (["max_size", "min_size"], show_size(most), show_size(taken.min_size)));
    let ages = (taken.max_age.filter(|most| *most < taken.min_age))
        .map(|most| (["max_age", "min_age"], show_duration(most), show_duration(taken.min_age)));
    for (keys, most, least) in sizes.into_iter().chain(ages).filter(|(keys, ..)| places.sets(keys)) {
        let [max, min] = keys;
        let nothing = format!("{max} ({most}) is less than {min} ({least}), so no file is taken");
        let nothing = Complaint::new(code::TAKES_NOTHING, nothing);
        places.report(context, &keys, nothing.suggest(format!("set {max} to {least} or more")));
    }
}

/// Nothing is said that means nothing to logs that are delivered while they grow.
fn grows(watch: &Watch, places: &Places, context: &Context<'_>) {
    for (key, without, _, why) in not_with_append(watch).into_iter().filter(|(_, _, is_set, _)| *is_set) {
        if places.sets(&[key]) {
            let clash = format!("does not go with mode = \"append\": {why}");
            let complaint = Complaint::new(code::BAD_CHOICE, clash).suggest(format!("leave {key} out"));
            places.report(context, &[key], complaint);
        } else if places.sets(&["mode"]) && why != NO_TURN {
            let clash = format!("is \"append\", but the defaults set {key}: {why}");
            let remedy = format!("write {key} = {without} here");
            places.report(context, &["mode"], Complaint::new(code::BAD_CHOICE, clash).suggest(remedy));
        }
    }
}

const STAYS: &str = "a log stays where it is and has one copy";
/// Does no harm in the defaults, where it is said for other watches.
const NO_TURN: &str = "logs wait for no turn";

/// What means nothing to such logs: the key, what it is to be instead, whether it is set, and why.
#[rustfmt::skip] // one a line
fn not_with_append(watch: &Watch) -> [(&'static str, &'static str, bool, &'static str); 12] {
    [
        ("after_delivery", r#""keep""#, watch.after_delivery != AfterDelivery::Keep, STAYS),
        ("retain", r#""all""#, watch.retain.is_limited(), STAYS),
        ("high_water", r#""off""#, watch.high_water.is_some(), STAYS),
        ("settle_marker", r#""""#, watch.settle_marker.is_some(), STAYS),
        ("on_delivery", "[]", !watch.on_delivery.is_empty(), STAYS),
        ("on_conflict", r#""keep_both""#, watch.on_conflict == OnConflict::Replace, STAYS),
        ("failover", "[]", matches!(watch.route, Route::Failover(_)), STAYS),
        ("manifest", r#""off""#, watch.manifest != ManifestFile::Off, "a log that grows is never finished, so none lists it"),
        ("symlinks", r#""skip""#, watch.symlinks != Symlinks::Skip, "a log is followed by its file, not by links to it"),
        ("empty_folders", r#""skip""#, watch.empty_folders != EmptyFolders::Skip, "only logs are delivered"),
        ("order", r#""found""#, watch.order != Order::Found, NO_TURN),
        ("first", "[]", !watch.first.is_empty(), NO_TURN),
    ]
}

/// Each watch delivers to somewhere.
pub(super) fn destinations_exist(watches: &[Placed], destinations: &[Destination], context: &Context<'_>) {
    let names = || destinations.iter().map(|destination| destination.name.as_str());
    for Placed { watch, places } in watches {
        let wanted = watch.destinations().iter().filter(|to| !to.is_empty());
        for to in wanted.filter(|to| !names().any(|name| name == *to)) {
            let unknown =
                Complaint::new(code::UNKNOWN_DESTINATION, format!("there is no destination {to:?}"));
            let declare = unknown.clone().suggest(format!("declare [destination.{to}]"));
            let near = unknown.suggest_nearest(to, names());
            let keys = ["to", "failover", "spread"];
            places.report(context, &keys, if near.suggestion.is_some() { near } else { declare });
        }
    }
}

/// Folders that hold nothing have a place at each destination.
pub(super) fn empty_folders_have_a_place(
    watches: &[Placed],
    destinations: &[Destination],
    context: &Context<'_>,
) {
    for Placed { watch, places } in watches.iter().filter(|placed| placed.places.is_sound) {
        if watch.empty_folders == EmptyFolders::Deliver && dated(watch, destinations).is_some() {
            let nowhere = "is \"deliver\", but the path at the destination has a date, and folders have none";
            let complaint = Complaint::new(code::BAD_CHOICE, nowhere).suggest("write \"skip\"");
            places.report(context, &["empty_folders", "destination_path"], complaint);
        }
    }
}

/// A log that grows has one name: its modification time, and so a date, would change with each line.
pub(super) fn logs_have_one_name(watches: &[Placed], destinations: &[Destination], context: &Context<'_>) {
    for Placed { watch, places } in watches.iter().filter(|placed| placed.places.is_sound) {
        if watch.mode == Mode::Append
            && let Some(path) = dated(watch, destinations)
        {
            let moves = format!("is \"append\", but {path} has a date, which changes while a log grows");
            let complaint = Complaint::new(code::BAD_CHOICE, moves).suggest("leave the date out of it");
            places.report(context, &["mode", "destination_path"], complaint);
        }
    }
}

/// The setting through which the files of a watch get a date into their paths, if there is one.
fn dated(watch: &Watch, destinations: &[Destination]) -> Option<String> {
    if watch.destination_path.has_dates() {
        return Some("destination_path".to_owned());
    }
    let is_dated = |name: &&String| {
        let mut destinations = destinations.iter().filter(|destination| destination.name == **name);
        destinations.any(|destination| destination.path.has_dates())
    };
    watch.destinations().iter().find(is_dated).map(|name| format!("destination.{name}.path"))
}

/// Logs that grow go where there is a shell.
pub(super) fn logs_have_a_shell(watches: &[Placed], destinations: &[Destination], context: &Context<'_>) {
    for Placed { watch, places } in watches.iter().filter(|placed| placed.places.is_sound) {
        let without = |name: &&String| {
            let mut destinations = destinations.iter().filter(|destination| destination.name == **name);
            destinations.any(|destination| destination.transport == Transport::Sftp)
        };
        let named = watch.destinations();
        if watch.mode == Mode::Append
            && let Some(name) = named.iter().find(without)
        {
            let shell = format!(
                "is \"append\", but {name:?} is reached by SFTP alone, and logs that grow need a shell there"
            );
            let complaint = Complaint::new(code::BAD_CHOICE, shell);
            let complaint =
                complaint.suggest(format!("write \"whole\", or another transport for destination.{name}"));
            places.report(context, &["mode", "to", "spread"], complaint);
        }
    }
}

/// There is something to do.
pub(super) fn something_is_watched(watches: &[Placed], root: &Places, context: &Context<'_>) {
    if watches.is_empty() && !root.sets(&["watch"]) {
        let nothing = Complaint::new(code::NOTHING_TO_WATCH, "watches nothing");
        root.report(context, &[], nothing.suggest("add a [[watch]]"));
    }
}

/// No two watches have one name.
pub(super) fn names_differ(watches: &[Placed], context: &Context<'_>) {
    let mut seen = BTreeMap::new();
    for Placed { watch, places } in watches.iter().filter(|placed| !placed.watch.name.is_empty()) {
        if let Some(first) = seen.insert(&watch.name, places.at("name")) {
            let twice =
                Complaint::new(code::DUPLICATE_WATCH, format!("is already the name of the watch at {first}"));
            places.report(context, &["name"], twice.suggest("rename one of them"));
        }
    }
}

/// No watch removes files that another one still has to deliver.
pub(super) fn folders_stay_apart(watches: &[Placed], context: &Context<'_>) {
    let sound: Vec<_> = watches.iter().filter(|placed| placed.places.is_sound).collect();
    for (nth, later) in sound.iter().enumerate() {
        for earlier in &sound[..nth] {
            if let Some(complaint) = nested(&earlier.watch, &later.watch) {
                later.places.report(context, &["path"], complaint);
            }
        }
    }
}

/// No watch delivers the journal.
pub(super) fn state_is_apart(state_dir: &Path, watches: &[Placed], context: &Context<'_>) {
    for Placed { watch, places } in watches.iter().filter(|placed| placed.places.is_sound) {
        if delivers(watch, state_dir) {
            let state = state_dir.display();
            let complaint = format!("holds skiff's own state_dir {:?}", state.to_string());
            places.report(
                context,
                &["path"],
                Complaint::new(code::STATE_INSIDE_WATCH, complaint).suggest(keep_out(watch, state_dir)),
            );
        }
    }
}

/// What is wrong with two watches, if they share files and one of them removes what it delivered.
fn nested(one: &Watch, other: &Watch) -> Option<Complaint> {
    let (outer, inner) = if one.path.starts_with(&other.path) { (other, one) } else { (one, other) };
    if !(one.removes() || other.removes()) || !delivers(outer, &inner.path) {
        return None;
    }
    let is_same = outer.path == inner.path;
    if is_same && (leaves_to(one, other) || leaves_to(other, one)) {
        return None;
    }
    let remover = if inner.removes() { inner } else { outer };
    let how = if is_same { "watch the same folder" } else { "watch the same files" };
    let complaint = format!("{:?} and {:?} {how}, and {:?} removes them", one.name, other.name, remover.name);
    let exclude = if is_same {
        "exclude in one what the other includes".to_owned()
    } else {
        keep_out(outer, &inner.path)
    };
    let suggestion = format!("{exclude}, or set after_delivery = \"keep\"");
    Some(Complaint::new(code::NESTED_WATCHES, complaint).suggest(suggestion))
}

/// Whether one excludes, word for word, all that the other includes.
fn leaves_to(one: &Watch, other: &Watch) -> bool {
    other.include.iter().all(|pattern| one.exclude.contains(pattern))
}

/// Whether `watch` would find what is put into `folder`.
fn delivers(watch: &Watch, folder: &Path) -> bool {
    let Ok(relative) = folder.strip_prefix(&watch.path) else { return false };
    if !watch.taken.reaches(relative.as_os_str().as_bytes()) {
        return false;
    }
    let is_excluded = |relative: &str| watch.globs().is_ok_and(|globs| globs.excludes_below(relative));
    !relative.to_str().is_some_and(is_excluded)
}

/// How to make `watch` pass over `folder`.
fn keep_out(watch: &Watch, folder: &Path) -> String {
    match folder.strip_prefix(&watch.path) {
        Ok(relative) if !relative.as_os_str().is_empty() => {
            format!("add \"/{}/\" to the exclude list of {:?}", relative.display(), watch.name)
        }
        _ => "choose another folder".to_owned(),
    }
}

fn move_inside(watch: &Watch, target: &Path) -> Complaint {
    let complaint =
        format!("moves into the watched folder, where {:?} is delivered again", target.display().to_string());
    Complaint::new(code::MOVE_INSIDE_WATCH, complaint).suggest(keep_out(watch, target))
}

fn batch_too_small(watch: &Watch) -> Complaint {
    let (batch, file) = (show_size(watch.batch_bytes), show_size(watch.small_file));
    Complaint::new(code::BATCH_TOO_SMALL, format!("batch_bytes ({batch}) is less than small_file ({file})"))
        .suggest(format!("set batch_bytes to {file} or more"))
}

fn retry_order(watch: &Watch) -> Complaint {
    let (max, first) = (show_duration(watch.retry_max), show_duration(watch.retry_first));
    Complaint::new(code::RETRY_ORDER, format!("retry_max ({max}) is less than retry_first ({first})"))
        .suggest(format!("set retry_max to {first} or more"))
}
