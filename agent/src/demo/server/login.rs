//! One client of the embedded server: it shows its key, opens channels, and has a command run on each.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::ssh_key::public::KeyData;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty};
use tokio::sync::watch;

use super::command::{self, Shell};

/// The most channels that wait for their command. OpenSSH runs ten at a time (`MaxSessions`); here, any number may run.
const MOST_WAITING: usize = 256;

/// What a connection's client may do.
#[derive(Debug)]
pub(super) struct Login {
    client_key: KeyData,
    shell: Arc<Shell>,
    // Those that were opened and haven't said what for.
    waiting: HashMap<ChannelId, Channel<Msg>>,
    killed: watch::Receiver<bool>,
}

impl Login {
    /// Lets in the holder of `client_key`.
    pub(super) fn new(client_key: KeyData, shell: Arc<Shell>) -> Self {
        // Its sender is gone: what is started by this one counts as cut off. Connections bring their own.
        let (_, killed) = watch::channel(true);
        Self { client_key, shell, waiting: HashMap::new(), killed }
    }

    /// The same for another connection, which ends when `killed` says so.
    pub(super) fn for_connection(&self, killed: watch::Receiver<bool>) -> Self {
        let (client_key, shell) = (self.client_key.clone(), Arc::clone(&self.shell));
        Self { client_key, shell, waiting: HashMap::new(), killed }
    }

    fn judge(&self, key: &KeyData) -> Auth {
        if *key == self.client_key { Auth::Accept } else { Auth::reject() }
    }

    fn start(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(channel) = self.waiting.remove(&id) else {
            return session.channel_failure(id);
        };
        match self.shell.spawn(line) {
            Ok(child) => {
                session.channel_success(id)?;
                tokio::spawn(command::relay(child, channel, session.handle(), self.killed.clone()));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "the demo server cannot start a shell");
                session.channel_failure(id)
            }
        }
    }
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.judge(offer.public_key.key_data()))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.judge(key.public_key.key_data()))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // A reply that is dropped refuses.
        if self.waiting.len() < MOST_WAITING {
            self.waiting.insert(channel.id(), channel);
            reply.accept().await;
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(id, line, session)
    }

    // What isn't offered is refused aloud: a client that hears nothing waits for ever.
    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(id)
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.waiting.remove(&id);
        Ok(())
    }
}
