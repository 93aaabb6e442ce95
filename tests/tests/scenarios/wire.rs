//! What the wire may do to it: forged frames of every kind, and odd ones.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::{Advert, Auth};
use ha_agent_tests::frames::{self, Injector};
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::wait;
use ha_agent_tests::witness::Witness;
use serde_json::json;

use crate::ADVERT;

/// `forged_advert` is over when none came for so long.
const QUIET: Duration = Duration::from_secs(10);
const STRANGER: Ipv4Addr = Ipv4Addr::new(169, 254, 192, 200);

/// A running pair with a password that configuration and keepalived share, and the wire between the nodes.
fn pair(name: &str, password: Option<&str>) -> Result<(Pair, Injector)> {
    let mut scene = Scene::default();
    scene.keepalived.auth_pass = password.map(str::to_owned);
    scene.agent.router = password.map_or_else(String::new, |word| format!("auth_pass = {word:?}"));
    let pair = scene.start(name)?;
    let wire = Injector::on_fabric(&pair.lab)?;
    Ok((pair, wire))
}

fn word(text: &str) -> Auth {
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Auth::Pass(bytes)
}

/// Each is seen by both nodes, named with its reason, moves nothing, and is over in time.
fn named_and_nothing_moves(pair: &mut Pair, wire: &Injector, frames: &[(&str, Vec<u8>)]) -> Result<()> {
    for (reason, frame) in frames {
        pair.mark()?;
        wire.send(frame)?;
        for node in [&mut pair.a, &mut pair.b] {
            let raised = node.raised(SLACK, "forged_advert").with_context(|| format!("forged: {reason}"))?;
            let detail = raised["detail"].as_str().unwrap_or_default();
            ensure!(detail.contains(&format!("not genuine: {reason} ")), "{reason}: {detail}");
            let words = node.agent.command(&["explain", &node.site.router.id.to_string()])?;
            ensure!(words.contains("forged_advert"), "{reason}: {words}");
        }
        for node in [&mut pair.a, &mut pair.b] {
            node.cleared(QUIET + SLACK, "forged_advert")?;
            node.never("transition.confirmed", json!({}))?;
        }
    }
    // It takes longer than an L3 agent that has just come is told again what it may have dropped.
    pair.a.l3.expect_changes(SLACK, pair.router.id, &["primary"])?;
    pair.b.l3.expect_changes(SLACK, pair.router.id, &["backup"])
}

