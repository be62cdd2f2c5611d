//! One very large file. It is sparse, but all of it is sent and written.

use std::fs::File;

use tempfile::TempDir;

use super::{Figure, Target, mib, watched};
use crate::bench::options::Options;
use crate::bench::rig::Rig;
use crate::{Agent, tree};

pub(super) fn measure(options: &Options, rig: &Rig) -> Vec<Figure> {
    let bytes: u64 = if options.is_quick() { 64 << 20 } else { 10 << 30 };
    let what = format!("peak resident, one file of {} MiB", bytes >> 20);
    let source = TempDir::new().expect("there is room for a temporary folder");
    let room = rustix::fs::statvfs(source.path()).expect("the folder is there");
    if room.f_bavail * room.f_frsize < bytes + (1 << 30) {
        return vec![Figure::missing(format!("{what}: no room here for the copy, see --dir"))];
    }
    let file = File::create(source.path().join("large.bin")).expect("the folder is writable");
    file.set_len(bytes).expect("a sparse file needs no room");
    drop(file);
    let mut agent = Agent::to(rig.sshd()).watch("large", source.path(), "").started();
    let arrived = rig.sshd().root().join("large.bin");
    agent.wait_at_most(watched::LONG, "the file is delivered", || arrived.exists());
    let peak = mib(agent.peak_bytes());
    agent.terminate();
    tree::assert_equal(source.path(), &rig.sshd().root());
    rig.clear_root();
    vec![Figure::new(what, peak, Target::AtMost(64.0), "MiB")]
}
