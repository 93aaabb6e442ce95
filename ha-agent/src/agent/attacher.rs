//! What the driver must not wait for: attaching the classifier to interfaces, and seeing that it stays there.
//!
//! One task with a [`Mailbox`]; the driver never waits for it, so it may wait for the driver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
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
    /// It had been attached before, and was found not to be any more.
    pub(super) repaired: bool,
}

/// How long a failed attachment waits for its next attempt.
const RETRY: Duration = Duration::from_secs(5);

/// Between two looks at whether an attachment is still there, of all routers together; and of one.
const LOOK: Duration = Duration::from_millis(250);
/// See [`LOOK`].
const ROUND: Duration = Duration::from_secs(10);

/// A router whose classifier is attached.
struct Held {
    target: Box<Target>,
    generation: u64,
    looked: Instant,
}

/// See [`run`].
struct Attacher {
    wire: Arc<Wire>,
    attached: mpsc::Sender<Attached>,
    failed: BTreeMap<RouterId, (Instant, AttachJob)>,
    held: BTreeMap<RouterId, Held>,
}

/// Attaches and detaches, one at a time, until `stop`. What fails is tried again every [`RETRY`],
/// unless something else is wanted for that router meanwhile. Whether attachments are still there is looked at in
/// turns, and at once for a router in `doubts`.
pub(super) fn run(
    jobs: Mailbox<AttachJob>,
    doubts: Mailbox<()>,
    wire: Arc<Wire>,
    attached: mpsc::Sender<Attached>,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut attacher = Attacher { wire, attached, failed: BTreeMap::new(), held: BTreeMap::new() };
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = attacher.failed.iter().min_by_key(|(_, (due, _))| *due).map(|(id, (due, _))| (*id, *due));
            let going_on = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                (router, job) = jobs.next() => attacher.attach(router, job).await,
                (router, ()) = doubts.next() => attacher.verify(router).await,
                router = due(again) => match attacher.failed.remove(&router) {
                    Some((_, job)) => attacher.attach(router, job).await,
                    None => true,
                },
                _ = look.tick() => match attacher.next_to_look_at() {
                    Some(router) => attacher.verify(router).await,
                    None => true,
                },
            };
            if !going_on {
                return;
            }
        }
    })
}

impl Attacher {
    /// False when nobody wants to know any more.
    async fn attach(&mut self, router: RouterId, job: AttachJob) -> bool {
        self.failed.remove(&router);
        self.held.remove(&router);
        // An attachment to an interface or a VRID that is no longer wanted must not stand in the way.
        self.wire.detach(router).await;
        let AttachJob::Attach { target, generation } = job else {
            return true;
        };
        let result = self.wire.attach((*target).clone()).await;
        if result.is_ok() {
            self.held.insert(router, Held { target, generation, looked: Instant::now() });
        } else {
            self.failed.insert(router, (Instant::now() + RETRY, AttachJob::Attach { target, generation }));
        }
        self.tell(Attached { router, generation, result, repaired: false }).await
    }

    /// As [`Attacher::attach`].
    async fn verify(&mut self, router: RouterId) -> bool {
        let Some(held) = self.held.get_mut(&router) else {
            return true;
        };
        held.looked = Instant::now();
        let generation = held.generation;
        let result = match self.wire.verify(router).await {
            Ok(false) => return true,
            Ok(true) => Ok(()),
            // The link or the namespace is gone or going: netlink tells.
            Err(WireError::NoInterface { .. } | WireError::Netns(_)) => return true,
            Err(error) => Err(error),
        };
        if result.is_err()
            && let Some(Held { target, .. }) = self.held.remove(&router)
        {
            self.failed.insert(router, (Instant::now() + RETRY, AttachJob::Attach { target, generation }));
        }
        self.tell(Attached { router, generation, result, repaired: true }).await
    }

    /// Who was looked at longest ago, if that is a whole round.
    fn next_to_look_at(&self) -> Option<RouterId> {
        let oldest = self.held.iter().min_by_key(|(_, held)| held.looked);
        oldest.filter(|(_, held)| held.looked.elapsed() >= ROUND).map(|(router, _)| *router)
    }

    async fn tell(&self, attached: Attached) -> bool {
        self.attached.send(attached).await.is_ok()
    }
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
