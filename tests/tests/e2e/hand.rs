//! `hand.sh` as each shell understands it, without a connection.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use skiff_tests::{Toolbox, hand, process, wait};
use tempfile::TempDir;

/// A destination's folder, with a staging that any shell takes on.
fn destination() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::create_dir_all(folder.path().join(".skiff/ab.0/m")).expect("a new folder is writable");
    folder
}

fn staged(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(".skiff/ab.0").join(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is writable");
    fs::write(path, content).expect("the folder is writable");
}

fn text(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
}

fn say(command: &mut Command, verbs: &[&str]) -> String {
    hand::say(command, &hand::sent(), verbs)
}

/// With commands of ours. SHA-256 alone is read while a file comes.
fn with_tools(shell: &[PathBuf], folder: &Path, tools: &Toolbox) -> Command {
    let mut command = hand::command(shell, folder);
    command.env("PATH", tools.path()).env("HOME", tools.home());
    command
}

/// Taken names cost the others nothing, whatever the names are: each is linked or left.
#[test]
fn what_is_left_is_what_cannot_be_linked() {
    for shell in hand::shells() {
        let folder = destination();
        let names: Vec<String> = (0..250).map(|number| format!("d/{number}")).collect();
        let odd = ["d/-a b", "d/*", "{}/x", "a {} {}/x", "$(touch x)/'"].map(str::to_owned);
        for name in names.iter().chain(&odd) {
            staged(&folder, &format!("m/{name}"), name);
        }
        for taken in ["d/0", "d/120", "d/249"] {
            fs::create_dir_all(folder.path().join("d")).expect("the folder is writable");
            fs::write(folder.path().join(taken), "somebody else's").expect("the folder is writable");
        }
        std::os::unix::fs::symlink("nowhere", folder.path().join("d/7")).expect("the folder is writable");
        // What stands already is not moved as a whole.
        for stands in ["{}", "a {} {}", "$(touch x)"] {
            fs::create_dir_all(folder.path().join(stands)).expect("the folder is writable");
        }

        let folders = ["publish", "d", "{}", r"a\0040{}\0040{}", r"$(touch\0040x)", "/"];
        let said =
            say(&mut hand::command(&shell, folder.path()), &[&["root .", "use ab"], &folders[..]].concat());

        let left: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("./")).collect();
        let mut sorted = left.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["d/0", "d/120", "d/249", "d/7"], "{shell:?}: {said}");
        for name in names.iter().chain(&odd).filter(|name| !left.contains(&name.as_str())) {
            assert_eq!(text(&folder, name), *name, "{shell:?}");
        }
        assert_eq!(text(&folder, "d/120"), "somebody else's");
        assert!(!folder.path().join("x").exists());
    }
}

/// Whatever variables a login exports, none of them names a file to write to.
#[test]
fn variables_of_the_login_are_not_taken_for_its_own() {
    for shell in hand::shells() {
        let folder = destination();
        let other = TempDir::new().expect("a temporary folder");
        let victim = other.path().join("victim");
        fs::write(&victim, "precious").expect("a new folder is writable");
        fs::create_dir(folder.path().join("to")).expect("a new folder is writable");
        fs::create_dir(other.path().join("to")).expect("a new folder is writable");
        staged(&folder, "m/small", "small");
        let mut command = hand::command(&shell, folder.path());
        for letter in ('A'..='Z').filter(|letter| !['N', 'P'].contains(letter)) {
            command.env(letter.to_string(), &victim);
        }
        command.env("FOLLOWER", "1").env("HAS_LINKS", "yes").env("SYNC", &victim).env("CDPATH", other.path());

        let said = say(&mut command, &["root .", "use ab", "place m/small small", "open cd fresh", "follow"]);

        assert_eq!(said.matches("abcdef ok").count(), 6, "{shell:?}: {said}");
        assert_eq!(fs::read_to_string(&victim).expect("it stays"), "precious", "{shell:?}: {said}");
        say(command.env("CDPATH", other.path()), &["root to"]);
        assert!(folder.path().join("to/.skiff").exists() && !other.path().join("to/.skiff").exists());
    }
}

/// A session that is spoken to line by line.
struct Session {
    child: Child,
    write: ChildStdin,
    read: BufReader<ChildStdout>,
}

