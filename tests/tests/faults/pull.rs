//! Servers that lie to `skiff pull`, by the classes of what was found in other clients: names that lead elsewhere
//! (CVE-2018-20685, CVE-2019-6111), text that drives the terminal (CVE-2019-6109, CVE-2019-6110), links in the way
//! (CVE-2019-12098), and more, other or endless things instead of what was asked for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use skiff_tests::asyncssh::AsyncSsh;
use skiff_tests::liar::{Liar, Lies};
use skiff_tests::pull::Pull;
use skiff_tests::{Sshd, machine, tree};
use tempfile::TempDir;

/// Asks a liar with a shell for `data`, which it lists so.
#[track_caller]
fn listed(list: &str, code: i32) -> (Liar, String) {
    let liar = Liar::with_shell(&Lies { list, ..Lies::default() });
    let said = liar.ask(&["-q"], "data").expect_code(code).said;
    (liar, said)
}

/// Asks a liar with nothing but scp for `data`.
#[track_caller]
fn sent(wire: &[u8]) -> (Liar, String) {
    let liar = Liar::with_scp(wire);
    let ended = liar.ask(&["-q", "-O"], "data");
    assert_ne!(ended.code, Some(0), "{}", ended.said);
    (liar, ended.said)
}

/// The liars do tell the truth where they are not told to lie, or the rest would show nothing.
#[test]
fn a_truthful_liar_is_believed() {
    let (liar, _) = listed(r"printf 'd 0 0 755 .\0f 5 0 644 ./a\0f 5 0 644 ./sub/b\0'", 0);
    liar.expect_here(&["data/a", "data/sub/b"]);
    let liar = Liar::with_scp(b"T0 0 0 0\nD0755 0 data\nC0644 5 a\nhello\0E\n");
    liar.ask(&["-q", "-O"], "data").expect_code(0);
    liar.expect_here(&["data/a"]);
}

/// CVE-2018-20685, CVE-2019-6111: `..`, `.`, nothing, a slash in front.
#[test]
fn cve_2018_20685_listed_names_that_lead_elsewhere_are_refused() {
    for name in [
        "../evil",
        "./../evil",
        "./../../evil",
        "./a/../../../evil",
        "/tmp/evil",
        "./",
        "./.",
        ".//evil",
        "evil",
    ] {
        let (liar, said) = listed(&format!(r"printf 'f 5 0 644 {name}\0'"), 1);
        assert!(said.contains("while listing"), "{name}: {said}");
        liar.expect_here(&[]);
    }
}

/// The same from scp itself, at the top and below.
#[test]
fn cve_2018_20685_sent_names_that_lead_elsewhere_are_refused() {
    for wire in [
        &b"C0644 5 ../evil\nhello\0"[..],
        b"C0644 5 /tmp/evil\nhello\0",
        b"C0644 5 ..\nhello\0",
        b"C0644 5 \nhello\0",
        b"D0755 0 ..\nC0644 5 evil\nhello\0E\n",
        b"D0777 0 .\nE\n",
        b"D0777 0 \nE\n",
        b"D0755 0 data\nC0644 5 ../evil\nhello\0E\n",
        b"D0755 0 data\nD0755 0 ..\nC0644 5 evil\nhello\0E\nE\n",
        b"D0755 0 data\nC0644 5 ../../canary\nhello\0E\n",
    ] {
        let (liar, _) = sent(wire);
        liar.expect_here(&[]);
    }
}

/// CVE-2019-6111: another name than the one that was asked for.
#[test]
fn cve_2019_6111_another_name_than_was_asked_for_is_refused() {
    for wire in [&b"C0644 5 evil\nhello\0"[..], b"D0755 0 .ssh\nC0644 5 authorized_keys\nhello\0E\n"] {
        let (liar, said) = sent(wire);
        assert!(said.contains("another name than was asked for"), "{said}");
        liar.expect_here(&[]);
    }
}

/// More files or folders than were asked for, or a file twice.
#[test]
fn more_than_was_asked_for_is_refused() {
    for wire in [
        &b"C0644 5 data\nhello\0C0644 5 more\nhello\0"[..],
        b"C0644 5 data\nhello\0C0644 5 data\nworld\0",
        b"D0755 0 data\nE\nC0644 5 .bashrc\nhello\0",
        b"D0755 0 data\nE\nD0755 0 data\nE\n",
    ] {
        let (liar, said) = sent(wire);
        assert!(said.contains("more than was asked for"), "{said}");
        liar.expect_here(&[]);
    }
    let (liar, said) = sent(b"D0755 0 data\nC0644 5 a\nhello\0C0644 5 a\nworld\0E\n");
    assert!(said.contains("the same file twice"), "{said}");
    liar.expect_here(&[]);
    let (liar, said) = listed(r"printf 'f 5 0 644 ./a\0f 5 0 644 ./a\0'", 1);
    assert!(said.contains("data/a would come twice"), "{said}");
    liar.expect_here(&["data/a"]);
}

