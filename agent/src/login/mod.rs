//! From settings and `ssh_config` files to what a connection needs.

mod wish;

use skiff_config::{Agent, Compression, Destination, Jump, Settings, SshConfig};

pub use self::wish::{LoginError, Resolved, Wish};

use crate::remote::session::Login;
use crate::remote::session::{AgentUse, Credentials};
use crate::ssh_config::{Files, JumpSpec};

/// How to log in to a destination: what its settings say, and where they say nothing, `ssh_config` files. Blocks.
///
/// With `ssh_config = "auto"` a file that can't be read is told and left out; one that is named is an error.
pub fn login(destination: &Destination) -> Result<Resolved, LoginError> {
    let own = Resolved { login: settings_alone(destination), notices: Vec::new() };
    let files = match &destination.ssh_config {
        SshConfig::Never => return Ok(own),
        SshConfig::Auto => Files::usual(),
        SshConfig::At(file) => Files { users: vec![file.clone()], must: true, ..Files::default() },
    };
    if destination.ssh_config == SshConfig::Auto {
        match files.users_alone().look_up(&destination.host, &own_name()) {
            Ok(looked) if looked.named => {}
            Ok(_) => return Ok(own),
            Err(error) => {
                let notices = vec![format!("{error}; it is left out for {}", destination.name)];
                return Ok(Resolved { notices, ..own });
            }
        }
    }
    wish(destination, own.login).look_up(&files)
}

/// The same for whoever has looked for [`problems`] before: what a person should know is logged. Blocks.
pub fn login_or_alone(destination: &Destination) -> Login {
    match login(destination) {
        Ok(found) => {
            found
                .notices
                .iter()
                .for_each(|notice| tracing::warn!(destination = %destination.name, "{notice}"));
            found.login
        }
        Err(error) => {
            tracing::error!(destination = %destination.name, "{error}. Try: {}", error.hint());
            settings_alone(destination)
        }
    }
}

/// What stops destinations from being reached as they were meant, one line each. Blocks.
pub fn problems(settings: &Settings) -> Vec<String> {
    let wrong = |destination: &Destination| {
        let error = login(destination).err()?;
        Some(format!("destination {}: {error}. Try: {}", destination.name, error.hint()))
    };
    settings.destinations.iter().filter_map(wrong).collect()
}

/// What differs from its default was said, so it comes before the files.
fn wish(destination: &Destination, base: Login) -> Wish {
    let usual = Destination::with_defaults("", "");
    let jumps = destination.jump.iter().map(|jump| JumpSpec {
        user: jump.user.clone(),
        host: jump.host.clone(),
        port: Some(jump.port),
    });
    let said = |differs: bool| differs.then_some(());
    Wish {
        host: destination.host.clone(),
        user: destination.user.clone(),
        port: destination.says_port.then_some(destination.port),
        known_hosts: said(destination.known_hosts != usual.known_hosts)
            .map(|()| destination.known_hosts.clone()),
        connect_timeout: said(destination.connect_timeout != usual.connect_timeout)
            .map(|()| destination.connect_timeout),
        keepalive: said(destination.keepalive != usual.keepalive).map(|()| destination.keepalive),
        jumps: Some(jumps.collect()).filter(|jumps: &Vec<_>| !jumps.is_empty()),
        agent: said(destination.agent != usual.agent).map(|()| base.credentials.agent),
        adds_identities: false,
        base,
    }
}

/// As the settings say, without any file.
pub fn settings_alone(destination: &Destination) -> Login {
    let credentials = Credentials {
        identities: destination.identity.clone(),
        certificates: destination.certificate.clone(),
        agent: match &destination.agent {
            Agent::Auto => AgentUse::Named,
            Agent::Always | Agent::At(_) => AgentUse::All,
            Agent::Never => AgentUse::Never,
        },
        agent_socket: match &destination.agent {
            Agent::At(socket) => Some(socket.clone()),
            Agent::Auto | Agent::Always | Agent::Never => None,
        },
        passphrase_file: destination.passphrase_file.clone(),
        password_file: destination.password_file.clone(),
        asker: None,
    };
    let user = destination.user.clone().unwrap_or_else(own_name);
    let last = Login {
        credentials,
        known_hosts: destination.known_hosts.clone(),
        connect_timeout: destination.connect_timeout,
        keepalive: destination.keepalive,
        stall_timeout: destination.stall_timeout,
        compression: destination.compression == Compression::Ssh,
        ..Login::to(user, &*destination.host, destination.port)
    };
    Login { jumps: destination.jump.iter().map(|jump| hop(&last, jump)).collect(), ..last }
}

/// A server on the way is logged in to with the keys of the last one, under its own name. The password is the last one's
/// alone.
fn hop(last: &Login, jump: &Jump) -> Login {
    let user = jump.user.clone().unwrap_or_else(own_name);
    let credentials = Credentials { password_file: None, ..last.credentials.clone() };
    Login { user, host: jump.host.clone(), port: jump.port, jumps: Vec::new(), credentials, ..last.clone() }
}

/// The user that skiff runs as.
pub fn own_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    let local = std::fs::read_to_string("/etc/passwd").ok().and_then(|passwd| name_of(uid, &passwd));
    // Not all users are local.
    let told = || ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    local.or_else(told).filter(|name| !name.is_empty()).unwrap_or_else(|| uid.to_string())
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let of_uid = |fields: &Vec<&str>| fields.get(2).is_some_and(|field| field.parse() == Ok(uid));
    fields.into_iter().find(of_uid).map(|fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_the_way_gets_the_keys_and_not_the_password() {
        let mut last = Login::to("me", "last", 22);
        last.credentials.identities = vec!["key".into()];
        last.credentials.password_file = Some("password".into());
        let hop = hop(&last, &Jump { user: None, host: "between".to_owned(), port: 22 });
        assert_eq!(hop.credentials.identities, last.credentials.identities);
        assert_eq!((hop.credentials.password_file, &*hop.host), (None, "between"));
    }

    #[test]
    fn the_first_user_with_the_number_counts() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\nodd\ntoor:x:0:0::/:\nship:x:1000:1000:,:/home/ship:/bin/sh\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(1000, passwd).as_deref(), Some("ship"));
        assert_eq!(name_of(7, passwd), None);
    }
}
