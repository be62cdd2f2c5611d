//! File systems that were mounted at watched folders, and are not now: the agent that runs knows, or else its journal.

use std::path::Path;

use skiff_config::{Settings, Watch};

use crate::cli::ask::{is_absence, request};
use crate::journal::Journal;
use crate::machine::machine;
use crate::route;
use crate::source::Root;
use crate::status::snapshot::Snapshot;

/// The names of the watches that miss theirs. Says nothing where nobody can tell.
pub(super) fn missed(settings: &Settings) -> Vec<String> {
    let may_miss = |watch: &Watch| Root::open(&watch.path).is_ok_and(|root| !root.is_mounted());
    let mut watches = route::legs(settings, &machine()).watches;
    watches.retain(may_miss);
    if watches.is_empty() {
        return Vec::new();
    }
    let told = match request(&settings.state_dir, "GET", "/v1/status", None) {
        Ok((200, answer)) => {
            serde_json::from_value(answer).map(|told| by_agent(&watches, &told)).unwrap_or_default()
        }
        Err(error) if is_absence(&error) => by_journal(&watches, &settings.state_dir),
        _ => Vec::new(),
    };
    told.into_iter().map(|watch| route::base(&watch.name).to_owned()).collect()
}

fn by_agent<'w>(watches: &'w [Watch], told: &Snapshot) -> Vec<&'w Watch> {
    let is_missed = |watch: &&Watch| {
        let path = watch.path.display().to_string();
        told.watches.iter().any(|told| told.unmounted && told.name == watch.name && told.path == path)
    };
    watches.iter().filter(is_missed).collect()
}

fn by_journal<'w>(watches: &'w [Watch], state_dir: &Path) -> Vec<&'w Watch> {
    let names: Vec<&str> = watches.iter().map(|watch| watch.name.as_str()).collect();
    let notes = Journal::glance_at_mounts(state_dir, &names).unwrap_or_default();
    let told = watches.iter().zip(notes);
    told.filter(|(watch, note)| note.is_some_and(|note| note.is_at(&watch.path)))
        .map(|(watch, _)| watch)
        .collect()
}
