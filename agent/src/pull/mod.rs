//! `skiff pull`: files of a server come here, verified, under the names that were asked for.
//!
//! It owns one pull from the look at what the server has to the last published file. It promises what a delivery
//! promises, the other way round: a final name is absent, what it was, or the whole new file; what is called fetched
//! agrees with a digest that was computed at the server, or was read there twice; what was cut goes on where it was
//! cut. And that a server that lies can fill the files that were asked for with what it likes, and do nothing else:
//! names below a source are the server's claim, checked by `listing`, and every write is below `target`'s descriptor.
//! Over a shell no name but those of the list is ever taken from the server: contents come without names, in the
//! order in which they were asked for. Deliberately absent: a journal; what stands here says what was fetched.

mod giver;
mod hint;
mod jobs;
mod listing;
mod pace;
mod publish;
mod receive;
mod report;
mod round;
mod scp;
mod server;
mod sftp;
mod sorted;
mod source;
mod split;
mod talk;
mod target;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use skiff_common::fault::Classify as _;
use skiff_common::retry::Retry;
use skiff_common::scp::ScpError;
use skiff_common::{Fault, RelPath};
use skiff_config::Transport;

pub use self::report::{Failure, Progress, Report};
pub use self::source::{Wanted, WantedError};
pub use self::target::LocalError;

use self::giver::Giver;
use self::hint::hint;
use self::jobs::MOST_NAMES;
use self::listing::{Found, Listed};
use self::server::Server;
use self::sftp::SftpGiver;
use self::sorted::{Fetch, Folder, Sorted};
use self::target::{Standing, Target};
use crate::remote::RemoteError;
use crate::remote::session::{Login, Session};
use crate::size;

/// A file that changes while it is read is tried so often.
const ROUNDS: usize = 3;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where to log in.
    pub login: Login,
    /// What to fetch.
    pub sources: Vec<Wanted>,
    /// The folder that it goes to.
    pub target: PathBuf,
    /// Whether another file that stands there is replaced.
    pub replace: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Use nothing but `scp -f`, as for a server without a shell.
    pub scp_only: bool,
    /// Over a shell or by SFTP.
    pub transport: Transport,
    /// At most so many bits a second.
    pub limit: Option<u64>,
    /// How often a lost connection is made again.
    pub retry: Retry,
}

#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Local(#[from] LocalError),
}

/// One pull under way.
struct Pull<'a> {
    wish: &'a Wish,
    progress: &'a Progress,
    /// `None`: a dry run into a folder that isn't there.
    target: Option<Arc<Target>>,
    server: String,
}

/// Fetches. Dropping the future ends it at once; what came so far is gone on with the next time.
pub async fn pull(wish: &Wish, progress: &Progress) -> Report {
    let mut report = Report::default();
    let opened = tokio::task::block_in_place(|| {
        if wish.dry_run { Target::peek(&wish.target) } else { Target::open(&wish.target).map(Some) }
    });
    let target = match opened {
        Ok(target) => target.map(Arc::new),
        Err(error) => {
            let what = error.to_string();
            let hint = "name a folder that you may write to".to_owned();
            report.failure = Some(Failure { what, hint, code: "local" });
            return report;
        }
    };
    let server = format!("{}@{}:{}", wish.login.user, wish.login.host, wish.login.port);
    let pull = Pull { wish, progress, target, server };
    pull.until_done(&mut report).await;
    if let Some(target) = pull.target.filter(|_| !wish.dry_run) {
        target.close();
    }
    report
}

