//! Reports that are missing, mistaken or forged.

use std::process::Child;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::abuse;
use ha_agent_tests::liar::Liar;
use ha_agent_tests::pair::{Pair, Reporter, SLACK, Scene};
use ha_agent_tests::timeline::latency;
use serde_json::{Value, json};

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

/// A pair whose node `b`, a backup, is lied to by a user that may report.
fn lied_to(name: &str, liar: Liar) -> Result<(Pair, Child, Value)> {
    let mut scene = Scene::default();
    scene.agent.intake = abuse::intake();
    let mut pair = scene.start(name)?;
    abuse::open_way(&pair.lab, &pair.b.agent)?;
    let child = liar.claim(&pair.b.agent.socket(), pair.router.id, "primary")?;
    let received = pair.b.event(SLACK, "report.received", json!({"state": "primary"}))?;
    let rejected = pair.b.event(SLACK, "transition.rejected", json!({"claim": "primary"}))?;
    let reporter = rejected["reporter"].clone();
    ensure!(rejected["evidence"]["report"]["reporter"] == reporter, "{rejected}");
    ensure!(!rejected.to_string().contains("secret"), "{rejected}");
    ensure!(received["reporter"] == reporter, "{received}");
    let status = pair.b.agent.ask(&["explain", &pair.router.id.to_string()])?;
    ensure!(status["evidence"]["report"]["reporter"] == reporter, "{status}");
    ensure!(
        reporter["via"] == "socket" && reporter["uid"] == liar.uid && reporter["gid"] == abuse::GROUP,
        "{reporter}"
    );
    Ok((pair, child, reporter))
}

/// Control group and unit as the test's own processes have them: a child is in its parent's.
fn same_place(reporter: &Value) -> Result<()> {
    let own = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = own
        .lines()
        .find_map(|line| line.split_once(":name=systemd:").or_else(|| line.strip_prefix("0::").map(|path| ("", path))))
        .map(|(_, path)| path);
    ensure!(reporter["cgroup"].as_str() == path, "{reporter}, own {own}");
    Ok(())
}

/// When a process was started, in ticks after boot.
fn start_ticks(pid: &Value) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("a name in parentheses")?;
    Ok(rest.split_ascii_whitespace().nth(19).context("field 22")?.parse()?)
}

#[test]
#[ignore = "needs root"]
fn who_lied_is_named_although_it_has_gone() -> Result<()> {
    let liar = Liar { uid: abuse::ABUSER, ..Liar::default() };
    let begun = jiff::Timestamp::now();
    let (mut pair, mut child, reporter) = lied_to("liar", liar)?;
    ensure!(reporter["pid"] == child.id() && reporter["command"] == "python3", "{reporter}");
    // It has ended long since, and keeps its number until it is waited for.
    ensure!(reporter["start_ticks"] == start_ticks(&reporter["pid"])?, "{reporter}");
    child.wait()?;
    let started: jiff::Timestamp = reporter["started"].as_str().context("a start time")?.parse()?;
    let after = started.duration_since(begun).as_millis();
    ensure!((-20..60_000).contains(&after), "{reporter}, begun {begun}");
    same_place(&reporter)?;
    let words = format!("by uid {}, gid {}, pid {}, python3", abuse::ABUSER, abuse::GROUP, child.id());
    pair.b.explains(&[&words, reporter["started"].as_str().context("a start time")?])?;
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn whoever_renames_itself_is_named_with_what_it_cannot_change() -> Result<()> {
    let before = "open('/proc/self/comm','w').write('keepalived\\x1b[')";
    let liar = Liar { uid: abuse::ABUSER, before, ..Liar::default() };
    let (mut pair, mut child, reporter) = lied_to("renamed", liar)?;
    ensure!(reporter["command"] == "keepalived\\x1b[", "{reporter}");
    ensure!(reporter["pid"] == child.id() && reporter["start_ticks"] == start_ticks(&reporter["pid"])?, "{reporter}");
    same_place(&reporter)?;
    child.wait()?;
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn one_in_a_pid_namespace_below_is_named_with_its_number_here() -> Result<()> {
    // unshare waits for it, and takes its number away.
    let after = "s.recv(1)";
    let liar = Liar { uid: abuse::ABUSER, through: &["unshare", "--pid", "--fork"], after, ..Liar::default() };
    let (mut pair, mut child, reporter) = lied_to("namespace", liar)?;
    let pid = reporter["pid"].as_u64().context("a process id")?;
    ensure!(pid > u64::from(child.id()) && reporter["command"] == "python3", "{reporter}, unshare is {}", child.id());
    child.wait()?;
    pair.heard(&["primary"], &["backup"])
}
