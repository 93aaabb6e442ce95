//! Work per router where only the newest word counts: bounded by the number of routers, and the
//! sender never waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::core::model::RouterId;

/// Jobs, at most one per router.
#[derive(Debug)]
pub(super) struct Mailbox<J> {
    shared: Arc<Slots<J>>,
}

#[derive(Debug)]
struct Slots<J> {
    jobs: Mutex<BTreeMap<RouterId, J>>,
    wake: Notify,
}

impl<J> Mailbox<J> {
    /// Replaces whatever was wanted for this router before.
    pub(super) fn post(&self, router: RouterId, job: J) {
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(router, job);
        self.shared.wake.notify_one();
    }

    /// The next job; waits for one. For one worker only.
    pub(super) async fn next(&self) -> (RouterId, J) {
        loop {
            let job = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match job {
                Some(job) => return job,
                None => self.shared.wake.notified().await,
            }
        }
    }
}

impl<J> Clone for Mailbox<J> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<J> Default for Mailbox<J> {
    fn default() -> Self {
        Self { shared: Arc::new(Slots { jobs: Mutex::default(), wake: Notify::new() }) }
    }
}
