//! Two masters that reject each other: both are, and both are named. And one that only seems to.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::{Advert, Auth};
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Host, Sender};
use ha_agent_tests::keepalived::Settings;
use ha_agent_tests::pair::{Node, Pair, Reporter, SLACK, Scene};
use ha_agent_tests::wait;
use serde_json::json;

use super::{LOAD, RARELY, forged, found, in_time, next_advert, only, unmoved, witness};
use crate::{ADVERT, SETTLE};

/// `forged_advert` is over when none came for so long.
const QUIET: Duration = Duration::from_secs(10);

/// How many adverts are waited for: they come each second, from whichever of the two was first.
const ADVERTS: usize = 16;

/// The second node's keepalived differs so that neither hears the other: both are master.
fn both_master(
    scene: Scene,
    name: &str,
    common: impl Fn(&mut Settings),
    change: impl Fn(&mut Settings),
) -> Result<Pair> {
    let mut pair = scene.build(name)?;
    common(&mut pair.a.settings);
    common(&mut pair.b.settings);
    change(&mut pair.b.settings);
    pair.a.settings.priority = 60;
    pair.a.start_keepalived()?;
    pair.a.vip(pair.a.settings.master_down() + SLACK, true)?;
    pair.watch()?;
    pair.b.start_keepalived()?;
    pair.b.vip(pair.b.settings.master_down() + SLACK, true)?;
    ensure!(pair.a.site.holds_vip(), "both hold the VIP");
    pair.mark()?;
    Ok(pair)
}

/// Whoever hears an advert of the other is named, each time and for longer than an anomaly lasts that is about a
/// single frame. That its own adverts come late is no silence: keepalived puts them off for each that it drops.
fn named_on_both(mut pair: Pair, kind: &str) -> Result<()> {
    let witness = witness(&pair)?;
    let since = SystemTime::now();
    let stands = |node: &Node| {
        let named = node.agent.status(&node.site).ok()?["anomalies"].clone();
        named.as_array()?.contains(&json!(kind)).then_some(())
    };
    let mut heard = [0, 0];
    for count in 1..=ADVERTS {
        let senders = witness.until(ADVERT * 3, "an advert", |seen| {
            let since = |node: &Node| seen.since(&node.site, since).count();
            let sent = [since(&pair.b), since(&pair.a)];
            (sent.iter().sum::<usize>() >= count).then_some(sent)
        })?;
        for (index, node) in [&pair.a, &pair.b].into_iter().enumerate() {
            if senders[index] > heard[index] {
                let what = format!("node {}: {kind} stands", node.site.node);
                wait::until(SETTLE + LOAD, &what, || stands(node)).with_context(|| node.agent.log())?;
            }
        }
        heard = senders;
    }
    ensure!(!heard.contains(&0), "each was heard: {heard:?}");
    for node in [&mut pair.a, &mut pair.b] {
        ensure!(node.site.holds_vip(), "both hold the VIP");
        only(node, &[kind])?;
        if kind == "forged_advert" {
            node.never("anomaly.cleared", json!({"kind": kind}))?;
        }
    }
    Ok(())
}

fn word(word: &'static str) -> impl Fn(&mut Settings) {
    move |settings| settings.auth_pass = Some(word.to_owned())
}

#[test]
#[ignore = "needs root"]
fn by_their_passwords() -> Result<()> {
    named_on_both(both_master(found(), "passwords", word("one"), word("other"))?, "forged_advert")
}

#[test]
#[ignore = "needs root"]
fn by_their_passwords_where_nobody_told_the_agents() -> Result<()> {
    let by_hand = Scene { reporter: Reporter::Nobody, ..Scene::default() };
    named_on_both(both_master(by_hand, "by-hand", word("one"), word("other"))?, "forged_advert")
}

#[test]
#[ignore = "needs root"]
fn by_their_authentication() -> Result<()> {
    named_on_both(both_master(found(), "types", |_| {}, word("one"))?, "foreign_master")
}

#[test]
#[ignore = "needs root"]
fn by_one_address_more() -> Result<()> {
    let more = |settings: &mut Settings| settings.more_vips = vec!["10.11.1.1/24".to_owned()];
    named_on_both(both_master(found(), "one-more", |_| {}, more)?, "foreign_master")
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
    next_advert(&witness, &pair.a)?;
    let pulse = host.pulse(vec![sealed(&frame)], RARELY);
    for node in [&mut pair.a, &mut pair.b] {
        forged(node, &["password"])?;
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
    // It takes longer than an L3 agent that has just come is told again what it may have dropped.
    pair.a.l3.expect_changes(SLACK, pair.a.site.router.id, &["primary"])?;
    pair.b.l3.expect_changes(SLACK, pair.b.site.router.id, &["backup"])
}

/// The master sums as keepalived did before 1.3.6, and the backup adapts and hears it. What the backup sends later
/// 2.2.7 does not adapt: that is rejected, and named.
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
        next_advert(&witness, &pair.a)?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        only(node, &[])?;
        unmoved(node)?;
    }
    let since = SystemTime::now();
    pair.a.keepalived()?.stop()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
