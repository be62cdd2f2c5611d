//! What could stop a delivery on this machine: the state folder, what is watched, and who may ask.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use skiff_common::RelPath;
use skiff_config::{AfterDelivery, Control, Mode, Route, Settings, Watch, WatchGlobs};

use super::lines::{Lines, Obstacle};
use super::mounts;
use super::writers::Writers;
use crate::cli::exit;
use crate::context::{MOUNT_IT, unmounted};
use crate::control;
use crate::finish;
use crate::ignores::Ignores;
use crate::source::{Look, Root, SourceError};

/// How long the agent may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Of a watched folder on FAT whose files stay.
const SENT_AGAIN: &str = "it is on FAT or exFAT, which numbers files anew with each mount, so those that stay are sent again then: \
    have them deleted or moved when they are delivered, or put the folder on another file system";

/// Checks everything but the destinations.
pub(super) fn check(settings: &Settings, lines: &mut Lines) {
    check_state(&settings.state_dir, lines);
    let missed = mounts::missed(settings);
    let check_watch = |watch: &Watch| check_watch(watch, missed.contains(&watch.name), lines);
    let folders = settings.watches.iter().map(check_watch).sum();
    check_limits(settings, folders, lines);
    check_control(&settings.control, &settings.state_dir, lines);
}

/// Leaves nothing behind: whoever checks need not be whom the folder is for.
fn check_state(folder: &Path, lines: &mut Lines) {
    const WHAT: &str = "state folder";
    let standing = standing(folder);
    if let Err(error) = tempfile::tempfile_in(standing) {
        let why = format!("cannot write in {}: {error}", standing.display());
        let hint = if standing == folder {
            "let the user that skiff runs as own it".to_owned()
        } else {
            format!("make {} and let the user that skiff runs as own that", folder.display())
        };
        return lines.fail(WHAT, &Obstacle { why: &why, hint: &hint, code: "state-folder" }, exit::FAILED);
    }
    if standing != folder {
        return lines.ok(WHAT, &format!("{} is not there yet, and can be made", folder.display()));
    }
    lines.ok(WHAT, &format!("{} can be written", folder.display()));
    let mode = fs::metadata(folder).map_or(0o700, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let open = format!("{} is open to others (mode {mode:03o}): chmod 700 it", folder.display());
        lines.warn(WHAT, &open);
    }
}

/// The folder, or the nearest above it that is there.
fn standing(folder: &Path) -> &Path {
    let is_missing =
        |error: io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    let is_there = |at: &&Path| !fs::symlink_metadata(at).is_err_and(is_missing);
    folder.ancestors().find(is_there).unwrap_or(folder)
}

/// Returns how many folders have to be watched for it.
fn check_watch(watch: &Watch, misses_mount: bool, lines: &mut Lines) -> usize {
    let what = format!("watch {}", watch.name);
    match look_at(watch) {
        Ok(Seen { folders, mount_points, writers, is_fat, aside }) => {
            if misses_mount {
                let why = unmounted(&watch.path);
                lines.fail(&what, &Obstacle { why: &why, hint: MOUNT_IT, code: "watch" }, exit::FAILED);
            } else {
                lines.ok(&what, &format!("{} can be read", watch.path.display()));
            }
            if let [first, rest @ ..] = mount_points.as_slice() {
                let others =
                    if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                let left_out = format!(
                    "what is mounted below is left out: {first}{others}; exclude it, or give it a watch of its own"
                );
                lines.warn(&what, &left_out);
            }
            if let Some(aside) = aside {
                lines.warn(&what, &aside);
            }
            writers.tell(&what, lines);
            if is_fat && watch.after_delivery == AfterDelivery::Keep {
                lines.warn(&what, SENT_AGAIN);
            }
            if let AfterDelivery::Move(target) = &watch.after_delivery {
                check_target(&what, watch, target, lines);
            }
            folders
        }
        Err((why, hint)) => {
            lines.fail(&what, &Obstacle { why: &why, hint, code: "watch" }, exit::FAILED);
            0
        }
    }
}

/// What a watched folder is like.
struct Seen {
    /// How many folders have to be watched.
    folders: usize,
    mount_points: Vec<RelPath>,
    writers: Writers,
    is_fat: bool,
    /// Versions that are set aside.
    aside: Option<String>,
}

