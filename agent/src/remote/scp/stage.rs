//! Ship and verify: members go into staging and are read back there.

use std::collections::HashMap;
use std::time::Instant;

use skiff_common::delivery::{Staged, Trouble};
use skiff_common::digest::Digests;
use skiff_common::{Algorithm, Digest, Item, RelPath, RemotePath, Shipment, ShipmentKind};
use tokio::task::spawn_blocking;

use super::answer::{number, parse_digest_line};
use super::hand::Hand;
use super::modes::OWNERS;
use super::segments::{Cargo, LARGE};
use super::transfer::Sent;
use super::{RemoteError, ScpRemote};
use crate::remote::shell;
use crate::remote::survey::Survey;
use crate::ship;
use crate::source::Root;

impl ScpRemote {
    /// Sends the members into staging and has them read back; with `survey`, members whose content stands under the
    /// final name already are left out. One entry for each item.
    pub(in crate::remote) async fn stage(
        &self,
        root: &RemotePath,
        source: &Root,
        shipment: &Shipment,
        survey: Survey,
    ) -> Result<Vec<Staged>, RemoteError> {
        self.cleared().remove(&shipment.id);
        let mut hand = self.take_hand(root).await?;
        let mut known = HashMap::new();
        if survey.asks(hand.facts().used) {
            known = self.survey(&mut hand, source, shipment).await?;
        }
        let rest: Vec<Item> =
            shipment.items.iter().filter(|item| !known.contains_key(&item.path)).cloned().collect();
        let mut copied = self.copy_twins(&mut hand, (root, source), shipment, &rest).await?;
        let rest: Vec<Item> = rest.into_iter().filter(|item| !copied.contains_key(&item.path)).collect();
        if !rest.is_empty() {
            let staged = match shipment.kind {
                ShipmentKind::Batch => {
                    self.stage_members(&mut hand, (root, source), shipment, (&rest, &mut copied)).await?
                }
                ShipmentKind::Single => {
                    let cargo = Cargo { root, source, shipment, item: &rest[0], skip: 0 };
                    vec![self.stage_single(&mut hand, cargo, survey.resumes()).await?]
                }
            };
            known.extend(rest.into_iter().map(|item| item.path).zip(staged));
        }
        known.extend(copied);
        let fate = |item: &Item| known.remove(&item.path).expect("each item was staged");
        let staged: Vec<Staged> = shipment.items.iter().map(fate).collect();
        self.give_modes(&mut hand, shipment, &staged).await?;
        self.give_owners(&mut hand, (root, source), shipment, &staged).await?;
        self.give_back(root, hand);
        Ok(staged)
    }

    /// Sends members of a batch; beside what was `copied`, which lies in its staging already.
    async fn stage_members(
        &self,
        hand: &mut Hand,
        (root, source): (&RemotePath, &Root),
        shipment: &Shipment,
        (items, copied): (&[Item], &mut HashMap<RelPath, Staged>),
    ) -> Result<Vec<Staged>, RemoteError> {
        let bytes = items.iter().map(|item| item.stamp.size).sum::<u64>();
        // A batch and what is unpacked of it lie there together for a moment.
        let bytes = if hand.facts().tar { bytes.saturating_mul(2) } else { bytes };
        let _room = self.space.reserve(hand.room(), root, bytes).await?;
        if copied.is_empty() {
            hand.first(&["open", &self.staging(shipment), "fresh"], "preparing");
        }
        if hand.facts().tar {
            self.stage_batch(hand, source, shipment, (items, copied)).await
        } else {
            self.stage_one_by_one(hand, source, shipment, items).await
        }
    }

    /// Which items' content stands under the final name already.
    async fn survey(
        &self,
        hand: &mut Hand,
        source: &Root,
        shipment: &Shipment,
    ) -> Result<HashMap<RelPath, Staged>, RemoteError> {
        let Some(algorithm) = hand.facts().digest else { return Ok(HashMap::new()) };
        let paths: Vec<_> = shipment.items.iter().map(|item| &item.path).collect();
        let theirs = self.ask_digests(hand, &self.staging(shipment), &paths, shipment.bytes()).await?;
        let items: Vec<Item> =
            shipment.items.iter().filter(|item| theirs.contains_key(&item.path)).cloned().collect();
        let (source, hashed) = (source.clone(), ship::hashed_for(Some(algorithm)));
        let ours = spawn_blocking(move || {
            let digest = |item: &Item| (item.path.clone(), ship::digest(&source, item, hashed));
            items.iter().map(digest).collect::<Vec<_>>()
        });
        let mut standing = HashMap::new();
        for (path, outcome) in ship::joined(ours).await {
            let theirs = theirs[&path];
            match outcome {
                Ok(digests) if digests.agree_with(&theirs) => {
                    let name = path.clone();
                    standing.insert(path, Staged::Stands { digests, theirs, name });
                }
                Ok(_) => {}
                Err(trouble) => drop(standing.insert(path, Staged::Spoiled(trouble))),
            }
        }
        Ok(standing)
    }

