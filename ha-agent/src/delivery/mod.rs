//! Brings every router's confirmed state to the L3 agent: at least once, in order per router, in
//! batches, retried for ever.
//!
//! What lives here: when a state is sent ([`schedule`], pure), the two protocols ([`neutron`],
//! [`json`]), and the one task that joins them with the outbox (`driver`). What does not: what is
//! confirmed ([`crate::core`]) and what survives a crash ([`crate::outbox`]).
//!
//! A new protocol is a module with a `send`, a variant of [`crate::config::Protocol`], and its
//! arms in `driver` and in the schedule (`places`, `hold`).
//!
//! One task, at most `max_in_flight` requests; nothing here grows beyond the number of routers.

pub mod answer;
mod backoff;
mod door;
mod driver;
pub mod json;
pub mod metrics;
pub mod neutron;
mod receiver;
pub mod schedule;
mod way;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::core::model::{RouterId, State};
use crate::outbox::{Emit, Entry, Outbox};
use crate::status::DeliveryStatus;
use crate::telemetry::Events;

use driver::Driver;
use metrics::Metrics;

/// Why delivery would not go the way to this socket, where a link on it is the reason: for `doctor`.
pub fn refused_way(socket: &Path) -> Option<String> {
    let error = way::find(socket).err()?;
    // The kernel's own refusals have a number.
    error.raw_os_error().is_none().then(|| error.to_string())
}

/// What callers leave for the task; latest wins, so it is bounded.
#[derive(Debug, Default)]
struct Mailbox {
    assert_again: BTreeSet<RouterId>,
    reload: Option<config::Delivery>,
    status: DeliveryStatus,
}

#[derive(Debug, Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    mail: Notify,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Mailbox) -> T) -> T {
        act(&mut self.mailbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The running delivery. Dropped without [`Delivery::stop`] it goes on until the token given to
/// [`Delivery::start`] is cancelled.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    outbox: Outbox,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Delivery {
    /// Starts the task on the current tokio runtime. It takes confirmed and forgotten routers
    /// from `outbox` by itself.
    ///
    /// `entries` is what [`Outbox::open`] returned, delivered ones too: those are known, and
    /// asserted when the receiver comes back. `host` stands in `json` batches.
    pub fn start(
        config: &Config,
        host: String,
        outbox: Outbox,
        entries: Vec<Entry>,
        events: Events,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Self {
        let emit: Emit = Arc::new(move |event| events.emit(event));
        let metrics = Metrics::register(registry);
        let own = vec![config.intake.socket.clone(), config.admin.socket.clone()];
        let speaker = (config.neutron.release, host);
        Self::start_with((&config.delivery, own), speaker, outbox, entries, (emit, metrics), stop)
    }

    fn start_with(
        (config, own): (&config::Delivery, Vec<PathBuf>),
        (release, host): (u32, String),
        outbox: Outbox,
        entries: Vec<Entry>,
        (emit, metrics): (Emit, Metrics),
        stop: CancellationToken,
    ) -> Self {
        let stop = stop.child_token();
        let shared = Arc::new(Shared::default());
        let mut driver =
            Driver::new(config.clone(), (release, host), outbox.clone(), Arc::clone(&shared), (emit, metrics), own);
        driver.load(entries);
        let task = tokio::spawn(driver.run(stop.clone()));
        Self { shared, outbox, stop, task: Mutex::new(Some(task)) }
    }

    /// How delivery stands, at most a second ago.
    pub fn status(&self) -> DeliveryStatus {
        self.shared.with(|mailbox| mailbox.status.clone())
    }

    /// The state and sequence that the receiver took last for a router; none if it took none.
    pub fn delivered(&self, router: RouterId) -> Option<(State, u64)> {
        let standing = self.outbox.standing(router)?;
        Some((standing.delivered_state?, standing.delivered))
    }

    /// Sends a router's confirmed state once more, respecting the hold; nothing for a router
    /// without one.
    pub fn assert_again(&self, router: RouterId) {
        self.shared.with(|mailbox| {
            mailbox.assert_again.insert(router);
        });
        self.shared.mail.notify_one();
    }

    /// New settings from now on. Another socket or protocol is another receiver: every confirmed
    /// state is asserted there.
    pub fn reload(&self, config: &config::Delivery) {
        self.shared.with(|mailbox| mailbox.reload = Some(config.clone()));
        self.shared.mail.notify_one();
    }

    /// Begins nothing new, waits at most 2 s for requests in flight and abandons the rest; what
    /// is not acknowledged stays in the outbox. Stop the outbox after this.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "delivery ended badly");
        }
    }
}
