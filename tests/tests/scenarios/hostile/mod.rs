//! Attacks, each with its control: a hostile tenant behind the router, a hostile host on the HA network.
//!
//! What counts is what keepalived itself would take, and nothing else: neither what the kernel forwards, nor
//! what it never delivers, nor what keepalived reads and drops. A control sends the same frames soundly, so
//! that keepalived's own reaction shows that they would have counted.

mod devices;
mod forwarded;
mod impersonation;
mod missed;
mod processes;
mod rejected;
mod rejecting_masters;
mod reports;
mod succession;
mod unheard;

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use ha_agent_common::build::Advert;
use ha_agent_tests::forge::Mac;
use ha_agent_tests::frames;
use ha_agent_tests::hostile::{self, Host, Sender};
use ha_agent_tests::pair::{Node, Pair, Reporter, SLACK, Scene};
use ha_agent_tests::timeline::at;
use ha_agent_tests::wait;
use ha_agent_tests::witness::Witness;
use serde_json::{Value, json};

use crate::{ADVERT, SETTLE};

/// Between two frames of an attack: keepalived would take it for one master that goes on.
const EVERY: Duration = Duration::from_millis(400);
/// Between two frames that keepalived reads and drops: more often it would never come to an advert of its own.
const RARELY: Duration = Duration::from_millis(1200);
/// What the machine may add to what is due: tests share its cores with other tests.
const LOAD: Duration = Duration::from_millis(300);

/// The usual pair, whose agents know from keepalived's own files what it accepts. Nobody reports, so that
/// nobody is waited for.
fn found() -> Scene {
    Scene { found: true, reporter: Reporter::Nobody, ..Scene::default() }
}

/// A better advert than anybody's on these nodes: whoever takes it gives way.
fn better(pair: &Pair, source: Ipv4Addr) -> Advert {
    Advert { priority: 254, ..frames::advert(&pair.router, source) }
}

/// The MAC of a node's HA interface.
fn mac(node: &Node) -> Result<Mac> {
    hostile::mac(&node.site.netns, &node.site.interface)
}

/// A pair and a hostile host beside it.
fn beside(scene: Scene, name: &str) -> Result<(Pair, Host)> {
    let pair = scene.start(name)?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    Ok((pair, host))
}

/// `forged_advert` is raised after the mark, and its words name one of these reasons.
fn forged(node: &mut Node, reasons: &[&str]) -> Result<Value> {
    let raised = node.raised(SLACK, "forged_advert")?;
    let detail = raised["detail"].as_str().unwrap_or_default();
    ensure!(reasons.iter().any(|reason| detail.contains(reason)), "node {}: {detail}", node.site.node);
    Ok(raised)
}

/// Something names what is going on: one of these is raised after the mark.
fn named(node: &mut Node) -> Result<String> {
    let kinds = ["forged_advert", "foreign_master", "advert_interval_mismatch", "split_brain"];
    let what = format!("node {}: something that names it", node.site.node);
    wait::until(SLACK, &what, || node.anomalies().ok()?.into_iter().find(|kind| kinds.contains(&kind.as_str())))
        .with_context(|| node.agent.events.story())
}

/// Nothing but these is raised after the mark.
fn only(node: &mut Node, kinds: &[&str]) -> Result<()> {
    let raised = node.anomalies()?;
    match raised.iter().find(|kind| !kinds.contains(&kind.as_str())) {
        Some(kind) => bail!("node {}: {kind} was raised; {}", node.site.node, node.agent.events.story()),
        None => Ok(()),
    }
}

/// While frames come that must move nothing, the master stops in order: both nodes are told as if they did not.
/// Then `sound` is sent, the same in a form that keepalived takes: it gives way to it.
fn moves_nothing(
    (mut pair, host): (Pair, Host),
    every: Duration,
    frame: &[u8],
    kinds: &[&str],
    sound: impl FnOnce(&Pair) -> Result<Vec<u8>>,
) -> Result<Pair> {
    let witness = witness(&pair)?;
    next_advert(&witness, &pair.a)?;
    let pulse = host.pulse(vec![frame.to_vec()], every);
    pulse.more(1, every + SLACK)?;
    let since = SystemTime::now();
    pair.a.keepalived()?.resign()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pulse.more(2, every * 2 + SLACK)?;
    ensure!(pair.b.site.holds_vip(), "keepalived does not give way");
    // What keepalived drops puts its next advert off: for the other node it was silent for up to two intervals.
    let kinds = if every == RARELY { [kinds, &["no_primary"]].concat() } else { kinds.to_vec() };
    only(&mut pair.b, &kinds)?;
    // Its keepalived has ended.
    only(&mut pair.a, &[&kinds[..], &["keepalived_down"]].concat())?;
    pulse.end()?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])?;

    next_advert(&witness, &pair.b)?;
    let since = SystemTime::now();
    host.send(&sound(&pair)?)?;
    witness.until(SLACK, "keepalived gives way to the sound one", |seen| {
        seen.vip(&pair.b.site).filter(|(present, at)| !present && *at > since).map(drop)
    })?;
    in_time(&mut pair.b, &witness, "backup", since)?;
    pair.heard(&["primary", "backup"], &["backup", "primary", "backup"])?;
    Ok(pair)
}

/// A state is confirmed after the mark, no later than is due once the VIP came or went: what [`LOAD`] allows,
/// and for `primary` the settle time.
fn in_time(node: &mut Node, witness: &Witness, state: &str, since: SystemTime) -> Result<Value> {
    let present = state == "primary";
    let what = format!("node {}: the VIP present: {present}", node.site.node);
    let within = node.settings.master_down() + SLACK;
    let changed = witness.until(within, &what, |seen| {
        seen.vip(&node.site).filter(|(now, at)| *now == present && *at > since).map(|(_, at)| at)
    })?;
    let confirmed = node.confirmed(ADVERT * 2 + SLACK, state)?;
    let took = at(&confirmed)?.duration_since(changed).unwrap_or_default();
    let due = LOAD + if present { SETTLE } else { Duration::ZERO };
    ensure!(took <= due, "node {}: {state} came {took:?} after the VIP: {confirmed}", node.site.node);
    Ok(confirmed)
}

/// A pair whose first node is frozen and keeps the VIP: it is told as backup, the other one as primary.
fn orphaned(name: &str) -> Result<Pair> {
    let mut pair = found().start(name)?;
    pair.a.keepalived()?.freeze()?;
    pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    pair.a.confirmed(ADVERT * 3 + SLACK, "backup")?;
    pair.a.raised(SLACK, "orphan_vip")?;
    ensure!(pair.a.site.holds_vip(), "the frozen one keeps the VIP");
    pair.mark()?;
    Ok(pair)
}

/// Both nodes' addresses are watched from now on.
fn witness(pair: &Pair) -> Result<Witness> {
    Witness::of(&pair.lab, &[&pair.a.site, &pair.b.site])
}

/// Waits for a node's next advert.
fn next_advert(witness: &Witness, node: &Node) -> Result<SystemTime> {
    let since = SystemTime::now();
    let found = witness
        .until(ADVERT * 3, "an advert of the master", |seen| seen.first_of(&node.site, since).map(|advert| advert.at));
    found.with_context(|| format!("node {}", node.site.node))
}

/// No verdict changes after the mark.
fn unmoved(node: &mut Node) -> Result<()> {
    node.never("transition.confirmed", json!({}))?;
    node.never("transition.rejected", json!({}))
}