    /// What stands under these names there; none of those that don't. For destinations with a digest tool.
    pub(super) async fn ask_digests(
        &self,
        hand: &mut Hand,
        staging: &str,
        paths: &[&RelPath],
        bytes: u64,
    ) -> Result<HashMap<RelPath, Digest>, RemoteError> {
        let Some(algorithm) = hand.facts().digest else { return Ok(HashMap::new()) };
        hand.first(&["open", staging, "unread"], "preparing");
        let names: Vec<u8> =
            paths.iter().flat_map(|path| [name_line(path), b"\n".to_vec()].concat()).collect();
        let size = names.len() as u64;
        let list = Sent { name: "names", mode: 0o600, size, mtime_ns: 0, then: Some("survey") };
        hand.send_file(&list, &mut ship::whole(names)).await?;
        let asking = "asking what is there";
        let answer = hand.answer(self.patience(bytes), asking).await?.expected(asking)?;
        Ok(answer.lines.iter().filter_map(|line| surveyed(line, algorithm, paths)).collect())
    }

    async fn stage_batch(
        &self,
        hand: &mut Hand,
        source: &Root,
        shipment: &Shipment,
        (items, copied): (&[Item], &mut HashMap<RelPath, Staged>),
    ) -> Result<Vec<Staged>, RemoteError> {
        let patience = self.patience(shipment.bytes());
        let outcomes = self.send_batch(hand, source, items).await?;
        let algorithm = hand.facts().digest.unwrap_or(Algorithm::Blake3);
        let asked = Instant::now();
        let answer = hand.answer(patience, "unpacking").await?.expected("unpacking")?;
        self.connection.traffic.read_back(asked.elapsed());
        let said: Vec<&Vec<u8>> = answer.lines.iter().filter(|line| line.starts_with(b"tar ")).collect();
        let why =
            said.first().map_or_else(String::new, |line| skiff_common::escape::escaped_up_to(line, 200));
        let mut theirs: HashMap<RelPath, Digest> =
            answer.lines.iter().filter_map(|line| parse_digest_line(line, algorithm)).collect();
        let mut staged = Vec::with_capacity(items.len());
        for (item, outcome) in items.iter().zip(outcomes) {
            let read_back = match theirs.remove(&item.path) {
                None if hand.facts().digest.is_none() => {
                    let name =
                        [self.staging_path(hand, shipment).as_bytes(), b"/m/", item.path.as_bytes()].concat();
                    self.read_back(hand, &name).await?
                }
                found => found,
            };
            staged.push(judge(outcome, read_back, &why));
        }
        for (path, copy) in copied {
            confirm(copy, theirs.get(path));
        }
        Ok(staged)
    }

    /// Sends the tar and asks for it to be unpacked; it is packed before where that pays.
    async fn send_batch(
        &self,
        hand: &mut Hand,
        source: &Root,
        items: &[Item],
    ) -> Result<Vec<ship::Outcome>, RemoteError> {
        let algorithm = ship::hashed_for(hand.facts().digest);
        let (source, items) = (source.clone(), items.to_vec());
        let ended = |_: std::io::Error| RemoteError::SourceEnded;
        let codec = hand.traffic().codec(|codec| hand.facts().unpacks(codec));
        let codec = codec.filter(|_| hand.traffic().packing_pays(true));
        if let Some(codec) = codec {
            let (root, members) = (source.clone(), items.clone());
            let packing = spawn_blocking(move || {
                if !codec.pays(&root, &members) {
                    return Ok(None);
                }
                let (raw, began) = (ship::batch_bytes(&members)?, Instant::now());
                let (packer, outcomes) = ship::send_batch(&root, &members, algorithm, codec.packer()?)?;
                packer.finish().map(|packed| Some((packed, outcomes, raw, began.elapsed())))
            });
            if let Some((packed, outcomes, raw, took)) = ship::joined(packing).await.map_err(ended)? {
                // Reading counts, too: otherwise it would overlap with sending.
                hand.traffic().packed(raw, packed.len() as u64, took);
                let name = format!("packed{}", codec.ending());
                let unpack = format!("unpack {name}");
                let size = packed.len() as u64;
                let archive = Sent { name: &name, mode: 0o600, size, mtime_ns: 0, then: Some(&unpack) };
                hand.send_file(&archive, &mut ship::whole(packed)).await?;
                return Ok(outcomes);
            }
        }
        let size = ship::batch_bytes(&items).map_err(ended)?;
        let (body, mut pieces) = ship::body();
        let reader = spawn_blocking(move || {
            let (body, outcomes) = ship::send_batch(&source, &items, algorithm, body)?;
            body.finish().map(|()| outcomes)
        });
        let archive = Sent { name: "part", mode: 0o600, size, mtime_ns: 0, then: Some("unpack part") };
        hand.send_file(&archive, &mut pieces).await?;
        ship::joined(reader).await.map_err(ended)
    }