/// A file where what is in a folder was asked for. A folder where a file was meant is under the name that was asked for.
#[test]
fn a_file_in_the_place_of_a_folder_is_refused() {
    let liar = Liar::with_shell(&Lies { kind: "file", list: r"printf 'f 5 0 644 .\0'", ..Lies::default() });
    liar.ask(&["-q"], "data/").expect_code(1).expect_said("it is a file, not a folder");
    liar.expect_here(&[]);
    let liar = Liar::with_scp(b"C0644 5 data\nhello\0");
    liar.ask(&["-q", "-O"], "data/").expect_code(1).expect_said("a file where a folder was asked for");
    liar.expect_here(&[]);
}

/// A file that is no file, and what is both a file and a folder.
#[test]
fn lists_that_contradict_themselves_do_no_harm() {
    let liar = Liar::with_shell(&Lies { kind: "file", list: r"printf 'd 5 0 644 .\0'", ..Lies::default() });
    liar.ask(&["-q"], "data").expect_code(1).expect_said("a file that is none");
    liar.expect_here(&[]);
    let (liar, _) = listed(r"printf 'f 5 0 644 ./a\0f 5 0 644 ./a/b\0'", 1);
    liar.expect_here(&["data/a"]);
    // A link, and a file behind it: no link comes of it.
    let (liar, _) = listed(r"printf 'l 5 0 777 ./a\0f 5 0 644 ./a/b\0'", 0);
    assert!(fs::symlink_metadata(liar.here().join("data/a")).expect("it is here").is_dir());
    liar.expect_here(&["data/a/b"]);
}

/// skiff's own folder is not the server's to write to.
#[test]
fn staging_is_not_the_servers() {
    let liar = Liar::with_shell(&Lies {
        list: r"printf 'f 5 0 644 ./.skiff/pull-1\0d 0 0 755 ./.skiff\0f 5 0 644 ./a\0'",
        ..Lies::default()
    });
    liar.ask(&["-q"], "data/").expect_code(0);
    assert!(!liar.here().join(".skiff/pull-1").exists());
    liar.expect_here(&["a"]);
}

/// CVE-2019-6110: nothing that the server says on its standard error, or instead of an answer, drives the terminal.
#[test]
fn cve_2019_6110_what_the_server_says_is_shown_escaped() {
    let list = r"printf '\033[2Jforged\r\033]0;title\007' >&2; exit 1";
    for flags in [&["-q"][..], &["-vvv"]] {
        let liar = Liar::with_shell(&Lies { list, ..Lies::default() });
        let said = liar.ask(flags, "data").said;
        assert!(said.contains("\\x1b[2Jforged"), "{said}");
        assert!(!said.contains(['\x1b', '\x07', '\r']), "{said:?}");
    }
    let (_, said) = sent(b"\x1b]0;forged\x07\n");
    assert!(!said.contains('\x1b'), "{said}");
}

/// CVE-2019-6109: names and answers of the server never drive the terminal.
#[test]
fn cve_2019_6109_names_are_shown_escaped() {
    let lies = Lies { list: r"printf 'f 5 0 644 ./\033[2Jforged\ndone\0'", ..Lies::default() };
    let ended = Liar::with_shell(&lies).ask(&["--dry-run"], "data").expect_code(0);
    assert!(!ended.said.contains('\x1b') && ended.said.contains("\\x1b[2Jforged\\ndone"), "{}", ended.said);
    let (_, said) = sent(b"\x01\x1b[2Jforged\n");
    assert!(!said.contains('\x1b') && said.contains("\\x1b[2Jforged"), "{said}");
    let (_, said) = listed(r"printf 'f \033[2J 0 644 ./x\0'", 1);
    assert!(!said.contains('\x1b'), "{said}");
}

/// CVE-2019-12098: a link that stands in the way, or is planted there, is never followed.
#[test]
fn links_in_the_way_are_not_followed() {
    for scp in [false, true] {
        let liar = if scp {
            Liar::with_scp(b"D0755 0 data\nC0644 5 a\nhello\0E\n")
        } else {
            Liar::with_shell(&Lies { list: r"printf 'f 5 0 644 ./a\0'", ..Lies::default() })
        };
        let outside = liar.around().join("outside");
        fs::create_dir(&outside).expect("the folder is writable");
        symlink(&outside, liar.here().join("data")).expect("the folder is writable");
        let flags: &[&str] = if scp { &["-q", "-O", "--replace"] } else { &["-q", "--replace"] };
        liar.ask(flags, "data").expect_code(1).expect_said("symlink");
        assert_eq!(fs::read_dir(&outside).expect("it is there").count(), 0, "scp: {scp}");
    }
}

