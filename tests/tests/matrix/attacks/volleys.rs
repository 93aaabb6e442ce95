//! The attacks: which frames, from where, how often.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use ha_agent_common::build::Advert;
use ha_agent_tests::forge::{Mac, to_mac};
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Host, NOBODY, Pulse, Sender, Tenant, forward, mac};
use ha_agent_tests::lab::Router;

use crate::play::{PATIENCE, Play};

/// An attack: its name, and how it is made.
pub(super) struct Attack {
    pub(super) name: &'static str,
    make: fn(&Target<'_>) -> Result<Vec<Volley>>,
}

/// Nothing that is for anybody.
pub(super) const CONTROL: &str = "none";

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: CONTROL, make: none },
    Attack { name: "forwarded", make: forwarded },
    Attack { name: "hairpin", make: hairpin },
    Attack { name: "not heard", make: unheard },
    Attack { name: "rejected", make: rejected },
    Attack { name: "impersonating the peer", make: in_the_peers_name },
    Attack { name: "impersonating us", make: in_our_name },
];

/// Between two frames.
const EVERY: Duration = Duration::from_millis(400);
/// Between two frames that keepalived drops: each puts its next advert off by a second.
const RARELY: Duration = Duration::from_millis(1200);

/// Whom it is for: both nodes' addresses and MACs, and from where it comes.
struct Target<'a> {
    router: &'a Router,
    nodes: [(Ipv4Addr, Mac); 2],
    host: &'a Host,
    play: &'a Play<'a>,
}

/// Frames that go together.
struct Volley {
    /// Only where this node is the one that must not be misled.
    at: Option<usize>,
    fire: Box<dyn Fn() -> Pulse + Send>,
}

/// An attack on one router, ready.
pub(super) struct Volleys(Vec<Volley>);

/// An attack that goes on.
pub(super) struct Firing(Vec<Pulse>);

impl Volleys {
    pub(super) fn prepare(attack: &Attack, host: &Host, play: &Play<'_>) -> Result<Self> {
        let node = |side: usize| {
            let site = &play.corners[side].site;
            anyhow::Ok((site.ip(), mac(&site.netns, &site.interface)?))
        };
        let target = Target { router: play.router(), nodes: [node(0)?, node(1)?], host, play };
        (attack.make)(&target).map(Self)
    }

    /// Begins, to mislead node `at` above all.
    pub(super) fn fire(&self, at: usize) -> Firing {
        let volleys = self.0.iter().filter(|volley| volley.at.is_none_or(|side| side == at));
        Firing(volleys.map(|volley| (volley.fire)()).collect())
    }
}

impl Firing {
    /// Waits until it has gone on for so much longer.
    pub(super) fn goes_on(&self, length: Duration) -> Result<()> {
        // All of them go on side by side.
        let Some(pulse) = self.0.first() else { return Ok(()) };
        let rounds = length.as_millis().div_ceil(pulse.every().as_millis());
        pulse.more(usize::try_from(rounds)?, length + PATIENCE)
    }

    pub(super) fn end(self) -> Result<()> {
        self.0.into_iter().try_for_each(Pulse::end)
    }
}

impl Target<'_> {
    /// An advert better than any of the pair's.
    fn better(&self, source: Ipv4Addr) -> Advert {
        Advert { priority: 254, ..frames::advert(self.router, source) }
    }

    fn host(&self, every: Duration, frames: Vec<Vec<u8>>) -> Vec<Volley> {
        let host = self.host.clone();
        vec![Volley { at: None, fire: Box::new(move || host.pulse(frames.clone(), every)) }]
    }
}

/// Adverts of a router that nobody has.
fn none(target: &Target<'_>) -> Result<Vec<Volley>> {
    let advert = Advert { vrid: 255, ..target.better(target.host.site.ip()) };
    Ok(target.host(EVERY, vec![sealed(&advert.frame())]))
}

/// A tenant behind the node, to the other node.
fn forwarded(target: &Target<'_>) -> Result<Vec<Volley>> {
    let mut volleys = Vec::new();
    for (side, corner) in target.play.corners.iter().enumerate() {
        let tenant = Tenant::behind(&corner.site)?;
        let destination = target.nodes[1 - side].0.into();
        let frame = Advert { destination, ..target.better(tenant.ip) }.frame();
        let fire = Box::new(move || tenant.pulse(vec![frame.clone()], EVERY));
        volleys.push(Volley { at: Some(side), fire });
    }
    Ok(volleys)
}

/// A host to itself, by way of each node.
fn hairpin(target: &Target<'_>) -> Result<Vec<Volley>> {
    let own = target.host.site.ip();
    let advert = Advert { destination: own.into(), ..target.better(own) };
    for corner in target.play.corners.iter() {
        forward(&corner.site)?;
    }
    let frames = target.nodes.map(|(_, mac)| sealed(&to_mac(advert.frame(), mac)));
    Ok(target.host(EVERY, frames.to_vec()))
}

/// To a MAC that nobody has, and by unicast to each node, which hear the group alone.
fn unheard(target: &Target<'_>) -> Result<Vec<Volley>> {
    let advert = target.better(target.host.site.ip());
    let mut frames = vec![sealed(&to_mac(advert.frame(), NOBODY))];
    frames.extend(target.nodes.map(|(address, mac)| {
        let advert = Advert { destination: address.into(), ..advert.clone() };
        sealed(&to_mac(advert.frame(), mac))
    }));
    Ok(target.host(EVERY, frames))
}

/// With another interval than the pair's.
fn rejected(target: &Target<'_>) -> Result<Vec<Volley>> {
    let advert = Advert { interval_cs: 300, ..target.better(target.host.site.ip()) };
    Ok(target.host(RARELY, vec![sealed(&advert.frame())]))
}

/// To each node in the other one's name, worse than that is: keepalived takes it, and gives way to nobody.
fn in_the_peers_name(target: &Target<'_>) -> Result<Vec<Volley>> {
    let frame = |to: usize| {
        let advert = Advert { priority: 1, ..frames::advert(target.router, target.nodes[1 - to].0) };
        sealed(&to_mac(advert.frame(), target.nodes[to].1))
    };
    Ok(target.host(EVERY, vec![frame(0), frame(1)]))
}

/// To each node in its own name: its kernel drops it.
fn in_our_name(target: &Target<'_>) -> Result<Vec<Volley>> {
    let frame = |(address, mac)| sealed(&to_mac(target.better(address).frame(), mac));
    Ok(target.host(EVERY, target.nodes.map(frame).to_vec()))
}
