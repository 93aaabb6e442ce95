//! Who speaks beside a master has not succeeded it, who claims to be there is not, and what comes back to a node is
//! its own.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::Advert;
use ha_agent_tests::command::run;
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Host, Sender, set};
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::timeline::at;
use serde_json::Value;

use super::{LOAD, beside, forged, found, in_time, next_advert, only, unmoved, witness};
use crate::ADVERT;

/// Readings that are due about the same time are made together.
const GRID: Duration = Duration::from_millis(250);

fn version_3() -> Scene {
    let mut scene = found();
    scene.keepalived.version = Some(3);
    scene
}

/// A sound advert of the least priority.
fn worse(pair: &Pair, host: &Host) -> Advert {
    let version = pair.a.settings.version.unwrap_or(2);
    Advert { version, priority: 1, ..frames::advert(&pair.router, host.site.ip()) }
}

/// keepalived stalls for less than the other node waits, while somebody worse speaks: it stays primary. When it is
/// frozen for good, the true successor is told as soon as it has spoken for an interval.
#[test]
#[ignore = "needs root"]
fn a_stall_beside_worse_adverts_makes_no_backup() -> Result<()> {
    let mut scene = found();
    // Else keepalived of the other node takes the worse one for its master, and waits.
    scene.keepalived.nopreempt = false;
    let (mut pair, host) = beside(scene, "stall")?;
    let witness = witness(&pair)?;
    let pulse = host.pulse(vec![sealed(&worse(&pair, &host).frame())], ADVERT / 2);
    // keepalived takes them, and answers.
    pair.a.raised(SLACK, "split_brain")?;
    next_advert(&witness, &pair.a)?;
    pair.a.keepalived()?.freeze()?;
    let silent = pair.a.raised(ADVERT * 2 + SLACK, "silent_primary");
    pulse.more(1, SLACK)?;
    pair.a.keepalived()?.thaw()?;
    silent?;
    pair.a.cleared(SLACK, "silent_primary")?;
    next_advert(&witness, &pair.a)?;
    for node in [&mut pair.a, &mut pair.b] {
        unmoved(node)?;
        only(node, &["split_brain", "silent_primary"])?;
    }

    pair.mark()?;
    next_advert(&witness, &pair.a)?;
    let since = SystemTime::now();
    pair.a.keepalived()?.freeze()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    let backup = pair.a.confirmed(ADVERT * 2 + SLACK, "backup")?;
    let began = witness.look(|seen| seen.first_of(&pair.b.site, since).map(|advert| advert.at));
    let took = at(&backup)?.duration_since(began.context("an advert of the successor")?)?;
    ensure!(took <= ADVERT + GRID + LOAD, "backup came {took:?} after the successor's first advert");
    pair.a.raised(SLACK, "orphan_vip")?;
    pulse.end()?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

/// As many worse sources as the agent keeps, and then adverts that keepalived rejects, more often than its own go: it
/// is silent, and that is explained, whoever is kept. Frozen, it is not.
#[test]
#[ignore = "needs root"]
fn a_crowd_hides_not_that_adverts_are_rejected() -> Result<()> {
    let (mut pair, host) = beside(version_3(), "crowd")?;
    let witness = witness(&pair)?;
    let one = worse(&pair, &host);
    let of = |last: u8| Advert { interval_cs: 500, source: Ipv4Addr::new(169, 254, 200, last).into(), ..one.clone() };
    let pulse = host.pulse((1..=90).map(|last| sealed(&of(last).frame())).collect(), ADVERT * 4);
    pair.a.raised(SLACK, "advert_interval_mismatch")?;
    pulse.more(3, ADVERT * 12 + SLACK)?;
    next_advert(&witness, &pair.a)?;
    let rejected = host.pulse(vec![sealed(&Advert { ttl: 254, ..one }.frame())], ADVERT * 2 / 5);
    rejected.more(1, SLACK)?;
    let since = SystemTime::now();
    rejected.more(7, ADVERT * 3 + SLACK)?;
    ensure!(witness.look(|seen| seen.since(&pair.a.site, since).count()) == 0, "keepalived is kept from speaking");
    rejected.end()?;
    next_advert(&witness, &pair.a)?;
    unmoved(&mut pair.a)?;
    only(&mut pair.a, &["split_brain", "advert_interval_mismatch", "forged_advert"])?;

    next_advert(&witness, &pair.a)?;
    pair.a.keepalived()?.freeze()?;
    pair.a.raised(ADVERT * 2 + SLACK, "silent_primary").map(drop)
}

/// Both keepaliveds die while somebody does what makes it seem as if there were a master: the backup's node says in
/// time that there is none. Worse adverts that really go on are one.
fn nobody_is_told(name: &str, frame: impl Fn(&Pair, &Host) -> Advert, every: Option<Duration>) -> Result<()> {
    let (mut pair, host) = beside(version_3(), name)?;
    let witness = witness(&pair)?;
    // As long as a resignation may be of a master that was not heard yet.
    for _ in 0..4 {
        next_advert(&witness, &pair.a)?;
    }
    let claim = sealed(&frame(&pair, &host).frame());
    let pulse = match every {
        Some(every) => Some(host.pulse(vec![claim], every)),
        None => host.send(&claim).map(|()| None)?,
    };
    next_advert(&witness, &pair.a)?;
    let last = next_advert(&witness, &pair.a)?;
    pair.a.keepalived()?.kill()?;
    pair.b.keepalived()?.kill()?;
    let named: Value = pair.b.raised(ADVERT * 2 + SLACK, "no_primary")?;
    let took = at(&named)?.duration_since(last)?;
    // One that resigns in between may be taken for the master's own, once.
    ensure!(took <= ADVERT * 3 / 2 + GRID + LOAD, "{took:?} after the last advert: {named}");
    drop(pulse);

    let pulse = host.pulse(vec![sealed(&worse(&pair, &host).frame())], ADVERT);
    pair.b.cleared(SLACK, "no_primary")?;
    pulse.end()
}

#[test]
#[ignore = "needs root"]
fn one_worse_advert_for_long_is_no_master() -> Result<()> {
    nobody_is_told("long", |pair, host| Advert { interval_cs: 4095, ..worse(pair, host) }, None)
}

#[test]
#[ignore = "needs root"]
fn whoever_only_resigns_is_no_master() -> Result<()> {
    let every = Some(ADVERT * 9 / 10);
    nobody_is_told("resigns", |pair, host| Advert { priority: 0, ..worse(pair, host) }, every)
}

/// The switch sends a node its own adverts back, and its kernel takes them, as keepalived has it do on a VMAC: its
/// keepalived reads them, and no verdict moves.
#[test]
#[ignore = "needs root"]
fn a_node_s_own_adverts_are_no_second_master() -> Result<()> {
    let mut pair = found().build("hairpin")?;
    pair.elect()?;
    set(&pair.a.site, &format!("net/ipv4/conf/{}/accept_local", pair.a.site.interface), "1")?;
    pair.watch()?;
    let witness = witness(&pair)?;
    let fabric = pair.lab.fabric();
    run("bridge", &["-n", &fabric, "link", "set", "dev", &pair.a.site.port(), "hairpin", "on"])?;
    forged(&mut pair.a, &["own_source"])?;
    for _ in 0..4 {
        next_advert(&witness, &pair.a)?;
    }
    let log = pair.a.keepalived()?.log();
    ensure!(log.contains("with our IP address"), "keepalived reads them: {log}");
    for node in [&mut pair.a, &mut pair.b] {
        unmoved(node)?;
        only(node, &["forged_advert"])?;
    }
    let since = SystemTime::now();
    pair.a.keepalived()?.resign()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    only(&mut pair.a, &["forged_advert"])?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
