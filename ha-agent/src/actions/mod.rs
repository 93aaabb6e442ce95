//! What a confirmed transition sets off on this node.
//!
//! - [`mod@plan`]: a router's place and state → what is to be done; pure.
//! - `pool`: lanes that do it, a few jobs at once, of each router only the newest.
//! - `work`: one job → its outcome. `report`: outcome → event and metric.
//! - `state_file`, `ipv6`, `conntrackd`, `hook`: each kind; `child`: running a program, bounded; `leash`: also by the
//!   agent's life.
//!
//! One thread, `actions`, does what takes rights; what others wrote is understood elsewhere. Nothing
//! here decides on states, and nobody waits for it: posting takes the newest word per router.
//! Files and sysctls, conntrackd and hooks have a lane each, so that a hook that hangs holds up
//! neither the state file nor, beyond its own router, `max_hooks` others. What fails is told once and
//! not tried again: the next transition does it anew.

mod child;
mod conntrackd;
mod folder;
mod hook;
mod ipv6;
mod leash;
mod metrics;
pub mod plan;
mod pool;
mod report;
mod state_file;
mod work;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::core::model::{RouterId, State};
use crate::netns::{NetnsError, NetnsThread};
use crate::privilege::Role;
use crate::telemetry::Events;

pub use hook::Environment;
pub use plan::{Change, Place, Registered};

use leash::Leash;
use metrics::Metrics;
use plan::{Conntrackd, HookCall, Rules, plan};
use pool::Lane;
use report::{Kind, Report};
use work::{Files, Worker};

/// Files and sysctls at once: local, a millisecond each.
const FILES_AT_ONCE: usize = 4;
/// conntrackd's calls at once.
const CONNTRACKD_AT_ONCE: usize = 4;
/// Everything must have ended by then; what has not is abandoned.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Work for a state.
#[derive(Debug)]
struct Job<W> {
    state: State,
    work: W,
}

/// Takes transitions; cheap to clone.
#[derive(Clone, Debug)]
pub struct Orders {
    settings: Arc<ArcSwap<Settings>>,
    files: Lane<Job<Files>>,
    conntrackd: Lane<Job<Conntrackd>>,
    hooks: Lane<Job<HookCall>>,
    report: Report,
}

#[derive(Debug)]
struct Settings {
    actions: config::Actions,
    mode: config::Mode,
    release: u32,
}

/// The lanes' owner.
#[derive(Debug)]
pub struct Actions {
    orders: Orders,
    worker: Worker,
    stop: CancellationToken,
    files: JoinHandle<Vec<(RouterId, Job<Files>)>>,
    conntrackd: JoinHandle<Vec<(RouterId, Job<Conntrackd>)>>,
    hooks: JoinHandle<Vec<(RouterId, Job<HookCall>)>>,
}

