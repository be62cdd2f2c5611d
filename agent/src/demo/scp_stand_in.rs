//! `scp -t` inside skiff: what the embedded server's commands find under the name of `scp`, so that the demo needs none.
//!
//! Owns the receiving of regular files into a given file or folder, as OpenSSH's does it: in place, without going through
//! a temporary name. Never reads past the transfer, for a script may go on reading the same input. Deliberately lacks
//! everything else that scp does.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use skiff_common::escape::escaped;
use skiff_common::scp::{Answer, Event, ScpError, Sink, Times};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Does what `scp` with these arguments (its name not among them) would do.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let received = Options::parse(args).map_err(Failure::Usage).and_then(|options| {
        // Not through `io::stdin`, which reads ahead.
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        receive(&options, input, output)
    });
    match received {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // Nobody is left to tell where this fails.
            let _ = writeln!(io::stderr(), "scp: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing more is received.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0} (this is skiff's stand-in, which knows only: scp -t [-dpqv] TARGET)")]
    Usage(String),
    #[error("{}: Not a directory", escaped(.0.as_os_str().as_bytes()))]
    NoFolder(PathBuf),
    #[error("protocol error: {0}")]
    Protocol(#[from] ScpError),
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
}

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: PathBuf,
    keeps_times: bool,
    wants_folder: bool,
}

impl Options {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let (mut flags, mut targets, mut only_targets) = (Vec::new(), Vec::new(), false);
        for arg in args {
            match arg.as_bytes() {
                b"--" if !only_targets => only_targets = true,
                [b'-', letters @ ..] if !only_targets && !letters.is_empty() => {
                    flags.extend_from_slice(letters);
                }
                _ => targets.push(PathBuf::from(arg)),
            }
        }
        if let Some(unknown) = flags.iter().find(|flag| !b"tpvqd".contains(flag)) {
            return Err(format!("unknown option -{}", escaped(&[*unknown])));
        }
        match targets.as_mut_slice() {
            _ if !flags.contains(&b't') => Err("the option -t is missing".into()),
            [target] => Ok(Self {
                target: std::mem::take(target),
                keeps_times: flags.contains(&b'p'),
                wants_folder: flags.contains(&b'd'),
            }),
            targets => Err(format!("{} targets where one is due", targets.len())),
        }
    }
}

/// Receives files until the sender says that it is done, or its end. Says whether all of them were written.
fn receive(options: &Options, input: impl Read, mut output: impl Write) -> Result<bool, Failure> {
    let received = check_folder(options).and_then(|()| Reception::new(options).run(input, &mut output));
    if let Err(failure @ (Failure::NoFolder(_) | Failure::Protocol(_))) = &received {
        output.write_all(&Answer::No(format!("scp: {failure}").into_bytes()).encode())?;
    }
    received
}

fn check_folder(options: &Options) -> Result<(), Failure> {
    if options.wants_folder && !options.target.is_dir() {
        return Err(Failure::NoFolder(options.target.clone()));
    }
    Ok(())
}

/// What is being received.
struct Reception<'a> {
    options: &'a Options,
    sink: Sink,
    times: Option<Times>,
    landing: Option<Landing>,
    all_written: bool,
}

impl<'a> Reception<'a> {
    fn new(options: &'a Options) -> Self {
        Self { options, sink: Sink::new(), times: None, landing: None, all_written: true }
    }

