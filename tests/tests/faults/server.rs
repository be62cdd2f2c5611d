//! Faults 61 to 83: what servers do. Some are elsewhere too: 64 and 76 in `e2e::conflict`, 68 and 83 in `e2e::push`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use skiff_tests::machine::{self, Mounted};
use skiff_tests::skiff::{Ended, Push, contents_of};
use skiff_tests::{Agent, Dropbear, Sshd, Toolbox, Tree, process, tree};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn scratch() -> TempDir {
    TempDir::new().expect("there is room for a temporary folder")
}

/// A few small files that travel together, with names that need care, and one that travels alone.
fn mixed(root: &Path, seed: u64) -> Tree {
    let mut source = Tree::new(root, seed);
    source.small_files(30, 3);
    source.file("a name/with\nodd 'bytes\"", 300);
    source.file("large.bin", 2 * MIB);
    source
}

/// Pushes a mixed tree to a server with these lines of configuration.
#[track_caller]
fn push_to(lines: &str) -> Ended {
    let (sshd, scratch) = (Sshd::start_with(lines), scratch());
    let source = mixed(&scratch.path().join("data"), 1);
    let ended = Push::to(&sshd).run(contents_of(source.root()), &sshd.root());
    if ended.code == Some(0) {
        tree::assert_equal(source.root(), &sshd.root());
    } else {
        assert_eq!(tree::count(&sshd.root()), 0, "nothing comes of a failure");
    }
    ended
}

/// The full disk is named, holds nothing of ours, and gets the file when there is room.
#[test]
fn fault_61_full_disk_is_named_and_gets_the_file_when_there_is_room() {
    if !machine::is_root("a small disk") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let disk = Mounted::tmpfs(&sshd.root(), "size=1m");
    let mut source = Tree::new(scratch.path().join("in"), 1);
    source.file("large.bin", 3 * MIB);
    // Nobody asks before, as where `df` doesn't know.
    let mut agent = Agent::with_destination(&sshd, "keep_free = 'off'")
        .watch("in", source.root(), "after_delivery = 'delete'")
        .started();

    agent.wait_until_logged("the reason is logged", |line| line.contains("no space left"));
    agent.wait_until("staging is removed", || tree::staged_bytes(&sshd.root()) == 0);
    assert_eq!(
        (tree::count(&sshd.root()), tree::count(source.root())),
        (0, 1),
        "nothing is published or lost"
    );
    disk.set("size=20m");

    agent.wait_until("the file is delivered", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 1);
}

