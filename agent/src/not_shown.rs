//! For tests that show nothing on this machine: what one prints that passes, nobody sees.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says that a test does not show `what`, and why, in the file that `tests/run` reads.
pub(crate) fn not_shown(what: &str, why: &str) {
    let Some(path) = std::env::var_os("SKIFF_NOT_SHOWN") else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    // At once, for other tests write there, too.
    file.and_then(|mut file| file.write_all(format!("{what}: {why}\n").as_bytes()))
        .expect("there is room for a line");
}
