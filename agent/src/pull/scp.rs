//! A server without a shell and without SFTP, or where `-O` says so: each source comes by `scp -r -p -f`, and a second
//! time to be compared with the first.
//!
//! Promises the same as over a shell, but for what such a server can't do: nothing is gone on with in the middle, and
//! what stands here already is only known to be the same once it has come. Names below a source are the server's
//! claim, as they always are with `scp -f`; here one is taken as one component below the folder that is open, and the
//! topmost has to be the name that was asked for. What is kept of what it says is bounded, as a list is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use skiff_common::RelPath;
use skiff_common::escape::escaped;
use skiff_common::scp::{Event, Sink, Times};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::listing::{Room, is_own};
use super::publish::{Outcome, Ready, publish_group};
use super::receive::{Landed, Landing, Opening, Order, Receiver, hasher};
use super::talk::Talk;
use super::target::token;
use super::{Fetch, Folder, Progress, Pull, PullError, Report, Wanted, busy};
use crate::remote::RemoteError;
use crate::remote::session::Session;

const ATTEMPT: &str = "receiving by scp";
/// How long `scp` may take to end when all is here, whatever it says meanwhile.
const FAREWELL: Duration = Duration::from_secs(5);
/// Answers that are given before they are asked for, so that a long round trip isn't paid for each file: whoever sends
/// takes one after each message, and what is left over when it ends is nobody's.
const ANSWERS_AHEAD: usize = 128;

