//! What the owner may do with a staged file, whatever the source's mode is: he writes and reads it until it is verified.
//!
//! Lacks the umask, which is the server's and holds for all that it creates.

use skiff_common::delivery::Staged;
use skiff_common::{Item, Shipment};

use super::hand::Hand;
use super::owner::{landed, named};
use super::{RemoteError, ScpRemote};

/// What a staged file's mode has beside the source's.
pub(super) const OWNERS: u32 = 0o600;

impl ScpRemote {
    /// Gives what has landed the mode that its source has. To be called before what is staged is published.
    pub(super) async fn give_modes(
        &self,
        hand: &mut Hand,
        shipment: &Shipment,
        staged: &[Staged],
    ) -> Result<(), RemoteError> {
        for lacked in ["u-r", "u-w", "u-rw"] {
            let lacking: Vec<&Item> =
                landed(shipment, staged).filter(|item| lacks(item.mode) == Some(lacked)).collect();
            for names in named(shipment.kind, &lacking) {
                hand.must(&["lacks", lacked, &names], self.patience(0), "giving files their mode").await?;
            }
        }
        Ok(())
    }
}

/// What a mode doesn't let the owner do, as `chmod` takes it away.
const fn lacks(mode: u32) -> Option<&'static str> {
    match (mode & 0o400, mode & 0o200) {
        (0, 0) => Some("u-rw"),
        (0, _) => Some("u-r"),
        (_, 0) => Some("u-w"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_owner_may_not_do_is_taken_away_again() {
        for (mode, lacked) in
            [(0o644, None), (0o444, Some("u-w")), (0o200, Some("u-r")), (0o077, Some("u-rw"))]
        {
            assert_eq!(lacks(mode), lacked, "{mode:o}");
        }
    }
}
