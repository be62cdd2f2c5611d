//! What concerns one watch: its settings, its folder, where it delivers to, and whom to wake.
//!
//! Made once for each watch and configuration, and shared by its scanner and the dispatcher. What changes in it
//! are the folder's state, what is told of its logs and of files that don't settle, what waits to be looked at or made,
//! and its place in the order.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use skiff_common::delivery::OnConflict;
use skiff_common::path::PathError;
use skiff_common::{RelPath, RemotePath, Stamp};
use skiff_config::{AfterDelivery, Destination, Mode, PatternError, Settings, Symlinks, Watch, WatchGlobs};

use crate::clock;
use crate::empty_folders::Folders;
use crate::finish::{self, After};
use crate::ignores::Ignores;
use crate::naming::Naming;
use crate::remote::Remote;
use crate::route::{self, Muster};
use crate::source::{FolderId, Named, Root, SourceError};
use crate::status::snapshot::{Item, Problem, Settling};
use crate::status::{Growing, Problems, wall_ms};
use crate::wake::Waker;

/// A screenful is enough for a person.
const MOST_UNSEEN: usize = 20;

/// All that concerns one watch.
pub struct WatchContext {
    /// Its number: each has its own, also where a watch of the same name was there before.
    pub number: usize,
    /// Its place in the configuration.
    pub order: AtomicUsize,
    /// Its settings.
    pub settings: Watch,
    /// Which files are meant.
    pub globs: WatchGlobs,
    /// Which files go before others.
    pub classes: Vec<WatchGlobs>,
    /// If set, only these paths are meant.
    pub only: Option<Vec<RelPath>>,
    /// Of those, the files that symlinks led to when they were named.
    linked: Arc<HashMap<RelPath, PathBuf>>,
    /// Whether one look is enough.
    pub once: bool,
    /// Wakes its scanner.
    pub waker: Arc<Waker>,
    /// Its empty folders, where they are wanted.
    pub folders: Folders,
    /// Where it delivers to, by name; several where the first that works is taken.
    pub places: Vec<Place>,
    /// Which of its legs have delivered what.
    pub muster: Arc<Muster>,
    /// What becomes of delivered sources.
    pub after: After,
    /// What to do about another file under the final name.
    pub on_conflict: OnConflict,
    folder: Mutex<Option<FolderId>>,
    complaint: Mutex<String>,
    /// What else was told last, by what it is about.
    remarks: Mutex<HashMap<&'static str, String>>,
    misses_mount: AtomicBool,
    /// Whether all that was there when it began was seen and handed on.
    looked: AtomicBool,
    /// What a single look could not see.
    unseen: Mutex<BTreeSet<String>>,
    growing: Mutex<Arc<Growing>>,
    problems: Mutex<Problems>,
    settling: Mutex<(Settling, Vec<Item>)>,
}

/// A folder at a destination.
pub struct Place {
    /// The destination.
    pub remote: Arc<Remote>,
    /// The folder there.
    pub root: RemotePath,
    /// What files are called in it.
    pub naming: Naming,
}

impl WatchContext {
    /// Its folder at `destination`.
    ///
    /// # Panics
    /// Where it never delivers there.
    pub fn place(&self, destination: &str) -> &Place {
        let mut places = self.places.iter();
        places
            .find(|place| place.remote.name() == destination)
            .expect("shipments go where their watch delivers")
    }

    /// The watched folder, while it is the one that is watched.
    pub fn root(&self) -> Option<Root> {
        let watched = (*self.folder.lock().expect("nothing panics while it holds the lock"))?;
        let root = self.open().ok()?;
        (root.id().ok()? == watched).then_some(root)
    }

    /// The folder that stands there, whether or not it is the one that is watched.
    pub(crate) fn open(&self) -> Result<Root, SourceError> {
        let follows = self.settings.symlinks == Symlinks::FollowInside;
        Ok(Root::open(&self.settings.path)?.following(follows).linking(&self.linked))
    }

    /// What is wrong with the folder, while it can't be watched or a file system is missing there.
    pub fn trouble(&self) -> Option<String> {
        let is_there = self.folder.lock().expect("nothing panics while it holds the lock").is_some();
        if is_there {
            return self.misses_mount().then(|| self.missing_mount());
        }
        let complaint = self.complaint.lock().expect("nothing panics while it holds the lock");
        (!complaint.is_empty()).then(|| complaint.clone())
    }

