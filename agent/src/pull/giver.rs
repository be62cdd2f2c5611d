//! A shell at the server that runs `giver.sh`, and the words exchanged with it.
//!
//! Promises that names are literal (they never stand on a command line), that several requests are under way at once,
//! so that a long round trip is paid once and not for each file, and that no more is asked for than fits in memory:
//! russh widens a channel's window whether or not what came was read. Lacks any use of the local file system.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use skiff_common::escape::{escaped, escaped_up_to};
use skiff_common::{Algorithm, Digest};

use super::jobs::{BLOCK_BYTES, Heard, Job, MOST_NAMES};
use super::listing::{self, Found, Room, Style, nothing};
use super::talk::{Talk, WAITING_MESSAGES};
use crate::remote::RemoteError;
use crate::remote::nonce;
use crate::remote::session::Session;
use crate::remote::shell;

/// The slowest digest tool that is waited for, in bytes a second.
const SLOWEST_DIGEST: u64 = 1 << 20;
/// Requests that are under way at once.
const IN_FLIGHT: usize = 16;

/// A shell at the server.
pub(super) struct Giver {
    talk: Talk,
    nonce: String,
    stall: Duration,
    facts: Facts,
}

/// What the server can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// What its digest tool computes; `None`: everything is read twice.
    pub(super) digest: Option<Algorithm>,
    style: Style,
    /// Whether it can send parts of a file.
    pub(super) parts: bool,
}

impl Facts {
    /// By SFTP digests are computed here, of what is read there.
    pub(super) const OF_SFTP: Self =
        Self { digest: Some(Algorithm::Blake3), style: Style::Find, parts: true };
}

impl Giver {
    /// Starts one in the login folder.
    pub(super) async fn start(session: &Session, stall: Duration) -> Result<Self, RemoteError> {
        const ATTEMPT: &str = "starting a shell";
        let nonce = nonce();
        let channel = session.open_exec(&shell::command_line(&nonce), stall).await?;
        let mut talk = Talk::new(channel, stall);
        talk.say([shell::first_line(program()).as_slice(), b"hello\n"].concat());
        talk.skip_noise(&shell::ready(&nonce), ATTEMPT).await?;
        let facts = Facts { digest: None, style: Style::Find, parts: false };
        let mut giver = Self { talk, nonce, stall, facts };
        let (words, _) = giver.answer(ATTEMPT).await?;
        giver.facts = facts_of(&words);
        Ok(giver)
    }

    pub(super) const fn facts(&self) -> Facts {
        self.facts
    }

    /// What stands under each name, in their order; and what the server complained about.
    pub(super) async fn list(&mut self, names: &[Vec<u8>]) -> Result<(Vec<Found>, Vec<String>), RemoteError> {
        const ATTEMPT: &str = "listing";
        let mut found = Vec::with_capacity(names.len());
        let (mut room, mut complaints) = (Room::default(), Vec::new());
        let mut ahead = names.iter().map(|name| request(b"list", [name.as_slice()]));
        (&mut ahead).take(IN_FLIGHT).for_each(|request| self.talk.say(request));
        for _ in names {
            let one = self.hear_list(&mut room, &mut complaints, ATTEMPT).await?;
            found.push(one);
            ahead.next().into_iter().for_each(|request| self.talk.say(request));
        }
        Ok((found, complaints))
    }

