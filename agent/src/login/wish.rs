//! What was said about a server outside of `ssh_config` files, and what becomes of it with them.

use std::path::PathBuf;
use std::time::Duration;

use crate::remote::session::AgentUse;
use crate::remote::session::{self, Login, NewHosts};
use crate::ssh_config::{Files, JumpSpec, Looked, SshConfigError, Strict, Tokens, expand_file, expand_host};

use super::own_name;

/// Servers that lead to servers that lead to servers: nobody means so many.
const MAX_HOPS: usize = 8;
const USUAL_KNOWN_HOSTS: [&str; 2] = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"];
const SYSTEM_KNOWN_HOSTS: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
const USUAL_IDENTITIES: [&str; 3] = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];

/// The files that names in an `ssh_config` file mean.
type FilesOf<'a> = dyn Fn(&[String]) -> Result<Vec<PathBuf>, LoginError> + 'a;

/// A server, and what was said about it. What is `None` is for the files to say.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The host, or a name for it that a file knows.
    pub host: String,
    /// Whom to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Where host keys are recorded.
    pub known_hosts: Option<Vec<PathBuf>>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// Between signs of life.
    pub keepalive: Option<Duration>,
    /// The servers on the way.
    pub jumps: Option<Vec<JumpSpec>>,
    /// What ssh-agent is asked.
    pub agent: Option<AgentUse>,
    /// Whether the files' keys come after those of `base`; else they only stand in for them.
    pub adds_identities: bool,
    /// Everything else, and what holds where neither this nor a file says anything.
    pub base: Login,
}

/// How to log in, and what a person should know about it.
#[derive(Debug)]
pub struct Resolved {
    /// How to log in.
    pub login: Login,
    /// What was left out or is done otherwise than by `ssh`.
    pub notices: Vec<String>,
}

/// Why a server can't be logged in to as it was said.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A file, or an option, makes no sense.
    #[error(transparent)]
    SshConfig(#[from] SshConfigError),
    /// What it says can't be done here.
    #[error("{what} (for {host})")]
    Unusable {
        /// The host that it was said for.
        host: String,
        /// What, and why.
        what: String,
    },
}

impl LoginError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::SshConfig(_) => "correct the line, or leave the file out with -F none",
            Self::Unusable { .. } => {
                "say it otherwise on the command line, or leave the file out with -F none"
            }
        }
    }
}

impl Wish {
    /// Looks the server up in the files, and those on the way. Blocks.
    pub fn look_up(&self, files: &Files) -> Result<Resolved, LoginError> {
        let mut notices = Vec::new();
        let login = self.resolve(files, 0, &mut notices)?;
        notices.dedup();
        Ok(Resolved { login, notices })
    }