    fn run(mut self, mut input: impl Read, output: &mut impl Write) -> Result<bool, Failure> {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            if let Some(answer) = self.sink.poll_output() {
                output.write_all(&answer)?;
            }
            let wanted = usize::try_from(self.sink.wanted_bytes()).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            if wanted == 0 {
                return Ok(self.all_written);
            }
            let piece = match input.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => &buffer[..read?],
            };
            self.on_input(piece)?;
            if piece.is_empty() {
                return Ok(self.all_written);
            }
        }
    }

    fn on_input(&mut self, piece: &[u8]) -> Result<(), ScpError> {
        if piece.is_empty() {
            return self.sink.handle_end().map(drop);
        }
        match self.sink.handle_input(piece)?.event {
            Some(Event::Times(times)) => self.times = Some(times),
            Some(Event::Begin { mode, size, name }) => self.begin(mode, size, &name),
            Some(Event::Data(range)) => {
                if let Some(landing) = &mut self.landing {
                    landing.write(&piece[range]);
                }
            }
            Some(Event::End) => self.end(),
            // Folders come to nobody who didn't ask for them.
            Some(
                Event::Folder { .. }
                | Event::FolderEnd
                | Event::Skipped(_)
                | Event::Spoiled(_)
                | Event::Finished,
            )
            | None => {}
        }
        Ok(())
    }

    fn begin(&mut self, mode: u32, size: u64, name: &[u8]) {
        let path = self.path_of(name);
        match Landing::open(&path, mode, size) {
            Ok(landing) => {
                self.landing = Some(landing);
                self.sink.accept();
            }
            Err(error) => self.refuse(&path, &error),
        }
    }

    fn end(&mut self) {
        let times = self.times.take().filter(|_| self.options.keeps_times);
        let Some(landing) = self.landing.take() else { return };
        let path = landing.path.clone();
        match landing.finish(self.options.keeps_times, times) {
            Ok(()) => self.sink.accept(),
            Err(error) => self.refuse(&path, &error),
        }
    }

    fn refuse(&mut self, path: &Path, error: &io::Error) {
        self.all_written = false;
        self.times = None;
        self.sink.refuse(&format!("scp: {}: {}", escaped(path.as_os_str().as_bytes()), plain(error)));
    }

    // As scp does it: a target that is a folder gets the file below the sender's name for it.
    fn path_of(&self, name: &[u8]) -> PathBuf {
        let target = &self.options.target;
        if target.is_dir() { target.join(OsStr::from_bytes(name)) } else { target.clone() }
    }
}

/// What OpenSSH would say: the reason without Rust's number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A file that is being written.
struct Landing {
    path: PathBuf,
    file: File,
    mode: u32,
    size: u64,
    written: io::Result<()>,
}

impl Landing {
    // Like scp, it writes over what stands there and cuts the rest off at the end.
    fn open(path: &Path, mode: u32, size: u64) -> io::Result<Self> {
        let mut how = OpenOptions::new();
        let file = how.write(true).create(true).truncate(false).mode((mode & 0o777) | 0o200).open(path)?;
        Ok(Self { path: path.to_owned(), file, mode, size, written: Ok(()) })
    }

    // What follows an error is read and dropped; the sender is told at the end.
    fn write(&mut self, bytes: &[u8]) {
        if self.written.is_ok() {
            self.written = self.file.write_all(bytes);
        }
    }

    fn finish(self, keeps_mode: bool, times: Option<Times>) -> io::Result<()> {
        self.written?;
        if self.file.metadata()?.is_file() {
            self.file.set_len(self.size)?;
        }
        if keeps_mode {
            self.file.set_permissions(Permissions::from_mode(self.mode))?;
        }
        times.map_or(Ok(()), |times| self.file.set_times(file_times(times)))
    }
}

