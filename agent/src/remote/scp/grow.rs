//! The steps at a destination for copies that grow.
//!
//! Each step opens its staging anew, which takes it from any shell that still has it: what that one was about to write
//! is not written. Tells what is refused about one copy from what is wrong with the destination. Lacks the decision what is
//! done, and whose a file is.

use skiff_common::{Algorithm, Digest, RelPath, RemotePath};

use super::answer::{Answer, number};
use super::hand::Hand;
use super::modes::OWNERS;
use super::transfer::Sent;
use super::{RemoteError, ScpRemote};
use crate::remote::Reason;
use crate::remote::shell;
use crate::ship;

/// Bytes in a block of `dd`. What is sent begins at a multiple of it, so that any `dd` can put it where it belongs.
pub(crate) const BLOCK: u64 = 512;

/// Without one nobody there can say what a copy holds.
pub(crate) const NO_DIGEST_TOOL: RemoteError = RemoteError::NoTool { tool: "b3sum or sha256sum" };

/// What a copy with this digest is called that makes room for another; `None`: that has too few digits.
pub(crate) fn aside(name: &RelPath, hex: &str) -> Option<RelPath> {
    Some(name.with_suffix(&format!("~{}", hex.get(..12)?)))
}

/// The copies in a destination's folder.
#[derive(Clone, Copy)]
pub(crate) struct Copies<'a> {
    scp: &'a ScpRemote,
    root: &'a RemotePath,
    staging: &'a str,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// A file, its length, and the digest of as much of it as was asked for.
    File(u64, Digest),
    /// Nothing.
    Nothing,
    /// No file.
    Other,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// It was made, and is synced.
    Yes,
    /// The copy is not as it was left.
    Moved,
    /// Nothing is there.
    Absent,
    /// Something else has the name; its digest, where it is a file that can be read.
    Taken(Option<Digest>),
}

/// Bytes for a copy.
pub(crate) struct More<'a> {
    /// The copy.
    pub(crate) name: &'a RelPath,
    /// What belongs there, from a multiple of [`BLOCK`] on.
    pub(crate) bytes: Vec<u8>,
    /// Where that begins.
    pub(crate) from: u64,
    /// How long the copy is before.
    pub(crate) before: u64,
    /// The digest of `bytes`.
    pub(crate) digest: Digest,
    /// The source's mode, for a new copy, which its owner may write to and read in any case.
    pub(crate) mode: u32,
    /// The source's time.
    pub(crate) mtime_ns: i64,
}

impl ScpRemote {
    /// The copies in the folder `root`, for who stages under the name `staging`: sixteen hexadecimal digits.
    pub(crate) fn copies<'a>(&'a self, root: &'a RemotePath, staging: &'a str) -> Copies<'a> {
        Copies { scp: self, root, staging }
    }
}

