//! A running agent and what the kernel says about it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Agent;
use crate::bench::stopwatch::{own_s, status_bytes};

const GLANCE: Duration = Duration::from_millis(50);
/// Doing nothing for so long counts as having nothing to do.
const QUIET: Duration = Duration::from_secs(3);
/// Less processor time than this meanwhile is nothing: who waits for a server tries it again and again.
const NOTHING_S: f64 = 0.1;
/// How long anything with a million files may take.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// What it has resident now, in bytes.
pub(super) fn resident_bytes(agent: &Agent) -> u64 {
    status_bytes(agent.pid(), "VmRSS:").expect("the agent runs")
}

/// Waits until it does nothing any longer. Returns when that began.
pub(super) fn wait_for_rest(agent: &mut Agent) -> Instant {
    let begin = Instant::now();
    let (mut since, mut before) = (begin, own_s(agent.pid()));
    let (mut busy_at, mut last) = (since, before);
    while since.elapsed() < QUIET {
        thread::sleep(GLANCE);
        assert_eq!(agent.ended(), None, "the agent ended; its log:\n{}", agent.log());
        assert!(begin.elapsed() < LONG, "the agent never rests; its log:\n{}", agent.log());
        let now = own_s(agent.pid());
        if now > last {
            (busy_at, last) = (Instant::now(), now);
        }
        if now - before > NOTHING_S {
            (since, before) = (Instant::now(), now);
        }
    }
    busy_at
}

/// How many receipts there are.
pub(super) fn receipts(agent: &Agent) -> u64 {
    let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("receipts");
    let files = fs::read_dir(agent.state_dir()).into_iter().flatten().flatten().filter(named);
    files.map(|file| lines(&file.path())).sum()
}

fn lines(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.split(|byte| *byte == b'\n').count().saturating_sub(1) as u64
}

/// What a folder takes on its disk, in bytes.
pub(super) fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    crate::tree::files_if_there(folder).values().map(|file| file.blocks() * 512).sum()
}

/// Fills a folder with `count` files of `size_bytes`, a thousand in each folder.
pub(super) fn fill(root: &Path, count: u64, size_bytes: usize) {
    let mut content = vec![b'x'; size_bytes];
    for number in 0..count {
        let folder = root.join(format!("folder-{:04}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&folder).expect("the folder is writable");
        }
        let mark = number.to_le_bytes();
        let marked = mark.len().min(size_bytes);
        content[..marked].copy_from_slice(&mark[..marked]);
        fs::write(folder.join(format!("file-{number:07}")), &content)
            .expect("there is room, and there are inodes");
    }
}