#[test]
#[ignore = "needs root"]
fn forged_ttl_checksum_password_and_length_are_named() -> Result<()> {
    let (mut pair, wire) = pair("forged", Some("secret"))?;
    // Better than anybody: if keepalived took one of them, it would yield.
    let better = Advert { priority: 255, auth: word("secret"), ..frames::advert(&pair.router, STRANGER) };
    let mut checksum = better.frame();
    checksum[14 + 20 + 6] ^= 0xff;
    let mut truncated = better.frame();
    truncated.truncate(14 + 20 + 10);
    let mut long = better.frame();
    long[14 + 2..14 + 4].copy_from_slice(&44u16.to_be_bytes());
    let frames = [
        ("ttl", Advert { ttl: 64, ..better.clone() }.frame()),
        ("checksum", checksum),
        ("password", Advert { auth: word("guess"), ..better.clone() }.frame()),
        ("header", truncated),
        ("length", long),
        ("type", Advert { kind: 2, ..better.clone() }.frame()),
    ];
    named_and_nothing_moves(&mut pair, &wire, &frames)?;
    for node in [&pair.a, &pair.b] {
        let log = node.agent.log();
        let events = std::fs::read_to_string(node.agent.folder().join("events.jsonl"))?;
        for word in ["secret", "guess"] {
            ensure!(!log.contains(word) && !events.contains(word), "{word:?} was written down");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_stranger_s_resignation_and_our_own_address_are_named() -> Result<()> {
    let (mut pair, wire) = pair("stranger", None)?;
    let begun = Instant::now();
    // Before three intervals anybody may have been master unheard.
    wait::until(ADVERT * 8, "the agents listened long enough", || (begun.elapsed() > ADVERT * 4).then_some(()))?;
    let gone = Advert { priority: 0, ..frames::advert(&pair.router, STRANGER) };
    pair.mark()?;
    wire.send(&gone.frame())?;
    for node in [&mut pair.a, &mut pair.b] {
        let raised = node.raised(SLACK, "forged_advert")?;
        ensure!(raised["detail"].as_str().is_some_and(|text| text.contains("stranger_resigned")), "{raised}");
    }
    for node in [&mut pair.a, &mut pair.b] {
        node.cleared(QUIET + SLACK, "forged_advert")?;
    }
    // The master's own address, which keepalived ignores there and takes for the master's elsewhere.
    pair.mark()?;
    wire.send(&Advert { priority: 40, ..frames::advert(&pair.router, pair.a.site.ip()) }.frame())?;
    let raised = pair.a.raised(SLACK, "forged_advert")?;
    ensure!(raised["detail"].as_str().is_some_and(|text| text.contains("own_source")), "{raised}");
    pair.a.cleared(QUIET + SLACK, "forged_advert")?;
    pair.a.never("transition.confirmed", json!({}))?;
    pair.b.never("transition.confirmed", json!({}))?;
    // It takes longer than an L3 agent that has just come is told again what it may have dropped.
    pair.a.l3.expect_changes(SLACK, pair.router.id, &["primary"])?;
    pair.b.l3.expect_changes(SLACK, pair.router.id, &["backup"])
}

#[test]
#[ignore = "needs root"]
fn one_better_advert_of_a_stranger_leaves_nobody_and_that_is_named() -> Result<()> {
    let (mut pair, wire) = pair("better", None)?;
    let better = Advert { priority: 200, ..frames::advert(&pair.router, STRANGER) };
    wire.send(&better.frame())?;
    // keepalived believes it: that is the truth, and it is passed on.
    pair.a.confirmed(SLACK, "backup")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.raised(ADVERT * 3 / 2 + SLACK, "no_primary")?;
    }
    // Equal backups: whoever is first after its master-down time.
    let within = pair.a.settings.master_down() + SLACK;
    wait::until(within, "somebody takes over", || (pair.a.site.holds_vip() || pair.b.site.holds_vip()).then_some(()))?;
    for node in [&mut pair.a, &mut pair.b] {
        node.cleared(within, "no_primary")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn odd_frames_are_looked_at_and_change_nothing() -> Result<()> {
    let (mut pair, wire) = pair("odd", None)?;
    // Worse than the master, so that keepalived's own answer to a sound one is to go on.
    let base = Advert { priority: 10, ..frames::advert(&pair.router, STRANGER) };
    let mut tagged = base.frame();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    let mut double = tagged.clone();
    double.splice(12..12, [0x88, 0xa8, 0x00, 0x07]);
    let unread = [
        Advert { fragment: 0x2000, ..base.clone() }.frame(),
        Advert { fragment: 0x0010, ..base.clone() }.frame(),
        tagged,
        double,
        Advert { vrid: pair.router.vrid + 1, ..base.clone() }.frame(),
        base.frame()[..14 + 20].to_vec(),
        base.frame()[..14 + 7].to_vec(),
    ];
    // Each frame that keepalived rejects puts its next advert off: just after one of its own nobody names that.
    let witness = Witness::of(&pair.lab, &[&pair.a.site])?;
    let since = SystemTime::now();
    witness.until(ADVERT * 2, "an advert of the master", |seen| seen.first_of(&pair.a.site, since).map(drop))?;
    pair.mark()?;
    for frame in &unread {
        wire.send(frame)?;
    }
    // One that is named comes after them: by then they have been looked at.
    wire.send(&Advert { ttl: 1, ..base.clone() }.frame())?;
    for node in [&mut pair.a, &mut pair.b] {
        let raised = node.raised(SLACK, "forged_advert")?;
        ensure!(raised["detail"].as_str().is_some_and(|text| text.contains("not genuine: ttl")), "{raised}");
        // That the L3 agent had heard of it before may be written after.
        let since = node.agent.events.since_mark();
        let told = since.iter().filter(|event| event["event"] != "delivery.sent");
        ensure!(told.count() == 1, "{}", node.agent.events.story());
    }
    for (name, count) in [("ha_agent_wire_fragments_total", 2), ("ha_agent_wire_tagged_frames_total", 2)] {
        ensure!(pair.a.agent.metric(name)? == count, "{name}: {}", pair.a.agent.metric(name)?);
    }
    // Options are legal, and so is what comes behind the end of the IP packet: a worse master, heard.
    wire.send(&[Advert { option_words: 1, ..base.clone() }.frame(), vec![0x5a; 1200]].concat())?;
    let lower = Ipv4Addr::new(169, 254, 192, 201);
    wire.send(&Advert { option_words: 10, priority: 10, ..frames::advert(&pair.router, lower) }.frame())?;
    pair.a.never("transition.confirmed", json!({}))?;
    pair.heard(&["primary"], &["backup"])
}