impl Actions {
    /// Starts the lanes on the current tokio runtime, and the one thread that writes files and starts
    /// programs for them. It keeps what the calling thread may do.
    ///
    /// # Errors
    /// [`NetnsError::Spawn`].
    pub fn start(
        config: &Config,
        events: Events,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<Self, NetnsError> {
        let hands = NetnsThread::spawn_as(Role::Actions, CancellationToken::new())?;
        let report = Report::new(events, Metrics::register(registry));
        let settings = Settings { actions: config.actions.clone(), mode: config.mode, release: config.neutron.release };
        let orders = Orders {
            files: Lane::new(FILES_AT_ONCE),
            conntrackd: Lane::new(CONNTRACKD_AT_ONCE),
            hooks: Lane::new(settings.actions.max_hooks),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            report: report.clone(),
        };
        let stop = stop.child_token();
        let worker = Worker { hands, leash: Leash::default(), report, stop: stop.clone() };
        let of = || worker.clone();
        let (for_files, for_conntrackd, for_hooks, settings) = (of(), of(), of(), Arc::clone(&orders.settings));
        let files = orders.files.run(
            move |router, job| {
                let worker = for_files.clone();
                async move { worker.files(router, job.state, job.work).await }
            },
            stop.clone(),
        );
        let conntrackd = orders.conntrackd.run(
            move |router, job| {
                let worker = for_conntrackd.clone();
                async move { worker.conntrackd(router, job.state, job.work).await }
            },
            stop.clone(),
        );
        let hooks = orders.hooks.run(
            move |router, job| {
                let (worker, limit) = (for_hooks.clone(), settings.load().actions.hook_timeout);
                async move { worker.hook(router, job.state, job.work, limit).await }
            },
            stop.clone(),
        );
        Ok(Self { orders, worker, stop, files, conntrackd, hooks })
    }

    /// For those that post.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// New settings for whatever has not been posted yet.
    pub fn reload(&self, actions: &config::Actions) {
        self.orders.hooks.resize(actions.max_hooks);
        let before = self.orders.settings.load();
        let settings = Settings { actions: actions.clone(), mode: before.mode, release: before.release };
        self.orders.settings.store(Arc::new(settings));
    }

    /// Ends programs that run, writes the files that wait, tells what is not done any more. Whoever
    /// posts must have ended.
    pub async fn stop(self) {
        let Self { orders, worker, stop, files, conntrackd, hooks } = self;
        stop.cancel();
        let aborts = [files.abort_handle(), conntrackd.abort_handle(), hooks.abort_handle()];
        let report = &orders.report;
        let why = "the agent stops";
        let end = async {
            for (router, job) in conntrackd.await.unwrap_or_default() {
                report.skipped(router, Kind::Conntrackd, job.state, why);
            }
            for (router, job) in hooks.await.unwrap_or_default() {
                report.skipped(router, Kind::Hook, job.state, why);
            }
            for (router, job) in files.await.unwrap_or_default() {
                worker.files(router, job.state, job.work).await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, end).await.is_err() {
            tracing::error!("actions did not end within {} s and are abandoned", STOP_WITHIN.as_secs());
            for abort in aborts {
                abort.abort();
            }
            return; // The thread may be what hangs; it ends with the process.
        }
        worker.hands.stop().await;
    }
}

impl Orders {
    /// A router's state was confirmed: does what follows from it, instead of whatever has not begun.
    pub fn confirmed(&self, place: &Place, change: &Change) {
        let settings = self.settings.load();
        let rules = Rules { settings: &settings.actions, mode: settings.mode, release: settings.release };
        let plan = plan(place, change, &rules);
        let (router, state) = (place.router.id, change.state);
        if plan.state_file.is_some() || plan.ipv6.is_some() {
            let work = Files { state_file: plan.state_file, ipv6: plan.ipv6 };
            // One that had not begun is simply no longer true.
            let _older = self.files.post(router, Job { state, work });
        }
        let news = change.is_news();
        self.renew(&self.conntrackd, Kind::Conntrackd, (router, state, news), plan.conntrackd);
        self.renew(&self.hooks, Kind::Hook, (router, state, news), plan.hook);
    }

    /// Nobody stands in for the router's monitor any more (the L3 agent deletes the router, or its real
    /// monitor is back): what has not begun in that monitor's place is not done.
    pub fn stood_down(&self, router: RouterId) {
        let _untold = self.files.withdraw(router);
        if let Some(job) = self.conntrackd.withdraw(router) {
            self.report.skipped(router, Kind::Conntrackd, job.state, "its registration has ended");
        }
    }

    /// A router that is no longer watched: what has not begun is not done any more.
    pub fn forget(&self, router: RouterId) {
        let why = "the router is no longer watched";
        let _untold = self.files.withdraw(router);
        if let Some(job) = self.conntrackd.withdraw(router) {
            self.report.skipped(router, Kind::Conntrackd, job.state, why);
        }
        if let Some(job) = self.hooks.withdraw(router) {
            self.report.skipped(router, Kind::Hook, job.state, why);
        }
    }

    fn renew<W: Send + 'static>(
        &self,
        lane: &Lane<Job<W>>,
        kind: Kind,
        (router, state, news): (RouterId, State, bool),
        work: Option<W>,
    ) {
        let older = match work {
            Some(work) => lane.post(router, Job { state, work }),
            None if news => lane.withdraw(router),
            None => None,
        };
        if let Some(older) = older {
            self.report.skipped(router, kind, older.state, &format!("overtaken by {state} before it began"));
        }
    }
}
