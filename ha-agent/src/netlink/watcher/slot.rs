//! Where one namespace stands: what is known of it, and what is under way.

use std::sync::Arc;

use crate::config::Netns;
use crate::netlink::Missing;
use crate::netlink::namespace::Namespace;
use crate::netlink::resolve::Bound;
use crate::netlink::vmac::Vmacs;

pub(super) type SlotId = u64;

/// A namespace that at least one router is watched in.
pub(super) struct Slot {
    pub(super) netns: Arc<Netns>,
    pub(super) table: Namespace,
    pub(super) vmacs: Vmacs,
    /// None: waited for, or being looked for.
    pub(super) bound: Option<Bound>,
    /// Why it is not bound.
    pub(super) missing: Missing,
    pub(super) step: Step,
    /// A job with another epoch is of no more interest.
    pub(super) epoch: u32,
    /// Failures in a row.
    pub(super) attempts: u8,
    pub(super) turn: Turn,
    /// The dump must be made again although every watch is covered.
    pub(super) stale: bool,
}

/// What is to be done next about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at the file.
    Resolve,
    /// Dump, where needed.
    Dump,
}

/// Where a slot stands in the queue of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing is under way.
    Idle,
    /// Will be taken from the queue.
    Queued,
    /// Its job runs.
    Running,
    /// Will be queued at a time of its own.
    Waiting,
}

/// What is under way for the slot is of no more interest.
pub(super) fn restart(slot: &mut Slot, step: Step) {
    slot.epoch = slot.epoch.wrapping_add(1);
    slot.step = step;
    slot.turn = Turn::Idle;
}
