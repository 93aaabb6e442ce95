//! What crosses the schedule's border.

use std::time::Duration;

use super::outage::Stamp;
use crate::config::Protocol;
use crate::core::model::{RouterId, State};
use crate::core::time::Mono;
use crate::outbox::Entry;
use crate::telemetry::event::Delivered;

/// The configuration's part of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which protocol: `json` sends whole batches, one at a time, without hold.
    pub protocol: Protocol,
    /// Distance between the beginnings of batches.
    pub batch_interval: Duration,
    /// Distance between contrary states of one router; `neutron` only.
    pub hold: Duration,
    /// Requests at once; `neutron` only.
    pub max_in_flight: usize,
    /// Longest pause between attempts.
    pub retry_max: Duration,
    /// Length of a round in which every state is sent again; none: there are none.
    pub reassert: Option<Duration>,
}

/// One request: one state (`neutron`) or a whole batch (`json`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// The batch it belongs to.
    pub batch: u64,
    /// What to send; never two of one router.
    pub items: Vec<Entry>,
    pub(super) begun: Mono,
    pub(super) stamp: Stamp,
}

/// What the schedule wants told.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The receiver has this state.
    Acknowledged {
        /// The router.
        router: RouterId,
        /// The sequence it has.
        sequence: u64,
        /// The state it has.
        state: State,
        /// When the state was confirmed, if in this run.
        confirmed: Option<Mono>,
    },
    /// Event `delivery.sent`.
    Sent {
        /// Batch number.
        batch: u64,
        /// Attempts it took.
        attempt: u32,
        /// What was taken.
        states: Vec<Delivered>,
    },
    /// Event `delivery.failed`, already thinned out: attempts 1, 2, 4, 8 … of an outage.
    Failed {
        /// Batch number.
        batch: u64,
        /// States not taken.
        count: usize,
        /// The attempt that failed.
        attempt: u32,
        /// In words.
        reason: String,
        /// Until the next attempt; none: refused for good.
        retry_in: Option<Duration>,
    },
    /// Event `delivery.recovered`.
    Recovered {
        /// Whether the receiver was restarted, or only answers again.
        restarted: bool,
        /// States asserted again.
        count: usize,
    },
}