    /// The digest of each file, or `None` where the server can't read it.
    pub(super) async fn digests(
        &mut self,
        batches: &[Vec<(usize, u64, Vec<u8>)>],
        mut each: impl AsyncFnMut(usize, Option<Digest>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "reading the digests";
        let Some(algorithm) = self.facts.digest else { return Ok(()) };
        let said = |batch: &Vec<(usize, u64, Vec<u8>)>| {
            let verb = format!("digests {}", batch.len());
            request(verb.as_bytes(), batch.iter().map(|(.., name)| name.as_slice()))
        };
        let mut ahead = batches.iter().map(said);
        (&mut ahead).take(IN_FLIGHT).for_each(|request| self.talk.say(request));
        for batch in batches {
            let bytes: u64 = batch.iter().map(|(_, size, _)| size).sum();
            self.talk.set_patience(self.stall + Duration::from_secs(bytes / SLOWEST_DIGEST));
            let (_, lines) = self.answer(ATTEMPT).await?;
            let mut theirs = digests_of(&lines, batch, algorithm);
            for (number, (file, ..)) in batch.iter().enumerate() {
                each(*file, theirs.remove(&number)).await?;
            }
            ahead.next().into_iter().for_each(|request| self.talk.say(request));
        }
        self.talk.set_patience(self.stall);
        Ok(())
    }

    /// The digest of the first `blocks` blocks of each file.
    pub(super) async fn prefixes(
        &mut self,
        asked: &[(Vec<u8>, u64)],
    ) -> Result<Vec<Option<Digest>>, RemoteError> {
        const ATTEMPT: &str = "reading the digest of what was fetched before";
        let Some(algorithm) = self.facts.digest else { return Ok(vec![None; asked.len()]) };
        let said = |(name, blocks): &(Vec<u8>, u64)| {
            request(format!("prefix {blocks}").as_bytes(), [name.as_slice()])
        };
        let mut ahead = asked.iter().map(said);
        (&mut ahead).take(IN_FLIGHT).for_each(|request| self.talk.say(request));
        let mut digests = Vec::with_capacity(asked.len());
        for (_, blocks) in asked {
            let seconds = blocks.saturating_mul(BLOCK_BYTES) / SLOWEST_DIGEST;
            self.talk.set_patience(self.stall + Duration::from_secs(seconds));
            let (words, _) = self.answer(ATTEMPT).await?;
            digests.push(Digest::from_hex(algorithm, &words));
            ahead.next().into_iter().for_each(|request| self.talk.say(request));
        }
        self.talk.set_patience(self.stall);
        Ok(digests)
    }

    /// Asks for all jobs, `in_flight` at a time, and hands on what comes. `pace` returns when so many bytes more may
    /// be asked for.
    pub(super) async fn bodies(
        &mut self,
        jobs: impl Iterator<Item = Job>,
        in_flight: usize,
        mut pace: impl AsyncFnMut(&Job),
        mut each: impl AsyncFnMut(&Job, Heard<'_>) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        const ATTEMPT: &str = "receiving";
        let marker = format!("\n{} end\n", self.nonce);
        let mut under_way = VecDeque::new();
        let mut ahead = jobs;
        loop {
            while under_way.len() < in_flight.min(WAITING_MESSAGES) {
                let Some(job) = ahead.next() else { break };
                pace(&job).await;
                self.talk.say(asking(&job));
                under_way.push_back(job);
            }
            let Some(job) = under_way.pop_front() else { return Ok(()) };
            let (_, lines) = self.answer(ATTEMPT).await?;
            for number in lines.iter().filter_map(|line| unreadable(line)) {
                if let Some(file) = job.file(number) {
                    each(&job, Heard::Unreadable(file)).await?;
                }
            }
            while let Some(piece) = self.talk.piece(marker.as_bytes(), ATTEMPT).await? {
                each(&job, Heard::Piece(&piece)).await?;
            }
            each(&job, Heard::End).await?;
        }
    }

    async fn hear_list(
        &mut self,
        room: &mut Room,
        complaints: &mut Vec<String>,
        attempt: &'static str,
    ) -> Result<Found, RemoteError> {
        let is_folder = match self.answer(attempt).await {
            Ok((words, _)) => words == b"folder",
            Err(RemoteError::Refused { why, .. }) => return Ok(Found::Nothing(nothing(&why))),
            Err(error) => return Err(error),
        };
        let marker = format!("\n{} end\n", self.nonce);
        let mut list = Vec::new();
        while let Some(piece) = self.talk.piece(marker.as_bytes(), attempt).await? {
            room.take(self.facts.style.most_records(&piece), piece.len(), attempt)?;
            list.extend(piece);
        }
        let (_, lines) = self.answer(attempt).await?;
        complaints.extend(lines.iter().map(|line| escaped_up_to(line, 300)));
        let nonsense = |words| RemoteError::Nonsense { attempt, words };
        let listed = listing::parse(&list, self.facts.style).map_err(nonsense)?;
        if is_folder {
            return Ok(Found::Folder(listed));
        }
        match <[listing::Listed; 1]>::try_from(listed) {
            Ok([file]) if file.kind == listing::Kind::File => Ok(Found::File(file)),
            _ => Err(RemoteError::Nonsense { attempt, words: "a file that is none".to_owned() }),
        }
    }

    /// The words of a yes, and the lines before it.
    async fn answer(&mut self, attempt: &'static str) -> Result<(Vec<u8>, Vec<Vec<u8>>), RemoteError> {
        let mut lines = Vec::new();
        loop {
            let line = self.talk.line(attempt).await?;
            let Some(rest) = line.strip_prefix(self.nonce.as_bytes()) else {
                // A request holds at most so many names, and each has one line at most.
                if lines.len() > MOST_NAMES {
                    return Err(self.talk.nonsense(attempt));
                }
                lines.push(line);
                continue;
            };
            return match shell::verdict(rest) {
                Some((true, words)) => Ok((words.to_vec(), lines)),
                Some((false, words)) => Err(RemoteError::Refused { attempt, why: escaped(words) }),
                None => Err(RemoteError::Nonsense { attempt, words: escaped_up_to(rest, 100) }),
            };
        }
    }
}

/// What asks for a job.
fn asking(job: &Job) -> Vec<u8> {
    match job {
        Job::Files(files) => {
            let verb = format!("send {}", files.len());
            request(verb.as_bytes(), files.iter().map(|(.., name)| name.as_slice()))
        }
        Job::Part { name, skipped_blocks, blocks, .. } => {
            request(format!("part {skipped_blocks} {blocks}").as_bytes(), [name.as_slice()])
        }
    }
}

/// One verb, and names below it.
fn request<'a>(verb: &[u8], names: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut lines = [verb, b"\n"].concat();
    for name in names {
        lines.extend(name_line(name));
        lines.push(b'\n');
    }
    lines
}

/// A name as the digest tools print it back, where it is a plain one; else escaped, which costs a process there.
fn name_line(name: &[u8]) -> Vec<u8> {
    let is_plain =
        std::str::from_utf8(name).is_ok() && name.iter().all(|b| *b >= 0x20 && *b != 0x7f && *b != b'\\');
    if is_plain { name.to_vec() } else { shell::word(name).into_bytes() }
}

/// `no NUMBER`.
fn unreadable(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line.strip_prefix(b"no ")?).ok()?.parse().ok()
}

