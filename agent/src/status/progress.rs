//! How far each shipment on its way has come.
//!
//! The transports count what they send without knowing for which shipment; the task that runs the shipment knows.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Status;

/// What was sent for one shipment, over all its attempts.
pub type Progress = Arc<AtomicU64>;

tokio::task_local! {
    static PROGRESS: Progress;
}

/// Counts what `work` sends into `progress`.
pub async fn counting<T>(progress: Progress, work: impl Future<Output = T>) -> T {
    PROGRESS.scope(progress, work).await
}

/// What this task counts into, for another that sends in its place; `None` where it works for no shipment.
pub fn counted() -> Option<Progress> {
    PROGRESS.try_with(Progress::clone).ok()
}

/// So many bytes were sent by this task; where it works for no shipment, nobody is told.
pub fn note_sent(bytes: u64) {
    let _ = PROGRESS.try_with(|progress| Status::add(progress, bytes));
}
