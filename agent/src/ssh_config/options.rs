//! What the files say for a host, before anything is expanded.

use std::time::Duration;

use super::jump::{self, JumpSpec};
use super::keyword::Keyword;

/// As `ssh` has it.
const MAX_IDENTITIES: usize = 100;

/// What was found for a host. Of each option the first value counts; files of keys and certificates add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// `HostName`, with its `%h`.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`, all of them.
    pub identity_files: Vec<String>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `IdentityAgent`.
    pub identity_agent: Option<String>,
    /// `CertificateFile`, all of them.
    pub certificate_files: Vec<String>,
    /// `ProxyJump`; empty for `none`.
    pub proxy_jump: Option<Vec<JumpSpec>>,
    /// `ProxyCommand`, and where it stands.
    pub proxy_command: Option<(String, String)>,
    /// `Ciphers`.
    pub ciphers: Option<String>,
    /// `Compression`.
    pub compression: Option<bool>,
    /// `ServerAliveInterval`; zero for none.
    pub server_alive_interval: Option<Duration>,
    /// `ConnectTimeout`; zero for none.
    pub connect_timeout: Option<Duration>,
    /// `UserKnownHostsFile`.
    pub user_known_hosts: Option<KnownHostsFiles>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Option<KnownHostsFiles>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// `StrictHostKeyChecking`.
    pub strict: Option<Strict>,
    /// `BatchMode`.
    pub batch_mode: Option<bool>,
    /// `IgnoreUnknown`.
    pub(super) ignore_unknown: Option<String>,
    /// Whether a `Host` line has the name by more than `*`.
    pub named: bool,
    /// What was left out, each with its place.
    pub left_out: Vec<String>,
}

/// Files of recorded host keys, as they were written; none for `none`.
pub type KnownHostsFiles = Vec<String>;

/// `StrictHostKeyChecking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strict {
    /// Only hosts with a recorded key.
    Yes,
    /// A person is asked about others; `ssh` does by default.
    Ask,
    /// The keys of others are recorded.
    AcceptNew,
    /// As `accept-new`; `ssh` would go on even where the key has changed.
    No,
}

impl Looked {
    /// The name to connect to, as far as it is known.
    pub(super) fn host_name(&self, asked: &str) -> String {
        match &self.host_name {
            Some(name) => name.replace("%h", asked).replace("%%", "%").to_ascii_lowercase(),
            None => asked.to_ascii_lowercase(),
        }
    }

    /// Takes an option from an `active` block; elsewhere only looks whether it makes sense. `place` is where it stands.
    pub(super) fn take(
        &mut self,
        keyword: Keyword,
        values: &[String],
        active: bool,
        place: &str,
    ) -> Result<(), String> {
        let one = || match values {
            [] => Err("a value is missing".to_owned()),
            [one] if one.is_empty() => Err("a value is missing".to_owned()),
            [one] => Ok(one.as_str()),
            [_, more, ..] => Err(format!("{more:?} is one word too many")),
        };
        match keyword {
            Keyword::HostName => first(&mut self.host_name, active, one()?.to_owned()),
            Keyword::Port => first(&mut self.port, active, port(one()?)?),
            Keyword::User => first(&mut self.user, active, one()?.to_owned()),
            Keyword::IdentityFile => add(&mut self.identity_files, active, one()?)?,
            Keyword::IdentitiesOnly => first(&mut self.identities_only, active, yes_or_no(one()?)?),
            Keyword::IdentityAgent => first(&mut self.identity_agent, active, one()?.to_owned()),
            Keyword::CertificateFile => add(&mut self.certificate_files, active, one()?)?,
            Keyword::ProxyJump => {
                let jump = jump::parse(one()?)?;
                // Whichever of the two comes first counts.
                first(&mut self.proxy_jump, active && self.proxy_command.is_none(), jump);
            }
            Keyword::ProxyCommand => {
                if values.is_empty() {
                    return Err("a value is missing".to_owned());
                }
                let command = (values.join(" "), place.to_owned());
                first(&mut self.proxy_command, active && self.proxy_jump.is_none(), command);
            }
            Keyword::Ciphers => first(&mut self.ciphers, active, one()?.to_owned()),
            Keyword::Compression => first(&mut self.compression, active, yes_or_no(one()?)?),
            Keyword::ServerAliveInterval => first(&mut self.server_alive_interval, active, time(one()?)?),
            Keyword::ConnectTimeout => first(&mut self.connect_timeout, active, time(one()?)?),
            Keyword::UserKnownHostsFile => first(&mut self.user_known_hosts, active, files(values)?),
            Keyword::GlobalKnownHostsFile => first(&mut self.global_known_hosts, active, files(values)?),
            Keyword::HostKeyAlias => first(&mut self.host_key_alias, active, one()?.to_owned()),
            Keyword::StrictHostKeyChecking => first(&mut self.strict, active, strict(one()?)?),
            Keyword::BatchMode => first(&mut self.batch_mode, active, yes_or_no(one()?)?),
            Keyword::IgnoreUnknown => first(&mut self.ignore_unknown, active, one()?.to_owned()),
            Keyword::PassedOver | Keyword::Host | Keyword::Match | Keyword::Include => {}
        }
        Ok(())
    }
}

fn first<T>(slot: &mut Option<T>, active: bool, value: T) {
    if active && slot.is_none() {
        *slot = Some(value);
    }
}

fn add(files: &mut Vec<String>, active: bool, file: &str) -> Result<(), String> {
    if !active || files.iter().any(|known| known == file) {
        return Ok(());
    }
    if files.len() == MAX_IDENTITIES {
        return Err(format!("more than {MAX_IDENTITIES} files"));
    }
    files.push(file.to_owned());
    Ok(())
}

fn port(text: &str) -> Result<u16, String> {
    skiff_config::address::port(text).ok_or_else(|| format!("{text:?} is not a port"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no")),
    }
}

fn strict(text: &str) -> Result<Strict, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(Strict::Yes),
        "ask" => Ok(Strict::Ask),
        "accept-new" => Ok(Strict::AcceptNew),
        "no" | "false" | "off" => Ok(Strict::No),
        _ => Err(format!("{text:?} is none of yes, ask, accept-new and no")),
    }
}

fn files(values: &[String]) -> Result<KnownHostsFiles, String> {
    match values {
        [] => Err("a value is missing".to_owned()),
        many if many.iter().any(String::is_empty) => Err("a value is missing".to_owned()),
        [one] if one.eq_ignore_ascii_case("none") => Ok(Vec::new()),
        many if many.iter().any(|one| one.eq_ignore_ascii_case("none")) => {
            Err("\"none\" stands alone".to_owned())
        }
        many => Ok(many.to_vec()),
    }
}

/// `90`, `90s`, `1m30s`; `none` for none.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time, write one such as 30 or 1m30s");
    if text == "none" {
        return Ok(Duration::ZERO);
    }
    let (mut seconds, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next();
        let scale = match unit.map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            Some(_) => return Err(wrong()),
        };
        seconds = number.checked_mul(scale).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[(digits + usize::from(unit.is_some()))..];
    }
    let bounded = !text.is_empty() && i32::try_from(seconds).is_ok();
    if bounded { Ok(Duration::from_secs(seconds)) } else { Err(wrong()) }
}