impl Session {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let write = child.stdin.take().expect("it is piped");
        let read = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut session = Session { child, write, read };
        session.ask(&hand::sent());
        session
    }

    fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    fn ask(&mut self, verb: &str) -> String {
        writeln!(self.write, "{verb}").expect("it listens");
        let mut line = String::new();
        while !line.starts_with("abcdef ") {
            line.clear();
            let read = self.read.read_line(&mut line).expect("it answers");
            assert_ne!(read, 0, "it ended after {verb}");
        }
        line
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let below = process::descendants(process::pid(&self.child));
        let _gone = self.child.kill();
        for one in below {
            process::signal(one, rustix::process::Signal::KILL);
        }
        self.child.wait().expect("a child can be waited for");
    }
}

/// Whatever is asked for in between, even by a client that makes no sense.
#[test]
fn one_reader_at_most_reads_beside_the_shell() {
    for shell in hand::shells() {
        let (folder, tools) = (destination(), Toolbox::without(&["b3sum"]).and(&["sleep"]));
        let mut session = Session::start(&mut with_tools(&shell, folder.path(), &tools));
        assert!(session.ask("root .").contains("digest=sha256"), "it is read while it comes");
        session.ask("open cd fresh");
        for _ in 0..4 {
            session.ask("follow");
            session.ask("publish\n\n/");
        }
        let pid = process::pid(&session.child);
        // What loops, what it has running for a moment, and what computes.
        let few = wait::came_true(wait::LIMIT / 4, || process::descendants(pid).len() <= 3);
        assert!(few, "{shell:?}: {} processes", process::descendants(pid).len());
    }
}

/// It is not waited for either: nobody would tell it that it has all.
#[test]
fn a_reader_of_another_shipment_is_not_waited_for() {
    for shell in hand::shells() {
        let (folder, tools) = (destination(), Toolbox::without(&["b3sum"]).and(&["sleep"]));
        staged(&folder, "part", "abc\n");
        let mut command = with_tools(&shell, folder.path(), &tools);
        let said =
            say(&mut command, &["root .", "open cd fresh", "follow", "use ab", "digest", "open cd fresh"]);
        let digest = "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb";
        assert!(said.contains(&format!("abcdef ok {digest}")), "{shell:?}: {said}");
    }
}

/// The digest of what is followed is that of all of it.
#[test]
fn what_comes_while_it_is_read_is_read_whole() {
    for shell in hand::shells() {
        let (folder, tools) = (destination(), Toolbox::without(&["b3sum"]).and(&["sleep"]));
        let mut session = Session::start(&mut with_tools(&shell, folder.path(), &tools));
        session.ask("root .");
        session.ask("use ab");
        session.ask("follow");
        let part = folder.path().join(".skiff/ab.abcdef/part");
        let sum = folder.path().join(".skiff/ab.abcdef/sum");
        assert!(wait::came_true(wait::LIMIT, || sum.exists()), "{shell:?}: nobody reads");
        fs::write(&part, "abc\n").expect("the folder is writable");
        let digest = "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb";
        assert_eq!(session.ask("digest").trim_end(), format!("abcdef ok {digest}"), "{shell:?}");
        assert!(!sum.exists(), "{shell:?}");
    }
}

/// A sync takes as long as it likes, and what takes the name meanwhile is somebody else's.
#[test]
fn what_takes_the_name_during_the_sync_is_not_replaced() {
    let swaps =
        r#"case $* in */part) printf "somebody else's" >other; mv other a ;; esac; exec "$REAL" "$@""#;
    let digest = "edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb";
    for shell in hand::shells() {
        for expected in [digest, "any 4"] {
            let replaced = |tools: &Toolbox| {
                let folder = destination();
                staged(&folder, "part", "newer");
                fs::write(folder.path().join("a"), "abc\n").expect("a new folder is writable");
                let verbs = ["root .", "use ab", &format!("replace part a {expected}")];
                let said = say(&mut with_tools(&shell, folder.path(), tools), &verbs);
                (said.lines().last().unwrap_or_default().trim_end().to_owned(), text(&folder, "a"))
            };
            let tools = || Toolbox::without(&["b3sum"]);
            let kept = ("abcdef no changed".to_owned(), "somebody else's".to_owned());
            assert_eq!(replaced(&tools().with("sync", swaps)), kept, "{shell:?}, {expected}");
            let done = ("abcdef ok".to_owned(), "newer".to_owned());
            assert_eq!(replaced(&tools()), done, "{shell:?}, {expected}");
        }
    }
}