/// Looks at all of a watched folder; or why not and what to do about it.
fn look_at(watch: &Watch) -> Result<Seen, (String, &'static str)> {
    let root = Root::open(&watch.path);
    let root = root.map_err(|error| (error.to_string(), "make the folder, or correct `path`"))?;
    let globs = watch.globs().map_err(|error| (error.to_string(), "correct the pattern"))?;
    let ignores = Ignores::of(watch.taken.ignore_file.as_deref());
    let (mount_points, closed) = (Vec::new(), Vec::new());
    let writers = Writers::of(watch);
    let mut walk = Walk { watch, root: &root, globs, ignores, folders: 0, mount_points, closed, writers };
    walk.enter(None).map_err(|error| (error.to_string(), remedy(&error)))?;
    match walk.closed.as_slice() {
        [] => {}
        [one] => return Err((one.to_string(), remedy(one))),
        [first, rest @ ..] => {
            let why = format!("{first}; and so for {} more of its folders", rest.len());
            return Err((why, remedy(first)));
        }
    }
    if watch.removes() && access(&watch.path, Access::WRITE_OK).is_err() {
        let why =
            format!("delivered files cannot be taken out of {}: no right to write", watch.path.display());
        return Err((why, "let the user that skiff runs as write there"));
    }
    // A log that grows is looked at anyway. Each destination that gets all files has a scanner of its own.
    let folders = match (watch.mode, &watch.route) {
        (Mode::Append, _) => 0,
        (Mode::Whole, Route::All(names)) => walk.folders * names.len(),
        (Mode::Whole, Route::One | Route::Failover(_) | Route::Spread(_)) => walk.folders,
    };
    Ok(Seen {
        folders,
        mount_points: walk.mount_points,
        writers: walk.writers,
        is_fat: root.is_fat(),
        aside: finish::told_aside(&root),
    })
}

/// What helps where a folder can't be looked into.
fn remedy(error: &SourceError) -> &'static str {
    match error {
        SourceError::Rules(why) if !matches!(**why, SourceError::Denied { .. }) => {
            "make it a regular file of patterns, or take it away; `ignore_file` says what it is called"
        }
        _ => "let the user that skiff runs as read what is in the watch",
    }
}

/// A look at all folders of a watch in which something may be meant.
struct Walk<'w> {
    watch: &'w Watch,
    root: &'w Root,
    globs: WatchGlobs,
    ignores: Ignores,
    folders: usize,
    mount_points: Vec<RelPath>,
    closed: Vec<SourceError>,
    writers: Writers,
}

impl Walk<'_> {
    fn enter(&mut self, folder: Option<&RelPath>) -> Result<(), SourceError> {
        self.folders += 1;
        let listing = self.ignores.list(self.root, folder)?;
        let mut below = Vec::new();
        for entry in listing {
            let entry = entry?;
            let Ok(path) = RelPath::in_folder(folder, &entry.name) else { continue };
            match entry.look {
                Look::Folder
                    if self.watch.taken.reaches(path.as_bytes())
                        && self.globs.may_contain(path.as_bytes())
                        && !self.ignores.ignores(self.root, &path, true)? =>
                {
                    below.push(path);
                }
                Look::File { stamp, .. }
                    if self.writers.ask()
                        && self.watch.taken.takes(path.as_bytes(), stamp.size)
                        && self.globs.matches(path.as_bytes())
                        && !self.ignores.ignores(self.root, &path, false)? =>
                {
                    self.writers.met(self.root, path);
                }
                _ => {}
            }
        }
        for path in below {
            match self.enter(Some(&path)) {
                Ok(()) | Err(SourceError::Gone { .. }) => {}
                Err(SourceError::Escapes { .. }) => self.mount_points.push(path),
                Err(error) => self.closed.push(error),
            }
        }
        Ok(())
    }
}

fn check_target(what: &str, watch: &Watch, target: &Path, lines: &mut Lines) {
    let standing = standing(target);
    let device = |path: &Path| fs::metadata(path).map(|metadata| (metadata.is_dir(), metadata.dev()));
    let (why, hint) = match device(standing) {
        Ok((true, device_there)) if access(standing, Access::WRITE_OK | Access::EXEC_OK).is_ok() => {
            let is_same = device(&watch.path).is_ok_and(|(_, here)| here == device_there);
            let how = if is_same { "moved there" } else { "copied there: it is another file system" };
            return lines.ok(what, &format!("delivered files can be {how}: {}", target.display()));
        }
        Ok((true, _)) => (
            format!("no right to write in {}", standing.display()),
            "let the user that skiff runs as write there",
        ),
        Ok((false, _)) => (format!("{} is not a folder", standing.display()), "name another folder"),
        Err(error) => {
            (format!("{}: {error}", standing.display()), "let the user that skiff runs as enter it")
        }
    };
    let why = format!("delivered files cannot be moved to {}: {why}", target.display());
    lines.fail(what, &Obstacle { why: &why, hint, code: "move-target" }, exit::FAILED);
}

