//! What stands for something else in file names: `~`, `%` and `${…}`.

use std::path::PathBuf;

/// What `%` may stand for.
#[derive(Debug)]
pub struct Tokens<'a> {
    /// The host, as it was asked for.
    pub asked: &'a str,
    /// The host to connect to.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Whom to log in as.
    pub user: &'a str,
    /// The user that skiff runs as.
    pub own_name: &'a str,
}

/// The host to connect to, in small letters: `HostName`, which knows `%h` and `%%` only, or what was asked for.
pub fn host(named: Option<&str>, asked: &str) -> Result<String, String> {
    match named {
        Some(text) => percent(text, |token| (token == 'h').then(|| asked.to_owned())),
        None => Ok(asked.to_owned()),
    }
    .map(|name| name.to_ascii_lowercase())
}

/// A file name.
pub fn file(text: &str, tokens: &Tokens<'_>) -> Result<PathBuf, String> {
    let text = variables(text)?;
    let text = percent(&text, |token| tokens.value(token))?;
    tilde(&text)
}

impl Tokens<'_> {
    fn value(&self, token: char) -> Option<String> {
        let machine = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Some(match token {
            'd' => home()?.to_string_lossy().into_owned(),
            'h' => self.host.to_owned(),
            'i' => rustix::process::getuid().as_raw().to_string(),
            'k' | 'n' => self.asked.to_owned(),
            'L' => machine().split('.').next().unwrap_or_default().to_owned(),
            'l' => machine(),
            'p' => self.port.to_string(),
            'r' => self.user.to_owned(),
            'u' => self.own_name.to_owned(),
            _ => return None,
        })
    }
}

fn percent(text: &str, value: impl Fn(char) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut left = text.chars();
    while let Some(c) = left.next() {
        match c {
            '%' => match left.next() {
                Some('%') => out.push('%'),
                Some(token) => {
                    out += &value(token).ok_or_else(|| format!("%{token} in {text:?} is not known here"))?;
                }
                None => return Err(format!("{text:?} ends with a %")),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

fn variables(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) =
            after.split_once('}').ok_or_else(|| format!("{text:?} has a ${{ without a }}"))?;
        out += before;
        out += &std::env::var(name).map_err(|_| format!("the variable {name} in {text:?} is not set"))?;
        rest = behind;
    }
    Ok(out + rest)
}

fn tilde(text: &str) -> Result<PathBuf, String> {
    let Some(rest) = text.strip_prefix('~') else { return Ok(text.into()) };
    match rest.strip_prefix('/') {
        Some(rest) => Ok(home().ok_or("there is no home folder")?.join(rest)),
        None if rest.is_empty() => home().ok_or_else(|| "there is no home folder".to_owned()),
        None => Err(format!("{text:?} is in the home of another user, write the path in full")),
    }
}

fn home() -> Option<PathBuf> {
    std::env::home_dir()
}
