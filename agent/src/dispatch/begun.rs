//! Shipments that have begun: what their workers report, and their end. Lacks how they begin, which is `effects`'s.

use std::sync::Arc;

use skiff_common::delivery::Event;
use skiff_common::{Moment, ShipmentId};
use tokio::sync::Notify;

use super::{DispatchError, Dispatcher, worker};
use crate::clock;
use crate::context::WatchContext;
use crate::status::{Progress, Status};

/// A shipment that has begun, by the settings that held then.
pub(super) struct Begun {
    pub(super) context: Arc<WatchContext>,
    pub(super) step: &'static str,
    /// Ends what is being sent.
    pub(super) cut: Arc<Notify>,
    pub(super) runs: bool,
    pub(super) since: Moment,
    pub(super) progress: Progress,
    pub(super) wire_bytes: u64,
    /// From its begin to its end, for who traces.
    pub(super) span: tracing::Span,
}

impl Begun {
    pub(super) fn sent(&self) -> u64 {
        Status::get(&self.progress)
    }

    pub(super) fn sent_again(&self) -> u64 {
        self.sent().saturating_sub(self.wire_bytes)
    }
}

impl Dispatcher {
    pub(super) async fn report(
        &mut self,
        (id, report): (ShipmentId, worker::Report),
    ) -> Result<(), DispatchError> {
        self.board.touch();
        self.note_failure(&id, &report);
        if let Some(failure) = report.failure {
            self.outcome.destination_failure = Some(failure);
        }
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.runs = false;
        }
        let effects = if report.cut {
            self.desk.put_back(&id, clock::now())
        } else {
            self.desk.on(&id, report.event, clock::now(), clock::chance())
        };
        self.apply(effects).await?;
        if self.desk.shipment(&id).is_none()
            && let Some(over) = self.begun.remove(&id)
        {
            Status::add(&self.status.resent_bytes, over.sent_again());
            self.close_retired();
            // What of it has failed may be held since.
            self.forget_unless_watched(&over.context.settings.name).await?;
        }
        Ok(())
    }

    /// What the desk has dropped, to be planned for another destination, isn't on its way by the old settings any longer.
    pub(super) fn end_dropped(&mut self) {
        let (desk, status, before) = (&self.desk, &self.status, self.begun.len());
        self.begun.retain(|id, begun| {
            let goes_on = desk.shipment(id).is_some();
            if !goes_on {
                Status::add(&status.resent_bytes, begun.sent_again());
            }
            goes_on
        });
        if self.begun.len() < before {
            self.close_retired();
        }
    }

    fn note_failure(&mut self, id: &ShipmentId, report: &worker::Report) {
        let Event::Failed { reason, destination, .. } = &report.event else { return };
        let Some(code) = report.code() else {
            tracing::info!(shipment = %id, "{reason}");
            return;
        };
        Status::add(&self.status.failures, 1);
        self.status.failed(code);
        if let Some(shipment) = self.desk.shipment(id).filter(|_| *destination) {
            self.board.failed(&shipment.destination, code, reason);
        }
    }
}