impl Pull<'_> {
    /// Fetches all sources.
    pub(super) async fn over_scp(&self, session: &Session, report: &mut Report) -> Result<(), PullError> {
        if self.wish.dry_run {
            let why = "the server cannot list what it has without sending it".to_owned();
            return Err(RemoteError::Refused { attempt: "a dry run", why }.into());
        }
        let mut folders = Vec::new();
        self.progress.starts_over();
        let mut room = Room::default();
        for source in &self.wish.sources {
            let found = self.progress.found();
            let Some(command) = command(&source.path) else {
                report.problem(format!(
                    "cannot fetch {source}: the server runs no shell, and such a name cannot be told to its scp"
                ));
                continue;
            };
            let before = room;
            let (mut fetches, left) =
                self.one(session, source, &command, before, &mut folders, report).await?;
            room = left;
            for _ in 1..super::ROUNDS {
                if fetches.is_empty() {
                    break;
                }
                // There is no asking for one of them.
                self.progress.has_found(found);
                (fetches, room) = self.one(session, source, &command, before, &mut folders, report).await?;
            }
            for fetch in fetches {
                let what = format!(
                    "{} changes at the server while it is read; pull again when it is at rest",
                    fetch.to
                );
                report.give_up(&fetch.to, what);
                self.drop_part(&fetch);
            }
        }
        self.finish(folders, report).await
    }

    /// Fetches one source. Returns what changed meanwhile, and the room that is left of `room`.
    async fn one(
        &self,
        session: &Session,
        source: &Wanted,
        command: &str,
        room: Room,
        folders: &mut Vec<Folder>,
        report: &mut Report,
    ) -> Result<(Vec<Fetch>, Room), PullError> {
        let first = self.pass(session, source, command, room, true).await?;
        for what in first.problems {
            report.problem(what);
        }
        report.skips(source.to_string(), first.failed);
        let left = first.room;
        folders.extend(first.folders);
        let mut second = if first.fetches.is_empty() {
            HashMap::new()
        } else {
            let second = self.pass(session, source, command, room, false).await?;
            let digests = second.landed.into_iter().filter_map(|(file, outcome)| match outcome {
                Landing::Whole { digests, .. } => Some((second.fetches[file].to.clone(), digests)),
                Landing::Short | Landing::Busy | Landing::Failed(_) => None,
            });
            digests.collect()
        };
        let (mut ready, mut again): (Vec<Ready>, _) = (Vec::new(), Vec::new());
        for (file, outcome) in first.landed {
            let fetch = &first.fetches[file];
            match outcome {
                Landing::Whole { digests, stamp: Some(stamp) }
                    if second.remove(&fetch.to).as_ref() == Some(&digests) =>
                {
                    ready.push(Ready { file, digests, stamp });
                }
                Landing::Whole { .. } | Landing::Short => again.push(fetch.clone()),
                Landing::Busy => report.give_up(&fetch.to, busy(&fetch.to)),
                Landing::Failed(why) => {
                    report.give_up(&fetch.to, format!("cannot write {}: {why}", fetch.to));
                }
            }
        }
        let target = Arc::clone(self.target.as_ref().expect("a dry run has ended before"));
        let (server, replace, fetches) = (self.server.clone(), self.wish.replace, first.fetches);
        let publishing = tokio::task::spawn_blocking(move || {
            publish_group(&target, &fetches, &server, replace, ready).map(|settled| (settled, fetches))
        });
        let (settled, fetches) = publishing.await.expect("publishing does not panic")?;
        for (file, outcome) in settled {
            // One that came again because of another has been here before.
            if matches!(outcome, Outcome::Stood) && report.settled.contains(&fetches[file].to) {
                continue;
            }
            self.settle(&fetches[file], outcome, report);
        }
        Ok((again, left))
    }

    /// Receives a source once: writes it, or only hashes it.
    async fn pass(
        &self,
        session: &Session,
        source: &Wanted,
        command: &str,
        room: Room,
        writes: bool,
    ) -> Result<Pass, PullError> {
        let stall = self.wish.login.stall_timeout;
        let channel = session.open_exec(command, stall).await.map_err(RemoteError::from)?;
        let talk = Talk::new(channel, stall).until_eof();
        let target = Arc::clone(self.target.as_ref().expect("a dry run has ended before"));
        let (landed_sender, mut landed) = mpsc::channel::<Landed>(64);
        let receiver = Receiver::start(target, landed_sender);
        let mut taker = Taker {
            pull: self,
            source,
            orders: receiver.orders,
            writes,
            pass: Pass { room, ..Pass::default() },
            open: Vec::new(),
            seen: HashSet::new(),
            times: None,
            came: false,
            is_over: false,
            is_open: false,
        };
        let taking = async move {
            let outcome = taker.take_all(talk).await;
            outcome.map(|()| taker.pass)
        };
        let landing = async {
            let mut all = Vec::new();
            while let Some(Landed { file, outcome }) = landed.recv().await {
                all.push((file, outcome));
            }
            Ok(all)
        };
        let outcome = tokio::try_join!(taking, landing);
        // Its own error is the reason for whatever else failed.
        receiver.thread.await.expect("the writer does not panic")?;
        let (mut pass, landed) = outcome?;
        pass.landed = landed;
        Ok(pass)
    }
}

/// What came of receiving a source once.
#[derive(Default)]
struct Pass {
    fetches: Vec<Fetch>,
    folders: Vec<Folder>,
    landed: Vec<(usize, Landing)>,
    problems: Vec<String>,
    failed: u64,
    /// What of all this may still come.
    room: Room,
}

/// Takes what `scp -f` sends.
#[expect(clippy::struct_excessive_bools, reason = "each is about something else, and they come in any order")]
struct Taker<'a> {
    pull: &'a Pull<'a>,
    source: &'a Wanted,
    orders: mpsc::Sender<Order>,
    writes: bool,
    pass: Pass,
    /// The folders that are open; `None`: the target itself.
    open: Vec<Option<RelPath>>,
    seen: HashSet<RelPath>,
    times: Option<Times>,
    /// Whether what was asked for has come, or comes: nothing else may.
    came: bool,
    /// Whether that is whole, or not to be had.
    is_over: bool,
    /// Whether the writer has a file open.
    is_open: bool,
}

