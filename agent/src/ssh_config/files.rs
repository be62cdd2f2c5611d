//! The files, read line by line for one host.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use rustix::fs::OFlags;

use super::block::{self, Asked, Matched};
use super::error::SshConfigError;
use super::keyword::{Keyword, keyword};
use super::options::Looked;
use super::words;

/// As `ssh` has it.
const MAX_DEPTH: usize = 16;
/// No file that a person writes is larger.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// So many files by one pattern mean a pattern that was not meant.
const MAX_INCLUDED: usize = 1000;
const WRITE_BY_OTHERS: u32 = 0o022;

/// Which files are read, the first one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Options that come before all files, as after `-o`: `Keyword=value`.
    pub options: Vec<String>,
    /// The user's files.
    pub users: Vec<PathBuf>,
    /// Whether the user's files have to be there.
    pub must: bool,
    /// Whether the user's files, and what they include, must not be writable by others.
    pub checked: bool,
    /// The system's.
    pub systems: Vec<PathBuf>,
}

impl Files {
    /// The user's and the system's, as `ssh` reads them unless told otherwise.
    pub fn usual() -> Self {
        let users = std::env::home_dir().map(|home| home.join(".ssh/config"));
        Self {
            users: users.into_iter().collect(),
            checked: true,
            systems: vec!["/etc/ssh/ssh_config".into()],
            ..Self::default()
        }
    }

    /// Without the system's.
    #[must_use]
    pub fn users_alone(&self) -> Self {
        Self { systems: Vec::new(), ..self.clone() }
    }

    /// What they say for `host`, as somebody asked for it. Blocks.
    pub fn look_up(&self, host: &str, own_name: &str) -> Result<Looked, SshConfigError> {
        let mut reader = Reader { asked: Asked { host, own_name }, found: Looked::default() };
        for option in &self.options {
            let place = Place { file: Path::new("-o"), line: None };
            reader.line(option, &place, &mut Block::open(), &Origin::option())?;
        }
        let users = Origin { is_users: true, checked: self.checked, depth: 0, is_option: false };
        for file in &self.users {
            reader.file(file, &mut Block::open(), &users, self.must)?;
        }
        let systems = Origin { is_users: false, checked: false, depth: 0, is_option: false };
        for file in &self.systems {
            reader.file(file, &mut Block::open(), &systems, false)?;
        }
        Ok(reader.found)
    }
}

struct Place<'a> {
    file: &'a Path,
    line: Option<usize>,
}

impl Place<'_> {
    fn error(&self, what: impl Into<String>) -> SshConfigError {
        SshConfigError::new(self.file, self.line, what)
    }

    fn shown(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }
}

/// Whether what follows is meant. A file that a block includes can't open what the block has closed.
#[derive(Debug, Clone, Copy)]
struct Block {
    is_open: bool,
    may_open: bool,
}

impl Block {
    const fn open() -> Self {
        Self { is_open: true, may_open: true }
    }

    fn within(self) -> Self {
        Self { is_open: self.is_open, may_open: self.is_open && self.may_open }
    }
}

struct Origin {
    is_users: bool,
    checked: bool,
    depth: usize,
    is_option: bool,
}

impl Origin {
    const fn option() -> Self {
        Self { is_users: true, checked: false, depth: 0, is_option: true }
    }

    const fn deeper(&self) -> Self {
        Self { is_users: self.is_users, checked: self.checked, depth: self.depth + 1, is_option: false }
    }
}

struct Reader<'a> {
    asked: Asked<'a>,
    found: Looked,
}

