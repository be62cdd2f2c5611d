//! `skiff init`: asks, or takes flags, and writes a commented configuration.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use skiff_config::address::split_path;
use skiff_config::{Environment, quoted};

use super::args::Init;
use super::exit;

/// Writes it.
pub(super) fn init(args: &Init) -> ExitCode {
    if args.config.exists() && !args.print {
        let what = format!("{} is there already", args.config.display());
        return exit::fail(exit::USAGE, &what, "name another with --config, or move this one away");
    }
    let answers = match answers(args) {
        Ok(answers) => answers,
        Err(what) => {
            return exit::fail(exit::USAGE, &what, "skiff init --watch FOLDER --to [user@]host:FOLDER");
        }
    };
    let text = text(args, &answers);
    if let Err(problems) =
        skiff_config::parse(&text, &args.config, &Environment::from_process().with_credentials_of_service())
    {
        eprintln!("{problems}");
        return ExitCode::from(exit::USAGE);
    }
    if args.print {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = write(&args.config, &text) {
        let what = format!("cannot write {}: {error}", args.config.display());
        return exit::fail(exit::FAILED, &what, "run this as root, or name another file with --config");
    }
    tell_next(args, &answers);
    ExitCode::SUCCESS
}

struct Answers {
    folder: String,
    server: String,
    path: String,
    after: String,
}

fn answers(args: &Init) -> Result<Answers, String> {
    let folder = answer(args.watch.as_deref(), "Which folder is to be watched?", None, |folder| {
        let is_whole = folder.starts_with('/') || folder.starts_with("~/");
        if is_whole { Ok(()) } else { Err(format!("{folder:?} does not begin with / or ~/")) }
    })?;
    let target = answer(args.to.as_deref(), "Where to? [user@]host:FOLDER", None, |target| {
        let names = split_path(target).is_some_and(|(server, _)| !server.is_empty());
        if names {
            Ok(())
        } else {
            Err(format!("{target:?} names no server: a colon separates it from the folder"))
        }
    })?;
    let question = "What becomes of delivered files, keep or delete?";
    let after = answer(args.after_delivery.as_deref(), question, Some("keep"), |after| {
        if ["keep", "delete"].contains(&after) {
            Ok(())
        } else {
            Err(format!("{after:?} is neither keep nor delete"))
        }
    })?;
    let (server, path) = split_path(&target).expect("it was checked");
    let path = if path.is_empty() { "." } else { path };
    Ok(Answers { folder, server: server.to_owned(), path: path.to_owned(), after })
}

/// What the flag says, or a person, who is asked again until it makes sense; or, where there is none to ask, the default.
fn answer(
    flag: Option<&str>,
    question: &str,
    default: Option<&str>,
    makes_sense: impl Fn(&str) -> Result<(), String>,
) -> Result<String, String> {
    if let Some(flag) = flag {
        return makes_sense(flag).map(|()| flag.to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return default.map(str::to_owned).ok_or_else(|| format!("there is nobody to ask: {question}"));
    }
    let hint = default.map(|default| format!(" [{default}]")).unwrap_or_default();
    loop {
        eprint!("{question}{hint} ");
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.map_err(|error| format!("cannot read the answer: {error}"))? == 0 {
            return Err(format!("no answer: {question}"));
        }
        let said = Some(line.trim()).filter(|said| !said.is_empty()).or(default);
        match said.map(|said| makes_sense(said).map(|()| said.to_owned())) {
            Some(Ok(said)) => return Ok(said),
            Some(Err(why)) => eprintln!("  {why}"),
            None => {}
        }
    }
}

fn text(args: &Init, answers: &Answers) -> String {
    let Answers { folder, server, path, after } = answers;
    let address = match args.port {
        Some(port) => format!("{server}:{port}"),
        None => server.clone(),
    };
    let mut text = "# skiff's configuration. \"skiff config show\" prints all settings that are in force, defaults included.\n\n".to_owned();
    let mut line = |words: String| {
        text += &words;
        text.push('\n');
    };
    line("# Where skiff remembers what it has delivered.".to_owned());
    line(format!("state_dir = {}\n", quoted(&args.state_dir.display().to_string())));
    line(format!("[destination.{}]", args.name));
    line(format!("address = {}", quoted(&address)));
    line("# The folder there; it is made if it is missing.".to_owned());
    line(format!("path = {}", quoted(path)));
    match &args.identity {
        Some(identity) => line(format!("identity = {}", key_path(&identity.display().to_string()))),
        None => line("# Without a key named here, what ssh would try: its agent, then the usual files.\n#identity = \"/etc/skiff/id_ed25519\"".to_owned()),
    }
    if let Some(known_hosts) = known_hosts(args) {
        line(format!("known_hosts = {}", quoted(&known_hosts.display().to_string())));
    }
    line("\n[[watch]]".to_owned());
    line(format!("name = {}", quoted(&watch_name(folder))));
    line(format!("path = {}", quoted(folder)));
    line(format!("to = {}", quoted(&args.name)));
    line("# \"delete\" and { move = \"/some/folder\" } take place only after the destination has read back an equal digest.".to_owned());
    line(format!("after_delivery = {}", quoted(after)));
    line(
        "# Only some of the files: patterns, as in [\"*.csv\", \"2026/**\"].\n#include = [\"**\"]".to_owned(),
    );
    text
}

/// The last part of its path, as far as it can be a name.
fn watch_name(folder: &str) -> String {
    let last = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = last.chars().map(|c| if plain(c) { c } else { '-' }).take(64).collect();
    let name = name.trim_start_matches(['.', '_', '-']).to_owned();
    if name.is_empty() { "files".to_owned() } else { name }
}

/// The file beside the configuration that the package makes for the servers' keys: the service's own user has no home.
fn known_hosts(args: &Init) -> Option<PathBuf> {
    let file = args.config.with_file_name("known_hosts");
    file.is_file().then_some(file)
}

/// The path of a key. A credential's isn't known here.
fn key_path(text: &str) -> String {
    if text.starts_with("${credential:") { format!("\"{text}\"") } else { quoted(text) }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(file)?.write_all(text.as_bytes())
}

fn tell_next(args: &Init, answers: &Answers) {
    let server = match args.port {
        Some(port) => format!("-P {port} {}", answers.server),
        None => answers.server.clone(),
    };
    let config = match args.config.to_str() {
        Some("/etc/skiff/skiff.toml") | None => String::new(),
        Some(file) => format!(" --config {file}"),
    };
    println!("written: {}", args.config.display());
    let known_hosts = known_hosts(args).map(|file| format!("--known-hosts {} ", file.display()));
    println!("next:    skiff trust {}{server}", known_hosts.unwrap_or_default());
    println!("         skiff check{config}");
    println!("         skiff run{config}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_names() {
        assert_eq!(watch_name("/var/spool/sensors/"), "sensors");
        assert_eq!(watch_name("/data/my files"), "my-files");
        assert_eq!(watch_name("/"), "files");
    }
}
