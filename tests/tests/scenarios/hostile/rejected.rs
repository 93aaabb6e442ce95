//! What keepalived reads and drops, and what is sent in another mode than its own: it names something, and moves
//! nothing.

use std::net::Ipv4Addr;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::{Advert, Auth};
use ha_agent_tests::forge::{colliding, signed, to_mac, with_trailer};
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Host, NOBODY, Sender};
use ha_agent_tests::pair::{Pair, SLACK, Scene};

use super::{
    EVERY, RARELY, beside, better, forged, found, mac, moves_nothing, named, next_advert, only, unmoved, witness,
};
use crate::ADVERT;

/// The longest interval that a VRRPv3 advert can carry.
const LONGEST: u16 = 4095;

fn version_3() -> Scene {
    let mut scene = found();
    scene.keepalived.version = Some(3);
    scene
}

/// A better VRRPv3 advert with the longest interval.
fn longest(pair: &Pair, host: &Host) -> Advert {
    Advert { version: 3, interval_cs: LONGEST, ..better(pair, host.site.ip()) }
}

/// A VRRPv3 advert with the longest interval, in a form that does not count, holds nothing back.
fn for_long(name: &str, every: Duration, reasons: &[&str], frame: impl FnOnce(Advert) -> Vec<u8>) -> Result<()> {
    let (pair, host) = beside(version_3(), name)?;
    let advert = longest(&pair, &host);
    let frame = sealed(&frame(advert.clone()));
    let sound = |_: &Pair| Ok(sealed(&advert.frame()));
    let mut pair = moves_nothing((pair, host), every, &frame, &["forged_advert"], sound)?;
    forged(&mut pair.b, reasons).map(drop)
}

#[test]
#[ignore = "needs root"]
fn a_long_interval_without_the_pseudo_header_in_the_checksum() -> Result<()> {
    for_long("v3-plain", RARELY, &["checksum"], |advert| Advert { plain_checksum: true, ..advert }.frame())
}

#[test]
#[ignore = "needs root"]
fn a_long_interval_with_a_trailer() -> Result<()> {
    for_long("v3-trail", RARELY, &["length"], |advert| with_trailer(advert.frame(), &[0x5a; 28]))
}

#[test]
#[ignore = "needs root"]
fn a_long_interval_that_nobody_hears() -> Result<()> {
    for_long("v3-oh", EVERY, &["other_host"], |advert| to_mac(advert.frame(), NOBODY))
}

#[test]
#[ignore = "needs root"]
fn a_long_interval_of_version_3_withholds_no_first_verdict_of_version_2() -> Result<()> {
    let mut pair = found().build("v3-on-v2")?;
    pair.elect()?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let frame = sealed(&longest(&pair, &host).frame());
    let witness = witness(&pair)?;
    next_advert(&witness, &pair.a)?;
    let pulse = host.pulse(vec![frame], RARELY);
    pulse.more(1, SLACK)?;
    pair.watch()?;
    for node in [&mut pair.a, &mut pair.b] {
        let said = node.agent.status(&node.site)?["anomalies"].to_string();
        ensure!(said.contains("foreign_master") || said.contains("forged_advert"), "another version: {said}");
    }
    pulse.end()
}

#[test]
#[ignore = "needs root"]
fn by_multicast_where_peers_speak_by_unicast() -> Result<()> {
    let mut pair = found().build("multicast")?;
    let (a, b) = (pair.a.site.ip(), pair.b.site.ip());
    (pair.a.settings.unicast_peer, pair.b.settings.unicast_peer) = (Some(b.into()), Some(a.into()));
    pair.elect()?;
    pair.watch()?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let advert = better(&pair, host.site.ip());
    let frame = sealed(&advert.frame());
    let sound = |pair: &Pair| {
        let advert = Advert { destination: b.into(), ..advert };
        Ok(sealed(&to_mac(advert.frame(), mac(&pair.b)?)))
    };
    let mut pair = moves_nothing((pair, host), EVERY, &frame, &["forged_advert"], sound)?;
    forged(&mut pair.b, &["destination", "mode"]).map(drop)
}

#[test]
#[ignore = "needs root"]
fn by_unicast_where_the_group_is_spoken_to() -> Result<()> {
    let (pair, host) = beside(found(), "unicast")?;
    let advert = better(&pair, host.site.ip());
    let there = Advert { destination: pair.b.site.ip().into(), ..advert.clone() };
    let frame = sealed(&to_mac(there.frame(), mac(&pair.b)?));
    let sound = |_: &Pair| Ok(sealed(&advert.frame()));
    let mut pair = moves_nothing((pair, host), EVERY, &frame, &["forged_advert"], sound)?;
    forged(&mut pair.b, &["destination", "mode"]).map(drop)
}

#[test]
#[ignore = "needs root"]
fn with_an_authentication_header_that_does_not_fit() -> Result<()> {
    let mut scene = found();
    (scene.keepalived.ah, scene.keepalived.auth_pass) = (true, Some("secret".to_owned()));
    let (pair, host) = beside(scene, "icv")?;
    let advert = Advert { auth: Auth::Ah, ..better(&pair, host.site.ip()) };
    let frame = signed(&advert.frame(), "guess", 100_000)?;
    let sound = |_: &Pair| signed(&advert.frame(), "secret", 100_001);
    let mut pair = moves_nothing((pair, host), RARELY, &frame, &["forged_advert"], sound)?;
    forged(&mut pair.b, &["icv"]).map(drop)
}

