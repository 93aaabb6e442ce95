//! Refusals as events, at a rate that one broken or hostile reporter cannot drive up.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::strangers::Strangers;
use crate::core::model::{Reporter, RouterId};
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// Events a second for one reason and user.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Stands for a uid where there is none: lines of a FIFO.
const NOBODY: u32 = u32::MAX;
/// How often what was held back is summed up.
const SUMMARY: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: Events,
    /// Of users that may report, so the table stays small whoever connects.
    rate: DefaultKeyedRateLimiter<(Refusal, u32)>,
    strangers: Strangers,
    held_back: Vec<AtomicU64>,
    any: Notify,
}

impl Gate {
    pub(super) fn new(events: Events) -> Self {
        Self(Arc::new(Inner {
            events,
            rate: RateLimiter::keyed(Quota::per_second(PER_SECOND)),
            strangers: Strangers::new(PER_SECOND),
            held_back: Refusal::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            any: Notify::new(),
        }))
    }

    /// The event, unless this reason and user had too many lately; then it is only counted here, and nobody
    /// asks who it was. `uid`: none for lines of a FIFO.
    pub(super) fn refused(
        &self,
        refusal: Refusal,
        router_id: Option<RouterId>,
        uid: Option<u32>,
        reporter: impl FnOnce() -> Reporter,
    ) {
        let shown = match uid {
            Some(uid) if refusal == Refusal::PeerNotAllowed => self.0.strangers.allow(uid),
            uid => self.0.rate.check_key(&(refusal, uid.unwrap_or(NOBODY))).is_ok(),
        };
        if !shown {
            return self.hold_back(refusal);
        }
        self.0.events.emit(Event::ReportRefused {
            router_id,
            status: refusal.status(),
            reason: refusal.word().to_owned(),
            reporter: Some(reporter()),
            count: None,
        });
    }

    /// No event, only the count for the summary.
    pub(super) fn hold_back(&self, refusal: Refusal) {
        let before = self.0.held_back[refusal as usize].fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.0.any.notify_one();
        }
    }

    /// What was held back since this was asked last.
    fn take_held_back(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL
            .iter()
            .map(|refusal| {
                let held = &self.0.held_back[*refusal as usize];
                (*refusal, held.swap(0, Ordering::Relaxed))
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Tells how many were held back, reason by reason.
    fn sum_up(&self) {
        for (refusal, count) in self.take_held_back() {
            self.0.events.emit(Event::ReportRefused {
                router_id: None,
                status: refusal.status(),
                reason: refusal.word().to_owned(),
                reporter: None,
                count: Some(count),
            });
        }
    }

    /// Sums up what was held back, until `stop`. Asleep while there is nothing.
    pub(super) async fn summarise(self, stop: CancellationToken) {
        loop {
            let due = async {
                self.0.any.notified().await;
                tokio::time::sleep(SUMMARY).await;
            };
            let stopping = stop.run_until_cancelled(due).await.is_none();
            self.sum_up();
            if stopping {
                return;
            }
        }
    }
}