    fn resolve(&self, files: &Files, depth: usize, notices: &mut Vec<String>) -> Result<Login, LoginError> {
        let me = own_name();
        let unusable = |what: String| LoginError::Unusable { host: self.host.clone(), what };
        if depth > MAX_HOPS {
            return Err(unusable(format!("more than {MAX_HOPS} servers on the way")));
        }
        let looked = files.look_up(&self.host, &me)?;
        notices.extend(looked.left_out.iter().cloned());
        if let Some((command, place)) = &looked.proxy_command
            && self.jumps.is_none()
            && !command.eq_ignore_ascii_case("none")
        {
            return Err(unusable(format!(
                "{place}: ProxyCommand is not run here; ProxyJump does most of what it is used for"
            )));
        }
        let host = expand_host(looked.host_name.as_deref(), &self.host).map_err(unusable)?;
        if host.is_empty() || host.starts_with('-') {
            return Err(unusable(format!("{host:?} is no host name")));
        }
        let port = self.port.or(looked.port).unwrap_or(self.base.port);
        let user = self.user.clone().or_else(|| looked.user.clone()).unwrap_or_else(|| me.clone());
        let tokens = Tokens { asked: &self.host, host: &host, port, user: &user, own_name: &me };
        let files_of = |names: &[String]| -> Result<Vec<PathBuf>, LoginError> {
            names.iter().map(|name| expand_file(name, &tokens).map_err(unusable)).collect()
        };
        let mut login =
            Login { host: host.clone(), port, user: user.clone(), jumps: Vec::new(), ..self.base.clone() };
        self.set_credentials(&mut login, &looked, &files_of)?;
        login.known_hosts = match &self.known_hosts {
            Some(files) => files.clone(),
            None => recorded(&looked, &files_of)?,
        };
        login.known_as.clone_from(&looked.host_key_alias);
        login.new_hosts = match looked.strict {
            Some(Strict::AcceptNew | Strict::No) => NewHosts::Record,
            Some(Strict::Yes | Strict::Ask) | None => self.base.new_hosts,
        };
        if looked.strict == Some(Strict::No) {
            notices.push(format!(
                "StrictHostKeyChecking no for {}: as accept-new; a key that has changed is refused all the same",
                self.host
            ));
        }
        if let Some(list) = &looked.ciphers {
            login.ciphers = ciphers(list).map_err(unusable)?;
        }
        login.compression = looked.compression.unwrap_or(self.base.compression);
        let pause = looked.server_alive_interval;
        login.keepalive = self.keepalive.or(pause).unwrap_or(self.base.keepalive);
        let patience = looked.connect_timeout.filter(|time| !time.is_zero());
        login.connect_timeout = self.connect_timeout.or(patience).unwrap_or(self.base.connect_timeout);
        login.jumps = self.hops(files, &looked, depth, notices)?;
        Ok(login)
    }

    fn set_credentials(
        &self,
        login: &mut Login,
        looked: &Looked,
        files_of: &FilesOf<'_>,
    ) -> Result<(), LoginError> {
        let credentials = &mut login.credentials;
        if credentials.identities.is_empty() || self.adds_identities {
            let named = looked.identity_files.iter().filter(|name| !name.eq_ignore_ascii_case("none"));
            credentials.identities.extend(files_of(&named.cloned().collect::<Vec<_>>())?);
        }
        credentials.certificates.extend(files_of(&without_none(&looked.certificate_files))?);
        let only = looked.identities_only == Some(true);
        if only && credentials.identities.is_empty() {
            credentials.identities = files_of(&USUAL_IDENTITIES.map(str::to_owned))?;
            credentials.identities.retain(|path| path.exists());
        }
        credentials.agent = match self.agent {
            Some(agent) => agent,
            None if only => AgentUse::Named,
            None => self.base.credentials.agent,
        };
        match looked.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => {}
            Some(none) if none.eq_ignore_ascii_case("none") => credentials.agent = AgentUse::Never,
            Some(variable) if variable.starts_with('$') && !variable.starts_with("${") => {
                credentials.agent_socket = std::env::var_os(&variable[1..]).map(PathBuf::from);
            }
            Some(path) => credentials.agent_socket = files_of(&[path.to_owned()])?.pop(),
        }
        if looked.batch_mode == Some(true) {
            credentials.asker = None;
        }
        Ok(())
    }

    /// The servers on the way. Each is looked up by its own name; only the first may have a way of its own.
    fn hops(
        &self,
        files: &Files,
        looked: &Looked,
        depth: usize,
        notices: &mut Vec<String>,
    ) -> Result<Vec<Login>, LoginError> {
        let specs = self.jumps.clone().or_else(|| looked.proxy_jump.clone()).unwrap_or_default();
        // What was said on the command line was said about the last server.
        let files = Files { options: Vec::new(), ..files.clone() };
        let mut hops = Vec::new();
        for (index, spec) in specs.into_iter().enumerate() {
            let wish = self.hop(spec, index > 0);
            let mut hop = wish.resolve(&files, depth + 1, notices)?;
            hops.append(&mut hop.jumps);
            hops.push(hop);
        }
        if hops.len() > MAX_HOPS {
            let what = format!("more than {MAX_HOPS} servers on the way");
            return Err(LoginError::Unusable { host: self.host.clone(), what });
        }
        Ok(hops)
    }

    fn hop(&self, spec: JumpSpec, reached: bool) -> Self {
        let mut base = Login { port: 22, known_as: None, new_hosts: NewHosts::Refuse, ..self.base.clone() };
        (base.ciphers, base.compression) = (Vec::new(), false);
        base.credentials.password_file = None;
        if self.adds_identities {
            // As for ssh: keys that were named for the last server are for it alone.
            base.credentials.identities.clear();
            base.credentials.certificates.clear();
        }
        Self {
            host: spec.host,
            user: spec.user,
            port: spec.port,
            jumps: reached.then(Vec::new),
            base,
            adds_identities: self.adds_identities,
            ..self.clone()
        }
    }
}

