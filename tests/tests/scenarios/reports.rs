//! Reports that are missing, mistaken or forged.

use anyhow::Result;
use ha_agent_tests::pair::{Reporter, SLACK, Scene};
use ha_agent_tests::timeline::latency;
use serde_json::json;

use crate::ADVERT;

#[test]
#[ignore = "needs root"]
fn a_change_that_nobody_reports_is_passed_on() -> Result<()> {
    let mut pair = Scene { reporter: Reporter::Nobody, ..Scene::default() }.start("nobody")?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    assert_eq!(primary["basis"], "vip+wire");
    assert!(latency(&primary)? < ADVERT, "nobody is waited for: {primary}");
    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["basis"], "vip+wire");
    assert!(latency(&backup)? < ADVERT, "nobody is waited for: {backup}");
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
    assert!(latency(&primary)? >= ADVERT, "the grace: {primary}");
    pair.a.confirmed(ADVERT + SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
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