/// One failure of `ln`, as on a disk that is full for a moment, doesn't send all that comes later another way.
#[test]
fn a_link_that_could_not_be_made_once_is_tried_again() {
    for shell in hand::shells() {
        let fails = r#"[ -e "$HOME/failed" ] || { : >"$HOME/failed"; exit 1; }; exec "$REAL" "$@""#;
        let tools =
            Toolbox::usual().with("ln", fails).with("mv", r#"echo "$*" >>"$HOME/moves"; exec "$REAL" "$@""#);
        let folder = destination();
        for name in ["m/a", "m/b"] {
            staged(&folder, name, name);
        }
        let verbs = ["root .", "use ab", "place m/a a", "place m/b b"];
        let said = say(&mut with_tools(&shell, folder.path(), &tools), &verbs);

        assert_eq!([text(&folder, "a"), text(&folder, "b")], ["m/a", "m/b"], "{shell:?}: {said}");
        let moves = fs::read_to_string(tools.note("moves")).expect("the first was moved");
        assert!(moves.contains("m/a ./a") && !moves.contains("m/b"), "{shell:?}: {moves}");
    }
}

/// Members that were not verified have names like any other.
#[test]
fn what_is_omitted_is_left() {
    for shell in hand::shells() {
        let folder = destination();
        let names = ["a", "x y", "d/a", "d/b", "d/*", "new/a", "new/c"];
        for name in names {
            staged(&folder, &format!("m/{name}"), name);
        }
        fs::create_dir(folder.path().join("d")).expect("the folder is writable");
        let omitted = [r"x\0040y", "d/b", "new/a", "not/there", "/"];
        let verbs =
            [&["root .", "use ab", "omit"], &omitted[..], &["publish", ".", "d", "new", "/"]].concat();

        let said = say(&mut hand::command(&shell, folder.path()), &verbs);

        let mut left: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("./")).collect();
        left.sort_unstable();
        assert_eq!(left, ["d/b", "new/a", "x y"], "{shell:?}: {said}");
        for name in names {
            assert_eq!(folder.path().join(name).exists(), !left.contains(&name), "{shell:?}, {name}: {said}");
        }
    }
}

