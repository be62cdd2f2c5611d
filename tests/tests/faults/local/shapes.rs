//! Files that are odd from the start: their rights, names, sizes and times.

use super::*;

/// A file and a folder that can't be read wait, with the reason, and go when they can.
#[test]
fn fault_12_no_permission_blocks_and_recovers() {
    let (sshd, _scratch, mut source) = start();
    let closed = source.file("closed.dat", 100);
    source.file("closed/inside.dat", 100);
    source.file("open.dat", 100);
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its owner may");
    };
    set_mode(&closed, 0o000);
    set_mode(&source.root().join("closed"), 0o000);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "rescan = '2s'");
    if rustix::process::geteuid().is_root() {
        // Root without the powers that make modes mean nothing.
        agent.set_under(["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]);
    }
    agent.start();

    agent.wait_until("the open one is delivered", || sshd.root().join("open.dat").exists());
    agent.wait_until_logged("the file's reason is told", |line| {
        line.contains("closed.dat") && line.contains("permission denied")
    });
    agent.wait_until_logged("the folder's reason is told", |line| {
        line.contains("permission denied") && !line.contains("closed.dat")
    });
    assert_eq!(tree::count(&sshd.root()), 1);
    set_mode(&closed, 0o600);
    set_mode(&source.root().join("closed"), 0o700);

    agent.wait_until("both are delivered", || tree::equal(source.root(), &sshd.root()));
}

/// A path that no system call takes is refused with its reason; one that only the destination can't take waits or is
/// refused with its own; all others go on.
#[test]
fn fault_18_path_beyond_4096_bytes_is_delivered_or_refused_with_a_reason() {
    let (sshd, _scratch, mut source) = start();
    let folder_name = "n".repeat(250);
    let mut folder = File::open(source.root()).expect("it is there");
    for depth in 0..20_usize {
        // 0: nothing odd. 15: within the limit here, beyond it in a staging folder. 19: beyond it everywhere.
        if [0, 15, 19].contains(&depth) {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            let file = openat(&folder, format!("at-{depth}"), flags, Mode::RUSR | Mode::WUSR);
            File::from(file.expect("the name is free")).write_all(b"deep").expect("there is room");
        }
        mkdirat(&folder, &*folder_name, Mode::RWXU).expect("the name is free");
        let flags = OFlags::DIRECTORY | OFlags::RDONLY;
        folder = openat(&folder, &*folder_name, flags, Mode::empty()).expect("it was made").into();
    }
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until("the top one is delivered", || sshd.root().join("at-0").exists());
    agent.wait_until_logged("the reason is told", |line| line.contains("longer than a file system takes"));
    let deep: PathBuf = std::iter::repeat_n(&*folder_name, 15).collect();
    let (there, log) = (sshd.root().join(deep).join("at-15"), agent.home().join("log"));
    agent.wait_until("the deep one is delivered, or its reason is told", || {
        let told = fs::read(&log).unwrap_or_default();
        let told = String::from_utf8_lossy(&told).lines().any(|line| line.contains("at-15"));
        told || fs::read(&there).is_ok_and(|bytes| bytes == b"deep")
    });
    expect_goes_on(&mut agent, &mut source, &sshd);
}

/// Holes are read as zeros, and nobody holds them in memory.
#[test]
fn fault_19_sparse_file_arrives_without_filling_memory() {
    let (sshd, _scratch, mut source) = start();
    let path = source.file("sparse.img", 1000);
    let file = OpenOptions::new().write(true).open(&path).expect("it is there");
    file.set_len(300 << 20).expect("holes take no room");
    file.write_all_at(b"in the middle", 150 << 20).expect("there is room");
    drop(file);
    let mut agent = Agent::to(&sshd).watch("in", source.root(), "").started();

    agent.wait_until("it is delivered", || tree::count(&sshd.root()) == 1);

    tree::assert_equal(source.root(), &sshd.root());
    let peak = agent.peak_bytes();
    assert!(peak < 96 << 20, "{} MiB were resident", peak >> 20);
}

/// `LD_PRELOAD` puts the wall clock wherever a file says; the agent settles, sends and retries by the other clock.
#[test]
fn fault_22_clock_jumps_move_no_timer() {
    let (sshd, scratch, mut source) = start();
    let (library, offset) = (scratch.path().join("clock.so"), scratch.path().join("offset"));
    let program = scratch.path().join("clock.c");
    fs::write(&program, CLOCK).expect("there is room");
    let mut compile = Command::new("cc");
    process::run(compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&program).arg("-ldl"));
    let jump = |seconds: i64| fs::write(&offset, format!("{seconds:>20}")).expect("there is room");
    jump(0);
    let mut agent = Agent::with_destination(&sshd, SLOW).watch("in", source.root(), DELETE);
    let word = |name: &str, path: &Path| format!("{name}={}", path.display());
    agent.set_under(["env".to_owned(), word("LD_PRELOAD", &library), word("SKIFF_TEST_CLOCK", &offset)]);
    agent.start();
    source.file("first", 100);
    agent.wait_until("the agent works", || tree::is_empty(source.root()));

    // Ten years on, before 1970, and back, in mid-transfer and while files settle.
    for (round, seconds) in [315_360_000, -1_900_000_000, 0].into_iter().enumerate() {
        source.file(format!("large-{round}.bin"), LARGE_BYTES / 2);
        source.small_files(10, 2);
        agent.wait_until("the transfer is under way", || tree::staged_bytes(&sshd.root()) > 0);
        jump(seconds);
        agent.wait_until("all is delivered", || tree::is_empty(source.root()));
    }
    let log = agent.log();
    assert!(log.lines().any(|line| line.starts_with("203")), "the clock never jumped:\n{log}");
}

const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *to) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int outcome = real(id, to);
  const char *path = getenv("SKIFF_TEST_CLOCK");
  if (outcome || id != CLOCK_REALTIME || !path) return outcome;
  char text[32] = {0};
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file >= 0) { if (read(file, text, 31) > 0) to->tv_sec += atol(text); close(file); }
  return outcome;
}
"#;

/// Settling doesn't ask how old a file says it is.
#[test]
fn fault_23_modification_times_in_the_future_and_long_past_settle() {
    let (sshd, _scratch, mut source) = start();
    let epoch = SystemTime::UNIX_EPOCH;
    let years = |count: u64| Duration::from_secs(count * 31_556_952);
    let times = [epoch, epoch - years(1), epoch + years(1), epoch + years(230), SystemTime::now() + years(1)];
    for (number, time) in times.into_iter().enumerate() {
        for (kind, size) in [("small", 100), ("large", 2 << 20)] {
            let path = source.file(format!("{kind}-{number}"), size);
            let file = OpenOptions::new().write(true).open(path).expect("it is there");
            file.set_times(FileTimes::new().set_modified(time)).expect("its owner may");
        }
    }

    let mut agent = Agent::to(&sshd).watch("in", source.root(), DELETE).started();

    agent.wait_until("all are delivered", || tree::is_empty(source.root()));
    assert_eq!(tree::count(&sshd.root()), 10);
}
