//! Publish: staged files get their final names.

use std::collections::{BTreeSet, HashMap, HashSet};

use skiff_common::delivery::conflict::name_beside;
use skiff_common::delivery::{OnConflict, Placed, Placement, Resolution, Trouble, resolve};
use skiff_common::escape::escaped_up_to;
use skiff_common::{Algorithm, Digest, RelPath, RemotePath, Shipment, ShipmentKind};

use super::answer::{Answer, encode};
use super::hand::Hand;
use super::{RemoteError, ScpRemote};
use crate::remote::Reason;

/// How conflicts are decided.
pub(crate) struct Conflicts<'a> {
    /// What the configuration says.
    pub(crate) policy: OnConflict,
    /// Whether the digest is of an earlier version of the same source, delivered under that name.
    pub(crate) ours_before: &'a (dyn Fn(&RelPath, &Digest) -> bool + Send + Sync),
}

impl ScpRemote {
    /// Brings what is staged under its final names, and syncs. One entry for each placement.
    pub(crate) async fn publish(
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
                vec![self.place(&mut hand, shipment, &placements[0], b"part", conflicts).await?]
            }
            ShipmentKind::Batch => self.publish_batch(&mut hand, shipment, placements, conflicts).await?,
        };
        self.give_back(root, hand);
        Ok(placed)
    }

    async fn publish_batch(
        &self,
        hand: &mut Hand,
        shipment: &Shipment,
        placements: &[Placement],
        conflicts: &Conflicts<'_>,
    ) -> Result<Vec<Placed>, RemoteError> {
        let patience = self.patience(shipment.bytes());
        // What was staged but not verified must not be linked with the rest.
        let unverified = shipment.items.len() - placements.len();
        let mut placed = HashMap::new();
        if unverified == 0 {
            hand.say(&[&format!("publish{}", folder_lines(placements))]).await?;
            let answer = hand.answer(patience, "publishing").await?.expected("publishing")?;
            self.note_cleared(shipment, &answer);
            // A set: of thousands all may be left.
            let left: HashSet<_> = answer.lines.iter().filter_map(|line| line.strip_prefix(b"./")).collect();
            for Placement { item, .. } in placements {
                if !left.contains(&item.path.as_bytes()) {
                    placed.insert(item.path.clone(), Placed::At(item.path.clone()));
                }
            }
        }
        let mut all = Vec::with_capacity(placements.len());
        for placement in placements {
            let path = &placement.item.path;
            all.push(if let Some(placed) = placed.remove(path) {
                placed
            } else {
                let staged = [b"m/", path.as_bytes()].concat();
                self.place(hand, shipment, placement, &staged, conflicts).await?
            });
        }
        Ok(all)
    }

    /// One member, with whatever stands in its way.
    async fn place(
        &self,
        hand: &mut Hand,
        shipment: &Shipment,
        placement: &Placement,
        staged: &[u8],
        conflicts: &Conflicts<'_>,
    ) -> Result<Placed, RemoteError> {
        // Each round either ends or has seen the destination change under it; that doesn't go on for ever.
        const ROUNDS: usize = 8;
        let path = &placement.item.path;
        let beside = name_beside(path, &self.sender, shipment.item_id(&placement.item));
        let mut name = path.clone();
        let patience = self.patience(placement.item.stamp.size);
        let from = word(staged);
        for _ in 0..ROUNDS {
            let to = word(name.as_bytes());
            let answer = hand.ask(&["place", &from, &to], patience, "publishing").await?;
            if answer.ok {
                self.note_cleared(shipment, &answer);
                return Ok(Placed::At(name));
            }
            let theirs = match self.standing(hand, &answer, &name).await? {
                Obstacle::File(theirs) => theirs,
                Obstacle::Other if conflicts.policy == OnConflict::KeepBoth && name != beside => {
                    name = beside.clone();
                    continue;
                }
                Obstacle::Other => {
                    let what = escaped_up_to(&answer.words, 40);
                    let reason = format!(
                        "cannot write {name} at the destination: something else stands there ({what})"
                    );
                    return Ok(Placed::Refused(Trouble::permanent(reason)));
                }
                Obstacle::Trouble(why) => {
                    let reason = format!("cannot write {name} at the destination: {why}{}", remedy(&why));
                    return Ok(Placed::Refused(Trouble::retryable(reason)));
                }
            };
            // The name beside belongs to this source alone, so what stands there is our own earlier version.
            let own = |digest: &Digest| name == beside || (conflicts.ours_before)(&name, digest);
            match resolve(&placement.digests, &theirs, own, conflicts.policy, Some(beside.clone())) {
                Resolution::Same => {
                    hand.must(&["sync"], patience, "syncing").await?;
                    return Ok(Placed::At(name));
                }
                Resolution::Rename(other) => {
                    tracing::warn!(path = %name, beside = %other, "another file stands at the destination: keeping both");
                    name = other;
                }
                Resolution::Park => {
                    let reason = format!("another file named {name} stands at the destination");
                    return Ok(Placed::Refused(Trouble::permanent(reason)));
                }
                Resolution::Replace => {
                    let expected = if theirs.algorithm() == hand.facts().digest.unwrap_or(Algorithm::Blake3)
                        && hand.facts().digest.is_some()
                    {
                        theirs.hex()
                    } else {
                        "any".to_owned()
                    };
                    let answer = hand.ask(&["replace", &from, &to, &expected], patience, "replacing").await?;
                    if answer.ok {
                        return Ok(Placed::At(name));
                    }
                    if answer.words != b"changed" {
                        return Ok(Placed::Refused(Trouble::retryable(format!(
                            "cannot replace {name} at the destination: {}{}",
                            answer.why("place"),
                            remedy(&answer.why("place"))
                        ))));
                    }
                }
            }
        }
        Ok(Placed::Refused(Trouble::retryable(format!("{name} keeps changing at the destination"))))
    }

    /// What clears its staging itself needs no other word for that.
    fn note_cleared(&self, shipment: &Shipment, answer: &Answer) {
        if answer.words == b"cleared" {
            self.cleared().insert(shipment.id.clone());
        }
    }

    /// What a refusal to place means.
    async fn standing(
        &self,
        hand: &mut Hand,
        answer: &Answer,
        name: &RelPath,
    ) -> Result<Obstacle, RemoteError> {
        let words = answer.split();
        match words.first().copied() {
            Some(b"exists") => {
                let digest = match hand.facts().digest {
                    Some(algorithm) => words.get(2).and_then(|hex| Digest::from_hex(algorithm, hex)),
                    None => self.read_back(hand, name.as_bytes()).await?,
                };
                // A file that stands there and can't be read is somebody else's.
                Ok(digest.map_or(Obstacle::Other, Obstacle::File))
            }
            Some(b"symlink" | b"isfolder" | b"special") => Ok(Obstacle::Other),
            Some(b"gone") => Ok(Obstacle::Trouble("what was staged has gone".to_owned())),
            _ => Ok(Obstacle::Trouble(answer.why(""))),
        }
    }
}

/// The folders that hold members, one a line, and the line that ends them.
fn folder_lines(placements: &[Placement]) -> String {
    let folders: BTreeSet<_> = placements.iter().map(|placement| placement.item.path.folder()).collect();
    let lines = folders.iter().map(|folder| folder.as_ref().map_or(".".to_owned(), |f| word(f.as_bytes())));
    lines.chain(["/".to_owned()]).fold(String::new(), |text, line| text + "\n" + &line)
}

/// What to do about the server's reason, if it is a known one.
fn remedy(why: &str) -> String {
    Reason::of(why).map_or_else(String::new, |reason| format!(". Try: {}", reason.hint("FOLDER")))
}

enum Obstacle {
    File(Digest),
    Other,
    Trouble(String),
}

fn word(name: &[u8]) -> String {
    String::from_utf8(encode(name)).expect("escapes are ASCII")
}