/// The same for a batch of small files, and for a disk with room but no inodes.
#[test]
fn fault_62_exhausted_inodes_are_named_and_the_batch_arrives_when_there_are_some() {
    if !machine::is_root("a disk with few inodes") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let disk = Mounted::tmpfs(&sshd.root(), "size=20m,nr_inodes=40");
    let mut source = Tree::new(scratch.path().join("in"), 2);
    source.small_files(100, 5);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until_logged("the reason is logged", |line| line.contains("no space left"));
    disk.set("size=20m,nr_inodes=1000");

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// A read-only file system is named, and gets the files when it is writable again.
#[test]
fn fault_64_read_only_destination_is_named_and_recovers() {
    if !machine::is_root("a read-only disk") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let disk = Mounted::tmpfs(&sshd.root(), "size=20m,ro");
    let source = mixed(&scratch.path().join("in"), 3);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until_logged("the reason is logged", |line| line.contains("read-only"));
    disk.set("size=20m,rw");

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// The tool that is missing is named, as is what to do.
#[test]
fn fault_65_without_scp_files_go_by_sftp_or_it_is_named() {
    let without = Toolbox::without(&["scp"]);
    push_to(&without.lines()).expect_code(0);
    push_to(&format!("{}\nSubsystem other /bin/false", without.lines()))
        .expect_code(1)
        .expect_said("`scp`")
        .expect_said("install scp");
}

/// Without tar the files go one by one.
#[test]
fn fault_66_without_tar_files_go_one_by_one() {
    let toolbox = Toolbox::without(&["tar"]);
    push_to(&toolbox.lines()).expect_code(0);

    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let source = mixed(&scratch.path().join("in"), 4);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();
    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
    agent.terminate();
    assert_eq!(agent.receipts().len(), tree::count(source.root()), "each has its receipt");
}

/// Each digest tool will do, and without any the files are read back.
#[test]
fn fault_67_any_digest_tool_will_do_and_none_as_well() {
    let tools: [&[&str]; 5] = [&["b3sum"], &["openssl"], &["sha256sum"], &["shasum", "perl", "env"], &[]];
    for names in tools {
        let toolbox = Toolbox::of(
            &[&["cat", "cut", "df", "find", "ln", "mkdir", "mv", "rm", "scp", "sh", "sync"], names].concat(),
        );
        let toolbox = toolbox.and(&["tail", "tar", "touch", "tr", "wc"]);
        push_to(&toolbox.lines()).expect_code(0);
    }
}

/// What the start-up files of a shell say, on both outputs, before and without a newline at the end.
#[test]
fn fault_68_noisy_start_up_files_are_skipped() {
    let toolbox = Toolbox::usual();
    let noise = "echo Welcome; echo 'mail: you have mail' >&2; fortune() { printf 'no newline'; }; fortune\n";
    fs::write(toolbox.home().join(".bashrc"), noise).expect("the home is writable");
    push_to(&toolbox.lines()).expect_code(0);
}

/// Accounts that run no commands, or only some, are recognised, with their own words.
#[test]
fn fault_69_restricted_accounts_are_recognised() {
    for (lines, word) in [
        ("ForceCommand exec rbash -c \"$SSH_ORIGINAL_COMMAND\"", "restricted"),
        ("ForceCommand exec /usr/sbin/nologin", "not available"),
        ("ForceCommand exec /bin/false", "no shell"),
    ] {
        push_to(lines).expect_code(3).expect_said(word).expect_said("shell");
    }
}

/// The login shells that people have.
#[test]
fn fault_70_any_login_shell_will_do() {
    for shell in
        ["/bin/bash", "/bin/dash", "/bin/busybox ash", "/usr/bin/zsh", "/usr/bin/tcsh", "/usr/bin/fish"]
    {
        push_to(&format!("ForceCommand exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"")).expect_code(0);
    }
}

/// All tools are busybox, the shell as well.
#[test]
fn fault_71_busybox_tools_will_do() {
    let toolbox = Toolbox::busybox();
    push_to(&format!("{}\nForceCommand exec /bin/busybox ash -c \"$SSH_ORIGINAL_COMMAND\"", toolbox.lines()))
        .expect_code(0);
    push_to(&toolbox.lines()).expect_code(0);
}

/// Another server altogether.
#[test]
fn fault_72_dropbear_will_do() {
    if !machine::is_root("dropbear as a server") {
        return;
    }
    let (sshd, scratch) = (Sshd::start(), scratch());
    let dropbear = Dropbear::beside(&sshd, scratch.path());
    let source = mixed(&scratch.path().join("in"), 5);
    let mut agent = Agent::at(&sshd, ("127.0.0.1", dropbear.port), &dropbear.known_hosts, "")
        .watch("in", source.root(), "")
        .started();

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// Where a second of silence is a stall: the disk is everybody's, and takes what it takes.
const NO_SYNC: &str = "exit 0";

/// A digest that takes longer than any silence that is allowed elsewhere is waited for.
#[test]
fn fault_73_slow_digest_is_no_stall() {
    let slow = "[ \"$#\" = 0 ] || { exec \"$REAL\" \"$@\"; }\n\
                cat >\"$HOME/hashed.$$\"; [ \"$(wc -c <\"$HOME/hashed.$$\")\" -lt 1000 ] || sleep 3\n\
                exec \"$REAL\" <\"$HOME/hashed.$$\"";
    let toolbox = Toolbox::usual().with("b3sum", slow).with("sync", NO_SYNC).and(&["sleep"]);
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let mut source = Tree::new(scratch.path().join("in"), 6);
    source.file("large.bin", 8 * MIB);
    let impatient = "stall_timeout = '1s'";
    let mut agent = Agent::with_destination(&sshd, impatient).watch("in", source.root(), "").started();

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(!agent.log().contains("WARN"), "{}", agent.log());
}

/// What stands there under the name may be larger than what comes, and takes as long as it takes.
#[test]
fn fault_73_slow_digest_of_what_stands_there_is_no_stall() {
    let slow = "cat >\"$HOME/hashed.$$\"; [ \"$(wc -c <\"$HOME/hashed.$$\")\" -lt 1000 ] || sleep 3\n\
                exec \"$REAL\" <\"$HOME/hashed.$$\"";
    let slow = format!("[ $# = 0 ] || {{ sleep 3; exec \"$REAL\" \"$@\"; }}\n{slow}");
    let toolbox = Toolbox::usual().with("b3sum", &slow).with("sync", NO_SYNC).and(&["ls", "sleep"]);
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    Tree::new(sshd.root(), 13).file("name", 8 * MIB);
    let mut source = Tree::new(scratch.path().join("in"), 14);
    source.file("name", 10);
    let impatient = "stall_timeout = '1s'";
    let mut agent = Agent::with_destination(&sshd, impatient).watch("in", source.root(), "").started();

    agent.wait_until("the file is delivered", || tree::count(&sshd.root()) == 2);
    assert!(!agent.log().contains("nothing came from the server"), "{}", agent.log());
}

/// Tells another digest than that of the file, except when it is tried out.
const LYING: &str = "if [ \"$#\" = 0 ]; then\n\
                       cat >\"$HOME/hashed.$$\"\n\
                       [ \"$(wc -c <\"$HOME/hashed.$$\")\" -gt 4 ] || exec \"$REAL\" <\"$HOME/hashed.$$\"\n\
                       \"$REAL\" <\"$HOME/hashed.$$\" | tr 0123456789 1234567890\n\
                     else \"$REAL\" \"$@\" | tr 0123456789 1234567890; fi";

/// A digest that does not agree: never published, sent again, but not for ever; the sources stay.
#[test]
fn fault_74_wrong_digest_is_never_published_and_its_retries_are_capped() {
    let toolbox = Toolbox::usual().with("b3sum", LYING);
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let mut source = Tree::new(scratch.path().join("in"), 7);
    source.file("small-1", 500);
    source.file("small-2", 500);
    source.file("large.bin", 2 * MIB);
    let rules = "after_delivery = 'delete'\nretry_attempts = 3";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();

    for name in ["small-1", "small-2", "large.bin"] {
        agent.wait_until_logged("it is quarantined with its reason", |line| {
            line.contains(&format!("path={name} "))
                && line.contains("quarantined=true")
                && line.contains("attempts=3")
        });
    }
    assert!(agent.log().contains("the destination read"), "{}", agent.log());
    assert_eq!(
        (tree::count(&sshd.root()), tree::count(source.root())),
        (0, 3),
        "nothing is published or deleted"
    );
    agent.wait_until("staging is removed", || tree::staged_bytes(&sshd.root()) == 0);
    toolbox.repair("b3sum");
    source.replace("large.bin", MIB);

    agent.wait_until("a new version is delivered", || sshd.root().join("large.bin").exists());
}

/// Folders that are missing are made, also that of the destination itself.
#[test]
fn fault_75_missing_parents_are_made() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let source = mixed(&scratch.path().join("in"), 8);
    let rules = "destination_path = 'not/there yet/at all'";
    let mut agent = Agent::to(&sshd).watch("in", source.root(), rules).started();

    let target = sshd.root().join("not/there yet/at all");
    agent.wait_until("all are delivered", || tree::equal(source.root(), &target));
}

/// A symlink in the place of a file, or on the way to one, is never written through.
#[test]
fn fault_76_symlinks_at_the_destination_are_never_written_through() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).expect("a new folder is writable");
    fs::write(outside.join("victim"), "somebody else's").expect("a new folder is writable");
    symlink(outside.join("victim"), sshd.root().join("small")).expect("the destination is writable");
    symlink(outside.join("victim"), sshd.root().join("large.bin")).expect("the destination is writable");
    symlink(&outside, sshd.root().join("folder")).expect("the destination is writable");
    let mut source = Tree::new(scratch.path().join("in"), 9);
    for (name, size) in
        [("small", 500), ("large.bin", 2 * MIB), ("folder/victim", 500), ("folder/new", 2 * MIB)]
    {
        source.file(name, size);
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    for name in ["folder/victim", "folder/new"] {
        agent.wait_until_logged("what is behind a link waits with its reason", |line| {
            line.contains(&format!("path={name} ")) && line.contains("symlink")
        });
    }
    for prefix in ["small~", "large~"] {
        let beside = || fs::read_dir(sshd.root()).expect("it can be read").flatten();
        agent.wait_until("what stands in the place of a link comes beside it", || {
            beside().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        });
    }
    assert_eq!(fs::read(outside.join("victim")).expect("it is there"), b"somebody else's");
    assert_eq!(tree::count(&outside), 1, "nothing is written outside");
}

/// Waits at a step of the first delivery, so that everything can be killed just there.
fn killed_at(name: &str, condition: &str, after: bool) -> Toolbox {
    let (before, behind) = if after { ("\"$REAL\" \"$@\"; ", "") } else { ("", "exec \"$REAL\" \"$@\"") };
    let script = format!(
        "if {condition} && [ ! -e \"$HOME/met\" ]; then {before}: >\"$HOME/met\"; exec sleep 60; fi\n\
         {behind}{again}",
        again = if after { "exec \"$REAL\" \"$@\"" } else { "" }
    );
    Toolbox::usual().and(&["sleep"]).with(name, &script)
}

/// Kills all sessions at that step; both a batch and a file alone have to arrive afterwards, once.
#[track_caller]
fn arrives_although(toolbox: &Toolbox) {
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let kept = mixed(&scratch.path().join("kept"), 10);
    let source = mixed(&scratch.path().join("in"), 10);
    let rules = "after_delivery = 'delete'";
    let mut agent =
        Agent::with_destination(&sshd, "in_flight = 1").watch("in", source.root(), rules).started();
    let met = toolbox.note("met");
    for round in 1..=2 {
        agent.wait_until("the step is reached", || met.exists());
        assert!(sshd.kill_sessions() > 0, "there is a session to kill");
        for path in tree::files(&sshd.root()).expect("it can be read").into_keys() {
            let whole = tree::same_bytes(&kept.root().join(&path), &sshd.root().join(&path));
            assert!(whole, "{} is not whole at the destination", path.display());
        }
        if round == 1 {
            fs::remove_file(&met).expect("it was there");
        }
    }
    agent.wait_until("all are delivered", || tree::is_empty(source.root()));
    tree::assert_equal(kept.root(), &sshd.root());
}

/// The server dies after the upload, before anything has its final name.
#[test]
fn fault_77_death_between_upload_and_publish_costs_nothing() {
    arrives_although(&killed_at("ln", "true", false));
}

/// The server dies when final names exist, but nothing has been synced.
#[test]
fn fault_78_death_between_publish_and_sync_is_settled_by_digest() {
    arrives_although(&killed_at("ln", "true", true));
}

/// All is published and synced, but nobody hears of it.
#[test]
fn fault_80_lost_reply_after_publish_is_seen_as_done() {
    arrives_although(&killed_at(
        "sync",
        "[ \"$2\" = . ] && [ -n \"$(find . -path ./.skiff -prune -o -type f -print)\" ]",
        true,
    ));
}

/// What was left in staging by ourselves long ago is collected; what is young or somebody else's stays.
#[test]
fn fault_79_old_staging_is_collected() {
    let (sshd, scratch) = (Sshd::start(), scratch());
    let mut source = Tree::new(scratch.path().join("in"), 11);
    source.file("first", 2 * MIB);
    let slow = "bandwidth = '8 Mbit/s'";
    let mut agent = Agent::with_destination(&sshd, slow).watch("in", source.root(), "").started();
    let staging = sshd.root().join(tree::STAGING);
    let staged = || -> Option<String> {
        let entries = fs::read_dir(&staging).ok()?.flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| !name.starts_with('.'))
    };
    agent.wait_until("the transfer is under way", || staged().is_some());
    let own = staged().expect("it is under way");
    agent.kill9();
    let sender = own.split('-').next().expect("the sender's name stands first");
    let left = |name: &str, age: &str| {
        let folder = staging.join(name);
        fs::create_dir(&folder).expect("staging is writable");
        fs::write(folder.join("part"), "left behind").expect("staging is writable");
        process::run(Command::new("touch").args(["-d", age]).arg(folder.join("part")).arg(&folder));
        folder
    };
    let old = left(&format!("{sender}-00000000000000000000"), "20 days ago");
    let young = left(&format!("{sender}-11111111111111111111"), "1 day ago");
    let foreign = left("ffffffff-00000000000000000000", "20 days ago");

    agent.start();

    agent.wait_until("the file is delivered", || tree::equal(source.root(), &sshd.root()));
    agent.wait_until("the old staging is collected", || !old.exists());
    assert!(young.exists() && foreign.exists(), "only our own old ones go");
}

/// An scp that says yes and writes nothing: the digest finds out, nothing is called done.
#[test]
fn fault_81_scp_that_writes_nothing_is_found_out() {
    let nothing = "\"$REAL\" \"$@\" || exit\n\
                   [ -e \"$HOME/met\" ] || case $2 in */part) rm -f \"$2\"; : >\"$HOME/met\" ;; esac";
    arrives_after(&Toolbox::usual().with("scp", nothing));
}

/// An scp that leaves out the end.
#[test]
fn fault_81_scp_that_writes_less_is_found_out() {
    let less = "\"$REAL\" \"$@\" || exit\n\
                [ -e \"$HOME/met\" ] || case $2 in */part) truncate -s -1 \"$2\"; : >\"$HOME/met\" ;; esac";
    arrives_after(&Toolbox::usual().and(&["truncate"]).with("scp", less));
}

/// A tar that extracts half of the files, and half of one: the whole ones go on, the others are sent again.
#[test]
fn fault_82_half_extracted_batch_is_found_out_by_its_members() {
    let half = "\"$REAL\" \"$@\" || exit\n\
                [ -e \"$HOME/met\" ] || { : >\"$HOME/met\"; cd \"$4\" && rm -rf folder-000 && truncate -s 10 folder-001/*; }";
    arrives_after(&Toolbox::usual().and(&["truncate"]).with("tar", half));
}

/// The others are published together, though one is not.
#[test]
fn fault_82_a_member_that_is_spoiled_costs_the_others_nothing() {
    let one = "\"$REAL\" \"$@\" || exit\nmember=$4/folder-000/file-00003.dat\n\
               [ -e \"$HOME/met\" ] || [ ! -e \"$member\" ] || { : >\"$HOME/met\"; truncate -s 10 \"$member\"; }";
    let toolbox = Toolbox::usual().and(&["truncate"]).with("tar", one);
    let toolbox = toolbox.with("sync", "echo >>\"$HOME/syncs\"; exec \"$REAL\" \"$@\"");
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let mut source = Tree::new(scratch.path().join("in"), 15);
    source.small_files(300, 3);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until("all are delivered", || tree::equal(source.root(), &sshd.root()));
    assert!(toolbox.note("met").exists(), "the fault was not met");
    let syncs = fs::read_to_string(toolbox.note("syncs")).expect("it is synced").len();
    assert!(syncs < 100, "{syncs} syncs for 300 files");
}

#[track_caller]
fn arrives_after(toolbox: &Toolbox) {
    let (sshd, scratch) = (Sshd::start_with(&toolbox.lines()), scratch());
    let kept = mixed(&scratch.path().join("kept"), 12);
    let source = mixed(&scratch.path().join("in"), 12);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "after_delivery = 'delete'").started();

    agent.wait_until("all are delivered", || tree::is_empty(source.root()));
    assert!(toolbox.note("met").exists(), "the fault was not met");
    tree::assert_equal(kept.root(), &sshd.root());
}

/// A command that somebody forces upon the session is not ours.
#[test]
fn fault_83_forced_command_is_detected() {
    push_to("ForceCommand echo 'Only backups here'").expect_code(3).expect_said("Only backups here");
    let (sshd, scratch) = (Sshd::start_with("ForceCommand exec cat"), scratch());
    let agent = Agent::with_destination(&sshd, "stall_timeout = '1s'").watch("in", scratch.path(), "");
    agent.ask(&["check"]).expect_code(3).expect_said("starting a shell");
}

skiff_tests::by_sftp_too! {
    fault_61_full_disk_is_named_and_gets_the_file_when_there_is_room,
    fault_62_exhausted_inodes_are_named_and_the_batch_arrives_when_there_are_some,
    fault_64_read_only_destination_is_named_and_recovers,
    fault_76_symlinks_at_the_destination_are_never_written_through,
}
