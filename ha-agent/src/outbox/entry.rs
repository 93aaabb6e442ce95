//! What the outbox takes and what it keeps.

use crate::core::model::{Basis, RouterId, State};

/// A confirmed state on its way into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The router.
    pub router: RouterId,
    /// Its new state.
    pub state: State,
    /// The confirmed state before; none for the first one.
    pub previous: Option<State>,
    /// Channels that bear it out.
    pub basis: Basis,
    /// Unix time, microseconds, of the wall clock; shown, never compared.
    pub confirmed_at_us: i64,
}

/// A router's latest confirmed state and how far the receiver knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The router.
    pub router: RouterId,
    /// Its confirmed state.
    pub state: State,
    /// The confirmed state before.
    pub previous: Option<State>,
    /// Channels that bear it out.
    pub basis: Basis,
    /// Unix time, microseconds, of the wall clock; shown, never compared.
    pub confirmed_at_us: i64,
    /// Rises with every confirmed state of the router, also over restarts of the agent.
    pub sequence: u64,
    /// The highest sequence that the receiver took; 0: none.
    pub delivered: u64,
    /// The state it took then.
    pub delivered_state: Option<State>,
}

impl Entry {
    /// Whether the receiver does not have the latest state yet.
    pub fn pending(&self) -> bool {
        self.delivered < self.sequence
    }
}