/// A copy that can't be read is not one that holds something else.
#[test]
fn what_can_not_be_read_has_no_digest() {
    let fails = r#"echo "$0: Input/output error" >&2; exit 1"#;
    let digests_little =
        format!(r#"read -r LINE; case $LINE in abc) echo abc | "$REAL" ;; *) {fails} ;; esac"#);
    for shell in hand::shells() {
        for (tool, script) in [("head", fails), ("sha256sum", &digests_little)] {
            let (folder, tools) = (destination(), Toolbox::without(&["b3sum", "openssl"]).and(&["head"]));
            let tools = tools.with(tool, script);
            fs::write(folder.path().join("log"), "content\n").expect("a new folder is writable");

            let said =
                say(&mut with_tools(&shell, folder.path(), &tools), &["root .", "use ab", "measure log"]);

            let last = said.lines().last().unwrap_or_default();
            assert!(
                last.starts_with("abcdef no measure ") && last.contains("Input/output error"),
                "{shell:?}, {tool}: {said}"
            );
        }
    }
}

/// Somebody may fetch a file away as soon as it has its name: the name is synced by its folder.
#[test]
fn what_was_fetched_away_before_its_name_was_synced_is_no_failure() {
    for shell in hand::shells() {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir_all(folder.path().join(".skiff/ab.0")).expect("a new folder is writable");
        fs::create_dir(folder.path().join("d")).expect("a new folder is writable");

        let said = say(&mut hand::command(&shell, folder.path()), &["root .", "use ab", "sync d/fetched"]);

        assert!(!said.contains(" no "), "{shell:?}: {said}");
        assert_eq!(said.matches(" ok").count(), 4, "{shell:?}: {said}");
    }
}

/// What was on its way to another file system goes with the staging that it came from, and nothing else does: who is confined
/// may have written the note of it.
#[test]
fn what_lies_beside_a_name_goes_with_its_staging() {
    for shell in hand::shells() {
        for (note, goes) in [
            ("./sub/.skiff-0af", true),
            ("sub/.skiff-0af", true),
            ("../out/.skiff-0af", false),
            ("link/.skiff-0af", false),
            ("sub/mine", false),
            ("sub/.skiff-mine", false),
        ] {
            for verb in ["use ab", "drop ab", "open ab", "sweep ab"] {
                let above = TempDir::new().expect("a temporary folder");
                let folder = above.path().join("root");
                let staging = folder.join(if verb == "sweep ab" { ".skiff/ab-1.0" } else { ".skiff/ab.0" });
                for made in [&staging, &above.path().join("out/.skiff-0af"), &folder.join("sub/mine")] {
                    fs::create_dir_all(made).expect("a new folder is writable");
                }
                for made in ["sub/.skiff-0af", "sub/.skiff-mine"] {
                    fs::create_dir_all(folder.join(made)).expect("a new folder is writable");
                }
                std::os::unix::fs::symlink("../out", folder.join("link")).expect("a new folder is writable");
                fs::write(staging.join("beside"), note).expect("a new folder is writable");
                let old = Command::new("touch")
                    .args(["-d", "20 days ago"])
                    .arg(staging.join("beside"))
                    .arg(&staging)
                    .status();
                assert!(old.expect("touch runs").success());
                let mut command = hand::command(&shell, &folder);
                let said = say(command.env("SKIFF_BELOW", &folder), &["root .", verb]);

                let is_there = |name: &str| folder.join(name).exists();
                assert_eq!(is_there("sub/.skiff-0af"), !goes, "{shell:?}, {verb}, {note}: {said}");
                let others = [is_there("sub/mine"), is_there("sub/.skiff-mine"), is_there("link/.skiff-0af")];
                assert_eq!(others, [true; 3], "{shell:?}, {verb}, {note}: {said}");
            }
        }
    }
}

/// Another folder that has its name is not the one that it stands in; then it ends.
#[test]
fn a_folder_whose_name_another_one_has_gets_nothing() {
    for shell in hand::shells() {
        for verb in ["open cd fresh", "use ab", "enter ab 0", "place part a", "sync a", "drop ab"] {
            let above = TempDir::new().expect("a temporary folder");
            let (root, away) = (above.path().join("root"), above.path().join("away"));
            fs::create_dir(&root).expect("a new folder is writable");
            let mut session = Session::start(&mut hand::command(&shell, above.path()));
            assert!(session.ask("root root").starts_with("abcdef ok "));
            assert!(session.ask("open ab").starts_with("abcdef ok "));
            fs::write(root.join(".skiff/ab.abcdef/part"), "content").expect("it is writable");
            fs::rename(&root, &away).expect("it is ours");
            fs::create_dir(&root).expect("it is ours");
            assert_eq!(session.ask(verb), "abcdef no moved\n", "{shell:?}, {verb}");
            assert!(wait::came_true(wait::LIMIT, || session.ended()), "{shell:?}: it goes on");
            assert!(!away.join("a").exists() && !root.join("a").exists(), "{shell:?}");
        }
    }
}

/// What comes meanwhile counts as well: the sync takes as long as it likes.
#[test]
fn what_is_published_while_another_folder_comes_does_not_count() {
    let swaps = r#"if [ ! -e "$HOME/met" ] && [ -e a ]; then : >"$HOME/met"; mv ../root ../away; mkdir ../root; fi; exec "$REAL" "$@""#;
    for shell in hand::shells() {
        for verb in ["place part a", "publish\n.\n/", "replace part a any"] {
            let (above, tools) =
                (TempDir::new().expect("a temporary folder"), Toolbox::usual().with("sync", swaps));
            fs::create_dir_all(above.path().join("root/.skiff/ab.0/m")).expect("a new folder is writable");
            for name in ["part", "m/a"] {
                fs::write(above.path().join("root/.skiff/ab.0").join(name), "content")
                    .expect("it is writable");
            }
            if verb.starts_with("replace") {
                fs::write(above.path().join("root/a"), "older").expect("it is writable");
            }
            let said = say(&mut with_tools(&shell, above.path(), &tools), &["root root", "use ab", verb]);
            assert!(tools.note("met").exists(), "{shell:?}: {said}");
            assert_eq!(said.lines().last(), Some("abcdef no moved"), "{shell:?}, {verb}: {said}");
        }
    }
}

/// Whether anything stands in a folder is known by its first name: a shell takes no memory for the others.
#[test]
fn a_full_folder_is_entered_as_soon_as_an_empty_one() {
    let (full, empty) = (destination(), destination());
    for number in 0..100_000 {
        fs::write(full.path().join(format!("a file's name, {number}")), "")
            .expect("a new folder is writable");
    }
    for shell in hand::shells() {
        let peak = |folder: &TempDir, used: &str| {
            let mut session = Session::start(&mut hand::command(&shell, folder.path()));
            let facts = session.ask("root .");
            assert!(facts.contains(used), "{shell:?}: {facts}");
            let status = fs::read_to_string(format!("/proc/{}/status", session.child.id())).expect("it runs");
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
            peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
        };
        let (full, empty) = (peak(&full, "used=yes"), peak(&empty, "used=no"));
        assert!(full < empty + 2048, "{shell:?}: {full} KiB, and {empty} in an empty folder");
    }
}
