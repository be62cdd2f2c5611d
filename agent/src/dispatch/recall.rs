//! What the journal remembers, taken up; and ended, where nobody is left whom it concerns.

use skiff_common::delivery::Record;

use super::Dispatcher;
use crate::admission::Standing;
use crate::context::WatchContext;
use crate::journal::Opening;
use crate::route;
use std::sync::Arc;

impl Dispatcher {
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
