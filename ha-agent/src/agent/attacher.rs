//! What the driver must not wait for: attaching the classifier to interfaces.
//!
//! One task with a [`Mailbox`]; the driver never waits for it, so it may wait for the driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mailbox::Mailbox;
use crate::core::model::RouterId;
use crate::wire::{Target, Wire, WireError};

/// Where the classifier is wanted.
#[derive(Debug)]
pub(super) enum AttachJob {
    /// On this interface, instead of whatever was wanted before.
    Attach {
        /// Which VRID where.
        target: Box<Target>,
        /// Given back with the outcome: an older one no longer counts.
        generation: u64,
    },
    /// Nowhere.
    Detach,
}

/// How an attachment ended.
#[derive(Debug)]
pub(super) struct Attached {
    /// The router.
    pub(super) router: RouterId,
    /// Of the job that it answers.
    pub(super) generation: u64,
    /// Attached, or why not.
    pub(super) result: Result<(), WireError>,
}

/// How long a failed attachment waits for its next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Attaches and detaches, one at a time, until `stop`. What fails is tried again every [`RETRY`],
/// unless something else is wanted for that router meanwhile.
pub(super) fn run(
    jobs: Mailbox<AttachJob>,
    wire: Arc<Wire>,
    attached: mpsc::Sender<Attached>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut failed: BTreeMap<RouterId, (Instant, AttachJob)> = BTreeMap::new();
        loop {
            let again = failed.iter().min_by_key(|(_, (due, _))| *due).map(|(router, (due, _))| (*router, *due));
            let (router, job) = tokio::select! {
                () = stop.cancelled() => return,
                job = jobs.next() => job,
                router = due(again) => match failed.remove(&router) {
                    Some((_, job)) => (router, job),
                    None => continue,
                },
            };
            failed.remove(&router);
            // An attachment to an interface or a VRID that is no longer wanted must not stand in the way.
            wire.detach(router).await;
            let AttachJob::Attach { target, generation } = &job else { continue };
            let result = wire.attach((**target).clone()).await;
            let generation = *generation;
            if result.is_err() {
                failed.insert(router, (Instant::now() + RETRY, job));
            }
            if attached.send(Attached { router, generation, result }).await.is_err() {
                return;
            }
        }
    })
}

/// The router whose next attempt is due, once it is; never, when there is none.
async fn due(again: Option<(RouterId, Instant)>) -> RouterId {
    match again {
        Some((router, due)) => {
            tokio::time::sleep_until(due).await;
            router
        }
        None => std::future::pending().await,
    }
}
