//! What goes into the core and what comes out of it. Nothing else crosses its border.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::model::{
    Advert, AnomalyKind, Basis, Channel, Frame, Further, Link, Listener, Reporter, RouterId, State, Vip,
};
use super::time::Mono;

/// One observation about one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Someone authorised claims a state.
    Report {
        /// The claim.
        state: State,
        /// Who made it.
        reporter: Reporter,
    },
    /// The primary VIP's presence, at the start and at each change.
    Vip(Vip),
    /// The further addresses, once they are known and at each change.
    Further(Further),
    /// The HA interface, at the start and at each change.
    Link(Link),
    /// The classifier reported something new about a speaker.
    Advert(Advert),
    /// All speakers of this router as the kernel side remembers them at `as_of`: the answer to
    /// [`Output::ReadWire`]. What is not in it has not been heard.
    WireRead {
        /// Every known speaker, both sides.
        speakers: Vec<Advert>,
        /// The newest frame of our VRID that keepalived read and dropped: it puts its next advert off.
        rejected_at: Option<Mono>,
        /// Whether the VIP is among the addresses of our last advert, where that can be told.
        lists_vip: Option<bool>,
        /// When the maps were read.
        as_of: Mono,
    },
    /// A frame of our VRID that keepalived never hears or cannot read.
    InvalidFrame(Frame),
    /// Who listens for adverts: the answer to [`Output::LookForListener`]; none where it cannot be told.
    Listener(Option<Listener>),
    /// Whether the router's namespace exists. One that does not, after something was seen in it, is a fault.
    Namespace {
        /// It does.
        exists: bool,
    },
    /// A channel has no vote from now on, or has it again.
    Channel {
        /// Which one.
        channel: Channel,
        /// Whether it votes.
        up: bool,
    },
    /// Deliver the confirmed state again where it differs from `seen_by_server`.
    Check {
        /// What the neutron-server believes.
        seen_by_server: State,
    },
}

/// What the core decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A state is confirmed.
    Confirmed(Transition),
    /// A claim is refused; the confirmed state stays.
    Rejected {
        /// What was claimed.
        claim: State,
        /// Who claimed it.
        reporter: Reporter,
        /// Why it is refused.
        reason: RejectReason,
        /// It was delivered all the same: verdicts only observe.
        passed_on: bool,
        /// What was seen instead.
        evidence: Evidence,
    },
    /// A change was overtaken before it was confirmed; not passed on.
    Superseded {
        /// The state that did not last.
        state: State,
        /// What overtook it.
        by: State,
        /// How long it had held.
        held: Duration,
    },
    /// A disagreement is named.
    AnomalyRaised {
        /// Which one.
        kind: AnomalyKind,
        /// In words, for a person; no raw input.
        detail: String,
        /// What was seen.
        evidence: Evidence,
    },
    /// It is over.
    AnomalyCleared {
        /// Which one.
        kind: AnomalyKind,
        /// How long it lasted.
        lasted: Duration,
    },
    /// Hand this state to the L3 agent (in `observe` mode: the report, or what the router's own
    /// monitor would have reported; in `enforce` mode: the confirmed state).
    Deliver {
        /// The state.
        state: State,
        /// The one delivered before, if any.
        previous: Option<State>,
        /// On whose word.
        basis: Basis,
    },
    /// The L3 agent was told the first state, and the second one is confirmed; none: it is no longer so. Only where
    /// every report is passed on.
    Diverged(Option<(State, State)>),
    /// Look who listens for adverts in the router's namespace and answer with [`Input::Listener`]: nothing is
    /// sent, so nothing else shows whether keepalived lives.
    LookForListener,
    /// Read the router's speakers from the maps and answer with [`Input::WireRead`].
    ReadWire,
}

/// A confirmed transition.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The new state.
    pub state: State,
    /// The state before; none when this is the first one.
    pub previous: Option<State>,
    /// Channels that bear it out.
    pub basis: Basis,
    /// From the first sign of the change to the verdict.
    pub latency: Duration,
    /// What was seen.
    pub evidence: Evidence,
}

/// Why a claim is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// No other channel bears the claim out.
    Contradicted,
    /// Some channel did, another one kept contradicting it.
    PartlyContradicted,
    /// A better competitor advertises on the wire.
    BetterCompetitor,
}

impl RejectReason {
    /// The word used in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contradicted => "contradicted",
            Self::PartlyContradicted => "partly_contradicted",
            Self::BetterCompetitor => "better_competitor",
        }
    }
}

/// What the core knows of a router, for `status` and `explain`.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The router.
    pub router: RouterId,
    /// The last claim that was taken.
    pub claimed: Option<State>,
    /// The role that V and W show now, if they show one.
    pub seen: Option<State>,
    /// The confirmed state and since when.
    pub confirmed: Option<(State, Mono, Basis)>,
    /// Present anomalies and since when.
    pub anomalies: Vec<(AnomalyKind, Mono)>,
    /// What each is about, in words, as it is now.
    pub details: Vec<(AnomalyKind, String)>,
    /// All evidence.
    pub evidence: Evidence,
}
