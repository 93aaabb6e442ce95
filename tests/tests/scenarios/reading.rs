//! What people and programs read: the commands, the metrics of the whole agent.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::command;
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::Value;

#[test]
#[ignore = "needs root"]
fn promtool_accepts_the_metrics_of_the_whole_agent() -> Result<()> {
    let mut pair = Scene::default().start("metrics")?;
    pair.b.claim("primary")?;
    pair.b.event(SLACK, "transition.rejected", serde_json::json!({}))?;
    let socket = pair.b.agent.folder().join("run/admin.sock");
    let socket = socket.to_str().context("UTF-8")?;
    let metrics = command::run("curl", &["-sf", "--unix-socket", socket, "http://agent/metrics"])?;
    for (name, value) in [
        ("ha_agent_transitions_rejected_total{reason=\"contradicted\"}", "1"),
        ("ha_agent_routers", "1"),
        ("ha_agent_delivery_pending", "0"),
    ] {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} is there"))?;
        assert_eq!(line.trim(), value, "{name}");
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool (Debian package prometheus)")?;
    promtool.stdin.take().context("piped")?.write_all(metrics.as_bytes())?;
    let said = promtool.wait_with_output()?;
    ensure!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn every_command_that_shows_something_also_speaks_json() -> Result<()> {
    let pair = Scene::default().start("json")?;
    let agent = &pair.a.agent;
    let id = pair.router.id.to_string();
    let status = agent.ask(&["status"])?;
    assert_eq!(status["routers"][0]["confirmed"], "primary");
    // The beginning of an id is enough.
    let explained = agent.ask(&["explain", &id[..8]])?;
    assert_eq!(explained["router_id"], id.as_str());
    assert_eq!(explained["evidence"]["tx"]["state"], "transmitting");
    assert_eq!(agent.ask(&["check-config"])?["ok"], true);
    let events = agent.command(&["events", "-o", "json"])?;
    let lines: Vec<Value> = events.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(lines.iter().any(|line| line["event"] == "transition.confirmed"), "{events}");
    let words = agent.command(&["explain", &id])?;
    assert!(words.contains("Confirmed primary"), "{words}");
    Ok(())
}
