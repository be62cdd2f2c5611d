//! Who writes the logs: they grow, are rotated, copied and truncated, packed and deleted. And who meddles with their copies.

use super::{ALIKE, Inode, World, path};
use crate::path::RelPath;

/// So many rotated files stay.
const KEPT: usize = 3;

impl World {
    pub(super) fn write(&mut self) {
        let name = if self.percent(70) { "a" } else { "b" };
        if self.copied {
            return self.truncate();
        }
        match self.below(12) {
            0 => self.rotate(name),
            1 => self.copy(),
            2 => self.pack(name),
            3 => self.make(&path(&format!("c{}", self.clock))),
            _ => self.grow(&path(name)),
        }
    }

    fn make(&mut self, at: &RelPath) {
        self.clock += 1;
        let ino = self.free_number();
        self.streams.push(Vec::new());
        let inode = Inode { stream: self.streams.len() - 1, bytes: Vec::new(), born: self.clock };
        self.inodes.insert(ino, inode);
        self.names.insert(at.clone(), ino);
        self.tell(format!("{at} is made, file {ino}, log {}", self.streams.len() - 1));
        self.grow(at);
    }

    /// The lowest, so that they are given out again soon.
    fn free_number(&self) -> u64 {
        let taken = |ino: &u64| self.inodes.contains_key(ino) || self.held.values().any(|held| held == ino);
        (1..10_000).find(|ino| !taken(ino)).expect("there is one")
    }

    fn grow(&mut self, at: &RelPath) {
        let Some(ino) = self.names.get(at).copied() else { return self.make(at) };
        let more = 1 + self.below(9);
        let inode = self.inodes.get_mut(&ino).expect("names lead somewhere");
        for _ in 0..more {
            // All begin alike.
            let at = inode.bytes.len();
            let byte = if at < ALIKE {
                b"log 1"[at]
            } else {
                u8::try_from((inode.stream * 31 + at * 7 + at / 9) % 256).expect("a byte")
            };
            inode.bytes.push(byte);
            self.streams[inode.stream].push(byte);
        }
    }

    fn rotate(&mut self, name: &str) {
        self.tell(format!("{name} is rotated"));
        self.unlink(&path(&format!("{name}.{KEPT}")));
        for number in (0..KEPT).rev() {
            let from = if number == 0 { path(name) } else { path(&format!("{name}.{number}")) };
            if let Some(ino) = self.names.remove(&from) {
                self.names.insert(path(&format!("{name}.{}", number + 1)), ino);
            }
        }
        if self.percent(80) {
            self.make(&path(name));
        }
    }

    fn copy(&mut self) {
        let Some(ino) = self.names.get(&path("b")).copied() else { return };
        self.clock += 1;
        self.unlink(&path("b.copy"));
        let other = self.free_number();
        let copy = Inode { born: self.clock, ..self.inodes[&ino].clone() };
        self.inodes.insert(other, copy);
        self.names.insert(path("b.copy"), other);
        self.tell(format!("b is copied, file {other}"));
        self.copied = true;
    }

    pub(super) fn truncate(&mut self) {
        self.tell("b is truncated");
        self.copied = false;
        let ino = self.names[&path("b")];
        self.streams.push(Vec::new());
        let stream = self.streams.len() - 1;
        let inode = self.inodes.get_mut(&ino).expect("names lead somewhere");
        (inode.stream, inode.bytes) = (stream, Vec::new());
        self.grow(&path("b"));
    }

    /// Somebody empties a copy, or takes the rights to a name away, or gives them back.
    pub(super) fn meddle(&mut self) {
        if self.percent(4) {
            let is_one = |name: &RelPath, copy: &[u8]| copy.len() > ALIKE && !self.foreign.contains_key(name);
            let copies: Vec<RelPath> = self
                .there
                .iter()
                .filter(|(name, copy)| is_one(name, copy))
                .map(|(name, _)| name.clone())
                .collect();
            if !copies.is_empty() {
                let nth = usize::try_from(self.below(copies.len() as u64)).expect("it is small");
                self.empty(&copies[nth]);
            }
        }
        if self.percent(6) {
            let (nth, stem) = (1 + self.below(KEPT as u64), if self.percent(50) { "a" } else { "b" });
            let name = path(&format!("{stem}.{nth}"));
            self.tell(format!("{name} is denied"));
            self.denies.insert(name);
        }
        if self.percent(15) {
            self.denies.clear();
        }
    }

    fn empty(&mut self, name: &RelPath) {
        self.tell(format!("{name} is emptied at the destination"));
        let copy = self.there.insert(name.clone(), Vec::new()).expect("it is there");
        let of_it = |stream: &usize| self.streams[*stream].starts_with(&copy);
        self.emptied.extend((0..self.streams.len()).filter(of_it));
    }

    /// From now on nothing goes wrong. Logs whose copy was emptied grow once more.
    pub(super) fn be_calm(&mut self) {
        self.calm = true;
        self.denies.clear();
        let is_emptied = |ino: &u64| self.emptied.contains(&self.inodes[ino].stream);
        let names: Vec<RelPath> =
            self.names.iter().filter(|(_, ino)| is_emptied(ino)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.grow(&name);
        }
    }

    fn pack(&mut self, name: &str) {
        let number = 1 + self.below(3);
        self.unlink(&path(&format!("{name}.{number}")));
    }

    fn unlink(&mut self, at: &RelPath) {
        let Some(ino) = self.names.remove(at) else { return };
        self.tell(format!("{at} is deleted"));
        if !self.held.values().any(|held| *held == ino) {
            self.inodes.remove(&ino);
        }
    }
}
