//! Where the agent is known to judge otherwise than keepalived.

use ha_agent::core::model::Reason;

use super::configuration::Configuration;
use super::deviation::{Deviation, Mac};
use super::frames::Case;
use super::keepalived::State;
use super::verdict::Verdict;

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// In a few words.
    pub what: &'static str,
    /// Why it is so.
    pub why: &'static str,
    /// What it does to the agent's verdicts.
    pub effect: &'static str,
    /// Whether a disagreement is this one: keepalived's verdict and the agent's.
    pub is: fn(&Configuration, State, &Case, Verdict, Verdict) -> bool,
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        what: "IP options in front of an authentication header",
        why: "the kernel fills some of them in, so that the integrity check value no longer fits, and a master reads \
              the sequence number out of them; the agent refuses all (`icv`), and no keepalived sends any",
        effect: "a host that has the key could hide an advert from the agent: what it brings about is seen by the \
                 node's own adverts and addresses",
        is: |_, _, case, said, judged| {
            said == Verdict::Taken
                && judged == Verdict::Rejected(Reason::Icv)
                && case.deviations.iter().any(|part| matches!(part, Deviation::Options(..)))
        },
    },
    Known {
        what: "an authentication header that is followed by another protocol than VRRP",
        why: "keepalived reads it, drops it without a word and without counting it, and puts its next advert off: it \
              is rejected (`protocol`), which cannot be asked",
        effect: "none: the agent knows why the next advert is late",
        is: |_, _, case, said, judged| {
            said == Verdict::Unheard
                && judged == Verdict::Rejected(Reason::Protocol)
                && case.deviations.iter().any(|part| matches!(part, Deviation::AhNext(_)))
        },
    },
    Known {
        what: "with use_vmac, a multicast advert to the MAC of another group",
        why: "a macvlan takes it when a hash of the MAC, of which the kernel keeps the key secret, is that of one of \
              its groups; the agent takes it for unheard (`other_host`) unless its source is the virtual router's MAC",
        effect: "no router sends such a frame; a host could hide an advert from the agent by it: what it brings about \
                 is seen by the node's own adverts and addresses",
        is: |configuration, _, case, said, judged| {
            configuration.listens_on_vmac()
                && said != Verdict::Unheard
                && judged == Verdict::Unheard
                && case.deviations.iter().any(|part| matches!(part, Deviation::To(Mac::OtherGroup | Mac::AllHosts)))
        },
    },
];
