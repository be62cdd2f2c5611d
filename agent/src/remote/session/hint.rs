//! What a person can do about a connection that failed: for each reason the thing to look at, and the command for it.

use super::error::{ChannelError, ConnectError};
use super::progress::Step;
use crate::remote::key_file::KeyFileError;

impl ConnectError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Resolve { host, .. } => format!(
                "check the name {host} (`getent hosts {host}`), and this machine's resolver in /etc/resolv.conf"
            ),
            Self::Refused { .. } => {
                "see that an SSH server runs there and on which port it listens (`ss -ltn` there); another port is named by \
                 -P, or in `address`"
                    .to_owned()
            }
            Self::TimedOut { step, .. } => timed_out(*step).to_owned(),
            Self::Io { .. } => {
                "look at this machine's network: `ip addr`, `ip route`; a later try may work".to_owned()
            }
            Self::Lost { step, .. } => lost(*step).to_owned(),
            Self::NotSsh { .. } => {
                "check the port; an sshd that is too busy (MaxStartups) or bars this address (fail2ban, PerSourcePenalties) \
                 looks like this as well: see its log"
                    .to_owned()
            }
            Self::NoCommonAlgorithm { kind, ours, .. } => format!(
                "update the server, or allow one of ours in its sshd_config: `{} +{}`; if ours were cut down here (-c, \
                 Ciphers), allow more",
                kind.keyword(),
                ours.first().map_or("", String::as_str)
            ),
            Self::HostKeyUnknown { trust, .. } => format!(
                "compare the fingerprint with the server's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there), \
                 then: {trust}"
            ),
            Self::HostKeyChanged { forget, trust, .. } => format!(
                "ask who runs the server whether it has a new key: else somebody is in between, do not connect. If it has: \
                 {forget}, then: {trust}"
            ),
            Self::HostKeyRevoked { at, .. } => {
                format!("do not connect: the key was given up as stolen; the server needs another one, or {at} is wrong")
            }
            Self::HostKeyCertificate { host, .. } => format!(
                "have the certificate of {host} renewed (ssh-keygen -s CA -h -n {host} …), and look at this machine's clock"
            ),
            Self::Jump { gate, address, .. } => format!(
                "see that {gate} can reach {address}, and that its sshd allows it (AllowTcpForwarding, PermitOpen)"
            ),
            Self::KnownHosts(_) => "make the file readable, or name another one (--known-hosts, `known_hosts`)".to_owned(),
            Self::KeyFile(error) => key_file(error),
            Self::NoKeys { offered, .. } if takes_no_key(offered) => NO_KEYS_TAKEN.to_owned(),
            Self::NoKeys { .. } => {
                "make a key with: skiff keygen, or name one with -i, or in `identity` of the destination".to_owned()
            }
            Self::LoginRefused { offered, .. } if takes_no_key(offered) => NO_KEYS_TAKEN.to_owned(),
            Self::LoginRefused { user, install, .. } => format!(
                "check the user name {user}, and put the public key there: `{install}`; if it is there, its home, ~/.ssh and \
                 authorized_keys have to belong to {user} and be writable by nobody else; sshd's log says more \
                 (`journalctl -u ssh`)"
            ),
        }
    }
}

const NO_KEYS_TAKEN: &str = "the server takes no keys: name the file that holds the password (--password-file, \
                             `password_file`), or have it allow them (PubkeyAuthentication yes)";

fn takes_no_key(methods: &[String]) -> bool {
    !methods.is_empty() && methods.iter().all(|method| method != "publickey")
}

const fn timed_out(step: Step) -> &'static str {
    match step {
        Step::Resolving => "this machine's resolver does not answer: look at /etc/resolv.conf",
        Step::Connecting => {
            "nothing answers: see that the host is up and the address right, and that no firewall on the way drops the port"
        }
        Step::Greeting => {
            "something takes connections there but says nothing: see that the port is an SSH server's (`nc HOST PORT` shows \
             SSH-2.0-…), and whether the server is overloaded or a firewall holds the connection"
        }
        Step::KeyExchange => {
            "a link that loses large packets does this (`ping -M do -s 1400 HOST`; lower the MTU), and a very busy server"
        }
        Step::LoggingIn => {
            "the server takes long to decide: see its log, and whether it looks up names or users elsewhere (UseDNS, PAM, LDAP)"
        }
    }
}

const fn lost(step: Step) -> &'static str {
    match step {
        Step::Resolving | Step::Connecting => {
            "check the network and firewalls on the way; a later try may work"
        }
        Step::Greeting | Step::KeyExchange => {
            "the server, or something on the way, closed it: see the server's log for a limit or a ban of this address \
             (MaxStartups, fail2ban); a later try may work"
        }
        Step::LoggingIn => {
            "see the server's log (`journalctl -u ssh`): too many keys tried (MaxAuthTries; name one with -i), an account \
             that may not log in, or a network that broke; a later try may work"
        }
    }
}

fn key_file(error: &KeyFileError) -> String {
    match error {
        KeyFileError::TooOpen { command, .. } => command.clone(),
        KeyFileError::Encrypted { .. } => {
            "name the file that holds the passphrase (--passphrase-file, `passphrase_file`), or add the key to ssh-agent"
                .to_owned()
        }
        KeyFileError::Io { path, .. } => {
            format!("see that {} is there and readable by the user that skiff runs as: ls -l {}", path.display(), path.display())
        }
        KeyFileError::NotRegular { .. }
        | KeyFileError::ForeignOwner { .. }
        | KeyFileError::TooLarge { .. }
        | KeyFileError::Passphrase { .. }
        | KeyFileError::NoSecret { .. }
        | KeyFileError::Certificate { .. }
        | KeyFileError::Malformed { .. } => "run what the message says, or name another key".to_owned(),
    }
}

impl ChannelError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Denied { .. } => {
                "the server allows this account no session, or no more of them: look at MaxSessions in its sshd_config, and \
                 for `restrict` or `permitopen` at the key"
            }
            Self::ExecRefused => "let the account run commands: no ForceCommand, and a login shell",
            Self::TimedOut(_) => "the server logs in, but starts nothing: see its load (`uptime`) and its log",
            Self::Lost { .. } => {
                "see in the server's log what ended it (`journalctl -u ssh`); a firewall or NAT that forgets idle \
                 connections is kept awake by a shorter `keepalive`"
            }
        }
        .to_owned()
    }
}