/// What is too little costs time, not files. Says nothing where the limits can't be read.
fn check_limits(settings: &Settings, folders: usize, lines: &mut Lines) {
    let watches = settings.watches.iter().filter(|watch| watch.mode == Mode::Whole).count();
    for (needed, limits, what) in [
        (folders, ["fs/inotify/max_user_watches", "user/max_inotify_watches"], "folders"),
        (watches, ["fs/inotify/max_user_instances", "user/max_inotify_instances"], "watches"),
    ] {
        let limit = |name: &'static str| {
            let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
            Some((text.trim().parse().ok()?, name.replace('/', ".")))
        };
        let least: Option<(usize, String)> = limits.into_iter().filter_map(limit).min();
        if let Some((limit, name)) = least.filter(|(limit, _)| *limit < needed) {
            let few = format!(
                "{needed} {what} at least, but {name} is {limit}: some will be scanned every few seconds instead; raise it by sysctl"
            );
            lines.warn("inotify", &few);
        }
    }
}

fn check_control(settings: &Control, state_dir: &Path, lines: &mut Lines) {
    const WHAT: &str = "control";
    // Nobody is asked for a token where nobody comes from elsewhere.
    let Some(address) = settings.listen else { return };
    if let Some(Err(error)) = settings.token_file.as_deref().map(control::read_token) {
        let hint =
            "one word of 16 characters or more, in a file that only the user that skiff runs as may read";
        let why = error.to_string();
        lines.fail(WHAT, &Obstacle { why: &why, hint, code: "token" }, exit::FAILED);
    }
    match TcpListener::bind(address) {
        Ok(_) => lines.ok(WHAT, &format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_ours(address, state_dir) => {
            lines.ok(WHAT, &format!("the agent that runs answers at {address}"));
        }
        Err(error) => {
            let why = format!("cannot listen at {address}: {error}");
            let hint = match error.kind() {
                ErrorKind::AddrInUse => "`ss -ltnp` shows who listens there; choose another port",
                ErrorKind::AddrNotAvailable => "choose an address of this machine: `ip address` shows them",
                ErrorKind::PermissionDenied => "choose a port of 1024 or more",
                _ => "choose another address",
            };
            lines.fail(WHAT, &Obstacle { why: &why, hint, code: "listen" }, exit::FAILED);
        }
    }
}

/// Whether an agent has this state folder, and one answers at `address`. Who may not ask the first, can't tell.
fn is_ours(address: SocketAddr, state_dir: &Path) -> bool {
    let runs = match control::connect(state_dir) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    };
    runs && answer(address).is_ok_and(|answer| answer.ends_with(b"\r\n\r\nok\n"))
}

fn answer(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What these found.
    fn checked(check: impl FnOnce(&mut Lines)) -> Value {
        let mut lines = Lines::new(true);
        check(&mut lines);
        lines.as_json()["checks"].clone()
    }

    /// Whoever follows the hint must not give away what stands above, such as `/var/lib`.
    #[test]
    fn of_a_state_folder_that_cannot_be_made_only_that_is_to_be_owned() {
        let home = tempfile::tempdir().expect("a folder");
        let file = home.path().join("file");
        fs::write(&file, "").expect("there is room");
        let folder = file.join("skiff");
        let found = checked(|lines| check_state(&folder, lines));
        assert_eq!(found[0]["state"], "fail", "{found}");
        let hint = format!("make {} and let the user that skiff runs as own that", folder.display());
        assert_eq!(found[0]["hint"], hint.as_str(), "{found}");
        let found = checked(|lines| check_state(&file, lines));
        assert_eq!(found[0]["hint"], "let the user that skiff runs as own it", "{found}");
    }

    #[test]
    fn a_token_is_looked_at_where_somebody_may_have_to_show_it() {
        let home = tempfile::tempdir().expect("a folder");
        let token_file = Some(home.path().join("missing"));
        let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let found = |listen| {
            let control = Control { listen, token_file: token_file.clone() };
            checked(|lines| check_control(&control, home.path(), lines))
        };
        assert_eq!(found(None), Value::Array(Vec::new()));
        assert_eq!(found(listen)[0]["code"], "token");
    }
}
