//! What the machine may lack: the agent says so and goes on with the rest.

use std::path::Path;

use anyhow::{Context, Result};
use ha_agent_tests::command::run;
use ha_agent_tests::guardian::Trace;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use serde_json::json;

/// A scene in which `b` keeps its outbox in a file system of its own.
fn with_outbox_on(name: &str, options: &str, prepare: impl Fn(&Path) -> Result<()>) -> Result<Pair> {
    let lab = Lab::new(name)?;
    let mount = lab.node_folder("mount")?;
    let path = mount.to_str().context("a path that is UTF-8")?;
    lab.guardian().make(|notes| {
        notes.note(Trace::Mount(path));
        run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", path])
    })?;
    prepare(&mount)?;
    run("mount", &["-o", &format!("remount,{options}"), path])?;
    let mut pair = Scene::default().build_in(lab)?;
    let settings = ha_agent_tests::agent::Settings { state_dir: Some(mount.join("state")), ..Default::default() };
    pair.b.agent.write_configuration(&[&pair.b.site], &settings)?;
    pair.elect()?;
    pair.watch()?;
    Ok(pair)
}

/// It says so, and a failover is passed on all the same.
fn goes_on_from_memory(mut pair: Pair) -> Result<()> {
    let degraded = pair
        .b
        .agent
        .events
        .all()
        .iter()
        .find(|event| event["event"] == "channel.degraded" && event["channel"] == "outbox");
    let degraded = degraded.with_context(|| pair.b.agent.events.story())?;
    assert!(degraded["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{degraded}");
    let status = pair.b.agent.ask(&["status"])?;
    assert_eq!(status["degraded"][0]["channel"], "outbox", "{status}");

    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.a.confirmed(SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_state_directory_that_is_read_only() -> Result<()> {
    goes_on_from_memory(with_outbox_on("read-only", "ro", |_| Ok(()))?)
}

#[test]
#[ignore = "needs root"]
fn a_state_directory_that_is_full() -> Result<()> {
    let fill = |mount: &Path| {
        std::fs::create_dir(mount.join("state"))?;
        // Up to the last block; that the last write fails is the point.
        let _ = std::fs::write(mount.join("filler"), vec![1; 512 << 10]);
        Ok(())
    };
    goes_on_from_memory(with_outbox_on("full", "rw", fill)?)
}

#[test]
#[ignore = "needs root"]
fn without_bpf_report_and_address_decide() -> Result<()> {
    let mut pair = Scene::default().build("no-bpf")?;
    pair.b.agent.without_bpf()?;
    pair.elect()?;
    pair.watch()?;
    let degraded = pair
        .b
        .agent
        .events
        .all()
        .iter()
        .find(|event| event["event"] == "channel.degraded" && event["channel"] == "wire");
    degraded.with_context(|| pair.b.agent.events.story())?;
    let status = pair.b.agent.ask(&["status"])?;
    assert!(status["degraded"].to_string().contains("wire"), "{status}");

    // A spoof is still refused, on the address table's word.
    assert_eq!(pair.b.claim("primary")?, 200);
    let rejected = pair.b.event(SLACK, "transition.rejected", json!({"claim": "primary"}))?;
    assert_eq!(rejected["evidence"]["channels_down"], json!(["wire"]));

    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    assert_eq!(primary["basis"], "report+vip");
    pair.a.confirmed(SLACK, "backup")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}
