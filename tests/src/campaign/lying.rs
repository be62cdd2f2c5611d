//! A server whose `scp` mangles what it wrote, and reports success.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;

use super::chance::Chance;
use super::rig::{After, Rig};
use super::writer::Writer;
use super::{Order, Tally};
use crate::sshd::Sshd;

const LIMIT: Duration = Duration::from_secs(40);

/// Each run delivers once; the first transfers are mangled in a way of their own.
pub(super) fn run(order: &Order) -> Tally {
    let mut tally = Tally::default();
    for seed in order.seed..order.seed + order.count.unwrap_or(30) {
        if tally.is_enough() {
            break;
        }
        let (met, wrong) = one_delivery(seed);
        tally.add(met, wrong.map(|wrong| format!("seed {seed}: {wrong}")));
    }
    tally
}

fn one_delivery(seed: u64) -> (bool, Option<String>) {
    let mut chance = Chance::new(seed);
    let tools = TempDir::new().expect("there is room for a temporary folder");
    let lies = tools.path().join("lies");
    let scp = tools.path().join("scp");
    fs::write(&scp, script(&lies.display().to_string(), seed)).expect("a new folder is writable");
    fs::set_permissions(&scp, fs::Permissions::from_mode(0o755)).expect("a new folder is writable");
    // The server takes one such line only.
    let tools_path = tools.path().display();
    let path = format!("SetEnv HOME={tools_path} PATH={tools_path}:/usr/local/bin:/usr/bin:/bin");
    let mut rig = Rig::with_server(After::Delete, Sshd::start_with(&path));
    let mut writer = Writer::new(&rig.source);
    writer.one_delivery(&mut chance);
    rig.start();
    let done = rig.wait_until_done(&writer.expected, LIMIT);
    let ended = rig.terminate();
    (lies.exists(), rig.wrong(&writer.expected).or(done.err()).or(ended.err()))
}

/// The real one, and then a lie: a changed byte, a lost tail, or nothing there at all. Three times, then it is honest.
fn script(lies: &str, seed: u64) -> String {
    let lie = match seed % 3 {
        0 => "printf X | dd of=\"$target\" bs=1 seek=5000 conv=notrunc 2>/dev/null",
        1 => "truncate -s -1000 \"$target\"",
        _ => ": > \"$target\"",
    };
    format!(
        "#!/bin/sh\n\
         /usr/bin/scp \"$@\" || exit\n\
         for target; do :; done\n\
         [ -s \"$target\" ] && [ \"$(cat '{lies}' 2>/dev/null | wc -l)\" -lt 3 ] || exit 0\n\
         echo lie >> '{lies}'\n\
         {lie}\n"
    )
}
