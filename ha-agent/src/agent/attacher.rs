//! What the driver must not wait for: attaching the classifier to interfaces.
//!
//! One task with a [`Mailbox`]; the driver never waits for it, so it may wait for the driver.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
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
        target: Target,
        /// The interface's index, given back with the outcome.
        ifindex: u32,
    },
    /// Nowhere.
    Detach,
}

/// How an attachment ended.
#[derive(Debug)]
pub(super) struct Attached {
    /// The router.
    pub(super) router: RouterId,
    /// The interface.
    pub(super) ifindex: u32,
    /// Attached, or why not.
    pub(super) result: Result<(), WireError>,
}

/// Attaches and detaches, one at a time, until `stop`.
pub(super) fn run(
    jobs: Mailbox<AttachJob>,
    wire: Arc<Wire>,
    attached: mpsc::Sender<Attached>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some((router, job)) = stop.run_until_cancelled(jobs.next()).await {
            match job {
                AttachJob::Detach => wire.detach(router).await,
                AttachJob::Attach { target, ifindex } => {
                    let result = wire.attach(target).await;
                    if attached.send(Attached { router, ifindex, result }).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
}
