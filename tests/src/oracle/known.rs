//! Where the agent is known to judge otherwise than keepalived. It never takes what keepalived does not: that is
//! no difference that could be known.

use ha_agent::core::model::Reason;

use super::configuration::{Auth, Configuration};
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

fn has(case: &Case, is: impl Fn(&Deviation) -> bool) -> bool {
    case.deviations.iter().any(is)
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        what: "IP options in front of an authentication header",
        why: "the kernel fills some of them in, so that the integrity check value no longer fits, and a master reads \
              the sequence number out of them; the agent refuses all (`icv`), and no keepalived sends any",
        effect: "a host that has the key could hide an advert from the agent: what it brings about is seen by the \
                 node's own adverts and addresses",
        is: |configuration, _, case, said, judged| {
            configuration.auth == Auth::Ah
                && said != Verdict::Unheard
                && judged == Verdict::Rejected(Reason::Icv)
                && has(case, |part| matches!(part, Deviation::Options(..)))
        },
    },
    Known {
        what: "fragments with an authentication header, to a master",
        why: "it answers a worse advert at once, with a higher sequence number, before the agent has put the fragments \
              together; the agent then takes theirs to be old (`sequence`)",
        effect: "none: the advert is worse, and only who has the key can send it",
        is: |configuration, state, case, said, judged| {
            configuration.auth == Auth::Ah
                && state == State::Master
                && said != Verdict::Unheard
                && judged == Verdict::Rejected(Reason::Sequence)
                && has(case, |part| matches!(part, Deviation::Pieces(_)))
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
                && has(case, |part| matches!(part, Deviation::AhNext(_)))
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
                && has(case, |part| matches!(part, Deviation::To(Mac::OtherGroup | Mac::AllHosts)))
        },
    },
    Known {
        what: "with use_vmac, fragments with a wrong checksum of the IPv4 header",
        why: "a macvlan puts fragments together before anybody looks at their checksums; the agent takes them for \
              unheard (`header`)",
        effect: "no host sends such fragments; as above",
        is: |configuration, _, case, said, judged| {
            configuration.vmac
                && said != Verdict::Unheard
                && judged == Verdict::Unheard
                && has(case, |part| matches!(part, Deviation::Pieces(_)))
                && has(case, |part| matches!(part, Deviation::HeaderSum(_)))
        },
    },
    Known {
        what: "an IPv6 routing header of type 2 with no segment left",
        why: "a kernel with CONFIG_IPV6_MIP6 drops it, one without (as here) takes the packet; the agent takes it for \
              unheard (`source_route`) on both",
        effect: "no keepalived sends one; as above",
        is: |_, _, case, said, judged| {
            said != Verdict::Unheard
                && judged == Verdict::Unheard
                && has(case, |part| matches!(part, Deviation::Extensions("routing type 2, none left", _)))
        },
    },
];