    /// With `resume`, staging may hold a part of it.
    async fn stage_single(
        &self,
        hand: &mut Hand,
        mut cargo: Cargo<'_>,
        resume: bool,
    ) -> Result<Staged, RemoteError> {
        let Cargo { source, shipment, item, .. } = cargo;
        let patience = self.patience(item.stamp.size);
        if resume {
            match self.landed_before(hand, source, shipment, item).await? {
                Ok(skip) => cargo.skip = skip,
                Err(trouble) => return Ok(Staged::Spoiled(trouble)),
            }
        }
        let _room = self.space.reserve(hand.room(), cargo.root, item.stamp.size - cargo.skip).await?;
        if cargo.skip == 0 {
            hand.first(&["open", &self.staging(shipment), "fresh"], "preparing");
        } else {
            tracing::info!(path = %item.path, bytes = cargo.skip, "goes on where it was cut");
        }
        if item.stamp.size >= LARGE {
            // Asked, not only said: it tells the length of a round trip.
            hand.must(&["follow"], patience, "preparing").await?;
        }
        let reads_there = hand.facts().digest.is_some();
        let lanes = self.lanes(hand, &cargo).await?;
        let segmented = lanes.is_some();
        let then = (!segmented && cargo.skip == 0 && reads_there).then_some("digest");
        let outcome = if let Some(lanes) = lanes {
            self.send_in_segments(hand, &cargo, lanes).await?
        } else {
            let name = if cargo.skip > 0 { format!("in.{}", cargo.skip) } else { "part".to_owned() };
            send_item(hand, source, item, cargo.skip, (&name, then)).await?
        };
        if !hand.is_usable() {
            return Ok(judge(outcome, None, ""));
        }
        if cargo.skip > 0 && !segmented {
            hand.first(&["join"], "joining");
        }
        if reads_there && then.is_none() {
            hand.say(&["digest"]).await?;
        }
        let theirs = self.digest_of_part(hand, shipment, patience).await?;
        Ok(judge(outcome, theirs, ""))
    }

    /// How much of `item` lies in staging already and begins as the source does, in bytes.
    async fn landed_before(
        &self,
        hand: &mut Hand,
        source: &Root,
        shipment: &Shipment,
        item: &Item,
    ) -> Result<Result<u64, Trouble>, RemoteError> {
        let patience = self.patience(item.stamp.size);
        let algorithm = hand.facts().digest.unwrap_or(Algorithm::Blake3);
        let there = hand.must(&["open", &self.staging(shipment)], patience, "preparing").await?;
        let prefix = match there.split()[..] {
            [length, hex] => number(length).zip(Digest::from_hex(algorithm, hex)),
            _ => None,
        };
        let Some((length, theirs)) = prefix.filter(|(length, _)| *length <= item.stamp.size) else {
            return Ok(Ok(0));
        };
        let (root, item) = (source.clone(), item.clone());
        let ours =
            ship::joined(spawn_blocking(move || ship::digest_prefix(&root, &item, algorithm, length))).await;
        Ok(ours.map(|ours| {
            if ours.agree_with(&theirs) {
                return length;
            }
            tracing::warn!(
                bytes = length,
                "what lies in staging does not begin as the source does: it is sent again"
            );
            0
        }))
    }

