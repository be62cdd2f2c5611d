//! The steps of a delivery at a destination with a shell, `scp` and `tar`.
//!
//! Owns the shells on the connection; a shell that isn't in use waits for the next shipment. Promises that each
//! step is safe to repeat. Lacks retries and the decision what is published.

pub(crate) mod answer;
pub(crate) mod facts;
mod folders;
pub(crate) mod grow;
mod hand;
mod modes;
mod one_by_one;
mod owner;
mod place;
mod segments;
mod stage;
mod transfer;
mod twins;
mod verify;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use skiff_common::{RemotePath, Shipment, ShipmentId};
use skiff_config::{Destination, Duplicates, Owner};

pub use facts::Facts;
pub(crate) use hand::Hand;

use super::RemoteError;
use super::channels::OpenChannel;
use super::connection::{Connection, Idle};
use super::session::{ChannelError, Session};
use super::space::Space;
use super::sweep::Sweeps;
use twins::Twins;

/// What else the settings say of a destination.
#[derive(Debug, Clone, Copy, Default)]
struct Policy {
    /// Whether content that it has already is copied there.
    copies: bool,
    /// Whether files get the owner there that they have here.
    keeps_owner: bool,
}

/// A destination that is reached by SCP.
pub(crate) struct ScpRemote {
    connection: Arc<Connection>,
    idle: std::sync::Mutex<Idle<(RemotePath, Hand)>>,
    /// How often a shell found that another folder has come in the place of its own: then those that wait are let go.
    moves: Arc<AtomicUsize>,
    policy: Policy,
    space: Arc<Space>,
    twins: Twins,
    sweeps: Sweeps,
    /// Shipments that are published and whose staging is gone, until somebody asks for that: few, as many as are under way.
    cleared: std::sync::Mutex<HashSet<ShipmentId>>,
}

impl ScpRemote {
    /// Over `connection`, as the settings say; there is no shell yet.
    pub(super) fn over(connection: Arc<Connection>, settings: &Destination, space: Arc<Space>) -> Self {
        let policy = Policy {
            copies: settings.duplicates == Duplicates::Copy,
            keeps_owner: settings.owner == Owner::Preserve,
        };
        let (idle, moves, twins, sweeps, cleared) = Default::default();
        Self { connection, idle, moves, policy, space, twins, sweeps, cleared }
    }

    /// Connects, logs in and looks what is there.
    pub(super) async fn probe(&self, root: &RemotePath) -> Result<Facts, RemoteError> {
        let hand = self.take_hand(root).await?;
        let facts = hand.facts().clone();
        self.give_back(root, hand);
        Ok(facts)
    }

    /// Whether a shell runs there, where the server has room for one at once.
    pub(super) async fn try_probe(&self, root: &RemotePath) -> Result<bool, RemoteError> {
        let hand = self.spare_hand(root).await?;
        Ok(hand.map(|hand| self.give_back(root, hand)).is_some())
    }

    /// Ends all shells.
    pub(super) async fn close(&self) {
        let idle = std::mem::take(self.idle().waiting());
        for (_, hand) in idle {
            hand.end().await;
        }
    }

    /// Clears what is staged of a shipment, if that isn't done.
    pub(super) async fn discard(&self, root: &RemotePath, shipment: &Shipment) -> Result<(), RemoteError> {
        if self.cleared().remove(&shipment.id) {
            return Ok(());
        }
        let mut hand = self.take_hand(root).await?;
        let patience = self.patience(0);
        hand.must(&["drop", &self.staging(shipment)], patience, "clearing the staging").await?;
        self.give_back(root, hand);
        Ok(())
    }

    fn staging(&self, shipment: &Shipment) -> String {
        self.connection.staging(shipment)
    }

    fn patience(&self, bytes: u64) -> Duration {
        self.connection.patience(bytes)
    }

    /// A shell that is free, when the server has room for one. Its user gives it back after success; after a failure
    /// nobody knows what it waits for.
    async fn take_hand(&self, root: &RemotePath) -> Result<Hand, RemoteError> {
        loop {
            let mut freed = std::pin::pin!(self.connection.channels.freed());
            // From here on, so that what is freed meanwhile isn't missed.
            freed.as_mut().enable();
            let session = self.connection.session().await?;
            if let Some(hand) = self.take_idle(&session, root) {
                return Ok(hand);
            }
            if let Some(open) = self.connection.channels.claim() {
                match self.start_hand(&session, root, open).await {
                    Err(RemoteError::Channel(ChannelError::Denied { .. }))
                        if self.connection.channels.some_are_open() =>
                    {
                        continue;
                    }
                    started => return started,
                }
            }
            // One that works in another folder makes room.
            drop(self.idle().waiting().pop());
            freed.await;
        }
    }

    /// A shell more, if one is idle or the server has room for it. `None` is no trouble.
    async fn spare_hand(&self, root: &RemotePath) -> Result<Option<Hand>, RemoteError> {
        let session = self.connection.session().await?;
        if let Some(hand) = self.take_idle(&session, root) {
            return Ok(Some(hand));
        }
        let Some(open) = self.connection.channels.claim() else { return Ok(None) };
        match self.start_hand(&session, root, open).await {
            Err(RemoteError::Channel(ChannelError::Denied { .. })) => Ok(None),
            started => started.map(Some),
        }
    }

    async fn start_hand(
        &self,
        session: &Session,
        root: &RemotePath,
        open: OpenChannel,
    ) -> Result<Hand, RemoteError> {
        let stall = self.connection.login.stall_timeout;
        self.connection.taken();
        let (traffic, moves) = (Arc::clone(&self.connection.traffic), Arc::clone(&self.moves));
        let mut hand = Hand::start(session, root, stall, traffic, moves, open).await?;
        if !hand.facts().scp {
            return Err(RemoteError::NoTool { tool: "scp" });
        }
        if self.sweeps.is_due(root) {
            // It takes no round trip of its own: the answer comes before the next one.
            hand.first(&["sweep", &self.connection.sender], "clearing old staging");
        }
        Ok(hand)
    }

    fn take_idle(&self, session: &Arc<Session>, root: &RemotePath) -> Option<Hand> {
        let mut idle = self.idle();
        let idle = idle.on(session);
        idle.retain(|(_, hand)| hand.is_current());
        let at = idle.iter().position(|(of, _)| of == root)?;
        self.connection.taken();
        Some(idle.swap_remove(at).1)
    }

    fn give_back(&self, root: &RemotePath, hand: Hand) {
        if hand.is_usable() {
            self.idle().waiting().push((root.clone(), hand));
            self.connection.given_back();
        }
    }

    fn cleared(&self) -> std::sync::MutexGuard<'_, HashSet<ShipmentId>> {
        self.cleared.lock().expect("nothing panics while it holds the lock")
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle<(RemotePath, Hand)>> {
        self.idle.lock().expect("nothing panics while it holds the lock")
    }
}
