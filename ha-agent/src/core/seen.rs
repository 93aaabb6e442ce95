//! The seen role: what the address table and the wire show together, as one table.

use super::evidence::Tx;
use super::model::{Basis, Link, State, Vip};

/// What is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The channels show a role.
    Role(State),
    /// VIP held, nothing sent, nobody else master (yet).
    SilentPrimary,
    /// Adverts sent, no VIP.
    MissingVip,
    /// A change is under way (VIP still held just after yielding), or not known yet.
    Unsettled,
}

impl Seen {
    /// The role, if one is shown.
    pub fn role(self) -> Option<State> {
        match self {
            Self::Role(state) => Some(state),
            _ => None,
        }
    }
}

/// Which channels vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Votes {
    /// The address table is known.
    pub vip: bool,
    /// The classifier is attached.
    pub wire: bool,
}

/// The table of DESIGN section 7. `established`: a foreign master has been live for more than one
/// interval. A channel that does not vote leaves the decision to the other one.
pub fn seen(votes: Votes, link: Link, vip: Vip, tx: Tx, established: bool) -> Seen {
    use Seen::{MissingVip, Role, SilentPrimary, Unsettled};
    let down = matches!(link, Link::Down | Link::Gone);
    // Adverts from before it went down are none of `tx`. One that leaves later is of a keepalived that does
    // not track the interface and goes on; from an interface that is gone none leaves.
    let tx = match (link, tx) {
        (Link::Gone, Tx::Transmitting | Tx::Resigned | Tx::Yielded | Tx::Delayed)
        | (Link::Down, Tx::Resigned | Tx::Yielded | Tx::Delayed) => Tx::Silent,
        _ => tx,
    };
    match (votes.vip, votes.wire) {
        (true, true) => match (vip, tx) {
            (Vip::Absent, _) if down => Role(State::Fault),
            (Vip::Present, Tx::Transmitting) => Role(State::Primary),
            (Vip::Absent, Tx::Silent | Tx::Delayed | Tx::Resigned | Tx::Yielded) => Role(State::Backup),
            (Vip::Present, Tx::Silent) if established => Role(State::Backup),
            (Vip::Present, Tx::Silent) => SilentPrimary,
            (Vip::Absent, Tx::Transmitting) => MissingVip,
            (Vip::Present, Tx::Resigned | Tx::Yielded | Tx::Delayed) | (Vip::Unknown, _) | (_, Tx::Unknown) => {
                Unsettled
            }
        },
        (true, false) => match vip {
            Vip::Absent if down => Role(State::Fault),
            Vip::Absent => Role(State::Backup),
            Vip::Present => Role(State::Primary),
            Vip::Unknown => Unsettled,
        },
        (false, true) => match tx {
            Tx::Transmitting => Role(State::Primary),
            _ if down => Role(State::Fault),
            Tx::Silent | Tx::Resigned | Tx::Yielded => Role(State::Backup),
            Tx::Delayed | Tx::Unknown => Unsettled,
        },
        (false, false) => Unsettled,
    }
}

/// Whether the address table alone bears a state out.
pub fn vip_bears(state: State, vip: Vip) -> bool {
    match state {
        State::Primary => vip == Vip::Present,
        State::Backup | State::Fault => vip == Vip::Absent,
        State::Unknown => false,
    }
}

/// Whether the wire alone bears a state out.
pub fn wire_bears(state: State, tx: Tx) -> bool {
    match state {
        State::Primary => tx == Tx::Transmitting,
        State::Backup | State::Fault => matches!(tx, Tx::Silent | Tx::Resigned | Tx::Yielded),
        State::Unknown => false,
    }
}

/// The channels that bear a state out, the report aside.
pub fn basis(state: State, votes: Votes, vip: Vip, tx: Tx) -> Basis {
    Basis { report: false, vip: votes.vip && vip_bears(state, vip), wire: votes.wire && wire_bears(state, tx) }
}