/// By number: lines of the digest tools, which name the file, and `digest NUMBER HEX`.
fn digests_of(
    lines: &[Vec<u8>],
    batch: &[(usize, u64, Vec<u8>)],
    algorithm: Algorithm,
) -> HashMap<usize, Digest> {
    let numbers: HashMap<&[u8], usize> =
        batch.iter().enumerate().map(|(number, (.., name))| (name.as_slice(), number)).collect();
    let by_number = |line: &[u8]| {
        let rest = std::str::from_utf8(line.strip_prefix(b"digest ")?).ok()?;
        let (number, hex) = rest.split_once(' ')?;
        Some((number.parse().ok()?, Digest::from_hex(algorithm, hex.as_bytes())?))
    };
    let by_name = |line: &[u8]| {
        let (name, digest) = shell::digest_line(line, algorithm)?;
        let number = numbers.get(name).or_else(|| numbers.get(name.strip_prefix(b"./")?))?;
        Some((*number, digest))
    };
    lines.iter().filter_map(|line| by_number(line).or_else(|| by_name(line))).collect()
}

fn facts_of(words: &[u8]) -> Facts {
    let has = |word: &[u8]| words.split(|b| *b == b' ').any(|found| found == word);
    Facts {
        digest: match () {
            () if has(b"digest=blake3") => Some(Algorithm::Blake3),
            () if has(b"digest=sha256") => Some(Algorithm::Sha256),
            () => None,
        },
        style: match () {
            () if has(b"list=stat") => Style::Stat,
            () if has(b"list=bsd") => Style::Bsd,
            () => Style::Find,
        },
        parts: has(b"dd=yes"),
    }
}

/// The program, behind the lines of `hand.sh` that choose a digest tool: both find the same.
fn program() -> impl Iterator<Item = &'static str> {
    let hand = include_str!("../remote/scp/hand.sh");
    let tools = hand.lines().skip_while(|line| !line.starts_with("sha_of_abc="));
    let tools = tools.take_while(|line| !line.starts_with("is_full()"));
    let lines = ["have() { command -v \"$1\" >/dev/null 2>&1; }"].into_iter().chain(tools);
    lines.chain(include_str!("giver.sh").lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_the_tools_of_the_hand() {
        let program = program().collect::<Vec<_>>().join("\n");
        for part in ["choose_digest() {", "takes() {", "digest() {", "size() {", "verb_list() {", "ok ready"]
        {
            assert!(program.contains(part), "{part}");
        }
        assert!(!program.contains("is_full"));
    }

    #[test]
    fn digests_are_found_by_name_and_by_number() {
        let hex = "ab".repeat(32);
        let batch = vec![(7, 1, b"a b".to_vec()), (8, 1, b"x\ny".to_vec()), (9, 1, b"/z".to_vec())];
        let lines =
            [format!("{hex}  ./a b"), format!("digest 1 {hex}"), format!("{hex} */z"), "no 3".to_owned()]
                .map(String::into_bytes);
        let found = digests_of(&lines, &batch, Algorithm::Sha256);
        let mut numbers: Vec<_> = found.keys().copied().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(digests_of(&[format!("{hex}  ./other").into_bytes()], &batch, Algorithm::Sha256).is_empty());
    }

    #[test]
    fn odd_names_are_escaped_and_plain_ones_are_not() {
        assert_eq!(name_line("a $(b) é*".as_bytes()), "a $(b) é*".as_bytes());
        for odd in [&b"a\nb"[..], b"a\\b", b"\xff"] {
            assert_ne!(name_line(odd), odd);
        }
    }
}
