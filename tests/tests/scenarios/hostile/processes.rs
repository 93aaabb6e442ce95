//! Processes of the node itself that have no right but `CAP_NET_RAW`, and replays of what keepalived has used up.

use std::fs;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::{Advert, Auth};
use ha_agent_tests::command::ip_in;
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Process, Sender};
use ha_agent_tests::keepalived::Settings;
use ha_agent_tests::lab::Site;
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::wait;

use super::{EVERY, better, forged, found, in_time, next_advert, only, orphaned, unmoved, witness};
use crate::ADVERT;

/// An address of the HA network that nobody has.
fn nobody(pair: &Pair) -> Ipv4Addr {
    let [a, b, c, _] = pair.a.site.ip().octets();
    Ipv4Addr::new(a, b, c, 99)
}

/// The best advert that the first node could send, to a host where nobody listens: no keepalived hears it.
fn to_nobody(pair: &Pair) -> Result<Vec<u8>> {
    let (site, host) = (&pair.a.site, nobody(pair).to_string());
    ip_in(&site.netns, &["neigh", "replace", &host, "lladdr", "02:00:00:00:99:99", "dev", &site.interface])?;
    Ok(Advert { priority: 255, destination: nobody(pair).into(), ..better(pair, site.ip()) }.frame())
}

