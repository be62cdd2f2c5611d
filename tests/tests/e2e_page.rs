//! The web page, in a real browser.

use std::fs;

use skiff_tests::chromium::Chromium;
use skiff_tests::{Agent, Sshd, Tree, http, tree};
use tempfile::TempDir;

/// Watches a delivery, sees why a file is quarantined, retries it with a click, and pauses a watch.
#[test]
fn a_delivery_is_watched_and_a_quarantined_file_is_retried() {
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (mut source, port) = (Tree::new(scratch.path().join("in"), 1), http::free_port());
    // A name that would be a script if it were taken for markup.
    let odd = "<img src=x onerror=\"document.title='taken'\">.csv";
    fs::write(sshd.root().join(odd), "somebody else's").expect("the destination is writable");
    let control = format!("bandwidth = '16 Mbit/s'\n[control]\nlisten = '127.0.0.1:{port}'");
    let mut agent =
        Agent::with_destination(&sshd, &control).watch("in", source.root(), "on_conflict = 'park'").started();
    agent.wait_until("it answers", || {
        http::ask(port, "GET /", &[], "").is_some_and(|answer| answer.status == 200)
    });
    let Some(mut page) = Chromium::open(&format!("http://127.0.0.1:{port}/")) else {
        eprintln!("not shown: there is no Chromium on this machine");
        return;
    };
    page.wait_until("it is live", "document.getElementById('alive').textContent === 'live'");

    source.file("large.bin", 8 << 20);
    let progress = "[...document.querySelectorAll('#way [role=progressbar]')].some(bar => { \
        const done = Number(bar.getAttribute('aria-valuenow')); return done > 0 && done < 100; })";
    page.wait_until("the transfer is seen half-way", progress);
    page.wait_until("it is seen as delivered", "document.getElementById('delivered').textContent === '1'");
    page.wait_until(
        "the receipt is listed",
        "document.getElementById('receipts').textContent.includes('large.bin')",
    );
    page.wait_until("throughput is drawn", "document.querySelector('#chart-rate polyline') !== null");

    fs::write(source.root().join(odd), "ours").expect("the folder is writable");
    page.wait_until(
        "the reason is shown",
        "document.getElementById('held').textContent.includes('another file')",
    );
    let shown = page.value_of("document.getElementById('held').textContent.includes('<img src=x')");
    assert_eq!(shown, true, "the name is text");
    assert_eq!(page.value_of("document.querySelector('#held img') === null && document.title"), "skiff");
    fs::remove_file(sshd.root().join(odd)).expect("it is there");
    page.value_of("document.querySelector('#held button').click()");
    agent.wait_until("the file arrives", || tree::equal(source.root(), &sshd.root()));
    page.wait_until("it is no longer listed", "document.getElementById('held-section').hidden");

    page.value_of("document.querySelector('#watches button').click()");
    page.wait_until(
        "the watch is paused",
        "document.getElementById('watches').textContent.includes('paused')",
    );
    agent.ask(&["status"]).expect_code(0).expect_said("(paused)");

    // Nothing of it comes from elsewhere, and it says when skiff is gone.
    let from =
        "performance.getEntriesByType('resource').every(entry => entry.name.startsWith(location.origin))";
    assert_eq!(page.value_of(from), true);
    assert!(agent.terminate().success());
    page.wait_until(
        "the end is told",
        "document.getElementById('why').textContent.includes('does not answer')",
    );
}
