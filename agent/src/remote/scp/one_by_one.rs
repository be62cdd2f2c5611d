//! A batch for a destination without `tar`: its members go one after the other to where `tar` would have put them.

use skiff_common::delivery::{Staged, Trouble};
use skiff_common::{Digest, Item, Shipment};

use super::hand::Hand;
use super::stage::{judge, send_item};
use super::{RemoteError, ScpRemote};
use crate::remote::shell;
use crate::source::Root;

impl ScpRemote {
    /// As `stage_batch`. A member that changes while it is read ends the transfer; those behind it are tried again.
    pub(super) async fn stage_one_by_one(
        &self,
        hand: &mut Hand,
        source: &Root,
        shipment: &Shipment,
        items: &[Item],
    ) -> Result<Vec<Staged>, RemoteError> {
        let mut staged = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            if !hand.is_usable() {
                let trouble = Trouble::retryable("the transfer ended at another file, which changed");
                staged.push(Staged::Spoiled(trouble));
                continue;
            }
            // The shell of an earlier attempt may still be writing one of that name, but no longer in the staging that is ours.
            let token = format!("member-{number:x}");
            staged.push(self.stage_member(hand, source, shipment, item, &token).await?);
        }
        Ok(staged)
    }

    async fn stage_member(
        &self,
        hand: &mut Hand,
        source: &Root,
        shipment: &Shipment,
        item: &Item,
        token: &str,
    ) -> Result<Staged, RemoteError> {
        let digests = match send_item(hand, source, item, 0, (token, None)).await? {
            Ok(digests) => digests,
            Err(trouble) => return Ok(Staged::Spoiled(trouble)),
        };
        let path = shell::word(item.path.as_bytes());
        let patience = self.patience(item.stamp.size);
        let answer = hand.ask(&["member", token, &path], patience, "unpacking").await?;
        let theirs = match hand.facts().digest {
            Some(algorithm) if answer.ok => Digest::from_hex(algorithm, &answer.words),
            None if answer.ok => {
                let name =
                    [self.staging_path(hand, shipment).as_bytes(), b"/m/", item.path.as_bytes()].concat();
                self.read_back(hand, &name).await?
            }
            _ => None,
        };
        Ok(judge(Ok(digests), theirs, &if answer.ok { String::new() } else { answer.why("member") }))
    }
}