impl Copies<'_> {
    /// By what the destination computes digests. Copies that grow need that: reading them back would cost as much as
    /// sending them.
    pub(crate) async fn digests_by(self) -> Result<Algorithm, RemoteError> {
        let hand = self.scp.take_hand(self.root).await?;
        let algorithm = hand.facts().digest;
        self.scp.give_back(self.root, hand);
        algorithm.ok_or(NO_DIGEST_TOOL)
    }

    /// Looks at a copy: all of it, or its `first` bytes.
    pub(crate) async fn measure(
        self,
        name: &RelPath,
        first: Option<u64>,
        bytes: u64,
    ) -> Result<Stands, RemoteError> {
        const ATTEMPT: &str = "looking at a copy";
        let mut hand = self.hand().await?;
        let algorithm = algorithm(&hand)?;
        let first = first.map(|bytes| bytes.to_string()).unwrap_or_default();
        let answer = hand.ask(&["measure", &word(name), &first], self.scp.patience(bytes), ATTEMPT).await?;
        let stands = match (answer.ok, &answer.split()[..]) {
            (true, [size, hex]) => number(size)
                .zip(Digest::from_hex(algorithm, hex))
                .map(|(size, digest)| Stands::File(size, digest)),
            (false, [b"absent", ..]) => Some(Stands::Nothing),
            (false, [b"symlink" | b"isfolder" | b"special", ..]) => Some(Stands::Other),
            _ => None,
        };
        self.scp.give_back(self.root, hand);
        stands.ok_or_else(|| refusal(&answer, &["measure"], ATTEMPT))
    }

    /// Brings the beginning of a log under a name that nothing has.
    pub(crate) async fn create(self, more: More<'_>) -> Result<Changed, RemoteError> {
        const ATTEMPT: &str = "beginning a copy";
        let mut hand = self.hand().await?;
        let algorithm = algorithm(&hand)?;
        let (name, digest, bytes) = (word(more.name), more.digest, more.bytes.len() as u64);
        send_more(&mut hand, more, "digest").await?;
        let answer = hand.answer(self.scp.patience(bytes), ATTEMPT).await?.expected(ATTEMPT)?;
        if Digest::from_hex(algorithm, &answer.words) != Some(digest) {
            return Err(RemoteError::Refused {
                attempt: ATTEMPT,
                why: "it was damaged on its way".to_owned(),
            });
        }
        let answer = hand.ask(&["place", "part", &name], self.scp.patience(0), ATTEMPT).await?;
        self.scp.give_back(self.root, hand);
        taken(&answer, algorithm, "place", ATTEMPT)
    }

    /// Puts more behind what a copy holds; what is there then was read back, and is synced.
    pub(crate) async fn extend(self, more: More<'_>) -> Result<Changed, RemoteError> {
        const ATTEMPT: &str = "extending a copy";
        let mut hand = self.hand().await?;
        let algorithm = algorithm(&hand)?;
        let (digest, after) = (more.digest, more.from + more.bytes.len() as u64);
        let then = format!(
            "extend {} {} {} {after} {}",
            word(more.name),
            more.from / BLOCK,
            more.before,
            digest.hex()
        );
        send_more(&mut hand, more, &then).await?;
        let answer = hand.answer(self.scp.patience(after), ATTEMPT).await?;
        self.scp.give_back(self.root, hand);
        match (answer.ok, &answer.split()[..]) {
            (true, [hex]) if Digest::from_hex(algorithm, hex) == Some(digest) => Ok(Changed::Yes),
            (true, _) | (false, [b"changed" | b"symlink" | b"isfolder" | b"special", ..]) => {
                Ok(Changed::Moved)
            }
            (false, [b"absent", ..]) => Ok(Changed::Absent),
            _ => Err(refusal(&answer, &["extend"], ATTEMPT)),
        }
    }

    /// Cuts a copy back to its first bytes, if their digest is this and only zeros follow.
    pub(crate) async fn cut(
        self,
        name: &RelPath,
        length: u64,
        digest: Digest,
    ) -> Result<Changed, RemoteError> {
        const ATTEMPT: &str = "cutting a copy back";
        let mut hand = self.hand().await?;
        let words = ["cut", &word(name), &length.to_string(), &digest.hex()];
        let answer = hand.ask(&words, self.scp.patience(length), ATTEMPT).await?;
        self.scp.give_back(self.root, hand);
        match (answer.ok, &answer.split()[..]) {
            (true, _) => Ok(Changed::Yes),
            (false, [b"changed" | b"symlink" | b"isfolder" | b"special", ..]) => Ok(Changed::Moved),
            (false, [b"absent", ..]) => Ok(Changed::Absent),
            _ => Err(refusal(&answer, &["cut"], ATTEMPT)),
        }
    }

    /// Gives a copy another name, which nothing has. Safe to repeat.
    pub(crate) async fn rename(self, from: &RelPath, to: &RelPath) -> Result<Changed, RemoteError> {
        const ATTEMPT: &str = "renaming a copy";
        let mut hand = self.hand().await?;
        let algorithm = algorithm(&hand)?;
        let answer = hand.ask(&["rename", &word(from), &word(to)], self.scp.patience(0), ATTEMPT).await?;
        self.scp.give_back(self.root, hand);
        taken(&answer, algorithm, "rename", ATTEMPT)
    }

    /// Removes the staging, for who is done with it.
    pub(crate) async fn leave(self) -> Result<(), RemoteError> {
        let mut hand = self.scp.take_hand(self.root).await?;
        hand.must(&["drop", &self.id()], self.scp.patience(0), "clearing the staging").await?;
        self.scp.give_back(self.root, hand);
        Ok(())
    }

    async fn hand(self) -> Result<Hand, RemoteError> {
        let mut hand = self.scp.take_hand(self.root).await?;
        hand.first(&["open", &self.id(), "fresh"], "preparing");
        Ok(hand)
    }

    fn id(self) -> String {
        format!("{}-{}", self.scp.connection.sender, self.staging)
    }
}

/// Sends bytes into staging, and says `then` behind them.
async fn send_more(hand: &mut Hand, more: More<'_>, then: &str) -> Result<(), RemoteError> {
    let More { bytes, mode, mtime_ns, .. } = more;
    // Its owner goes on writing to the copy.
    let part =
        Sent { name: "part", mode: mode | OWNERS, size: bytes.len() as u64, mtime_ns, then: Some(then) };
    hand.send_file(&part, &mut ship::whole(bytes)).await
}

fn algorithm(hand: &Hand) -> Result<Algorithm, RemoteError> {
    hand.facts().digest.ok_or(NO_DIGEST_TOOL)
}

/// What a change says that needs a name which nothing has; `verb` is its word where it can't give that.
fn taken(
    answer: &Answer,
    algorithm: Algorithm,
    verb: &str,
    attempt: &'static str,
) -> Result<Changed, RemoteError> {
    match (answer.ok, &answer.split()[..]) {
        (true, _) => Ok(Changed::Yes),
        (false, [b"exists", _, hex]) => Ok(Changed::Taken(Digest::from_hex(algorithm, hex))),
        (false, [b"symlink" | b"isfolder" | b"special" | b"exists", ..]) => Ok(Changed::Taken(None)),
        (false, [b"absent", ..]) => Ok(Changed::Absent),
        (false, [b"changed", ..]) => Ok(Changed::Moved),
        _ => Err(refusal(answer, &["folder", verb], attempt)),
    }
}

/// A refusal that begins with one of `words` is about this one copy, unless the disk is full.
fn refusal(answer: &Answer, words: &[&str], attempt: &'static str) -> RemoteError {
    let said = answer.split();
    let first = said.first().copied().unwrap_or_default();
    let is_full = matches!(Reason::of(&answer.why("")), Some(Reason::NoSpace | Reason::Quota));
    let word = words.iter().find(|word| word.as_bytes() == first && !is_full);
    match (word, &said[..]) {
        (Some(_), [b"folder", b"symlink", ..]) => {
            let why = format!("{} is a symlink, and none is followed", answer.why("folder symlink"));
            RemoteError::Denied { attempt, why }
        }
        (Some(word), _) => RemoteError::Denied { attempt, why: answer.why(word) },
        (None, _) => answer.refused(attempt),
    }
}

fn word(name: &RelPath) -> String {
    shell::word(name.as_bytes())
}
