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
use crate::core::model::{Reporter, RouterId};
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// Events a second for one reason and user.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// All users that may not report share one allowance, so the table stays small whoever connects.
const STRANGERS: u32 = u32::MAX;
/// How often what was held back is summed up in the log.
const SUMMARY: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: Events,
    rate: DefaultKeyedRateLimiter<(Refusal, u32)>,
    held_back: Vec<AtomicU64>,
    any: Notify,
}

impl Gate {
    pub(super) fn new(events: Events) -> Self {
        Self(Arc::new(Inner {
            events,
            rate: RateLimiter::keyed(Quota::per_second(PER_SECOND)),
            held_back: Refusal::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            any: Notify::new(),
        }))
    }

    /// The event, unless this reason and user had too many lately; then it is only counted here.
    pub(super) fn refused(&self, refusal: Refusal, router_id: Option<RouterId>, reporter: Option<Reporter>) {
        let user = match reporter {
            Some(Reporter::Socket { uid, .. }) if refusal != Refusal::PeerNotAllowed => uid,
            _ => STRANGERS,
        };
        if self.0.rate.check_key(&(refusal, user)).is_err() {
            return self.hold_back(refusal);
        }
        self.0.events.emit(Event::ReportRefused {
            router_id,
            status: refusal.status(),
            reason: refusal.word().to_owned(),
            reporter,
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

    /// Sums up in the log what was held back, until `stop`. Asleep while there is nothing.
    pub(super) async fn summarise(self, stop: CancellationToken) {
        loop {
            let due = async {
                self.0.any.notified().await;
                tokio::time::sleep(SUMMARY).await;
            };
            let stopping = stop.run_until_cancelled(due).await.is_none();
            for (refusal, count) in self.take_held_back() {
                tracing::warn!(
                    reason = refusal.word(),
                    count,
                    "intake: more reports were refused than are shown as events"
                );
            }
            if stopping {
                return;
            }
        }
    }
}
