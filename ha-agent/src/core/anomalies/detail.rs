//! What a person reads of an anomaly: who, and what to compare.

use std::net::IpAddr;

use super::{Context, contradiction, foreign_master, mismatch};
use crate::core::evidence::Tx;
use crate::core::model::{Advert, AnomalyKind, Frame, Further, Listener, Mac, Reason, Side, State, Vip};
use crate::core::policy::{FLAP_RAISE, FLAP_WINDOW};
use crate::core::seen::Seen;

/// The sentence for `kind`; `forged` is the newest frame that is named `forged_advert`.
pub(super) fn of(kind: AnomalyKind, c: &Context<'_>, forged: Option<&Frame>) -> String {
    match kind {
        AnomalyKind::SplitBrain => c.speakers.contender().map_or_else(String::new, |f| {
            format!("this node and {} (priority {}) both advertise as master{}", f.source, f.priority, origin(f))
        }),
        AnomalyKind::SilentPrimary if c.tx == Tx::Transmitting => {
            "the VIP is set and keepalived advertises, but the HA interface is down or has no carrier: no other node \
             hears it, and one of them may be master as well; look at the link"
                .to_owned()
        }
        AnomalyKind::SilentPrimary => {
            let why = match c.listener {
                Some(Listener::Gone | Listener::Resigned) => "keepalived is dead, nobody listens for adverts here",
                Some(Listener::Stalled) => "keepalived is frozen, adverts pile up unread",
                Some(Listener::Reading) => "keepalived is there, but frozen, or its output is filtered",
                None => "keepalived is frozen, dead, or its output is filtered",
            };
            format!("the VIP is set but no adverts leave: {why}")
        }
        AnomalyKind::OrphanVip if c.vip == Vip::Absent => {
            let Further { of, set, some_set, .. } = c.further;
            format!(
                "{} set here although this node is not master: {}",
                some_of(*set, *of, "is", "are"),
                list(some_set, *set)
            )
        }
        AnomalyKind::OrphanVip => {
            let best = c.speakers.best_peer();
            let master =
                best.map_or_else(|| "another node".to_owned(), |f| format!("{} (priority {})", f.source, f.priority));
            let why = match c.listener {
                Some(Listener::Gone | Listener::Resigned) => "; keepalived is dead, nobody listens for adverts here",
                Some(Listener::Stalled) => "; keepalived is frozen, adverts pile up unread",
                Some(Listener::Reading) => "; keepalived reads adverts here, but none of its own leave",
                None => "",
            };
            let origin = best.map_or_else(String::new, |f| origin_as(f, "the master's adverts come"));
            format!("the VIP is set here although {master} is master{why}{origin}")
        }
        AnomalyKind::MissingVip if c.seen == Seen::Role(State::Primary) => {
            let Further { of, set, some_missing, .. } = c.further;
            let missing = of.saturating_sub(*set);
            let some = some_of(missing, *of, "is", "are");
            format!("{some} not set although this node is master: {}", list(some_missing, missing))
        }
        AnomalyKind::MissingVip if c.lists_vip == Some(false) => {
            "adverts leave but the VIP is not set: nor is it among \
             the addresses that they carry; compare the vip that is configured here with virtual_ipaddress"
                .to_owned()
        }
        AnomalyKind::MissingVip => "adverts leave but the VIP is not set".to_owned(),
        AnomalyKind::ForgedAdvert => forged.map_or_else(String::new, |frame| not_genuine(frame, c)),
        AnomalyKind::ForeignMaster => foreign_master(c).map_or_else(String::new, |f| {
            format!(
                "{} advertises on this VRID with other addresses, version or authentication; priority {}{}; {}",
                f.source,
                f.priority,
                origin(f),
                f.refused.map_or("", advice)
            )
        }),
        AnomalyKind::AdvertIntervalMismatch => mismatch(c).map_or_else(String::new, |f| {
            format!(
                "adverts come every {} ms, but ours go every {} ms; {} (priority {}) sends them{}; {}",
                f.interval.as_millis(),
                c.speakers.own_interval().as_millis(),
                f.source,
                f.priority,
                origin(f),
                advice(Reason::Interval)
            )
        }),
        AnomalyKind::NoPrimary => format!("nobody advertises and the VIP is not set here{}", last_word(c)),
        AnomalyKind::KeepalivedDown => {
            let what = match c.listener {
                Some(Listener::Resigned) => "keepalived resigned and ended: nobody listens for adverts here",
                Some(Listener::Stalled) => "keepalived is frozen: adverts pile up unread here",
                _ => "keepalived does not run: nobody listens for adverts here",
            };
            format!("{what}; this node would not take over")
        }
        AnomalyKind::Flapping => format!("{FLAP_RAISE} role changes within {} s", FLAP_WINDOW.as_secs()),
    }
}

/// `2 of 50 further addresses are`.
fn some_of(some: usize, of: usize, one: &str, many: &str) -> String {
    let noun = if of == 1 { "further address" } else { "further addresses" };
    format!("{some} of {of} {noun} {}", if some == 1 { one } else { many })
}

