//! `skiff pull`: what it fetches, what it leaves alone, and the exit codes that scripts rely on.

mod arriving;
mod cut;
mod names;
mod server;

use std::path::Path;

use skiff_tests::pull::bytes;
use skiff_tests::{Toolbox, Tree};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const DIGESTS: &[&str] = &["b3sum", "openssl", "sha256sum", "shasum"];

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// All that a usual server has, for skiff's pull.
fn tools() -> Toolbox {
    Toolbox::usual().and(&["dd", "stat"])
}

/// Small and large files, odd names, empty ones.
fn mixed(root: &Path, seed: u64) -> Tree {
    let mut source = Tree::new(root, seed);
    source.small_files(60, 5);
    for name in [
        &b"new\nline"[..],
        b"not-utf8-\xff\xfe",
        b"-leading",
        b"it's \"quoted\" \\ `id` $(id)",
        b"*",
        b" a b ",
    ] {
        source.file(bytes(name), 300);
    }
    source.file("deep/er/and/deeper/x", 10);
    source.file("empty", 0);
    source.file("large.bin", 9 * MIB + 17);
    source
}