impl Reader<'_> {
    fn file(
        &mut self,
        path: &Path,
        block: &mut Block,
        origin: &Origin,
        must: bool,
    ) -> Result<(), SshConfigError> {
        let whole = Place { file: path, line: None };
        let text = match read(path, origin.checked) {
            Ok(text) => text,
            // As ssh has it: a file that nobody named may be out of reach, such as in another user's home.
            Err(error)
                if !must && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
            {
                return Ok(());
            }
            Err(error) => return Err(whole.error(format!("cannot be read: {error}"))),
        };
        for (index, line) in text.split('\n').enumerate() {
            self.line(line, &Place { file: path, line: Some(index + 1) }, block, origin)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: &str,
        place: &Place<'_>,
        block: &mut Block,
        origin: &Origin,
    ) -> Result<(), SshConfigError> {
        let Some((name, values)) = words::split(line).map_err(|what| place.error(what))? else {
            return Ok(());
        };
        let Some(known) = keyword(&name) else {
            let ignored =
                self.found.ignore_unknown.as_deref().is_some_and(|list| block::list_matches(&name, list));
            return if ignored {
                Ok(())
            } else {
                Err(place.error(format!("{name:?} is no option of ssh_config")))
            };
        };
        match known {
            Keyword::Host | Keyword::Match | Keyword::Include if origin.is_option => {
                Err(place.error(format!("{name:?} stands in files only")))
            }
            Keyword::Host => {
                if values.is_empty() || values.iter().any(String::is_empty) {
                    return Err(place.error("Host needs a name or a pattern"));
                }
                block.is_open = block.may_open && block::host(&self.asked, &values);
                self.found.named |= block.is_open && block::names(&self.asked, &values);
                Ok(())
            }
            Keyword::Match => self.condition(&values, place, block),
            Keyword::Include => self.include(&values, place, *block, origin),
            other => self
                .found
                .take(other, &values, block.is_open, &place.shown())
                .map_err(|what| place.error(format!("{name}: {what}"))),
        }
    }

    fn condition(
        &mut self,
        values: &[String],
        place: &Place<'_>,
        block: &mut Block,
    ) -> Result<(), SshConfigError> {
        let matched =
            block::conditions(&self.asked, &self.found, values).map_err(|what| place.error(what))?;
        block.is_open = block.may_open && matched == Matched::Yes;
        if let (true, Matched::Untold(what)) = (block.may_open, matched) {
            let left_out =
                format!("{}: \"Match {what}\" is not looked at; its block is left out", place.shown());
            self.found.left_out.push(left_out);
        }
        Ok(())
    }

    fn include(
        &mut self,
        patterns: &[String],
        place: &Place<'_>,
        block: Block,
        origin: &Origin,
    ) -> Result<(), SshConfigError> {
        if patterns.is_empty() {
            return Err(place.error("Include needs a file"));
        }
        for pattern in patterns {
            for file in included(pattern, origin.is_users).map_err(|what| place.error(what))? {
                if origin.depth + 1 >= MAX_DEPTH {
                    return Err(place.error("files include each other too deeply"));
                }
                // What a file opens or closes ends with it.
                self.file(&file, &mut block.within(), &origin.deeper(), false)?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path, checked: bool) -> std::io::Result<String> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let facts = file.metadata()?;
    let us = rustix::process::geteuid().as_raw();
    if checked && (facts.mode() & WRITE_BY_OTHERS != 0 || (facts.uid() != us && facts.uid() != 0)) {
        return Err(std::io::Error::other(format!(
            "others can write to it; run: chmod go-w {}",
            path.display()
        )));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files that a pattern means, in the order of their names. Relative to the folder of the user's or the system's files.
fn included(pattern: &str, is_users: bool) -> Result<Vec<PathBuf>, String> {
    let home = || std::env::home_dir().ok_or_else(|| "there is no home folder".to_owned());
    let whole = if let Some(rest) = pattern.strip_prefix("~/") {
        home()?.join(rest)
    } else if pattern.starts_with('/') {
        PathBuf::from(pattern)
    } else if is_users {
        home()?.join(".ssh").join(pattern)
    } else {
        Path::new("/etc/ssh").join(pattern)
    };
    let mut found = vec![PathBuf::new()];
    for part in whole.components() {
        let name = part.as_os_str().to_string_lossy().into_owned();
        if !name.contains(['*', '?', '[', '{']) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        // As for a shell: a leading dot is only met by a dot.
        let glob = GlobBuilder::new(&name).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|error| format!("{pattern:?} is not a pattern: {error}"))?.compile_matcher();
        let mut next = Vec::new();
        for folder in &found {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let names = entries.flatten().map(|entry| entry.file_name());
            let fits = |one: &std::ffi::OsString| {
                glob.is_match(Path::new(one))
                    && (name.starts_with('.') || !one.as_encoded_bytes().starts_with(b"."))
            };
            next.extend(names.filter(fits).map(|one| folder.join(one)));
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.exists());
    if found.len() > MAX_INCLUDED { Err(format!("{pattern:?} means too many files")) } else { Ok(found) }
}
