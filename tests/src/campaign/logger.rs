//! A logger that writes all the time and is rotated, a connection that is cut and an agent that is killed: at the
//! destination stands every line once, in order, and at any moment each copy is the beginning of its source.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use super::{Order, Tally};
use crate::fault_proxy::{Fault, FaultProxy};
use crate::{Agent, Sshd, wait};

/// Rotated files that are kept as they are; the one after them is packed and so goes.
const KEPT: u32 = 3;
/// How long the rest may take at the end.
const LAST_LIMIT: Duration = Duration::from_secs(60);
/// How often the destination is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What is done, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// How long the logger writes.
    pub lasts: Duration,
    /// Lines a second.
    pub lines: u32,
    /// Between two rotations.
    pub rotate: Duration,
    /// Between two cuts of the connection.
    pub cut: Duration,
    /// Between two deaths of the agent.
    pub kill: Duration,
}

impl Course {
    /// The whole one, for so long.
    pub const fn lasting(lasts: Duration) -> Self {
        let (rotate, cut, kill) = (Duration::from_secs(60), Duration::from_secs(30), Duration::from_secs(45));
        Course { lasts, lines: 1_000, rotate, cut, kill }
    }
}

/// Counts seconds as runs, at the pace that a test has time for.
pub(super) fn run(order: &Order) -> Tally {
    let lasts = Duration::from_secs(order.count.unwrap_or(3_600));
    let quick = Course {
        rotate: Duration::from_millis(2_500),
        cut: Duration::from_millis(1_900),
        kill: Duration::from_millis(3_100),
        ..Course::lasting(lasts)
    };
    follow(&quick, |_| ())
}

/// Runs a course; tells how it goes. Cuts and deaths are the faults that are met.
pub fn follow(course: &Course, mut told: impl FnMut(&str)) -> Tally {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("there is room for a temporary folder"));
    let (source, proxy) = (scratch.path().join("in"), FaultProxy::to(sshd.port()));
    fs::create_dir(&source).expect("a new folder is writable");
    let rules = "mode = 'append'\nflush_interval = '500ms'\nexclude = ['*.gz']";
    let mut agent = Agent::through(&proxy, &sshd, "").watch("logs", &source, rules);
    let (written, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut tally = Tally::default();
    let mut looks = Looks::default();
    std::thread::scope(|scope| {
        let logger = scope.spawn(|| Logger::new(&source, course).work(&written, &stop));
        agent.start();
        let begin = Instant::now();
        let (mut cut, mut kill, mut look, mut minute) = (course.cut, course.kill, LOOK, 1);
        while begin.elapsed() < course.lasts && tally.failures.is_empty() {
            std::thread::sleep(Duration::from_millis(20));
            let now = begin.elapsed();
            if now >= cut {
                cut += course.cut;
                proxy.break_all(Fault::Reset);
                tally.met += 1;
            }
            if now >= kill {
                kill += course.kill;
                agent.kill9();
                agent.start();
                tally.met += 1;
            }
            if now >= look {
                look = now + LOOK;
                tally.failures.extend(looks.wrong(&sshd.root()));
            }
            if now.as_secs() / 60 >= minute {
                minute = now.as_secs() / 60 + 1;
                told(&format!(
                    "{} s: {} lines written, {}",
                    now.as_secs(),
                    written.load(Ordering::Relaxed),
                    looks.told()
                ));
            }
        }
        tally.runs = begin.elapsed().as_secs();
        stop.store(true, Ordering::Relaxed);
        logger.join().expect("the logger does not panic");
    });
    let lines = written.load(Ordering::Relaxed);
    let mut wrong = Some(String::new());
    wait::came_true(LAST_LIMIT, || {
        std::thread::sleep(Duration::from_millis(200));
        wrong = whole(&sshd.root(), lines).err();
        wrong.is_none()
    });
    agent.terminate();
    if let Some(wrong) = wrong {
        let log = agent.log();
        let end: Vec<_> = log.lines().rev().take(40).collect();
        let end: Vec<_> = end.into_iter().rev().collect();
        tally.failures.push(format!("{wrong}; the log ends:\n{}", end.join("\n")));
    }
    tally.failures.extend(agent.log().contains("panicked at").then(|| "a panic".to_owned()));
    let lost = fs::read_to_string(agent.state_dir().join("losses.jsonl")).unwrap_or_default();
    if !lost.is_empty() {
        tally.failures.push(format!("losses were reported: {lost}"));
    }
    told(&format!("{lines} lines written in all; {}", looks.told()));
    tally
}

/// Writes numbered lines, and rotates.
struct Logger<'a> {
    folder: &'a Path,
    course: &'a Course,
    file: File,
}

