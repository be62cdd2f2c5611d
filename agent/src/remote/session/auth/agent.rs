//! ssh-agent: which keys it has, and what it signs.

use std::path::Path;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::shown;
use crate::remote::session::credentials::{AgentUse, Credentials};

/// An agent answers at once, or waits for a person to agree, which is not asked for here.
const PATIENCE: Duration = Duration::from_secs(5);

/// An agent and its keys.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    pub(super) identities: Vec<AgentIdentity>,
}

impl Agent {
    /// The agent that the credentials mean. If there is none, why, unless it isn't wanted.
    pub(super) async fn find(credentials: &Credentials) -> Result<Self, Option<String>> {
        if credentials.agent == AgentUse::Never {
            return Err(None);
        }
        if credentials.agent_socket.is_none() && std::env::var_os("SSH_AUTH_SOCK").is_none() {
            return Err(Some("SSH_AUTH_SOCK is not set".to_owned()));
        }
        match timeout(PATIENCE, reach(credentials.agent_socket.as_deref())).await {
            Ok(Ok(agent)) if agent.identities.is_empty() => Err(Some("it has no keys".to_owned())),
            Ok(Ok(agent)) => Ok(agent),
            Ok(Err(error)) => Err(Some(shown(&error.to_string()))),
            Err(_) => Err(Some("it does not answer".to_owned())),
        }
    }

    /// Whether it has a key.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        self.identities.iter().any(|one| is_plain(one) && one.public_key().key_data() == key.key_data())
    }
}

async fn reach(socket: Option<&Path>) -> Result<Agent, russh::keys::Error> {
    let mut client = match socket {
        Some(socket) => AgentClient::connect_uds(socket).await?,
        None => AgentClient::connect_env().await?,
    };
    let identities = client.request_identities().await?;
    Ok(Agent { client, identities })
}

fn is_plain(identity: &AgentIdentity) -> bool {
    matches!(identity, AgentIdentity::PublicKey { .. })
}
