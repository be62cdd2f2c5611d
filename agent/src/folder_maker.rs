//! Makes empty folders at the destination, where that is asked for.
//!
//! What a scanner has met ([`Folders`](crate::empty_folders::Folders)) is asked for until it is made, and what is refused with
//! each scan that meets it. Lacks removal: a folder that goes here stays there, as files do.

use std::sync::Arc;
use std::time::Duration;

use skiff_common::retry::Retry;
use skiff_config::EmptyFolders;

use crate::clock;
use crate::context::WatchContext;

/// How often to look whether the watch has ended.
const LOOK: Duration = Duration::from_secs(2);

/// Whether the watch needs such a task.
pub(crate) fn are_wanted(context: &WatchContext) -> bool {
    context.settings.empty_folders == EmptyFolders::Deliver && !context.once
}

/// Has them made until the watch ends: at its destination, and of several at the first.
pub(crate) async fn serve(context: Arc<WatchContext>) {
    let settings = &context.settings;
    let retry = Retry { first: settings.retry_first, max: settings.retry_max, attempts: None };
    let place = context.places.first().expect("each watch delivers to somewhere");
    let mut failures = 0;
    while !context.waker.is_stopped() {
        let some = context.folders.some();
        if some.is_empty() || context.waker.is_paused() || place.remote.rests() {
            // Either way it is looked again.
            let _ = tokio::time::timeout(LOOK, context.folders.came()).await;
            continue;
        }
        match place.remote.make_folders(&place.root, &some).await {
            Ok(whys) => {
                failures = 0;
                let refused = whys.len();
                for why in whys {
                    tracing::warn!(watch = %settings.name, "cannot make an empty folder at the destination: {why}");
                }
                tracing::debug!(watch = %settings.name, folders = some.len(), refused, "empty folders are made");
                if refused == 0 { context.folders.made(some) } else { context.folders.refused(&some) }
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(watch = %settings.name, "cannot make empty folders at the destination: {error}");
                tokio::time::sleep(retry.wait(failures, clock::chance())).await;
            }
        }
    }
}