/// `10.0.0.1, 10.0.0.2 and 48 more`.
fn list(some: &[IpAddr], of: usize) -> String {
    let words: Vec<String> = some.iter().map(ToString::to_string).collect();
    match of.saturating_sub(some.len()) {
        0 => words.join(", "),
        more => format!("{} and {more} more", words.join(", ")),
    }
}

fn not_genuine(frame: &Frame, c: &Context<'_>) -> String {
    let Frame { source, reason, priority, ttl, .. } = frame;
    let origin = place(frame.mac, frame.vlan, if frame.side == Side::Local { "it left" } else { "it came" });
    // Who says something else from the same address, if that is what is wrong.
    let other = contradiction(c).map(|(_, other)| other).filter(|_| *reason == Reason::Contradiction);
    let other = other.map_or_else(String::new, |other| {
        let from = place(other.mac, other.vlan, "");
        format!("; priority {} is advertised from the same address at the same time{from}", other.priority)
    });
    let word = reason.as_str();
    format!(
        "an advert from {source} is not genuine: {word} (priority {priority}, TTL {ttl}){origin}{other}; {}",
        advice(*reason)
    )
}

fn origin(advert: &Advert) -> String {
    origin_as(advert, "they come")
}

fn origin_as(advert: &Advert, verb: &str) -> String {
    place(advert.mac, advert.vlan, verb)
}

/// Where on the link layer something came from, as far as it is known.
fn place(mac: Option<Mac>, vlan: Option<u16>, verb: &str) -> String {
    let begin = if verb.is_empty() { ",".to_owned() } else { format!("; {verb}") };
    match (mac, vlan) {
        (Some(mac), Some(vlan)) => format!("{begin} from MAC {mac} in VLAN {vlan}"),
        (Some(mac), None) => format!("{begin} from MAC {mac}"),
        (None, Some(vlan)) => format!("{begin} in VLAN {vlan}"),
        (None, None) => String::new(),
    }
}

/// What is wrong with a frame, and what to look at.
fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::Ttl => "its TTL is not 255: it crossed a router, or no keepalived sent it",
        Reason::Checksum => {
            "its checksum does not fit: compare the VRRP version and the checksum settings on both nodes"
        }
        Reason::Length => "its length does not fit its addresses: compare the keepalived releases on both nodes",
        Reason::Type => "it is no advertisement: no keepalived sends such",
        Reason::Version => "vrrp_version differs: compare it on both nodes",
        Reason::Auth => "auth_type differs: compare it on both nodes",
        Reason::Password => "auth_pass differs: compare it on both nodes",
        Reason::Icv => "the integrity check of its authentication header fails: compare auth_pass on both nodes",
        Reason::Sequence => "the sequence number of its authentication header came before: someone replays adverts",
        Reason::Interval => "advert_int differs: compare it on both nodes",
        Reason::Addresses => "virtual_ipaddress differs: compare it on both nodes",
        Reason::Mode => "unicast_peer is set on one node only: compare it on both nodes",
        Reason::PeerSource => "its source is not in unicast_peer: compare that with unicast_src_ip of the other node",
        Reason::PeerTtl => "its TTL is not what unicast_peer wants: compare min_ttl and max_ttl with the path",
        Reason::Owner => "the instance owns the address and takes no advert: look for a second owner",
        Reason::OtherHost => "it is for another host's MAC, so that keepalived does not hear it",
        Reason::Destination => "it is for an address that keepalived does not listen on",
        Reason::Header => "its IP header is malformed: the kernel drops it",
        Reason::SourceRoute => "it carries a source route: the kernel drops it",
        Reason::MartianSource => "the kernel accepts no such source there",
        Reason::OwnSource => {
            "it uses the address that this node sends from: look for a node with the same address, or a switch port \
             that reflects what this node sends"
        }
        Reason::Protocol => "auth_type AH is used on one side only: compare it on both nodes",
        Reason::Forwarded => "this node only forwarded it: look for who sends it behind the router",
        Reason::NotVrrpSocket => "a local process sent it, which is not keepalived",
        Reason::LocalSource => "a local process sent it from an address that is not this device's",
        Reason::LocalTtl => "a local process sent it with a TTL other than 255",
        Reason::SecondSender => "two local processes send for this VRID: look for a second keepalived",
        Reason::StrangerResigned => "its sender never was master, so it had nothing to resign",
        Reason::Contradiction => "one of the two is not the node that has this address: look where both MACs are",
    }
}

/// Who was heard last, for people: after a forged better advert it is somebody who came only once.
fn last_word(c: &Context<'_>) -> String {
    let Some(last) = c.speakers.last() else {
        return String::new();
    };
    let ago = c.now.since(last.at).as_millis();
    let alone = c.speakers.known().filter(|known| known.source == last.source).count() == 1;
    let origin = origin(last);
    match (last.side, last.priority, last.run_adverts) {
        (Side::Local, ..) => format!("; the last advert was ours, {ago} ms ago"),
        (Side::Foreign, 0, _) => format!("; {} resigned {ago} ms ago{origin}", last.source),
        (Side::Foreign, priority, 1) if alone => {
            format!("; {} (priority {priority}) advertised once, {ago} ms ago, and no more{origin}", last.source)
        }
        (Side::Foreign, priority, _) => {
            format!("; the last advert came from {} (priority {priority}) {ago} ms ago{origin}", last.source)
        }
    }
}