/// Adverts of a worse master with another interval put each of our own off: whoever hears us less often than
/// we go on must not take us for silent.
#[test]
#[ignore = "needs root"]
fn adverts_with_another_interval_just_before_ours_demote_nobody() -> Result<()> {
    let (mut pair, host) = beside(found(), "just-before")?;
    let witness = witness(&pair)?;
    let worse = Advert { priority: 1, ..frames::advert(&pair.router, host.site.ip()) };
    let mismatch = sealed(&Advert { interval_cs: 200, ..worse.clone() }.frame());
    // As late as can be without coming after it.
    let (_never, due) = std::sync::mpsc::channel::<()>();
    for _ in 0..6 {
        next_advert(&witness, &pair.a)?;
        ensure!(due.recv_timeout(ADVERT * 9 / 10) == Err(RecvTimeoutError::Timeout), "the time is over");
        host.send(&mismatch)?;
    }
    next_advert(&witness, &pair.a)?;
    for node in [&mut pair.a, &mut pair.b] {
        unmoved(node)?;
        node.raised(SLACK, "advert_interval_mismatch")?;
    }
    only(&mut pair.a, &["advert_interval_mismatch"])?;
    // For the other node the master was silent for up to two intervals.
    only(&mut pair.b, &["advert_interval_mismatch", "no_primary"])?;
    let kept = witness.look(|seen| seen.vip(&pair.a.site));
    ensure!(kept.is_some_and(|(present, at)| present && at.elapsed().is_ok_and(|age| age > ADVERT * 6)), "{kept:?}");
    pair.heard(&["primary"], &["backup"])?;

    // With the right interval keepalived takes it, and answers at once.
    let last = next_advert(&witness, &pair.a)?;
    // The witness takes two that are alike and close for one.
    ensure!(due.recv_timeout(ADVERT / 5) == Err(RecvTimeoutError::Timeout), "the time is over");
    host.send(&sealed(&worse.frame()))?;
    witness
        .until(ADVERT / 2, "keepalived answers whom it hears", |seen| seen.first_of(&pair.a.site, last).map(drop))?;
    Ok(())
}

/// Other addresses than ours whose list has the same FNV-1a hash: keepalived drops them, and so they hold
/// nothing back.
#[test]
#[ignore = "needs root"]
fn another_list_of_addresses_with_the_hash_of_ours() -> Result<()> {
    let more = [Ipv4Addr::new(10, 11, 1, 1), Ipv4Addr::new(10, 11, 1, 2)];
    let mut scene = found();
    scene.keepalived.more_vips = more.map(|address| format!("{address}/24")).to_vec();
    let (pair, host) = beside(scene, "collision")?;
    let ours = [pair.router.vip_ip(), more[0], more[1]];
    let theirs = colliding(ours, Ipv4Addr::new(203, 0, 113, 7));
    let listing = |addresses: [Ipv4Addr; 3]| {
        let addresses = addresses.map(Into::into).to_vec();
        sealed(&Advert { addresses, ..better(&pair, host.site.ip()) }.frame())
    };
    let (frame, sound) = (listing(theirs), listing(ours));
    let mut pair = moves_nothing((pair, host), RARELY, &frame, &["foreign_master"], |_| Ok(sound))?;
    pair.b.raised(SLACK, "foreign_master").map(drop)
}

/// The same without a collision.
#[test]
#[ignore = "needs root"]
fn another_list_of_addresses() -> Result<()> {
    let (pair, host) = beside(found(), "addresses")?;
    let advert = better(&pair, host.site.ip());
    let frame = sealed(&Advert { addresses: vec![Ipv4Addr::new(203, 0, 113, 7).into()], ..advert.clone() }.frame());
    let sound = |_: &Pair| Ok(sealed(&advert.frame()));
    let mut pair = moves_nothing((pair, host), RARELY, &frame, &["foreign_master"], sound)?;
    pair.b.raised(SLACK, "foreign_master").map(drop)
}

/// One frame of each kind that keepalived drops, better than anybody: named on both nodes.
#[test]
#[ignore = "needs root"]
fn each_kind_that_is_dropped_is_named() -> Result<()> {
    let (mut pair, host) = beside(found(), "kinds")?;
    let advert = better(&pair, host.site.ip());
    let witness = witness(&pair)?;
    let mut checksum = advert.frame();
    checksum[14 + 20 + 6] ^= 0xff;
    let frames = [
        ("forged_advert", Advert { ttl: 254, ..advert.clone() }.frame()),
        ("forged_advert", checksum),
        ("forged_advert", Advert { kind: 2, ..advert.clone() }.frame()),
        ("forged_advert", with_trailer(advert.frame(), &[0; 4])),
        ("advert_interval_mismatch", Advert { interval_cs: 300, ..advert.clone() }.frame()),
        ("foreign_master", Advert { version: 3, ..advert.clone() }.frame()),
        ("foreign_master", Advert { auth: Auth::Pass(*b"password"), ..advert }.frame()),
    ];
    for (kind, frame) in frames {
        next_advert(&witness, &pair.a)?;
        host.send(&sealed(&frame))?;
        for node in [&mut pair.a, &mut pair.b] {
            node.raised(SLACK, kind).with_context(|| kind.to_owned())?;
            named(node)?;
        }
    }
    for node in [&mut pair.a, &mut pair.b] {
        unmoved(node)?;
        only(node, &["forged_advert", "advert_interval_mismatch", "foreign_master"])?;
    }
    pair.heard(&["primary"], &["backup"])
}
