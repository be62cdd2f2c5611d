//! The web page, in a real browser.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use skiff_tests::chromium::Chromium;
use skiff_tests::machine::NOT_SHOWN;
use skiff_tests::{Agent, Sshd, Tree, http, process, tree};
use tempfile::TempDir;

/// Watches a delivery, sees why a file is quarantined, retries it with a click, and pauses a watch.
#[test]
fn a_delivery_is_watched_and_a_quarantined_file_is_retried() {
    if !Chromium::is_here("a delivery watched on the page") {
        return;
    }
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
    let mut page = Chromium::open(&format!("http://127.0.0.1:{port}/"));
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
    page.click("#held button");
    agent.wait_until("the file arrives", || tree::equal(source.root(), &sshd.root()));
    page.wait_until("it is no longer listed", "document.getElementById('held-section').hidden");

    search_the_receipts(&mut page);
    look_at_the_charts(&mut page);
    page.click("#watches button");
    page.wait_until(
        "the watch is paused",
        "document.getElementById('watches').textContent.includes('paused')",
    );
    agent.ask(&["status"]).expect_code(0).expect_said("(paused)");
    page.click("#watches button");
    page.wait_until("it goes on", "!document.getElementById('watches').textContent.includes('paused')");

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

fn search_the_receipts(page: &mut Chromium) {
    let listed = |name: &str, is: bool| {
        format!("document.getElementById('receipts').textContent.includes('{name}') === {is}")
    };
    page.wait_until(
        "both are listed",
        &format!("{} && {}", listed("large.bin", true), listed("onerror", true)),
    );
    page.click("#search");
    page.type_text("large");
    page.wait_until("one is left", &format!("{} && {}", listed("large.bin", true), listed("onerror", false)));
    page.type_text("r");
    page.wait_until("none is left", &listed("no receipt has this", true));
}

/// The value under the pointer is told, and both schemes have colours of their own.
fn look_at_the_charts(page: &mut Chromium) {
    page.point_at("#chart-rate");
    page.wait_until(
        "the value is told",
        "/B\\/s, .* ago/.test(document.getElementById('chart-rate-most').textContent)",
    );
    let back = "getComputedStyle(document.body).backgroundColor";
    page.prefer("light");
    let light = page.value_of(back);
    page.prefer("dark");
    assert_ne!(page.value_of(back), light);
}

/// Where a token is set, the page asks for it, and shows nothing before.
#[test]
fn the_page_asks_for_the_token() {
    const TOKEN: &str = "0123456789abcdef";
    if !Chromium::is_here("the page that asks for a token") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), TempDir::new().expect("a temporary folder"));
    let (source, port) = (Tree::new(scratch.path().join("in"), 2), http::free_port());
    let token = scratch.path().join("token");
    fs::write(&token, TOKEN).expect("writable");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("ours");
    let control = format!("[control]\nlisten = '127.0.0.1:{port}'\ntoken_file = '{}'", token.display());
    let mut agent = Agent::with_destination(&sshd, &control).watch("in", source.root(), "").started();
    agent.wait_until("it answers", || http::ask(port, "GET /", &[], "").is_some());
    let mut page = Chromium::open(&format!("http://127.0.0.1:{port}/"));
    let why = |words: &str| format!("document.getElementById('why').textContent.includes('{words}')");
    page.wait_until("it asks", &why("token is needed"));
    assert_eq!(page.value_of("document.getElementById('watches').textContent"), "");
    for (typed, then) in [
        ("wrong", why("token is wrong")),
        (TOKEN, "document.getElementById('alive').textContent === 'live'".to_owned()),
    ] {
        page.value_of("document.getElementById('token').value = ''");
        page.click("#token");
        page.type_text(typed);
        page.click("#ask button");
        page.wait_until("it is answered", &then);
    }
    page.wait_until("the watch is shown", "document.getElementById('watches').textContent.includes('in')");
}

/// A test that passes prints nothing that anybody sees, so the run is told.
#[test]
fn without_a_browser_the_run_is_told_what_it_does_not_show() {
    let scratch = TempDir::new().expect("a temporary folder");
    let list = scratch.path().join("list");
    let mut here = Command::new(std::env::current_exe().expect("this runs"));
    here.args(["--exact", "page::a_delivery_is_watched_and_a_quarantined_file_is_retried"]);
    here.arg("page::the_page_asks_for_the_token").env(NOT_SHOWN, &list).env("PATH", scratch.path());
    process::run(&mut here);
    let mut told: Vec<_> =
        fs::read_to_string(&list).expect("it is told").lines().map(str::to_owned).collect();
    told.sort();
    let why = "there is no Chromium (package chromium)";
    let shown = ["a delivery watched on the page", "the page that asks for a token"];
    assert_eq!(told, shown.map(|what| format!("{what}: {why}")));
}