impl<'a> Logger<'a> {
    fn new(folder: &'a Path, course: &'a Course) -> Self {
        Logger { folder, course, file: open(&folder.join("app.log")) }
    }

    fn work(mut self, written: &AtomicU64, stop: &AtomicBool) {
        let begin = Instant::now();
        let mut rotate = self.course.rotate;
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let now = begin.elapsed();
            let due = now.as_millis() * u128::from(self.course.lines) / 1_000;
            while u128::from(number) < due {
                number += 1;
                self.file.write_all(&line(number)).expect("there is room");
                written.store(number, Ordering::Relaxed);
            }
            if now >= rotate {
                rotate += self.course.rotate;
                self.rotate();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// As logrotate does; what is oldest is packed, and is then another file.
    fn rotate(&mut self) {
        let name = |number: u32| self.folder.join(format!("app.log.{number}"));
        if name(KEPT).exists() {
            fs::write(self.folder.join("app.log.packed.gz"), "packed").expect("there is room");
            fs::remove_file(name(KEPT)).expect("it is there");
        }
        for number in (1..KEPT).rev() {
            if name(number).exists() {
                fs::rename(name(number), name(number + 1)).expect("it is there");
            }
        }
        fs::rename(self.folder.join("app.log"), name(1)).expect("it is there");
        self.file = open(&self.folder.join("app.log"));
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("there is room")
}

/// Follows from its number, so that any part of a log can be judged.
fn line(number: u64) -> Vec<u8> {
    let pad = "abcdefghijklmnopqrstuvwxyz".repeat(3);
    let length = usize::try_from(number % 70).expect("it is small");
    format!("{number:012} {}\n", &pad[..length + 5]).into_bytes()
}

/// The number that a copy begins with and how many whole lines it holds; anything else that it holds is wrong.
fn judge(bytes: &[u8]) -> Result<Option<(u64, u64)>, String> {
    let Some(first) = bytes.get(..12) else { return Ok(None) };
    let first: u64 = std::str::from_utf8(first)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "it begins with no number".to_owned())?;
    let (mut rest, mut number) = (bytes, first);
    loop {
        let expected = line(number);
        if rest.len() < expected.len() {
            return if expected.starts_with(rest) {
                Ok(Some((first, number - first)))
            } else {
                Err(format!("line {number} is something else"))
            };
        }
        let Some(after) = rest.strip_prefix(&expected[..]) else {
            return Err(format!(
                "line {number} is something else: {:?}",
                String::from_utf8_lossy(&rest[..60.min(rest.len())])
            ));
        };
        (rest, number) = (after, number + 1);
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(root).expect("it can be listed").flatten();
    listing.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// Whether all lines are there, each once and in order.
fn whole(root: &Path, lines: u64) -> Result<(), String> {
    let mut parts = Vec::new();
    for path in files(root) {
        let bytes = fs::read(&path).map_err(|error| error.to_string())?;
        let shown = path.display();
        let Some((first, count)) = judge(&bytes).map_err(|wrong| format!("{shown}: {wrong}"))? else {
            return Err(format!("{shown} holds {} bytes", bytes.len()));
        };
        let length: usize = (first..first + count).map(|number| line(number).len()).sum();
        if length != bytes.len() {
            return Err(format!("{shown} ends within line {}", first + count));
        }
        parts.push((first, count, path));
    }
    parts.sort();
    let mut next = 1;
    for (first, count, path) in parts {
        if first != next {
            return Err(format!("{} begins with line {first}, but line {next} is next", path.display()));
        }
        next += count;
    }
    if next == lines + 1 { Ok(()) } else { Err(format!("line {next} is missing of {lines}")) }
}

/// What was seen of the destination while it was written to.
#[derive(Default)]
struct Looks {
    seen: HashMap<PathBuf, (SystemTime, u64)>,
    copies: u64,
}

impl Looks {
    /// Each copy that has changed is the beginning of a source.
    fn wrong(&mut self, root: &Path) -> Option<String> {
        for path in files(root) {
            // It may get another name at any moment.
            let Ok(meta) = path.metadata() else { continue };
            let stamp = (meta.modified().expect("Linux tells"), meta.len());
            if self.seen.insert(path.clone(), stamp) == Some(stamp) {
                continue;
            }
            let Ok(bytes) = fs::read(&path) else { continue };
            self.copies += 1;
            if let Err(wrong) = judge(&bytes) {
                return Some(format!("while it grew {}: {wrong}", path.display()));
            }
        }
        None
    }

    fn told(&self) -> String {
        format!("{} copies looked at while they grew", self.copies)
    }
}
