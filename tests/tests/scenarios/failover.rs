//! What Neutron lives on: the router changes its node, and both L3 agents learn it.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use ha_agent_tests::keepalived::Settings;
use ha_agent_tests::pair::{Reporter, SLACK, Scene};
use ha_agent_tests::timeline::{at, latency};
use serde_json::json;

use crate::{ADVERT, SETTLE};

#[test]
#[ignore = "needs root"]
fn graceful_stop() -> Result<()> {
    let mut pair = Scene::default().start("graceful")?;
    let stopping = SystemTime::now();
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    let took = at(&primary)?.duration_since(stopping)?;
    let earliest = pair.b.settings.skew() + SETTLE - Duration::from_millis(100);
    assert!((earliest..earliest + Duration::from_secs(2)).contains(&took), "{took:?}");
    assert_eq!(primary["basis"], "report+vip+wire");

    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["evidence"]["vip"], "absent");
    assert!(latency(&backup)? < ADVERT * 2, "{backup}");
    for node in [&mut pair.a, &mut pair.b] {
        node.never("transition.rejected", json!({}))?;
        node.never("anomaly.raised", json!({}))?;
    }
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn graceful_stop_reported_by_scripts_as_neutron_reports() -> Result<()> {
    let mut pair = Scene { reporter: Reporter::Script, ..Scene::default() }.start("scripts")?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    assert!(primary["basis"].as_str().is_some_and(|basis| basis.ends_with("vip+wire")), "{primary}");
    let received = pair.b.event(SLACK, "report.received", json!({"state": "primary"}))?;
    assert_eq!(received["reporter"]["via"], "socket");
    assert_eq!(received["reporter"]["uid"], 0);
    pair.a.confirmed(SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn preemption_by_a_higher_priority() -> Result<()> {
    let keepalived = Settings { nopreempt: false, ..Settings::default() };
    let mut pair = Scene { keepalived, ..Scene::default() }.build("preempt")?;
    pair.b.settings.priority = 60;
    pair.a.start_keepalived()?;
    pair.a.vip(pair.a.settings.master_down() + SLACK, true)?;
    pair.watch()?;

    pair.b.start_keepalived()?;
    let within = pair.b.settings.master_down() + SLACK;
    let primary = pair.b.confirmed(within, "primary")?;
    assert_eq!(primary["basis"], "report+vip+wire");
    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["evidence"]["foreign"]["priority"], 60);
    assert!(latency(&backup)? < ADVERT, "{backup}");
    for node in [&mut pair.a, &mut pair.b] {
        node.never("anomaly.raised", json!({"kind": "split_brain"}))?;
    }
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn sighup_of_the_master_changes_nothing() -> Result<()> {
    let mut pair = Scene::default().start("reload")?;
    let settings = pair.a.settings.clone();
    pair.a.keepalived()?.reload(&settings)?;
    // Two reloads' worth of adverts later the other one still is what it was: proven by the next
    // change, which is the first thing that either L3 agent hears.
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    pair.a.confirmed(SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