impl Taker<'_> {
    async fn take_all(&mut self, mut talk: Talk) -> Result<(), RemoteError> {
        let mut sink = Sink::with_folders();
        talk.tell([sink.poll_output().unwrap_or_default(), vec![0; ANSWERS_AHEAD]].concat(), ATTEMPT).await?;
        let mut ends_at = None;
        'said: loop {
            if talk.waiting().is_empty() {
                let more = talk.more_or_end(ATTEMPT);
                // All is here: nobody waits for a server that doesn't find its end, or says ever more.
                let more = if self.is_over {
                    let ends_at = *ends_at.get_or_insert_with(|| Instant::now() + FAREWELL);
                    let more = timeout_at(ends_at, more).await.unwrap_or(Ok(false));
                    more.map(|more| more && Instant::now() < ends_at)
                } else {
                    more.await
                };
                if !more? {
                    break;
                }
            }
            let bytes = talk.take(usize::MAX);
            let mut at = 0;
            while at < bytes.len() {
                let taken = sink.handle_input(&bytes[at..])?;
                if taken.bytes == 0 && taken.event.is_none() {
                    // The sender has said that nothing follows.
                    break 'said;
                }
                if let Some(event) = taken.event {
                    self.on(event, &bytes[at..]).await?;
                }
                sink.accept();
                at += taken.bytes;
            }
            if let Some(answers) = sink.poll_output() {
                talk.tell(answers, ATTEMPT).await?;
            }
        }
        // A lost connection looks like the end.
        match sink.handle_end() {
            _ if self.is_over => Ok(()),
            Ok(_) => Err(talk.ended(ATTEMPT)),
            Err(error) => Err(error.into()),
        }
    }

    async fn on(&mut self, event: Event, bytes: &[u8]) -> Result<(), RemoteError> {
        match event {
            Event::Times(times) if self.times.is_none() => self.times = Some(times),
            Event::Times(_) => return Err(nonsense("the times of nothing", b"T")),
            Event::Folder { mode, name } => self.folder(mode, &name)?,
            Event::FolderEnd => {
                self.open.pop();
                self.is_over |= self.open.is_empty();
            }
            Event::Begin { mode, size, name } => self.begin(mode, size, &name).await?,
            Event::Data(range) => {
                if self.writes {
                    Progress::add(&self.pull.progress.received_bytes, range.len() as u64);
                }
                if self.is_open {
                    self.order(Order::Data(bytes[range].to_vec())).await?;
                }
            }
            Event::End => self.end().await?,
            Event::Spoiled(why) => {
                // Short or not, its bytes are not the file's; the second time tells.
                self.problem(format!("the server says: {why}"))?;
                self.end().await?;
            }
            Event::Skipped(why) => {
                self.pass.failed += u64::from(self.writes);
                self.problem(format!("the server says: {why}"))?;
                self.times = None;
                self.came |= self.open.is_empty();
                self.is_over |= self.open.is_empty();
            }
            Event::Finished => {}
        }
        Ok(())
    }

    fn problem(&mut self, what: String) -> Result<(), RemoteError> {
        self.pass.room.take(1, what.len(), ATTEMPT)?;
        self.pass.problems.push(what);
        Ok(())
    }

    fn folder(&mut self, mode: u32, name: &[u8]) -> Result<(), RemoteError> {
        let to = match self.open.last() {
            None => {
                self.check_first(name)?;
                self.came = true;
                if self.source.contents_only { None } else { self.source.name.clone() }
            }
            Some(above) => Some(below(above.as_ref(), name)?),
        };
        let mtime_ns = self.times.take().and_then(nanoseconds);
        self.pass.room.take(1, to.as_ref().map_or(0, |to| to.as_bytes().len()), ATTEMPT)?;
        if let Some(to) = to.clone().filter(|to| !is_own(to)) {
            self.pass.folders.push(Folder { to, mode: mode & 0o777, mtime_ns });
        }
        self.open.push(to);
        Ok(())
    }

    async fn begin(&mut self, mode: u32, size: u64, name: &[u8]) -> Result<(), RemoteError> {
        let to = match self.open.last() {
            None => {
                self.check_first(name)?;
                self.came = true;
                match &self.source.name {
                    Some(own) if !self.source.contents_only => own.clone(),
                    _ => return Err(nonsense("a file where a folder was asked for", name)),
                }
            }
            Some(above) => below(above.as_ref(), name)?,
        };
        let mtime_ns = self.times.take().and_then(nanoseconds);
        self.pass.room.take(1, to.as_bytes().len(), ATTEMPT)?;
        // scp writes a newline in a name as `\^J`, and so does a name that holds just that.
        if name.windows(3).any(|window| window == b"\\^J") {
            self.pass.failed += u64::from(self.writes);
            return self.problem(format!("cannot fetch {to}: by scp alone, its name is ambiguous"));
        }
        if !self.seen.insert(to.clone()) {
            return Err(nonsense("the same file twice", name));
        }
        if is_own(&to) {
            return Ok(());
        }
        let from = to.as_bytes().to_vec();
        let token = self.writes.then(|| token(&self.pull.server, &from, &to));
        let file = self.pass.fetches.len();
        self.pass.fetches.push(Fetch { from, to, size, mtime_ns, mode: mode & 0o777 });
        if self.writes {
            Progress::add(&self.pull.progress.found_files, 1);
            Progress::add(&self.pull.progress.found_bytes, size);
        }
        self.is_open = true;
        let opening = Opening { file, token, size, skip: 0, left: None, hasher: hasher(None) };
        self.order(Order::Open(Box::new(opening))).await
    }

    async fn end(&mut self) -> Result<(), RemoteError> {
        self.is_over |= self.open.is_empty();
        if std::mem::take(&mut self.is_open) { self.order(Order::Close).await } else { Ok(()) }
    }

    /// One thing was asked for, by its name.
    fn check_first(&self, name: &[u8]) -> Result<(), RemoteError> {
        if self.came {
            return Err(nonsense("more than was asked for", name));
        }
        match &self.source.name {
            Some(own) if own.as_bytes() != name => Err(nonsense("another name than was asked for", name)),
            _ => Ok(()),
        }
    }

    async fn order(&self, order: Order) -> Result<(), RemoteError> {
        // The writer's own error is told instead of this one.
        self.orders.send(order).await.map_err(|_| RemoteError::SourceEnded)
    }
}

