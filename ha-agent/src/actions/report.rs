//! What became of an action: an event, a counter, a line of diagnostics.

use std::time::Duration;

use super::metrics::Metrics;
use crate::core::model::{RouterId, State};
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// What kind of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file `state`.
    StateFile,
    /// IPv6 settings.
    Ipv6,
    /// conntrackd.
    Conntrackd,
    /// The operator's program.
    Hook,
}

impl Kind {
    /// The word in events and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::StateFile => "state_file",
            Self::Ipv6 => "ipv6",
            Self::Conntrackd => "conntrackd",
            Self::Hook => "hook",
        }
    }
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words, one line.
    pub(super) reason: String,
    /// Exit status of the program that failed, where it ended by itself.
    pub(super) exit_status: Option<i32>,
    /// Whether its time was over.
    pub(super) timed_out: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Failure {
    /// For a reason that is no program's end.
    pub(super) fn because(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), exit_status: None, timed_out: false }
    }
}

/// Tells outcomes. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Report {
    events: Events,
    metrics: Metrics,
}

impl Report {
    pub(super) fn new(events: Events, metrics: Metrics) -> Self {
        Self { events, metrics }
    }

    /// An action has ended.
    pub(super) fn ended(
        &self,
        (router_id, kind, state): (RouterId, Kind, State),
        took: Duration,
        result: Result<(), Failure>,
    ) {
        let action = kind.as_str().to_owned();
        let took_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        match result {
            Ok(()) => {
                self.metrics.ended(kind.as_str(), "done");
                self.events.emit(Event::ActionDone { router_id, action, state, took_ms });
            }
            Err(Failure { reason, exit_status, timed_out }) => {
                self.metrics.ended(kind.as_str(), if timed_out { "timed_out" } else { "failed" });
                tracing::warn!(router = %router_id, action, %state, "action failed: {reason}");
                self.events.emit(Event::ActionFailed { router_id, action, state, reason, exit_status, took_ms });
            }
        }
    }

    /// An action was not begun.
    pub(super) fn skipped(&self, router_id: RouterId, kind: Kind, state: State, reason: &str) {
        self.metrics.ended(kind.as_str(), "skipped");
        self.events.emit(Event::ActionSkipped {
            router_id,
            action: kind.as_str().to_owned(),
            state,
            reason: reason.to_owned(),
        });
    }
}