    /// Whether a file system that was mounted at the folder is missing there.
    pub(crate) fn misses_mount(&self) -> bool {
        self.misses_mount.load(Ordering::Relaxed)
    }

    /// From now on it is so.
    pub(crate) fn set_misses_mount(&self, misses: bool) {
        self.misses_mount.store(misses, Ordering::Relaxed);
    }

    /// What to say of that, where the folder is scanned all the same.
    pub(crate) fn missing_mount(&self) -> String {
        format!("{}: what was delivered of it is kept in mind; {MOUNT_IT}", unmounted(&self.settings.path))
    }

    /// Whether all that was there when it began was seen once, and is handed on or, as a log, looked for at the destination.
    pub(crate) fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Acquire)
    }

    /// It was.
    pub(crate) fn set_looked(&self) {
        self.looked.store(true, Ordering::Release);
    }

    /// From now on this folder is the one that is watched. Returns the one before.
    pub(crate) fn set_folder(&self, folder: Option<FolderId>) -> Option<FolderId> {
        std::mem::replace(&mut *self.folder.lock().expect("nothing panics while it holds the lock"), folder)
    }

    /// Says what is wrong with the folder, once for each time that it changes.
    pub(crate) fn complain(&self, words: &str) {
        let mut last = self.complaint.lock().expect("nothing panics while it holds the lock");
        if *last != words {
            words.clone_into(&mut last);
            tracing::warn!(watch = %self.settings.name, "{words}");
        }
        drop(last);
        self.note_unseen(words);
    }

    /// What could not be looked at, where there is one look only.
    pub(crate) fn note_unseen(&self, words: &str) {
        let mut unseen = self.unseen.lock().expect("nothing panics while it holds the lock");
        if self.once && unseen.len() < MOST_UNSEEN {
            unseen.insert(words.to_owned());
        }
    }

    /// What could not be looked at, where there is one look only; at most a few.
    pub(crate) fn unseen(&self) -> Vec<String> {
        self.unseen.lock().expect("nothing panics while it holds the lock").iter().cloned().collect()
    }

    /// What is told of its logs that are delivered while they grow, as it was after the last look; of another watch nothing.
    pub(crate) fn growing(&self) -> Option<Arc<Growing>> {
        let growing = self.growing.lock().expect("nothing panics while it holds the lock");
        (self.settings.mode == Mode::Append).then(|| Arc::clone(&growing))
    }

    /// From now on it is so.
    pub(crate) fn set_growing(&self, growing: Growing) {
        *self.growing.lock().expect("nothing panics while it holds the lock") = Arc::new(growing);
    }

    /// Something else is in the way, once for each time that it changes; `None`: it is over. Those who ask how things stand
    /// hear of it.
    pub(crate) fn remark(&self, what: &'static str, words: Option<&str>) {
        let mut remarks = self.remarks.lock().expect("nothing panics while it holds the lock");
        let Some(words) = words else {
            remarks.remove(what);
            return;
        };
        if remarks.get(what).is_none_or(|last| last != words) {
            remarks.insert(what, words.to_owned());
            tracing::warn!(watch = %self.settings.name, "{words}");
        }
        drop(remarks);
        self.failed(&what, words);
    }

    /// Tells of versions that are set aside, each of which may be undelivered.
    pub(crate) fn tell_aside(&self, root: &Root) {
        self.remark("set aside", finish::told_aside(root).as_deref());
    }

    /// Why a log of it was not delivered or a folder not looked into, for those who ask how things stand.
    pub(crate) fn failed(&self, what: &impl ToString, reason: &str) {
        let problem = Problem {
            at_ms: wall_ms(),
            watch: self.settings.name.clone(),
            what: what.to_string(),
            reason: reason.to_owned(),
            quarantined: false,
        };
        self.problems.lock().expect("nothing panics while it holds the lock").add(problem);
    }

    /// What was told so last.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.lock().expect("nothing panics while it holds the lock").all()
    }

    /// What has not settled for long, and the oldest of it, as it was after the last look.
    pub(crate) fn settling(&self) -> (Settling, Vec<Item>) {
        self.settling.lock().expect("nothing panics while it holds the lock").clone()
    }

    /// From now on it is so.
    pub(crate) fn set_settling(&self, settling: Settling, oldest: Vec<Item>) {
        *self.settling.lock().expect("nothing panics while it holds the lock") = (settling, oldest);
    }

    /// Whether files below the folder at `path` can be meant.
    pub(crate) fn enters(
        &self,
        root: &Root,
        path: &RelPath,
        ignores: &mut Ignores,
    ) -> Result<bool, SourceError> {
        let named = self.globs.may_contain(path.as_bytes()) && self.settings.taken.reaches(path.as_bytes());
        Ok(named && !ignores.ignores(root, path, true)?)
    }

    /// Whether a file that the patterns name is taken.
    pub(crate) fn takes(&self, path: &RelPath, stamp: Stamp) -> bool {
        let taken = &self.settings.taken;
        taken.takes(path.as_bytes(), stamp.size) && taken.is_of_age(clock::age_of(stamp.mtime_ns))
    }

    /// Whether the file at `path` is meant, and its producer is done with it.
    pub(crate) fn wants(&self, root: &Root, path: &RelPath) -> bool {
        if let Some(only) = &self.only {
            return only.contains(path);
        }
        if !self.globs.matches(path.as_bytes()) {
            return false;
        }
        let Some(suffix) = &self.settings.settle_marker else { return true };
        !self.is_done_file(path)
            && finish::done_file_of(path, suffix).is_some_and(|marker| root.look(&marker).is_ok())
    }

    /// Whether by its name it is no file to deliver, but says that another is complete.
    pub(crate) fn is_done_file(&self, path: &RelPath) -> bool {
        let suffix = self.settings.settle_marker.as_deref();
        suffix.is_some_and(|suffix| path.as_bytes().ends_with(suffix.as_bytes()))
    }

    /// The file that a done-file at `path` would be of.
    pub(crate) fn marked_by(&self, path: &RelPath) -> Option<RelPath> {
        finish::marked_by(path, self.settings.settle_marker.as_deref()?)
    }
}