impl Pull<'_> {
    /// Makes the connection again when it is lost; a try that got further starts the count again.
    async fn until_done(&self, report: &mut Report) {
        let (mut attempt, mut furthest) = (0, (0, 0));
        loop {
            let error = match self.attempt(report).await {
                Ok(()) => return,
                Err(error) => error,
            };
            let (is_retryable, hint, code) = match &error {
                PullError::Remote(error) => (is_retryable(error), hint(error), error.code()),
                PullError::Local(_) => (false, String::new(), "local"),
            };
            // What came proves nothing; what was kept or published does.
            let here = (report.settled.len(), report.kept_bytes);
            if here > furthest {
                (attempt, furthest) = (0, here);
            }
            attempt += 1;
            if !is_retryable || self.wish.retry.gives_up(attempt) {
                report.failure = Some(Failure { what: error.to_string(), hint, code });
                return;
            }
            tracing::warn!(%error, "tried again");
            tokio::time::sleep(self.wish.retry.wait(attempt, 1.0)).await;
        }
    }

    async fn attempt(&self, report: &mut Report) -> Result<(), PullError> {
        let session = Session::connect(&self.wish.login).await.map_err(RemoteError::from)?;
        let outcome = self.over(&session, report).await;
        session.disconnect().await;
        outcome
    }

    async fn over(&self, session: &Session, report: &mut Report) -> Result<(), PullError> {
        if self.wish.scp_only {
            return self.over_scp(session, report).await;
        }
        let stall = self.wish.login.stall_timeout;
        if self.wish.transport == Transport::Sftp {
            let giver = SftpGiver::start(session, stall).await?;
            return self.over_requests(session, Server::Sftp(giver), report).await;
        }
        let words = match Giver::start(session, stall).await {
            Ok(giver) => return self.over_requests(session, Server::Shell(giver), report).await,
            Err(RemoteError::NoShell { words }) => words,
            Err(error) => return Err(error.into()),
        };
        if self.wish.transport == Transport::Auto {
            match SftpGiver::start(session, stall).await {
                Ok(giver) => {
                    tracing::info!(%words, "no shell there: by SFTP");
                    return self.over_requests(session, Server::Sftp(giver), report).await;
                }
                Err(RemoteError::NoSftp { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tracing::info!(%words, "no shell there: by `scp -f` alone");
        match self.over_scp(session, report).await {
            // A server that has neither is told by what it lacks first.
            Err(PullError::Remote(RemoteError::Scp(_) | RemoteError::Ended { .. })) => {
                Err(RemoteError::NoShell { words }.into())
            }
            outcome => outcome,
        }
    }

    async fn over_requests(
        &self,
        session: &Session,
        mut giver: Server,
        report: &mut Report,
    ) -> Result<(), PullError> {
        let names: Vec<_> = self.wish.sources.iter().map(|source| source.path.clone()).collect();
        let (found, complaints) = giver.list(&names).await?;
        // What the server's own tools could not read.
        for words in complaints {
            report.problem(format!("the server says: {words}"));
        }
        let (fetches, folders) = self.sort(found, report);
        let fetches = self.compare(&mut giver, fetches, report).await?;
        if self.wish.dry_run {
            report.would_fetch = fetches.into_iter().map(|fetch| (fetch.to, fetch.size)).collect();
            return Ok(());
        }
        self.rounds(session, giver, fetches, report).await?;
        self.finish(folders, report).await
    }

    /// Fetches, and what changed meanwhile once more.
    async fn rounds(
        &self,
        session: &Session,
        mut giver: Server,
        mut fetches: Vec<Fetch>,
        report: &mut Report,
    ) -> Result<(), PullError> {
        for round in 1.. {
            if fetches.is_empty() {
                break;
            }
            fetches = self.those_that_fit(fetches, report);
            // One that grows moves all that come behind it; once more, each comes alone.
            let most_names = if round == 1 { MOST_NAMES } else { 1 };
            let changed = Box::pin(self.round(session, &mut giver, fetches, most_names, report)).await?;
            if round == ROUNDS {
                for fetch in changed {
                    let what = format!(
                        "{} changes at the server while it is read: tried {ROUNDS} times; pull again when it is at rest",
                        fetch.to
                    );
                    report.give_up(&fetch.to, what);
                    self.drop_part(&fetch);
                }
                break;
            }
            fetches = self.look_again(&mut giver, changed, report).await?;
        }
        Ok(())
    }

    /// Those for which there is room here, each by itself: what a server claims of sizes is believed so far.
    fn those_that_fit(&self, fetches: Vec<Fetch>, report: &mut Report) -> Vec<Fetch> {
        let Some((target, free)) = self.target.as_ref().and_then(|target| Some((target, target.free()?)))
        else {
            return fetches;
        };
        let fits = |fetch: &Fetch| {
            let left = || target.left(&target::token(&self.server, &fetch.from, &fetch.to));
            fetch.size <= free || left().is_some_and(|(_, left)| fetch.size <= free.saturating_add(left.size))
        };
        let (fit, too_large): (Vec<_>, Vec<_>) = fetches.into_iter().partition(fits);
        for Fetch { to, size, .. } in too_large {
            let (size, free) = (size::bytes(size), size::bytes(free));
            report.give_up(
                &to,
                format!("cannot fetch {to}: no space left for its {size}, {free} are free here"),
            );
        }
        fit
    }

    /// What came of a file that is given up is of no more use.
    fn drop_part(&self, fetch: &Fetch) {
        if let Some(target) = &self.target {
            target.drop_part(&target::token(&self.server, &fetch.from, &fetch.to));
        }
    }

    /// What a changed file is like now.
    async fn look_again(
        &self,
        giver: &mut Server,
        changed: Vec<Fetch>,
        report: &mut Report,
    ) -> Result<Vec<Fetch>, PullError> {
        let names: Vec<_> = changed.iter().map(|fetch| fetch.from.clone()).collect();
        let (found, _) = giver.list(&names).await?;
        let mut again = Vec::new();
        for (fetch, found) in changed.into_iter().zip(found) {
            match found {
                Found::File(Listed { size, mtime_ns, mode, .. }) => {
                    again.push(Fetch { size, mtime_ns, mode, ..fetch });
                }
                Found::Folder(_) => report.give_up(&fetch.to, format!("{} became a folder", fetch.to)),
                Found::Nothing(why) => report.give_up(&fetch.to, format!("cannot fetch {}: {why}", fetch.to)),
            }
        }
        Ok(again)
    }

    /// What is to be fetched of all that was found.
    fn sort(&self, found: Vec<Found>, report: &mut Report) -> (Vec<Fetch>, Vec<Folder>) {
        // A list once more has them all once more.
        report.left_out = 0;
        let mut sorted = Sorted::default();
        for (source, found) in self.wish.sources.iter().zip(found) {
            match found {
                Found::Nothing(why) => report.problem(format!(
                    "cannot fetch {source}: {why}{}",
                    if source.looks_like_a_pattern() {
                        "; names are literal, patterns are not expanded"
                    } else {
                        ""
                    }
                )),
                Found::File(file) if source.contents_only || source.name.is_none() => {
                    drop(file);
                    report.problem(format!("cannot fetch {source}: it is a file, not a folder"));
                }
                Found::File(file) => {
                    let to = source.name.clone().expect("it was just looked at");
                    sorted.file(source.path.clone(), to, &file, report);
                }
                Found::Folder(listed) => {
                    let shown = source.to_string();
                    if !report.folders.contains(&shown) {
                        report.folders.push(shown);
                    }
                    sorted.folder(source, listed, report);
                }
            }
        }
        sorted.fetches.retain(|fetch| !report.settled.contains(&fetch.to));
        (sorted.fetches, sorted.folders)
    }

    /// Leaves out what stands here with the same content, and what must not be replaced.
    async fn compare(
        &self,
        giver: &mut Server,
        fetches: Vec<Fetch>,
        report: &mut Report,
    ) -> Result<Vec<Fetch>, PullError> {
        let Some(target) = &self.target else { return Ok(fetches) };
        let (mut rest, mut alike) = (Vec::new(), Vec::new());
        for fetch in fetches {
            match target.look(&fetch.to) {
                Ok(Standing::Nothing) => rest.push(fetch),
                Ok(Standing::File { size }) if size == fetch.size => alike.push(fetch),
                Ok(Standing::File { .. }) if self.wish.replace => rest.push(fetch),
                Ok(Standing::File { .. }) => report.give_up(&fetch.to, taken(&fetch.to)),
                Ok(Standing::Other(kind)) => {
                    report.give_up(&fetch.to, format!("cannot write {}: a {kind} stands there", fetch.to));
                }
                Err(error) => report.give_up(&fetch.to, error.to_string()),
            }
        }
        let same = round::same(giver, target, &alike).await?;
        for (fetch, is_same) in alike.into_iter().zip(same) {
            if is_same {
                Progress::add(&self.progress.standing_files, 1);
                report.settled.insert(fetch.to);
            } else if self.wish.replace || giver.facts().digest.is_none() {
                // Without a digest tool it is fetched to be compared; what differs stays all the same.
                rest.push(fetch);
            } else {
                report.give_up(&fetch.to, taken(&fetch.to));
            }
        }
        // As they were listed, folder by folder.
        rest.sort_by(|one, other| one.to.cmp(&other.to));
        Ok(rest)
    }

    /// Folders, empty ones too; and everything on the disk.
    async fn finish(&self, folders: Vec<Folder>, report: &mut Report) -> Result<(), PullError> {
        let target = Arc::clone(self.target.as_ref().expect("a dry run has ended before"));
        let finishing = tokio::task::spawn_blocking(move || {
            let mut problems = Vec::new();
            for folder in &folders {
                if let Err(error) = target.make_folder(&folder.to) {
                    problems.push(error.to_string());
                }
            }
            let wanted: HashMap<_, _> = folders.iter().map(|folder| (&folder.to, folder)).collect();
            for made in target.has_made() {
                if let Some(folder) = wanted.get(&made) {
                    target.dress_folder(&made, folder.mode, folder.mtime_ns);
                }
            }
            target.sync().map(|()| problems)
        });
        let problems = finishing.await.expect("it does not panic")?;
        for what in problems {
            report.problem(what);
        }
        Ok(())
    }
}

fn taken(to: &RelPath) -> String {
    format!("{to} stands here with other content and is left alone; --replace fetches it all the same")
}

fn busy(to: &RelPath) -> String {
    format!("another skiff fetches {to} at this moment")
}

/// Whether a new connection may help. A server that talks nonsense is not asked again.
fn is_retryable(error: &RemoteError) -> bool {
    let is_lost = match error {
        RemoteError::Connect(_)
        | RemoteError::Channel(_)
        | RemoteError::Ended { .. }
        | RemoteError::Stalled { .. }
        | RemoteError::Scp(ScpError::Cut { .. })
        | RemoteError::SourceEnded => true,
        RemoteError::Nonsense { .. }
        | RemoteError::Root { .. }
        | RemoteError::Moved { .. }
        | RemoteError::NoShell { .. }
        | RemoteError::SftpAlone
        | RemoteError::NoSftp { .. }
        | RemoteError::NoTool { .. }
        | RemoteError::Refused { .. }
        | RemoteError::Gone { .. }
        | RemoteError::Denied { .. }
        | RemoteError::Full { .. }
        | RemoteError::Scp(_) => false,
    };
    is_lost && error.fault() == Fault::Retryable
}
