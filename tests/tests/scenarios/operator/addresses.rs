//! All addresses of an instance are watched; verdicts rest on the first one.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::keepalived::Keepalived;
use ha_agent_tests::pair::{SLACK, Scene};
use ha_agent_tests::timeline::at;
use ha_agent_tests::wait;
use serde_json::{Value, json};

use super::{address, found};
use crate::{ADVERT, SETTLE};

/// By then it is named.
const NAMED: Duration = Duration::from_millis(1250);

/// As Neutron has them: a gateway and floating addresses.
fn scene() -> Scene {
    let mut scene = found();
    scene.keepalived.excluded = (2..52).map(|n| format!("10.11.0.{n}/32")).collect();
    scene
}

/// That the event came within `settle` and a second after `cause`.
fn in_time(event: &Value, cause: SystemTime) -> Result<()> {
    let took = at(event)?.duration_since(cause).context("an event before its cause")?;
    ensure!((SETTLE..=NAMED).contains(&took), "after {took:?}: {event}");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_primary_that_lacks_one_and_a_backup_that_holds_one_are_named() -> Result<()> {
    let mut pair = scene().start("further")?;
    let cause = SystemTime::now();
    address(&pair.a.site, "del", "10.11.0.7/32")?;
    let missing = pair.a.raised(SLACK, "missing_vip")?;
    in_time(&missing, cause)?;
    let told = "1 of 51 further addresses is not set although this node is master: 10.11.0.7";
    assert_eq!(missing["detail"], told);
    assert_eq!(missing["evidence"]["further_addresses"], json!({"of": 51, "set": 50}));
    pair.a.explains(&["50 of 51 further addresses are set", "missing_vip"])?;
    address(&pair.a.site, "add", "10.11.0.7/32")?;
    pair.a.cleared(SLACK, "missing_vip")?;

    let cause = SystemTime::now();
    address(&pair.b.site, "add", "10.11.0.1/24")?;
    let orphan = pair.b.raised(SLACK, "orphan_vip")?;
    in_time(&orphan, cause)?;
    assert_eq!(orphan["detail"], "1 of 51 further addresses is set here although this node is not master: 10.11.0.1");
    address(&pair.b.site, "del", "10.11.0.1/24")?;
    pair.b.cleared(SLACK, "orphan_vip")?;

    // A failover sets and removes all of them, and names none.
    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    wait::until(SLACK, "all of them are set", || {
        let detail = pair.b.agent.ask(&["explain", &pair.b.site.router.id.to_string()]).ok()?;
        (detail["evidence"]["further_addresses"] == json!({"of": 51, "set": 51})).then_some(())
    })?;
    for node in [&mut pair.a, &mut pair.b] {
        let named = node.anomalies()?;
        ensure!(!named.iter().any(|kind| kind.ends_with("_vip")), "{named:?}");
    }
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn floating_addresses_come_and_go_with_the_file_and_the_router_stays() -> Result<()> {
    let mut pair = scene().start("floating")?;
    pair.a.settings.excluded.push("10.11.0.99/32".to_owned());
    let settings = pair.a.settings.clone();
    pair.a.keepalived()?.reload(&settings)?;
    pair.a.write_ha_confs()?;
    wait::until(SLACK, "the new one is watched and set", || {
        let detail = pair.a.agent.ask(&["explain", &pair.a.site.router.id.to_string()]).ok()?;
        (detail["evidence"]["further_addresses"] == json!({"of": 52, "set": 52})).then_some(())
    })?;
    address(&pair.a.site, "del", "10.11.0.99/32")?;
    let missing = pair.a.raised(SLACK, "missing_vip")?;
    assert!(missing["detail"].as_str().is_some_and(|detail| detail.ends_with(": 10.11.0.99")), "{missing}");
    pair.a.never("router.forgotten", json!({}))?;
    pair.a.never("transition.confirmed", json!({}))?;
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn with_excluded_addresses_only_the_first_of_them_is_the_vip() -> Result<()> {
    let mut pair = found().build("excluded")?;
    for node in [&mut pair.a, &mut pair.b] {
        let conf = Keepalived::configure(&node.site, &node.settings)?;
        let text = std::fs::read_to_string(&conf)?;
        let (before, rest) = text.split_once("    virtual_ipaddress {").context("the block")?;
        let (_, after) = rest.split_once("}\n").context("its end")?;
        std::fs::write(&conf, format!("{before}{after}"))?;
        node.keepalived = Some(Keepalived::start_with(&node.site, &conf)?);
        node.write_ha_confs()?;
        if node.site.node == "a" {
            let show = || std::process::Command::new("ip").args(["-n", &node.site.netns, "address"]).output();
            let set = || String::from_utf8_lossy(&show().ok()?.stdout).contains("10.11.0.1/24").then_some(());
            wait::until(node.settings.master_down() + SLACK, "the address is set", set)?;
        }
        node.agent.start()?;
    }
    pair.a.confirmed(ADVERT * 2 + SLACK, "primary")?;
    pair.b.confirmed(ADVERT * 2 + SLACK, "backup")?;
    assert_eq!(pair.a.agent.status(&pair.a.site)?["vip_address"], "10.11.0.1/24");
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_vip_given_by_hand_that_is_not_the_adverts_is_compared_with_them() -> Result<()> {
    let mut pair = Scene::default().build("other-vip")?;
    pair.elect()?;
    let given = std::fs::read_to_string(pair.a.agent.configuration())?;
    let vip = pair.router.vip();
    std::fs::write(pair.a.agent.configuration(), given.replace(&vip, "192.0.2.77/24"))?;
    pair.a.agent.start()?;
    let missing = pair.a.raised(ADVERT * 2 + SLACK, "missing_vip")?;
    let told = "nor is it among the addresses that they carry; compare the vip that is configured here";
    assert!(missing["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{missing}");
    pair.a.explains(&[told])
}