fn below(above: Option<&RelPath>, name: &[u8]) -> Result<RelPath, RemoteError> {
    RelPath::in_folder(above, name).map_err(|error| nonsense(&error.to_string(), name))
}

/// The server does what no honest one does: nothing more is taken from it.
fn nonsense(what: &str, name: &[u8]) -> RemoteError {
    RemoteError::Nonsense { attempt: ATTEMPT, words: format!("{what}: {}", escaped(name)) }
}

fn nanoseconds(times: Times) -> Option<i64> {
    i64::try_from(times.modified_s).ok()?.checked_mul(1_000_000_000)
}

/// A command line that means the same to every shell and to servers that only look for `scp`: a backslash before all
/// that could be special. `None`: some shell has no way to write that name.
fn command(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let mut command = "scp -r -p -f -- ".to_owned();
    for c in path.chars() {
        if c.is_ascii_control() {
            return None;
        }
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '/' | '.' | '_' | '-') {
            command.push('\\');
        }
        command.push(c);
    }
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shell that this machine has takes it as one literal word.
    #[test]
    fn names_are_literal_in_every_shell() {
        let name = "-a b'c\"d$(x)`y`;&|<>(){}[]*?~#!%^=+,:@\\é";
        let command = command(name.as_bytes()).expect("it can be written");
        let words = command.strip_prefix("scp -r -p -f -- ").expect("it begins so");
        for shell in ["sh", "bash", "dash", "zsh", "fish", "tcsh", "busybox"] {
            let mut line = std::process::Command::new(shell);
            if shell == "busybox" {
                line.arg("sh");
            }
            let Ok(said) = line.args(["-c", &format!("printf %s {words}")]).output() else { continue };
            let literal = name.strip_prefix('-').map(|rest| format!("-{rest}")).expect("it begins so");
            assert!(said.status.success(), "{shell}: {said:?}");
            assert_eq!(String::from_utf8_lossy(&said.stdout), literal, "{shell}");
        }
        assert_eq!(super::command(b"a\nb"), None);
        assert_eq!(super::command(b"\xff"), None);
    }
}
