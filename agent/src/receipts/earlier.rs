//! Which digests some names had before: the receipts and claims, read backward once for as many questions as there are.
//!
//! Promises that no line is read twice while what was read fits into its bound, and none before it has to be: what stands
//! at the destination is nearly always what was delivered there last. Blocks.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;

use serde_json::Value;
use skiff_common::{Digest, RelPath};

use super::file::{self, Backwards};

/// Digests that are remembered: 4 MiB. A file that is rewritten every second has more in the receipts.
const MOST_SEEN: usize = 1 << 18;

/// The answers for some names of one watch at one destination.
#[derive(Debug)]
pub(crate) struct Earlier {
    paths: [PathBuf; 2],
    destination: String,
    watch: String,
    names: HashSet<String>,
    /// What is still to be read, the next one last; `None`: all of it.
    rest: Option<Vec<Backwards>>,
    /// Of name and digest.
    seen: HashSet<u64>,
    hasher: RandomState,
    forgot: bool,
}

impl Earlier {
    pub(super) fn new(
        paths: [PathBuf; 2],
        destination: &str,
        watch: &str,
        names: impl Iterator<Item = String>,
    ) -> Self {
        Self {
            paths,
            destination: destination.to_owned(),
            watch: watch.to_owned(),
            names: names.collect(),
            rest: None,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            forgot: false,
        }
    }

    /// Whether a version of the source with this digest was delivered under this name, or was about to be. A name that isn't
    /// one of those that it was made for costs a reading of its own.
    pub(crate) fn had(&mut self, name: &RelPath, digest: &Digest) -> io::Result<bool> {
        let (name, digest) = (name.to_string(), digest.to_string());
        let wanted = self.hasher.hash_one((&*name, &*digest));
        let is_asked_for = self.names.contains(&name);
        if is_asked_for && (self.seen.contains(&wanted) || self.read_until(wanted)?) {
            return Ok(true);
        }
        if is_asked_for && !self.forgot {
            return Ok(false);
        }
        // Also a name beside another one, which is seldom needed.
        let of_it = std::iter::once(name.clone());
        let mut alone = Self::new(self.paths.clone(), &self.destination, &self.watch, of_it);
        let wanted = alone.hasher.hash_one((&*name, &*digest));
        alone.read_until(wanted)
    }

    fn read_until(&mut self, wanted: u64) -> io::Result<bool> {
        let mut rest = if let Some(rest) = self.rest.take() { rest } else { self.begin()? };
        let mut found = false;
        while let Some(file) = rest.last_mut().filter(|_| !found) {
            match file.line()? {
                Some(line) => found = self.take(&line, wanted),
                None => drop(rest.pop()),
            }
        }
        self.rest = Some(rest);
        Ok(found)
    }

    fn begin(&self) -> io::Result<Vec<Backwards>> {
        let [receipts, claims] = &self.paths;
        let files = file::all(receipts)?.into_iter().chain(file::all(claims)?);
        files.rev().map(Backwards::new).collect()
    }

    /// Whether the line says what is wanted.
    fn take(&mut self, line: &[u8], wanted: u64) -> bool {
        // A torn line proves nothing.
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return false };
        if line["destination"] != *self.destination || line["watch"] != *self.watch {
            return false;
        }
        let mut found = false;
        for (name, digest) in said(&line) {
            if !self.names.contains(name) {
                continue;
            }
            let one = self.hasher.hash_one((name, &*digest));
            found |= one == wanted;
            if self.seen.len() < MOST_SEEN {
                self.seen.insert(one);
            } else {
                self.forgot = true;
            }
        }
        found
    }
}

/// Names and digests of a receipt, or of a claim of either version.
fn said(line: &Value) -> Vec<(&str, String)> {
    let mut all = Vec::new();
    if let Some(name) = line["name"].as_str() {
        let digests = [&line["digest"], &line["theirs"]].into_iter().filter_map(Value::as_str);
        all.extend(digests.map(|digest| (name, digest.to_owned())));
    }
    for claim in line["names"].as_array().into_iter().flatten() {
        let Some(name) = claim[0].as_str() else { continue };
        all.extend(claim[1].as_str().map(|ours| (name, format!("blake3:{ours}"))));
        all.extend(claim[2].as_str().map(|theirs| (name, theirs.to_owned())));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use skiff_common::Algorithm;
    use skiff_config::ReceiptFiles;

    use super::*;
    use crate::receipts::Receipts;

    fn digest(number: u64) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Digest::new(Algorithm::Blake3, bytes)
    }

    fn line(number: u64) -> String {
        let digest = digest(number);
        format!(
            r#"{{"destination":"d","digest":"{digest}","name":"n{}","theirs":"{digest}","v":1,"watch":"w"}}"#,
            number % 3
        ) + "\n"
    }

    fn name(number: u64) -> RelPath {
        RelPath::parse(format!("n{}", number % 3).as_bytes()).expect("a path")
    }

    /// The files are taken away after the first question: what answers the others was read with it.
    #[test]
    fn the_receipts_are_read_once_for_all_names_and_no_further_than_needed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let receipts = Receipts::open(&path, ReceiptFiles::default()).expect("made");
        let lines = (0..3000).map(line).collect::<String>();
        std::fs::write(&path, "not a receipt\n".to_owned() + &lines).expect("written");
        let mut earlier = receipts.earlier("d", "w", (0..3).map(name));
        assert!(earlier.had(&name(2990), &digest(2990)).expect("read"));
        assert!(earlier.seen.len() < 100, "the latest are at the end");
        std::fs::remove_file(&path).expect("it was there");
        for number in (0..2990).rev() {
            assert!(earlier.had(&name(number), &digest(number)).expect("read"), "{number}");
        }
        assert!(!earlier.had(&name(0), &digest(1)).expect("read"));
        assert!(!earlier.had(&name(0), &digest(9999)).expect("read"));
    }

    #[test]
    fn a_name_that_it_was_not_made_for_is_looked_for_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let receipts = Receipts::open(&path, ReceiptFiles::default()).expect("made");
        std::fs::write(&path, (0..10).map(line).collect::<String>()).expect("written");
        let mut earlier = receipts.earlier("d", "w", std::iter::once(name(1)));
        assert!(!earlier.had(&name(1), &digest(5)).expect("read"));
        assert!(earlier.had(&name(5), &digest(5)).expect("read"));
        assert!(!earlier.had(&name(5), &digest(6)).expect("read"));
    }

    #[test]
    fn what_was_not_remembered_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipts.jsonl");
        let files = ReceiptFiles { rotate_bytes: u64::MAX, keep: NonZeroUsize::MIN };
        let receipts = Receipts::open(&path, files).expect("made");
        std::fs::write(&path, (0..10).map(line).collect::<String>()).expect("written");
        let mut earlier = receipts.earlier("d", "w", (0..3).map(name));
        assert!(!earlier.had(&name(0), &digest(77)).expect("read"));
        earlier.seen.clear();
        earlier.forgot = true;
        assert!(earlier.had(&name(5), &digest(5)).expect("read"));
        assert!(!earlier.had(&name(5), &digest(6)).expect("read"));
    }
}
