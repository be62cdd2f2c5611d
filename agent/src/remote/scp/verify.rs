//! Verify again: what stands under final names that were delivered before.

use std::collections::HashMap;

use skiff_common::{Digest, RelPath, RemotePath};

use super::{RemoteError, ScpRemote};

impl ScpRemote {
    /// The digests of what stands under these names, read there now; none of those that are gone. `bytes` is what they
    /// have together, for the patience.
    pub(in crate::remote) async fn digests(
        &self,
        root: &RemotePath,
        paths: &[&RelPath],
        bytes: u64,
    ) -> Result<HashMap<RelPath, Digest>, RemoteError> {
        let mut hand = self.take_hand(root).await?;
        if hand.facts().digest.is_some() {
            let staging = format!("{}-{}", self.connection.sender, VERIFYING);
            let digests = self.ask_digests(&mut hand, &staging, paths, bytes).await?;
            hand.must(&["drop", &staging], self.patience(0), "clearing the staging").await?;
            self.give_back(root, hand);
            return Ok(digests);
        }
        let mut digests = HashMap::new();
        for path in paths {
            if let Some(digest) = self.read_back(&mut hand, path.as_bytes()).await? {
                digests.insert((*path).clone(), digest);
            }
        }
        self.give_back(root, hand);
        Ok(digests)
    }
}

/// Stands for a shipment's id in the name of the staging: no shipment's own, but of the same form.
const VERIFYING: &str = "00000000000000000000";
