//! Publish: staged files get their final names.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use skiff_common::delivery::{Placed, Placement};
use skiff_common::escape::escaped_up_to;
use skiff_common::{Digest, RelPath, RemotePath, Shipment, ShipmentKind};

use super::answer::Answer;
use super::hand::Hand;
use super::{RemoteError, ScpRemote};
use crate::remote::placing::{self, Conflicts, Met, Placer, Replaced};
use crate::remote::shell::word;

impl ScpRemote {
    /// Brings what is staged under its final names, and syncs. One entry for each placement.
    pub(in crate::remote) async fn publish(
        &self,
        root: &RemotePath,
        shipment: &Shipment,
        placements: &[Placement],
        conflicts: &Conflicts<'_>,
    ) -> Result<Vec<Placed>, RemoteError> {
        let mut hand = self.take_hand(root).await?;
        hand.first(&["use", &self.staging(shipment)], "finding the staging");
        let placed = match shipment.kind {
            ShipmentKind::Single => {
                vec![self.place(&mut hand, (root, shipment), &placements[0], b"part", conflicts).await?]
            }
            ShipmentKind::Batch => {
                self.publish_batch(&mut hand, (root, shipment), placements, conflicts).await?
            }
        };
        self.give_back(root, hand);
        Ok(placed)
    }

    async fn publish_batch(
        &self,
        hand: &mut Hand,
        (root, shipment): (&RemotePath, &Shipment),
        placements: &[Placement],
        conflicts: &Conflicts<'_>,
    ) -> Result<Vec<Placed>, RemoteError> {
        let patience = self.patience(shipment.bytes());
        // What was staged but not verified must not be linked with the rest.
        if let Some(lines) = omitted_lines(shipment, placements) {
            hand.first(&[&format!("omit{lines}")], "publishing");
        }
        hand.say(&[&format!("publish{}", folder_lines(placements))]).await?;
        let answer = hand.answer(patience, "publishing").await?.expected("publishing")?;
        self.note_cleared(shipment, &answer);
        // A set: of thousands all may be left.
        let left: HashSet<_> = answer.lines.iter().filter_map(|line| line.strip_prefix(b"./")).collect();
        let mut all = Vec::with_capacity(placements.len());
        for placement in placements {
            let path = &placement.item.path;
            all.push(if left.contains(&path.as_bytes()) {
                let staged = [b"m/", path.as_bytes()].concat();
                self.place(hand, (root, shipment), placement, &staged, conflicts).await?
            } else {
                Placed::At(path.clone())
            });
        }
        Ok(all)
    }

    /// One member, with whatever stands in its way.
    async fn place(
        &self,
        hand: &mut Hand,
        (root, shipment): (&RemotePath, &Shipment),
        placement: &Placement,
        staged: &[u8],
        conflicts: &Conflicts<'_>,
    ) -> Result<Placed, RemoteError> {
        let patience = self.patience(placement.item.stamp.size);
        let mut placer =
            Shelf { remote: self, hand, shipment, from: word(staged), patience, met_bytes: None };
        let who = (root, self.connection.sender.as_str(), shipment.item_id(&placement.item));
        placing::place(&mut placer, placement, who, conflicts).await
    }

    /// What clears its staging itself needs no other word for that.
    fn note_cleared(&self, shipment: &Shipment, answer: &Answer) {
        if answer.words == b"cleared" {
            self.cleared().insert(shipment.id.clone());
        }
    }

    /// What a refusal to place means.
    async fn standing(&self, hand: &mut Hand, answer: &Answer, name: &RelPath) -> Result<Met, RemoteError> {
        let words = answer.split();
        match words.first().copied() {
            Some(b"exists") => {
                let digest = match hand.facts().digest {
                    Some(algorithm) => words.get(2).and_then(|hex| Digest::from_hex(algorithm, hex)),
                    None => self.read_back(hand, name.as_bytes()).await?,
                };
                // A file that stands there and can't be read is somebody else's.
                Ok(digest.map_or_else(|| Met::Other("unreadable".to_owned()), Met::File))
            }
            Some(b"symlink" | b"isfolder" | b"special") => Ok(Met::Other(escaped_up_to(&answer.words, 40))),
            Some(b"gone") => Ok(Met::Trouble("what was staged has gone".to_owned())),
            _ => Ok(Met::Trouble(answer.why("place"))),
        }
    }
}

/// The members that have no placement, one a line, and the line that ends them.
fn omitted_lines(shipment: &Shipment, placements: &[Placement]) -> Option<String> {
    let kept: HashSet<_> = placements.iter().map(|placement| &placement.item.path).collect();
    let omitted = shipment.items.iter().filter(|item| !kept.contains(&item.path));
    let lines = omitted.fold(String::new(), |text, item| text + "\n" + &word(item.path.as_bytes()));
    (!lines.is_empty()).then(|| lines + "\n/")
}

/// The folders that hold members, one a line, and the line that ends them.
fn folder_lines(placements: &[Placement]) -> String {
    let folders: BTreeSet<_> = placements.iter().map(|placement| placement.item.path.folder()).collect();
    let lines = folders.iter().map(|folder| folder.as_ref().map_or(".".to_owned(), |f| word(f.as_bytes())));
    lines.chain(["/".to_owned()]).fold(String::new(), |text, line| text + "\n" + &line)
}

/// One staged file, and the shell that brings it under its name.
struct Shelf<'a> {
    remote: &'a ScpRemote,
    hand: &'a mut Hand,
    shipment: &'a Shipment,
    from: String,
    patience: Duration,
    /// How many bytes were met under the name.
    met_bytes: Option<u64>,
}

impl Placer for Shelf<'_> {
    async fn place(&mut self, name: &RelPath) -> Result<Met, RemoteError> {
        let words = ["place", &self.from, &word(name.as_bytes())];
        let answer = self.hand.ask(&words, self.patience, "publishing").await?;
        if answer.ok {
            self.remote.note_cleared(self.shipment, &answer);
            return Ok(Met::Nothing);
        }
        let bytes = answer.split().get(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        self.met_bytes = bytes;
        self.remote.standing(self.hand, &answer, name).await
    }

    async fn replace(&mut self, name: &RelPath, theirs: &Digest) -> Result<Replaced, RemoteError> {
        let expected = match (self.hand.facts().digest, self.met_bytes) {
            (Some(algorithm), _) if theirs.algorithm() == algorithm => theirs.hex(),
            // Without a digest tool there only its size can be looked at once more.
            (_, Some(bytes)) => format!("any {bytes}"),
            (_, None) => "any".to_owned(),
        };
        let words = ["replace", &self.from, &word(name.as_bytes()), &expected];
        let answer = self.hand.ask(&words, self.patience, "replacing").await?;
        Ok(match () {
            () if answer.ok => Replaced::Done,
            () if answer.words == b"changed" => Replaced::Changed,
            () => Replaced::Failed(answer.why("place")),
        })
    }

    async fn sync(&mut self, name: &RelPath) -> Result<Replaced, RemoteError> {
        self.hand
            .must(&["sync", &word(name.as_bytes())], self.patience, "syncing")
            .await
            .map(|_| Replaced::Done)
    }
}