fn without_none(files: &[String]) -> Vec<String> {
    files.iter().filter(|name| !name.eq_ignore_ascii_case("none")).cloned().collect()
}

fn recorded(looked: &Looked, files_of: &FilesOf<'_>) -> Result<Vec<PathBuf>, LoginError> {
    let user = looked.user_known_hosts.clone().unwrap_or_else(|| USUAL_KNOWN_HOSTS.map(str::to_owned).into());
    let system =
        looked.global_known_hosts.clone().unwrap_or_else(|| SYSTEM_KNOWN_HOSTS.map(str::to_owned).into());
    files_of(&[user, system].concat())
}

/// The ciphers of a list, as far as they are known here. `+` adds to the usual ones, `-` takes away, `^` puts in front.
fn ciphers(list: &str) -> Result<Vec<russh::cipher::Name>, String> {
    let usual = session::ciphers();
    let (how, names) = match list.split_at_checked(1) {
        Some((how @ ("+" | "-" | "^"), names)) => (how, names),
        _ => ("", list),
    };
    let listed = names.split(',').filter_map(session::cipher);
    let mut all: Vec<_> = match how {
        "-" => usual
            .into_iter()
            .filter(|one| !names.split(',').any(|name| crate::ssh_config::matches(one.as_ref(), name)))
            .collect(),
        "+" => usual.into_iter().chain(listed).collect(),
        "^" => listed.chain(usual).collect(),
        _ => listed.collect(),
    };
    let mut seen = Vec::new();
    all.retain(|one| {
        let new = !seen.contains(one);
        seen.push(*one);
        new
    });
    if all.is_empty() {
        let known: Vec<_> = session::ciphers().iter().map(|one| one.as_ref().to_owned()).collect();
        return Err(format!("none of the ciphers {names} is known here; there are {}", known.join(", ")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        ciphers(list).expect("some").iter().map(|one| one.as_ref().to_owned()).collect()
    }

    #[test]
    fn a_server_on_the_way_is_not_told_the_password_of_the_last() {
        let mut base = Login::to("", "last", 22);
        base.credentials.identities = vec!["key".into()];
        base.credentials.password_file = Some("password".into());
        let wish = Wish {
            host: "last".to_owned(),
            user: None,
            port: None,
            known_hosts: None,
            connect_timeout: None,
            keepalive: None,
            jumps: None,
            agent: None,
            adds_identities: false,
            base,
        };
        let hop = wish.hop(JumpSpec { user: None, host: "between".to_owned(), port: None }, false);
        let credentials = hop.base.credentials;
        assert_eq!((credentials.identities.len(), credentials.password_file), (1, None));
    }

    #[test]
    fn lists_of_ciphers() {
        assert_eq!(names("aes256-ctr,3des-cbc"), ["aes256-ctr"]);
        assert_eq!(names("^aes256-ctr")[0], "aes256-ctr");
        assert_eq!(names("^aes256-ctr").len(), session::ciphers().len());
        assert_eq!(names("+3des-cbc"), names("+aes256-ctr"));
        assert!(names("-aes*").iter().all(|name| name.starts_with("chacha")));
        assert!(ciphers("3des-cbc").is_err() && ciphers("-*").is_err());
    }
}