    /// The digest of what was received, which the shell was asked for if it can tell.
    async fn digest_of_part(
        &self,
        hand: &mut Hand,
        shipment: &Shipment,
        patience: std::time::Duration,
    ) -> Result<Option<Digest>, RemoteError> {
        const ATTEMPT: &str = "reading the digest";
        let Some(algorithm) = hand.facts().digest else {
            let name = [self.staging_path(hand, shipment).as_bytes(), b"/part"].concat();
            return self.read_back(hand, &name).await;
        };
        let asked = Instant::now();
        let answer = hand.answer(patience, ATTEMPT).await?.expected(ATTEMPT)?;
        self.connection.traffic.read_back(asked.elapsed());
        Ok(Digest::from_hex(algorithm, &answer.words))
    }

    /// The digest of a file there, computed here: for destinations without a digest tool.
    pub(super) async fn read_back(
        &self,
        hand: &mut Hand,
        name: &[u8],
    ) -> Result<Option<Digest>, RemoteError> {
        let name = shell::word(name);
        let answer = hand.ask(&["cat", &name], self.patience(0), "reading back").await?;
        let Some(size) = number(&answer.words).filter(|_| answer.ok) else { return Ok(None) };
        let mut hasher = skiff_common::digest::Hasher::for_destination(Algorithm::Blake3);
        hand.take_raw(size, |piece| hasher.update(piece)).await?;
        Ok(Some(hasher.digests().blake3))
    }

    /// Where the staging is once `hand` has opened it.
    pub(super) fn staging_path(&self, hand: &Hand, shipment: &Shipment) -> String {
        format!(".skiff/{}.{}", self.staging(shipment), hand.nonce())
    }
}

/// Sends what comes after the first `skip` bytes of `item` into staging under the token `name`, and says `then` behind
/// it. A shell whose transfer ended in the middle is of no more use.
pub(super) async fn send_item(
    hand: &mut Hand,
    source: &Root,
    item: &Item,
    skip: u64,
    (name, then): (&str, Option<&str>),
) -> Result<ship::Outcome, RemoteError> {
    let algorithm = ship::hashed_for(hand.facts().digest);
    let (mut pieces, reader) = ship::start_single(source, item, algorithm, skip);
    let Item { mode, stamp, .. } = item;
    let mode = mode | OWNERS;
    let file = Sent { name, mode, size: stamp.size - skip, mtime_ns: stamp.mtime_ns, then };
    let sent = hand.send_file(&file, &mut pieces).await;
    drop(pieces);
    match (sent, ship::joined(reader).await) {
        // A source that ended early is the file's own trouble.
        (Err(RemoteError::SourceEnded), Err(trouble)) => {
            hand.spoil();
            Ok(Err(trouble))
        }
        (Err(error), _) => Err(error),
        (Ok(()), outcome) => Ok(outcome),
    }
}

pub(super) fn judge(outcome: ship::Outcome, theirs: Option<Digest>, why: &str) -> Staged {
    match (outcome, theirs) {
        (Err(trouble), _) => Staged::Spoiled(trouble),
        (Ok(digests), Some(theirs)) => Staged::Landed { digests, theirs },
        (Ok(Digests { .. }), None) => {
            let reason = format!("it did not arrive at the destination {why}");
            Staged::Spoiled(Trouble::retryable(reason.trim_end()))
        }
    }
}

/// A copy that is no longer what it was when the rest is there is not published: what is not there is not left either.
fn confirm(copy: &mut Staged, theirs: Option<&Digest>) {
    let stands = match copy {
        Staged::Landed { theirs: then, .. } => theirs == Some(then),
        Staged::Stands { .. } | Staged::Spoiled(_) => true,
    };
    if !stands {
        *copy = Staged::Spoiled(Trouble::retryable("its copy at the destination has gone from staging"));
    }
}

fn name_line(path: &RelPath) -> Vec<u8> {
    if path.is_plain() { path.as_bytes().to_vec() } else { shell::word(path.as_bytes()).into_bytes() }
}

/// A line of a survey: a digest tool's own, or `stands HEX ESCAPED` for names that don't fit one.
fn surveyed(line: &[u8], algorithm: Algorithm, paths: &[&RelPath]) -> Option<(RelPath, Digest)> {
    let Some(rest) = line.strip_prefix(b"stands ") else { return parse_digest_line(line, algorithm) };
    let (hex, name) = rest.split_at_checked(64)?;
    let name = name.strip_prefix(b" ")?;
    let path = paths.iter().find(|path| name_line(path) == name)?;
    Some(((*path).clone(), Digest::from_hex(algorithm, hex)?))
}
