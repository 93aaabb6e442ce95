//! What the tests of the schedule and of its rounds share.

use std::time::Duration;

use uuid::Uuid;

use super::Rules;
use crate::config::Protocol;
use crate::core::model::{Basis, RouterId, State};
use crate::core::time::Mono;
use crate::outbox::Entry;

pub(super) const START: Mono = Mono(1_000_000_000_000);
pub(super) const RULES: Rules = Rules {
    protocol: Protocol::Neutron,
    batch_interval: Duration::from_millis(200),
    hold: Duration::from_secs(2),
    max_in_flight: 4,
    retry_max: Duration::from_secs(30),
    reassert: None,
};
pub(super) const JSON: Rules = Rules { protocol: Protocol::Json, ..RULES };

pub(super) fn id(n: u128) -> RouterId {
    RouterId(Uuid::from_u128(n))
}

pub(super) fn entry(n: u128, sequence: u64, state: State) -> Entry {
    Entry {
        router: id(n),
        state,
        previous: None,
        basis: Basis::default(),
        confirmed_at_us: 0,
        sequence,
        delivered: 0,
        delivered_state: None,
    }
}