/// An orphan stays backup while it goes on; thawed it gives way, as it would without it.
fn stays_backup(mut pair: Pair, process: &Process, reason: &str) -> Result<()> {
    let pulse = process.pulse(vec![to_nobody(&pair)?], EVERY / 2);
    pulse.more(16, EVERY * 20)?;
    unmoved(&mut pair.a)?;
    forged(&mut pair.a, &[reason])?;
    only(&mut pair.a, &["forged_advert"])?;
    pulse.end()?;
    // The control: what its own keepalived sends counts.
    pair.a.keepalived()?.thaw()?;
    pair.a.cleared(ADVERT * 2 + SLACK, "orphan_vip")?;
    pair.a.vip(SLACK, false)?;
    unmoved(&mut pair.a)?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn an_orphan_stays_backup_though_a_container_on_its_device_speaks_for_it() -> Result<()> {
    let pair = orphaned("macvlan")?;
    let process = Process::in_container(&pair.a.site)?;
    stays_backup(pair, &process, "not_vrrp_socket")
}

#[test]
#[ignore = "needs root"]
fn an_orphan_stays_backup_though_a_process_beside_it_sends_to_nobody() -> Result<()> {
    let pair = orphaned("beside")?;
    let process = Process::within(&pair.a.site.netns, &pair.a.site.interface)?;
    stays_backup(pair, &process, "destination")
}

/// The master gives way to a better one although a process goes on in its name.
#[test]
#[ignore = "needs root"]
fn a_preemption_is_told_in_time_though_a_process_beside_it_sends_to_nobody() -> Result<()> {
    let keepalived = Settings { nopreempt: false, ..Settings::default() };
    let mut pair = Scene { keepalived, ..found() }.build("beside2")?;
    pair.b.settings.priority = 60;
    pair.a.start_keepalived()?;
    pair.a.vip(pair.a.settings.master_down() + SLACK, true)?;
    pair.watch()?;
    let witness = witness(&pair)?;
    let process = Process::within(&pair.a.site.netns, &pair.a.site.interface)?;
    let pulse = process.pulse(vec![to_nobody(&pair)?], EVERY / 8);
    pulse.more(1, SLACK)?;
    let since = SystemTime::now();
    pair.b.start_keepalived()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pulse.end()?;
    forged(&mut pair.a, &["destination"])?;
    only(&mut pair.a, &["forged_advert"])?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

/// A process beside keepalived, and what it sends from an address that is not the node's.
fn from_elsewhere(pair: &Pair, site: &Site) -> Result<(Process, Advert)> {
    let advert = Advert { priority: 1, ..frames::advert(&pair.router, nobody(pair)) };
    Ok((Process::within(&site.netns, &site.interface)?, advert))
}

/// VRRPv3, from a node of VRRPv2 that has never been master: as if its keepalived took nothing else.
#[test]
#[ignore = "needs root"]
fn a_backup_learns_nothing_from_an_address_that_is_not_its_own() -> Result<()> {
    let mut pair = found().start("poison")?;
    let witness = witness(&pair)?;
    let (process, advert) = from_elsewhere(&pair, &pair.b.site)?;
    // One frame.
    process.send(&Advert { version: 3, ..advert }.frame())?;
    // Long enough for a master that is not taken for one to be missed.
    for _ in 0..4 {
        next_advert(&witness, &pair.a)?;
    }
    unmoved(&mut pair.b)?;
    forged(&mut pair.b, &["local_source"])?;
    // The master dropped it, and put its next advert off: for so long it may have been missed, and no longer.
    let kinds = ["forged_advert", "no_primary"];
    only(&mut pair.b, &kinds)?;
    let missed = || Some(pair.b.agent.status(&pair.b.site).ok()?["anomalies"].to_string().contains("no_primary"));
    wait::until(SLACK, "the master is known", || missed().filter(|missed| !missed))?;
    let since = SystemTime::now();
    pair.a.keepalived()?.resign()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    only(&mut pair.b, &kinds)?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_master_is_not_silent_though_a_process_beside_it_is_louder() -> Result<()> {
    let mut pair = found().start("blind")?;
    let witness = witness(&pair)?;
    let (process, advert) = from_elsewhere(&pair, &pair.a.site)?;
    let pulse = process.pulse(vec![advert.frame()], EVERY / 200);
    pulse.more(1, SLACK)?;
    for _ in 0..5 {
        next_advert(&witness, &pair.a)?;
    }
    unmoved(&mut pair.a)?;
    forged(&mut pair.a, &["local_source"])?;
    only(&mut pair.a, &["forged_advert"])?;
    pulse.end()?;
    pair.heard(&["primary"], &["backup"])
}

/// Adverts that were sound once: their key is the right one, and keepalived has seen their numbers pass.
#[test]
#[ignore = "needs root"]
fn a_replay_moves_nothing_while_the_configuration_is_edited() -> Result<()> {
    let keepalived = Settings { auth_pass: Some("secret".to_owned()), ah: true, ..Settings::default() };
    let (mut pair, host) = super::beside(Scene { keepalived, ..found() }, "replay")?;
    let witness = witness(&pair)?;
    for _ in 0..4 {
        next_advert(&witness, &pair.a)?;
    }
    let from_b = |sequence| {
        let auth = Auth::AhKey { key: *b"secret\0\0", sequence };
        sealed(&Advert { auth, ..better(&pair, pair.b.site.ip()) }.frame())
    };
    let (old, new) = (from_b(2), from_b(1_000_000));
    // Nothing is reloaded: keepalived is what it was.
    for _ in 0..3 {
        edit(&pair, "skip_check_adv_addr")?;
        // Not for longer: with each of them keepalived puts its next advert off.
        let pulse = host.pulse(vec![old.clone()], EVERY / 8);
        pulse.more(16, SLACK)?;
        pulse.end()?;
        next_advert(&witness, &pair.a)?;
    }
    unmoved(&mut pair.a)?;
    forged(&mut pair.a, &["sequence"])?;
    only(&mut pair.a, &["forged_advert"])?;
    ensure!(pair.a.site.holds_vip(), "keepalived takes none of them");
    // The control: one with a number to come, keepalived takes.
    let since = SystemTime::now();
    host.send(&new)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    Ok(())
}

/// Where adverts go is what our own are known by; and keepalived has not read the file.
#[test]
#[ignore = "needs root"]
fn a_master_whose_file_says_another_mode_and_is_not_reloaded_stays_primary() -> Result<()> {
    let (mut pair, _host) = super::beside(found(), "unread")?;
    let witness = witness(&pair)?;
    let peer = pair.b.site.ip();
    for _ in 0..2 {
        edit(&pair, &format!("unicast_peer {{ {peer} }}"))?;
        for _ in 0..4 {
            next_advert(&witness, &pair.a)?;
        }
        let wire = || Some(pair.a.agent.status(&pair.a.site).ok()?["wire"] == "transmitting");
        wait::until(SLACK, "its adverts count", || wire().filter(|counts| *counts))?;
    }
    unmoved(&mut pair.a)?;
    only(&mut pair.a, &[])?;
    Ok(())
}

/// Adds a line to what the agent reads of the first node's keepalived, and takes it away the next time.
fn edit(pair: &Pair, line: &str) -> Result<()> {
    let id = pair.a.site.router.id.to_string();
    let file = pair.a.agent.neutron().join("ha_confs").join(id).join("keepalived.conf");
    let text = fs::read_to_string(&file)?;
    let (line, other) = (format!("    {line}\n"), "    virtual_router_id");
    let text =
        if text.contains(&line) { text.replace(&line, "") } else { text.replacen(other, &format!("{line}{other}"), 1) };
    ensure!(text.contains("virtual_router_id"), "no instance in {text}");
    fs::write(&file, text).context("editing the configuration")
}
