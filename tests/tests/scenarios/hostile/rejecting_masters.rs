//! Two masters that reject each other: both are, and both are named. And one that only seems to.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use ha_agent_common::build::{Advert, Auth};
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Host, Sender};
use ha_agent_tests::keepalived::Settings;
use ha_agent_tests::pair::{Node, Pair, SLACK};
use ha_agent_tests::witness::Witness;
use serde_json::json;

use super::{RARELY, found, in_time, named, only, unmoved, witness};
use crate::ADVERT;

/// `forged_advert` is over when none came for so long.
const QUIET: Duration = Duration::from_secs(10);

/// The second node's keepalived differs so that neither hears the other: both are master.
fn both_master(name: &str, common: impl Fn(&mut Settings), change: impl Fn(&mut Settings)) -> Result<(Pair, Witness)> {
    let mut pair = found().build(name)?;
    common(&mut pair.a.settings);
    common(&mut pair.b.settings);
    change(&mut pair.b.settings);
    pair.a.settings.priority = 60;
    pair.a.start_keepalived()?;
    pair.a.vip(pair.a.settings.master_down() + SLACK, true)?;
    pair.watch()?;
    let witness = witness(&pair)?;
    pair.b.start_keepalived()?;
    pair.b.vip(pair.b.settings.master_down() + SLACK, true)?;
    ensure!(pair.a.site.holds_vip(), "both hold the VIP");
    Ok((pair, witness))
}

/// Both are named, and whoever goes on hearing the other stays named.
fn named_on_both(mut pair: Pair, witness: &Witness, kind: &str) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        ensure!(named(node)? == kind, "{kind}: {}", node.agent.events.story());
    }
    // Longer than an anomaly lasts that is about a single frame.
    let since = SystemTime::now();
    let speaks = |node: &Node, from: SystemTime| witness.look(|seen| seen.first_of(&node.site, from).map(|one| one.at));
    let over = || since.elapsed().is_ok_and(|age| age > QUIET + SLACK);
    ha_agent_tests::wait::until(QUIET + SLACK * 2, "it goes on", || over().then_some(()))?;
    let lately = SystemTime::now() - ADVERT * 2;
    let heard = [speaks(&pair.b, lately).is_some(), speaks(&pair.a, lately).is_some()];
    ensure!(heard.contains(&true), "somebody goes on: {heard:?}");
    for (node, hears) in [&mut pair.a, &mut pair.b].into_iter().zip(heard) {
        ensure!(node.site.holds_vip(), "both hold the VIP");
        let named = node.agent.status(&node.site)?["anomalies"].clone();
        let stands = named.as_array().is_some_and(|named| named.contains(&json!(kind)));
        ensure!(stands || !hears, "node {}: {kind} goes on, but there is {named}", node.site.node);
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn by_their_passwords() -> Result<()> {
    let word = |word: &'static str| move |settings: &mut Settings| settings.auth_pass = Some(word.to_owned());
    let (pair, witness) = both_master("passwords", word("one"), word("other"))?;
    named_on_both(pair, &witness, "forged_advert")
}

#[test]
#[ignore = "needs root"]
fn by_their_authentication() -> Result<()> {
    let word = |settings: &mut Settings| settings.auth_pass = Some("one".to_owned());
    let (pair, witness) = both_master("types", |_| {}, word)?;
    named_on_both(pair, &witness, "foreign_master")
}

#[test]
#[ignore = "needs root"]
fn by_one_address_more() -> Result<()> {
    let more = |settings: &mut Settings| settings.more_vips = vec!["10.11.1.1/24".to_owned()];
    let (pair, witness) = both_master("one-more", |_| {}, more)?;
    named_on_both(pair, &witness, "foreign_master")
}

/// A third one's password is wrong, for longer than a single frame is named.
#[test]
#[ignore = "needs root"]
fn a_wrong_password_is_named_for_as_long_as_it_comes() -> Result<()> {
    let mut scene = found();
    scene.keepalived.auth_pass = Some("secret".to_owned());
    let mut pair = scene.start("wrong-word")?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let advert = Advert { priority: 1, ..frames::advert(&pair.router, host.site.ip()) };
    let frame = Advert { auth: Auth::Pass(*b"guess\0\0\0"), ..advert.clone() }.frame();
    let witness = witness(&pair)?;
    super::next_advert(&witness, &pair.a)?;
    let pulse = host.pulse(vec![sealed(&frame)], RARELY);
    for node in [&mut pair.a, &mut pair.b] {
        super::forged(node, &["password"])?;
    }
    pulse.more(13, RARELY * 15)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.never("anomaly.cleared", json!({"kind": "forged_advert"}))?;
        unmoved(node)?;
        only(node, &["forged_advert"])?;
    }
    pulse.end()?;
    for node in [&mut pair.a, &mut pair.b] {
        node.cleared(QUIET + SLACK, "forged_advert")?;
    }
    pair.heard(&["primary"], &["backup"])
}

/// One node sums as keepalived did before 1.3.6, and the other adapts: they hear each other.
#[test]
#[ignore = "needs root"]
fn not_by_the_old_checksum_of_one() -> Result<()> {
    let mut pair = found().build("old-sum")?;
    let (a, b) = (pair.a.site.ip(), pair.b.site.ip());
    for (settings, peer) in [(&mut pair.a.settings, b), (&mut pair.b.settings, a)] {
        (settings.version, settings.unicast_peer) = (Some(3), Some(peer.into()));
    }
    pair.a.settings.old_unicast_checksum = true;
    pair.elect()?;
    pair.watch()?;
    let witness = witness(&pair)?;
    for _ in 0..4 {
        super::next_advert(&witness, &pair.a)?;
    }
    let since = SystemTime::now();
    pair.a.keepalived()?.stop()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pair.a.start_keepalived()?;
    for _ in 0..4 {
        super::next_advert(&witness, &pair.b)?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        only(node, &[])?;
    }
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
