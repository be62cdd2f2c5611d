//! Staged files get the owner that their sources have, by number, where the login user may give them one.
//!
//! Names of users mean nothing on another machine, so none travel. Lacks any say in whether a file is delivered: where the
//! server refuses, the file is the login user's.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use skiff_common::delivery::Staged;
use skiff_common::{Item, RemotePath, Shipment, ShipmentKind};
use tokio::task::spawn_blocking;

use super::hand::Hand;
use super::{RemoteError, ScpRemote};
use crate::remote::shell;
use crate::ship;
use crate::source::Root;

/// Files that are named at once: a line of at most a few hundred KiB.
const AT_ONCE: usize = 100;

impl ScpRemote {
    /// To be called before what is staged is published.
    pub(super) async fn give_owners(
        &self,
        hand: &mut Hand,
        (root, source): (&RemotePath, &Root),
        shipment: &Shipment,
        staged: &[Staged],
    ) -> Result<(), RemoteError> {
        if !self.policy.keeps_owner {
            return Ok(());
        }
        if !hand.facts().is_root {
            self.connection.warn_once(
                root,
                "the login user isn't root, so the files are its own: owner = \"preserve\" has no effect",
            );
            return Ok(());
        }
        let landed: Vec<Item> = landed(shipment, staged).cloned().collect();
        let source = source.clone();
        let owners = spawn_blocking(move || {
            let mut owners: BTreeMap<(u32, u32), Vec<Item>> = BTreeMap::new();
            for item in landed {
                // What has gone meanwhile has no owner any longer.
                if let Ok(open) = source.open_item(&item.path) {
                    owners.entry(open.owner).or_default().push(item);
                }
            }
            owners
        });
        for ((user, group), items) in ship::joined(owners).await {
            for names in named(shipment.kind, &items) {
                let words = ["own", &format!("{user}:{group}"), &names];
                let answer = hand.ask(&words, self.patience(0), "giving files their owner").await?;
                if !answer.ok {
                    self.connection
                        .warn_once(root, &format!("cannot give files their owner: {}", answer.why("own")));
                }
            }
        }
        Ok(())
    }
}

/// What has landed in staging.
pub(super) fn landed<'a>(shipment: &'a Shipment, staged: &[Staged]) -> impl Iterator<Item = &'a Item> {
    let fates = shipment.items.iter().zip(staged);
    fates.filter(|(_, staged)| matches!(staged, Staged::Landed { .. })).map(|(item, _)| item)
}

/// The names of staged files, some in each line.
pub(super) fn named<I: Borrow<Item>>(kind: ShipmentKind, items: &[I]) -> impl Iterator<Item = String> {
    items.chunks(AT_ONCE).map(move |some| {
        some.iter().map(|item| staged_word(kind, item.borrow())).collect::<Vec<_>>().join(" ")
    })
}

pub(super) fn staged_word(kind: ShipmentKind, item: &Item) -> String {
    let staged = match kind {
        ShipmentKind::Single => b"part".to_vec(),
        ShipmentKind::Batch => [b"m/", item.path.as_bytes()].concat(),
    };
    shell::word(&staged)
}
