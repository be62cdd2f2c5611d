//! The items that wait or are quarantined, as the journal remembers them with their reasons.

use std::collections::HashMap;

use skiff_common::delivery::record::HeldItem;

use super::{Control, Roster};
use crate::journal::JournalError;
use crate::source::{Root, SourceError};
use crate::status::snapshot::{Item, ItemState};

/// Items that one order names: what is recorded for them is one commit, which others wait for.
pub(super) const AT_ONCE: usize = 1000;

/// What is held and still there, and what is held but gone.
#[derive(Default)]
pub(super) struct HeldItems {
    pub(super) there: Vec<HeldItem>,
    pub(super) gone: Vec<HeldItem>,
}

/// Reads them; only those of watches that are there. Blocks.
pub(super) fn read(control: &Control) -> Result<HeldItems, JournalError> {
    let Some(journal) = &control.journal else { return Ok(HeldItems::default()) };
    Ok(sort(journal.held()?, &control.roster))
}

fn sort(held: Vec<HeldItem>, roster: &Roster) -> HeldItems {
    let contexts = roster.read().expect("nothing panics while it holds the lock").clone();
    let mut roots: HashMap<&str, Option<Root>> = HashMap::new();
    for context in &contexts {
        roots.insert(&context.settings.name, context.root());
    }
    let mut items = HeldItems::default();
    for held in held {
        match roots.get(held.watch.as_str()) {
            None => {}
            Some(Some(root)) if matches!(root.look(&held.path), Err(SourceError::Gone { .. })) => {
                items.gone.push(held);
            }
            // A folder that isn't there says nothing about its files.
            Some(_) => items.there.push(held),
        }
    }
    items
}

/// As it is listed.
pub(crate) fn item_of(held: HeldItem) -> Item {
    Item {
        item: held.item.to_string(),
        watch: held.watch,
        path: held.path.to_string(),
        state: if held.quarantined { ItemState::Quarantined } else { ItemState::Waiting },
        bytes: None,
        attempts: held.attempts,
        reason: Some(held.reason),
        delivered: None,
        digest: None,
        delivered_bytes: None,
    }
}

/// Whether `wanted` names the item: its id, its path, or `watch:path`.
pub(crate) fn is_named(held: &HeldItem, wanted: &str) -> bool {
    let path = held.path.to_string();
    wanted == path
        || wanted == held.item.to_string()
        || wanted.split_once(':').is_some_and(|(watch, rest)| watch == held.watch && rest == path)
}
