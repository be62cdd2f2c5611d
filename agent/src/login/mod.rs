//! From settings and `ssh_config` files to what a connection needs.

mod wish;

use skiff_config::{Agent, Compression, Destination, Jump};

pub use self::wish::{Found, LoginError, Wish};

use crate::remote::auth::{AgentUse, Credentials};
use crate::remote::session::Login;

/// How to log in to a destination.
pub fn login(destination: &Destination) -> Login {
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

/// A server on the way is logged in to as the last one is, but under its own name.
fn hop(last: &Login, jump: &Jump) -> Login {
    let user = jump.user.clone().unwrap_or_else(own_name);
    Login { user, host: jump.host.clone(), port: jump.port, jumps: Vec::new(), ..last.clone() }
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
    fn the_first_user_with_the_number_counts() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\nodd\ntoor:x:0:0::/:\nship:x:1000:1000:,:/home/ship:/bin/sh\n";
        assert_eq!(name_of(0, passwd).as_deref(), Some("root"));
        assert_eq!(name_of(1000, passwd).as_deref(), Some("ship"));
        assert_eq!(name_of(7, passwd), None);
    }
}