/// What to do about a file system that is missing at a watched folder.
pub(crate) const MOUNT_IT: &str = "mount it, or, if it is gone for good, give the watch another path or name";

/// That it is missing.
pub(crate) fn unmounted(path: &Path) -> String {
    format!("a file system was mounted at {}, and is not now", path.display())
}

/// Settings that were checked before, and don't hold all the same.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No folder at a destination.
    #[error("destination path: {0}")]
    Path(#[from] PathError),
    /// No pattern of names.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// All that concerns one watch of `settings`, by its number and its place there.
pub(crate) fn context(
    settings: &Settings,
    watch: &Watch,
    (remotes, muster): (&HashMap<String, Arc<Remote>>, &Arc<Muster>),
    (number, order): (usize, usize),
    (only, once): (Option<Named>, bool),
) -> Result<Arc<WatchContext>, SettingsError> {
    let place = |name: &String| {
        let destination = settings.destination(name).expect("the configuration was checked");
        let (root, naming) = remote_root(destination, watch)?;
        Ok(Place { remote: Arc::clone(&remotes[name]), root, naming })
    };
    muster.route(watch);
    let places = route::destinations(watch).iter().map(place).collect::<Result<_, SettingsError>>()?;
    let (only, linked) = only.map(|named| (named.paths, Arc::new(named.linked))).unzip();
    Ok(Arc::new(WatchContext {
        number,
        order: AtomicUsize::new(order),
        settings: watch.clone(),
        globs: watch.globs()?,
        classes: watch.classes()?,
        only,
        linked: linked.unwrap_or_default(),
        once,
        waker: Arc::default(),
        folders: Folders::default(),
        places,
        muster: Arc::clone(muster),
        after: match &watch.after_delivery {
            AfterDelivery::Keep => After::Keep,
            AfterDelivery::Delete => After::Delete,
            AfterDelivery::Move(folder) => After::Move(folder.clone()),
        },
        on_conflict: match watch.on_conflict {
            skiff_config::OnConflict::KeepBoth => OnConflict::KeepBoth,
            skiff_config::OnConflict::Replace => OnConflict::Replace,
            skiff_config::OnConflict::Park => OnConflict::Park,
        },
        folder: Mutex::default(),
        complaint: Mutex::default(),
        remarks: Mutex::default(),
        misses_mount: AtomicBool::default(),
        looked: AtomicBool::default(),
        unseen: Mutex::default(),
        growing: Mutex::default(),
        problems: Mutex::default(),
        settling: Mutex::default(),
    }))
}

/// The folder at the destination that a watch delivers to, and what files are called in it.
pub fn remote_root(destination: &Destination, watch: &Watch) -> Result<(RemotePath, Naming), SettingsError> {
    Ok(Naming::at(destination, watch)?)
}
