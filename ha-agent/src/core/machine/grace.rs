//! Who is waited for: the grace is owed to a reporter per kind of change.

use crate::core::model::State;

/// What is known of the reporters of one kind of change.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// The last change of the kind was first told by a report.
    told: bool,
    /// A change of the kind was confirmed without one since.
    missed: bool,
}

/// See the module. A change is one that the address table or the wire shows: who reports what they
/// do not show is not waited for later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Graces([Record; 3]);

impl Graces {
    /// Whether a report of a change to `state` is waited for; `expected`: the configuration names a
    /// reporter, which is waited for until it misses one.
    pub(super) fn is_owed(&self, state: State, expected: bool) -> bool {
        kind(state).is_some_and(|kind| self.0[kind].told || (expected && !self.0[kind].missed))
    }

    /// A change to `state` was confirmed, with a report or without one.
    pub(super) fn changed(&mut self, state: State, reported: bool) {
        if let Some(kind) = kind(state) {
            self.0[kind] = Record { told: reported, missed: !reported };
        }
    }

    /// Nobody can report any more.
    pub(super) fn forget_told(&mut self) {
        for record in &mut self.0 {
            record.told = false;
        }
    }

    /// The configuration names a reporter that it did not name before.
    pub(super) fn expect_anew(&mut self) {
        for record in &mut self.0 {
            record.missed = false;
        }
    }
}

fn kind(state: State) -> Option<usize> {
    match state {
        State::Primary => Some(0),
        State::Backup => Some(1),
        State::Fault => Some(2),
        State::Unknown => None,
    }
}
