//! What russh and servers do to those who don't expect it, each seen once.

use super::*;
use crate::remote::session::preferences;

const SOON: Duration = Duration::from_secs(20);

/// What comes on a channel that nobody reads piles up; the session and its other channels go on.
#[tokio::test]
async fn a_channel_that_nobody_reads_blocks_no_other() {
    // More than the window and more messages than russh keeps by itself; fewer than we have it keep.
    const FLOOD: u32 = 3 * WINDOW_BYTES;
    let sshd = Sshd::start("");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    let over = sshd.folder.path().join("over");
    let over = over.display();
    let flood = format!("head -c {FLOOD} /dev/zero; touch {over}");
    let unread = session.open_exec(&flood, SOON).await.expect("a channel");
    let other = format!("until test -e {over}; do sleep 0.05; done; echo still here");
    let (said, out) = timeout(SOON, run(&session, &other)).await.expect("the session lives");
    assert_eq!(out, b"still here\n");
    assert!(said.contains(&Said::Status(0)), "{said:?}");
    drop(unread);
}

/// Who reads while writing learns at once that the command has ended, with its last words.
#[tokio::test]
async fn a_command_that_ends_early_is_noticed_while_writing() {
    let sshd = Sshd::start("");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    let mut channel =
        session.open_exec("head -c 10 >/dev/null; echo enough >&2; exit 3", SOON).await.expect("one");
    let writer = channel.write;
    let writing = tokio::spawn(async move { while writer.data_bytes(vec![7; 64 << 10]).await.is_ok() {} });
    let mut said = Vec::new();
    let reading = async {
        while let Some(one) = channel.read.next().await.expect("a proper end") {
            said.push(one);
        }
    };
    timeout(SOON, reading).await.expect("the end is heard");
    assert!(said.contains(&Said::Status(3)), "{said:?}");
    assert!(said.contains(&Said::Err(b"enough\n".to_vec())), "{said:?}");
    // A writer alone would wait for a window that never opens again.
    writing.abort();
}

/// A command that is killed has no status, but a signal; the order of its last messages doesn't matter.
#[tokio::test]
async fn a_killed_command_is_told_by_its_signal() {
    let sshd = Sshd::start("");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    for _ in 0..10 {
        let (said, out) = run(&session, "echo out; kill -9 $$").await;
        assert_eq!(out, b"out\n");
        assert!(said.contains(&Said::Signal("KILL".to_owned())), "{said:?}");
        assert!(!said.iter().any(|one| matches!(one, Said::Status(_))), "{said:?}");
    }
}

/// What ended a connection is kept, for whoever asks later.
#[tokio::test]
async fn why_a_connection_was_lost_is_kept() {
    let sshd = Sshd::start("");
    let session = Session::connect(&sshd.login("id_ed25519")).await.expect("a session");
    assert_eq!(session.why_lost(), None);
    let mut channel = session.open_exec("kill -9 $PPID; cat", SOON).await.expect("a channel");
    let end = async {
        loop {
            match channel.read.next().await {
                Ok(Some(_)) => {}
                end => return end,
            }
        }
    };
    let end = timeout(SOON, end).await.expect("the end is heard");
    assert!(matches!(end, Err(ChannelError::Lost { .. })), "{end:?}");
    timeout(SOON, session.closed()).await.expect("the session ends");
    assert!(session.why_lost().is_some_and(|why| !why.is_empty()));
}

/// Keepalives can't fire while a write blocks, and a slow link is no dead one.
#[test]
fn the_kernel_watches_the_peer_and_slow_links_have_time() {
    let login = Login { stall_timeout: Duration::from_secs(7), ..Login::to("user", HOST, 22) };
    let config = preferences::config(&login, &[], false);
    assert_eq!(config.inactivity_timeout, Some(preferences::MIN_INACTIVITY));
    assert_eq!(config.keepalive_interval, Some(login.keepalive));
    let patient = Login { stall_timeout: Duration::from_secs(100), ..login };
    assert_eq!(preferences::config(&patient, &[], false).inactivity_timeout, Some(Duration::from_secs(500)));
}