fn file_times(times: Times) -> FileTimes {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    FileTimes::new().set_modified(at(times.modified_s)).set_accessed(at(times.accessed_s))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(line.split(' ').map(OsString::from))
    }

    /// What `scp -t` answers to `input`, how it ends, and what it left unread.
    fn answers(flags: &str, target: &Path, input: &[u8]) -> (Vec<u8>, Result<bool, Failure>, Vec<u8>) {
        let mut args: Vec<OsString> = flags.split(' ').map(OsString::from).collect();
        args.push(target.into());
        let (mut input, mut output) = (input, Vec::new());
        let received = receive(&Options::parse(args).expect("good flags"), &mut input, &mut output);
        (output, received, input.to_vec())
    }

    #[test]
    fn flags_stand_apart_or_together() {
        let options = |keeps_times, wants_folder| Options { target: "f".into(), keeps_times, wants_folder };
        assert_eq!(parsed("-t f"), Ok(options(false, false)));
        assert_eq!(parsed("-v -p -t -- f"), Ok(options(true, false)));
        assert_eq!(parsed("-qpdt f"), Ok(options(true, true)));
        for bad in ["f", "-f f", "-t", "-t a b", "-rt f", "-t -x f"] {
            assert!(parsed(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_file_is_written_in_place_and_the_rest_is_left_to_the_script() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("f");
        std::fs::write(&target, "something longer").expect("an older file");
        let input = b"T7 0 8 0\nC0640 5 ignored\nhello\0E\nexit\n";
        let (output, received, left) = answers("-p -t", &target, input);
        assert_eq!((output.as_slice(), left.as_slice()), (&[0; 5][..], &b"exit\n"[..]));
        assert!(received.expect("no failure"));
        assert_eq!(std::fs::read(&target).expect("a file"), b"hello");
        let meta = std::fs::metadata(&target).expect("a file");
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
        assert_eq!(meta.modified().expect("a time"), UNIX_EPOCH + Duration::from_secs(7));
    }

    #[test]
    fn a_folder_gets_the_files_below_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, received, _) = answers("-d -t", folder.path(), b"C0644 1 a\nx\0C0644 0 b\n\0");
        assert!(received.expect("the end of the input is an end"));
        assert_eq!(std::fs::read(folder.path().join("a")).expect("a file"), b"x");
        assert!(folder.path().join("b").exists());
    }

    #[test]
    fn refusals_read_like_openssh() {
        let (output, received, _) = answers("-t", Path::new("/nowhere/f"), b"C0644 1 f\nE\n");
        assert_eq!(output, b"\0\x01scp: /nowhere/f: No such file or directory\n\0");
        assert!(!received.expect("no failure"));
        let (output, received, _) = answers("-dt", Path::new("/nowhere"), b"");
        assert_eq!(output, b"\x01scp: /nowhere: Not a directory\n");
        assert!(received.is_err());
    }

    #[test]
    fn a_full_disk_is_told_after_the_body() {
        let (output, received, _) = answers("-t", Path::new("/dev/full"), b"C0644 1 f\nx\0E\n");
        assert_eq!(output, b"\0\0\x01scp: /dev/full: No space left on device\n\0");
        assert!(!received.expect("no failure"));
    }

    #[test]
    fn what_is_cut_or_no_message_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("f");
        let (_, received, _) = answers("-t", &target, b"C0644 9 f\nabc");
        assert!(matches!(received, Err(Failure::Protocol(ScpError::Cut { missing_bytes: 6 }))));
        let (output, received, _) = answers("-t", &target, b"D0755 0 d\n");
        assert_eq!(output, b"\0\x01scp: protocol error: the folder d came where a file was expected\n");
        assert!(received.is_err());
    }

    #[test]
    fn the_real_scp_sends_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, target) = (folder.path().join("from"), folder.path().join("to"));
        let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
        std::fs::write(&from, &body).expect("a file");
        let piped = || Stdio::piped();
        let command = &mut Command::new("scp");
        let mut peer =
            command.arg("-pf").arg(&from).stdin(piped()).stdout(piped()).spawn().expect("scp starts");
        let (input, output) = (peer.stdout.take().expect("piped"), peer.stdin.take().expect("piped"));
        let options = Options { target: target.clone(), keeps_times: true, wants_folder: false };
        assert!(receive(&options, input, output).expect("no failure"));
        assert!(peer.wait().expect("it ended").success());
        assert!(std::fs::read(&target).expect("a file") == body);
    }
}
