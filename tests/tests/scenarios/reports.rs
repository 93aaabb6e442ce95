//! Reports that are missing, mistaken or forged.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use ha_agent_tests::pair::{Pair, Reporter, SLACK, Scene};
use serde_json::json;

use crate::{ADVERT, SETTLE, latency};

/// A real change after a refused claim: if anything false had been passed on, it would have been
/// heard before this.
fn then_a_real_failover(mut pair: Pair) -> Result<()> {
    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.a.confirmed(SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_change_that_nobody_reports_is_passed_on() -> Result<()> {
    let mut pair = Scene { reporter: Reporter::Nobody, ..Scene::default() }.start("nobody")?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire");
    assert!(latency(&primary) < ADVERT, "nobody is waited for: {primary}");
    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["basis"], "vip+wire");
    assert!(latency(&backup) < ADVERT, "nobody is waited for: {backup}");
    pair.b.never("report.received", json!({}))?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_change_whose_report_is_lost_is_passed_on_after_the_grace() -> Result<()> {
    let mut pair = Scene::default().build("lost")?;
    // The agent there waits for a FIFO that keepalived does not write to.
    pair.b.settings.fifo = None;
    pair.elect()?;
    pair.watch()?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(ADVERT + SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire");
    assert!(latency(&primary) >= ADVERT, "the grace: {primary}");
    pair.a.confirmed(ADVERT + SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_spoofed_primary_is_refused_with_the_evidence() -> Result<()> {
    let mut pair = Scene::default().start("spoof-p")?;
    let spoofed = Instant::now();
    assert_eq!(pair.b.claim("primary")?, 200);
    let rejected = pair.b.event(SLACK, "transition.rejected", json!({"claim": "primary"}))?;
    let took = spoofed.elapsed();
    assert!((SETTLE..SETTLE + Duration::from_secs(1)).contains(&took), "{took:?}");
    assert_eq!(rejected["reason"], "contradicted");
    assert_eq!(rejected["severity"], "warning");
    assert_eq!(rejected["reporter"]["via"], "socket");
    assert_eq!(rejected["reporter"]["pid"], std::process::id());
    assert_eq!(rejected["evidence"]["vip"], "absent");
    assert_eq!(rejected["evidence"]["tx"]["state"], "silent");
    let master = pair.a.site.address.split('/').next();
    assert_eq!(rejected["evidence"]["foreign"]["address"].as_str(), master);
    let status = pair.b.agent.status(&pair.b.site)?;
    assert_eq!(status["claimed"], "primary");
    assert_eq!(status["confirmed"], "backup");
    assert_eq!(status["delivered"], "backup");
    then_a_real_failover(pair)
}

#[test]
#[ignore = "needs root"]
fn a_spoofed_backup_is_refused_with_the_evidence() -> Result<()> {
    let mut pair = Scene::default().start("spoof-b")?;
    assert_eq!(pair.a.claim("backup")?, 200);
    let rejected = pair.a.event(SLACK, "transition.rejected", json!({"claim": "backup"}))?;
    assert_eq!(rejected["reason"], "contradicted");
    assert_eq!(rejected["evidence"]["vip"], "present");
    assert_eq!(rejected["evidence"]["tx"]["state"], "transmitting");
    assert_eq!(rejected["evidence"]["tx"]["priority"], 50);
    assert_eq!(pair.a.agent.status(&pair.a.site)?["confirmed"], "primary");
    then_a_real_failover(pair)
}

#[test]
#[ignore = "needs root"]
fn a_spoofed_fifo_line_is_refused_and_garbage_is_counted() -> Result<()> {
    let mut pair = Scene::default().start("fifo")?;
    let mut fifo = std::fs::File::options().write(true).open(pair.b.agent.fifo())?;
    fifo.write_all(b"INSTANCE \"VR_11\" MASTER 50\n")?;
    let rejected = pair.b.event(SLACK, "transition.rejected", json!({"claim": "primary"}))?;
    assert_eq!(rejected["reporter"], json!({"via": "fifo"}));

    let longest = [&[b'x'; 70_000][..], b"\n"].concat();
    for garbage in [b"\x00\xff\x1b[31m\n".as_slice(), b"INSTANCE \"VR_11\" BANANA 50\n", b"\n\n\n", &longest] {
        fifo.write_all(garbage)?;
    }
    drop(fifo);
    pair.b.agent.events.expect(SLACK, &json!({"event": "report.refused", "status": 0}))?;
    pair.b.never("transition.confirmed", json!({}))?;

    // The FIFO is still read.
    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    assert_eq!(primary["basis"], "report+vip+wire");
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_vip_added_by_hand_on_a_backup_is_an_orphan() -> Result<()> {
    let mut pair = Scene::default().start("by-hand")?;
    pair.b.site.add_vip()?;
    let orphan = pair.b.raised(SLACK, "orphan_vip")?;
    assert_eq!(orphan["severity"], "error");
    assert_eq!(orphan["evidence"]["vip"], "present");
    let status = pair.b.agent.status(&pair.b.site)?;
    assert_eq!((&status["vip"], &status["confirmed"]), (&json!("present"), &json!("backup")));
    assert_eq!(status["anomalies"], json!(["orphan_vip"]));

    // Even with a matching claim the wire is still against it.
    assert_eq!(pair.b.claim("primary")?, 200);
    let within = ADVERT * 3 / 2 + SETTLE + SLACK;
    let rejected = pair.b.event(within, "transition.rejected", json!({"claim": "primary"}))?;
    assert_eq!(rejected["reason"], "partly_contradicted");

    pair.b.site.delete_vip()?;
    pair.b.cleared(SLACK, "orphan_vip")?;
    then_a_real_failover(pair)
}

#[test]
#[ignore = "needs root"]
fn observe_passes_every_report_on_and_logs_the_verdict() -> Result<()> {
    let mut scene = Scene::default();
    scene.agent.top = "mode = \"observe\"".to_owned();
    let mut pair = scene.build("observe")?;
    pair.elect()?;
    for node in [&mut pair.a, &mut pair.b] {
        node.agent.start()?;
    }
    pair.b.confirmed(SLACK, "backup")?;
    assert_eq!(pair.b.claim("primary")?, 200);
    pair.b.event(SLACK, "transition.rejected", json!({"claim": "primary", "reason": "contradicted"}))?;
    // A verdict alone is not passed on, a report is.
    pair.b.heard(SLACK, &["primary"])?;
    assert_eq!(pair.b.claim("backup")?, 200);
    pair.b.heard(SLACK, &["primary", "backup"])
}