/// Content that is longer or shorter than was said, or of another digest, is never published.
#[test]
fn wrong_sizes_and_digests_are_never_published() {
    let list = r"printf 'f 5 0 644 ./a\0'";
    for bodies in ["printf hell", "printf hello-and-more", ":"] {
        let digest = blake3::hash(b"other").to_hex().to_string();
        let liar = Liar::with_shell(&Lies { list, bodies, digest, ..Lies::default() });
        assert_ne!(liar.ask(&["-q"], "data").code, Some(0), "{bodies}");
        liar.expect_here(&[]);
    }
    for wire in [&b"C0644 3 data\nhello\0"[..], b"C0644 9 data\nhello\0", b"C0644 5 data\nhello"] {
        sent(wire).0.expect_here(&[]);
    }
}

/// Whatever goes on without an end is ended: noise, lists, lines, content.
#[test]
fn endless_output_is_ended() {
    for lies in [
        Lies { hello: "cat /dev/zero", ..Lies::default() },
        Lies { list: "cat /dev/zero", ..Lies::default() },
        Lies { list: r"printf 'f 5 0 644 ./a\0'", bodies: "cat /dev/zero", ..Lies::default() },
        Lies { list: r"printf '\n%s end\n' $N; cat /dev/zero", ..Lies::default() },
    ] {
        let liar = Liar::with_shell(&lies);
        assert_ne!(liar.ask(&["-q"], "data").code, Some(0));
        liar.expect_here(&[]);
    }
    let (liar, _) = sent(&[b"C0644 5 ".as_slice(), &b"x".repeat(1 << 20)].concat());
    liar.expect_here(&[]);
}

/// The same of `scp` alone, whose every message may be followed by one more: what is kept of them is bounded.
#[test]
fn endless_messages_of_scp_are_ended() {
    let name = "n".repeat(200);
    for (commands, gist) in [
        (r#"printf 'D0755 0 data\n'; yes "$(printf '\001x')""#.to_owned(), "takes more than 256 MiB"),
        // By then it has said that nothing comes; whichever limit is met first.
        (r#"yes "$(printf '\001x')""#.to_owned(), ""),
        (
            format!(r"printf 'D0755 0 data\n'; seq -f 'D0755 0 {name}%.0f@E' inf | tr @ '\n'"),
            "takes more than 256 MiB",
        ),
        (r"yes 'T0 0 0 0'".to_owned(), "the times of nothing"),
        (r"printf 'E\n'; cat /dev/zero".to_owned(), "receiving by scp"),
    ] {
        let liar = Liar::in_place_of_scp(&commands);
        let ended = liar.ask(&["-q", "-O"], "data");
        assert!(ended.code != Some(0) && ended.said.contains(gist), "{commands}: {}", ended.said);
        liar.expect_here(&[]);
    }
}

/// All is here: whoever lets words drip behind it holds up nothing.
#[test]
fn what_drips_behind_the_end_is_not_waited_for() {
    let commands = r"printf 'C0644 5 data\nhello\0\001'; while printf x; do sleep 1; done";
    let liar = Liar::in_place_of_scp(commands);
    liar.ask(&["-q", "-O"], "data").expect_code(0);
    liar.expect_here(&["data"]);
}

/// CVE-2018-20685, CVE-2019-6111 over SFTP: names that lead elsewhere end it, and nothing is written anywhere.
#[test]
fn names_that_a_lying_sftp_server_lists_lead_nowhere() {
    let sshd = Sshd::start();
    fs::write(sshd.root().join("honest"), "hello").expect("the server's folder is writable");
    for name in [&b"honest"[..], b"../evil", b"/tmp/evil", b"a/../../evil", b"a/b", b"a\0b", b""] {
        let folder = || TempDir::new().expect("there is room for a temporary folder");
        let (home, scratch) = (folder(), folder());
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let server = match AsyncSsh::that_lists(name, &sshd, home.path(), cache) {
            Ok(server) => server,
            Err(why) => return machine::not_shown("an SFTP server that lies", &why),
        };
        let pull = Pull::at(server.port, sshd.user(), &sshd.key(), &server.known_hosts);
        let target = scratch.path().join("here/below");
        if name == b"honest" {
            // Or the rest would show nothing.
            pull.run(sshd.root(), &target).expect_code(0);
            continue;
        }
        pull.run(sshd.root(), &target).expect_code(1).expect_said("the server answered");
        assert_eq!(tree::count(scratch.path()), 0, "{name:?} led somewhere");
    }
}

/// What a file is claimed to have costs no memory, and is refused where it can't fit.
#[test]
fn a_file_larger_than_the_disk_is_refused_and_the_others_come() {
    let (liar, said) = listed(r"printf 'f 4611686018427387904 0 644 ./a\0f 5 0 644 ./b\0'", 1);
    assert!(said.contains("free here"), "{said}");
    liar.expect_here(&["data/b"]);
}
