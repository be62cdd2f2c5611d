//! What the journal remembers, taken up; and ended, where nobody is left whom it concerns. What it doesn't know while it is doubted.

use skiff_common::delivery::Record;

use super::{DispatchError, Dispatcher};
use crate::admission::Standing;
use crate::context::WatchContext;
use crate::journal::{JournalError, Opening};
use crate::route;
use std::sync::Arc;

impl Dispatcher {
    /// Once all that was there has been looked for at the destinations, what the journal doesn't know is new.
    pub(super) async fn end_doubt(&mut self) -> Result<(), DispatchError> {
        let Some(journal) = self.journal.clone().filter(|_| self.doubt.is_some() && self.has_compared())
        else {
            return Ok(());
        };
        match journal.end_doubt().await {
            // Until there is space a start would ask again, that is all.
            Err(JournalError::NoSpace { .. }) => return Ok(()),
            ended => ended?,
        }
        if self.doubt.take().is_some_and(|why| !why.is_empty()) {
            tracing::info!("the journal is rebuilt: all that is there was compared with the destinations");
        }
        Ok(())
    }

    /// Whether each watch was seen whole, and nothing of it is on its way: what has failed is asked for whenever it is tried.
    fn has_compared(&self) -> bool {
        // In this order: who has looked has handed on all that it found.
        self.watches.values().all(|live| live.context.has_looked() && live.planner.cut_at().is_none())
            && self.settled.is_empty()
            && self.desk.shipments() == 0
    }

    pub(super) fn recall(&mut self, opening: Opening) {
        for held in opening.held {
            if self.context(&held.watch).is_none() {
                // A watch that comes back finds its files again, as new ones.
                self.dropped.push(Record::Released(held.item));
                continue;
            }
            self.desk.recall(&held);
            self.board.recalled(&held);
            if held.quarantined {
                self.admission.set(held.item, Standing::Held(held.stamp));
            }
        }
        for shipment in opening.pending {
            // A watch or destination that is no longer configured: its files are still in their folder.
            let delivers = |context: Arc<WatchContext>| {
                route::destinations(&context.settings).contains(&shipment.destination)
            };
            if !self.context(&shipment.watch).is_some_and(delivers) {
                let (shipment, delivered) = (shipment.id, Vec::new());
                self.dropped.push(Record::Finished { shipment, delivered });
                continue;
            }
            for item in &shipment.items {
                self.admission.set(shipment.item_id(item), Standing::UnderWay { asked: false });
            }
            self.resumed.push(shipment);
        }
    }
}
