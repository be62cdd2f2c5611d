//! Which files make up a configuration: `skiff.toml`, then `skiff.d/*.toml` beside it in the order of their names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::problem::{Complaint, code};
use crate::raw::{self, Context, Place, Table};
use crate::{Environment, Problems, Settings, read};

/// Reads the configuration that begins at the file `path`, or says all that is wrong with it.
///
/// The folder beside it has the same name with `.d` for `.toml`. Names there that begin with `.` or end otherwise than in
/// `.toml` are passed over, as editors leave such files behind.
pub fn load(path: &Path, environment: &Environment) -> Result<Settings, Problems> {
    let context = Context::new(path, environment);
    let drop_ins = drop_ins(&path.with_extension("d"));
    let folder = drop_ins.as_ref().err().map(|complaint| (path.with_extension("d"), complaint.clone()));
    let files = std::iter::once(path.to_path_buf()).chain(drop_ins.into_iter().flatten());
    let texts: Vec<_> = files.map(|file| (Arc::from(file.as_path()), read_text(&file))).collect();
    if let Some((folder, complaint)) = &folder {
        context.report(&Place { file: Arc::from(folder.as_path()), line: None }, "", complaint.clone());
    }
    assemble(texts, context)
}

/// Reads a configuration from `text`; `origin` is the file that problems are reported under.
pub fn parse(text: &str, origin: &Path, environment: &Environment) -> Result<Settings, Problems> {
    assemble(vec![(Arc::from(origin), Ok(text.to_owned()))], Context::new(origin, environment))
}

/// A file, and its text or what is wrong with it and in which line.
type Source = (Arc<Path>, Result<String, (Option<usize>, Complaint)>);

fn assemble(sources: Vec<Source>, context: Context<'_>) -> Result<Settings, Problems> {
    let main = Arc::clone(&sources.first().expect("the main file is a source, even when it is missing").0);
    let mut whole = Table::new();
    for (file, text) in sources {
        let table = text
            .map_err(|(line, complaint)| (Place { file: Arc::clone(&file), line }, complaint))
            .and_then(|text| raw::parse(&text, &file));
        match table {
            Ok(table) => raw::merge(&mut whole, table, &context),
            Err((place, complaint)) => context.report(&place, "", complaint),
        }
    }
    let is_complete = context.count() == 0;
    let settings = read::settings(whole, &main, is_complete, &context);
    context.finish().map(|()| settings)
}

fn read_text(file: &Path) -> Result<String, (Option<usize>, Complaint)> {
    let bytes = std::fs::read(file).map_err(|error| (None, unreadable(&error)))?;
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = sound.split(|byte| *byte == b'\n').count();
        (Some(line), Complaint::new(code::NOT_UTF8, "is not UTF-8 text").suggest("save it as UTF-8"))
    })
}

/// The files of the folder beside the main file; none if there is no such folder.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, Complaint> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let paths = listing.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|error| unreadable(&error))?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml") && !is_hidden(path));
    paths.sort();
    Ok(paths)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn unreadable(error: &io::Error) -> Complaint {
    match error.kind() {
        io::ErrorKind::NotFound => Complaint::new(code::FILE_MISSING, "there is no such file")
            .suggest("write one with \"skiff init\" or name another with --config"),
        kind => Complaint::new(code::FILE_UNREADABLE, format!("cannot be read: {kind}"))
            .suggest("let the user that runs skiff read it"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
