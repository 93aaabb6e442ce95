//! What an operator is told by the command line, and how much is written however much is said.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::binary;
use ha_agent_tests::keepalived::Keepalived;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{Node, SLACK, Scene};
use ha_agent_tests::{report, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

/// `EX_CONFIG`.
const CONFIG: i32 = 78;
/// A second, as the row of the issue has it.
const REPORTS: u32 = 900;
/// What may be written of it in a second, bytes: verdicts are, and they are 1 KiB each.
const BYTES: u64 = 16 * 1024;

/// A command of the agent's without its configuration: exit code, standard output, standard error.
fn plain(words: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = Command::new(binary()?).args(words).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

fn reload(node: &mut Node) -> Result<()> {
    node.agent.events.mark()?;
    node.agent.signal(Signal::HUP)
}

#[test]
#[ignore = "needs root"]
fn a_broken_configuration_keeps_nobody_from_looking_and_is_told() -> Result<()> {
    let mut pair = Scene::default().start("broken")?;
    let path = pair.b.agent.configuration();
    let (good, config) = (fs::read_to_string(&path)?, path.display().to_string());
    let socket = pair.b.agent.folder().join("run/admin.sock").display().to_string();
    let id = pair.router.id.to_string();
    let channel = json!({"event": "channel.degraded", "channel": "configuration"});
    for broken in ["mode = \"nonsense\"\n", "[[[\n", "unknown = 1\n"] {
        fs::write(&path, format!("{good}\n{broken}"))?;
        let front = format!("{broken}{good}");
        for words in [["status"].as_slice(), &["explain", &id], &["events"], &["status", &id]] {
            let (code, out, said) = plain(&[words, &["--config", &config]].concat())?;
            ensure!(code == Some(0) && !out.is_empty(), "{broken:?}: {words:?}: {code:?} {said}");
            ensure!(said.contains("the configuration has mistakes") && said.contains(&config), "{said}");
            let (code, out, said) = plain(&[words, &["--socket", &socket]].concat())?;
            ensure!(code == Some(0) && !out.is_empty() && !said.contains("mistakes"), "{words:?}: {code:?} {said}");
        }
        // Also where the mistake comes first; of what is no TOML nothing that follows is known then.
        fs::write(&path, &front)?;
        let at_the_top = plain(&["status", "--config", &config])?.0;
        ensure!(at_the_top == Some(0) || broken == "[[[\n", "{broken:?} at the top: {at_the_top:?}");
        reload(&mut pair.b)?;
        let told = pair.b.agent.events.expect(SLACK, &channel)?;
        let reason = told["reason"].as_str().unwrap_or_default();
        ensure!(reason.contains(&config) && reason.contains("what was read before holds"), "{told}");
        let degraded = pair.b.agent.ask(&["status", "--socket", &socket])?["degraded"].clone();
        ensure!(degraded == json!([{"channel": "configuration", "reason": reason}]), "{degraded}");
        fs::write(&path, &good)?;
        reload(&mut pair.b)?;
        pair.b.agent.events.expect(SLACK, &json!({"event": "channel.restored", "channel": "configuration"}))?;
        ensure!(pair.b.agent.ask(&["status"])?["degraded"] == json!([]));
    }
    // What is wrong with a command line comes back, and nothing of it that a terminal obeys.
    let (code, _, said) = plain(&["status", "--sokcet", "\u{1b}[31m\u{9b}2J"])?;
    ensure!(code == Some(2) && said.contains("--sokcet") && !said.contains(['\u{1b}', '\u{9b}']), "{code:?} {said:?}");
    let (code, _, said) = plain(&["explain", "a\u{1b}[2J", "--socket", &socket])?;
    ensure!(code == Some(1) && !said.contains('\u{1b}'), "{code:?} {said:?}");
    // How far back, and where the rest is.
    let (_, _, said) = plain(&["events", "--socket", &socket])?;
    let file = pair.b.agent.folder().join("events.jsonl").display().to_string();
    ensure!(said.contains("in memory, since 2") && said.contains(&file), "{said}");
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn a_hook_that_is_not_there_is_named_by_its_key_everywhere() -> Result<()> {
    let mut pair = Scene::default().start("no-hook")?;
    let path = pair.b.agent.configuration();
    let good = fs::read_to_string(&path)?;
    let hook = pair.b.agent.folder().join("no hook");
    let named = format!("actions.on_fault: {}: does not exist", hook.display());
    fs::write(&path, format!("{good}\n[actions]\non_fault = [{hook:?}]\n"))?;
    reload(&mut pair.b)?;
    let told = pair.b.agent.events.expect(SLACK, &json!({"event": "channel.degraded", "channel": "configuration"}))?;
    ensure!(told["reason"].as_str().is_some_and(|reason| reason.contains(&named)), "{told}");
    pair.b.agent.events.deny(&json!({"event": "channel.degraded", "channel": "trust"}))?;
    let (code, text) = pair.b.agent.exits(&["check-config"])?;
    ensure!(code == Some(CONFIG) && text.contains(&named) && !text.contains("is right"), "{code:?} {text}");
    let (code, text) = pair.b.agent.exits(&["doctor"])?;
    ensure!(code == Some(1) && text.contains(&named), "{code:?} {text}");
    pair.b.agent.stop()?;
    pair.b.agent.spawn()?;
    ensure!(pair.b.agent.ends()? == Some(CONFIG), "{}", pair.b.agent.log());
    ensure!(pair.b.agent.log().contains(&named), "{}", pair.b.agent.log());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_router_is_reported_by_its_instance_s_name_and_a_wrong_one_is_an_event() -> Result<()> {
    let lab = Lab::new("named")?;
    let twin = |netns: &str, vrid: u8| {
        let path = lab.folder().join(format!("{netns}.conf"));
        let text = format!(
            "net_namespace {netns}\nvrrp_instance TWIN {{\n interface eth9\n virtual_router_id {vrid}\n \
             virtual_ipaddress {{\n 192.0.2.{vrid}/24\n }}\n}}\n"
        );
        fs::write(&path, text).map(|()| path)
    };
    let mut scene = Scene::default();
    scene.agent.keepalived = Some(format!("configs = [{:?}, {:?}]", twin("no-blue", 7)?, twin("no-green", 8)?));
    let mut pair = scene.build_in(lab)?;
    pair.elect()?;
    pair.watch()?;
    let twins = wait::until(SLACK, "both twins are known", || {
        let twins = pair.b.agent.ask(&["status", "TWIN"]).ok()?["routers"].as_array()?.clone();
        (twins.len() == 2).then_some(twins)
    })?;
    let id = |netns: &str| {
        let twin = twins.iter().find(|twin| twin["netns"] == netns);
        twin.and_then(|twin| twin["router_id"].as_str())
            .map(str::to_owned)
            .with_context(|| format!("{netns}: {twins:?}"))
    };
    let ids = [id("no-blue")?, id("no-green")?];
    let name = Keepalived::instance(&pair.b.site);
    let socket = pair.b.agent.socket().display().to_string();
    let notify = |words: &[&str]| plain(&[&["notify", "--socket", &socket], words].concat());
    let refused = |node: &mut Node, reason: &str| {
        node.agent.events.expect(SLACK, &json!({"event": "report.refused", "reason": reason}))
    };

    let netns = &pair.b.site.netns;
    for router in [name.clone(), pair.router.id.to_string(), format!("{netns}/{name}")] {
        pair.b.agent.events.mark()?;
        let (code, _, said) = notify(&["--router", &router, "INSTANCE", &name, "BACKUP", "50"])?;
        ensure!(code == Some(0), "{router}: {said}");
        let taken = json!({"event": "report.received", "router_id": pair.router.id.to_string(), "state": "backup"});
        pair.b.agent.events.expect(SLACK, &taken)?;
        // The script stands at the wrong instance.
        let (code, _, said) = notify(&["--router", &router, "INSTANCE", "VI_other", "MASTER", "50"])?;
        ensure!(code == Some(1) && said.contains("another instance"), "{code:?} {said}");
        let event = refused(&mut pair.b, "other_instance")?;
        ensure!(event["router_id"] == pair.router.id.to_string() && event["reporter"]["uid"] == 0, "{event}");
    }
    pair.b.agent.events.mark()?;
    let (code, _, said) = notify(&["--router", "VI_none", "MASTER"])?;
    ensure!(code == Some(1) && said.contains("no router here has an instance of this name"), "{code:?} {said}");
    refused(&mut pair.b, "no_such_instance")?;
    let (code, _, said) = notify(&["--router", "TWIN", "MASTER"])?;
    ensure!(code == Some(1), "{code:?} {said}");
    refused(&mut pair.b, "several_instances")?;
    let (explained, _, choices) =
        plain(&["explain", "TWIN", "--config", &pair.b.agent.configuration().display().to_string()])?;
    ensure!(explained == Some(1), "{choices}");
    for (id, netns, vrid) in [(&ids[0], "no-blue", 7), (&ids[1], "no-green", 8)] {
        let place = format!("namespace {netns}, interface eth9, VRID {vrid}");
        for said in [&said, &choices] {
            ensure!(said.contains(id) && said.contains(&place), "{place}: {said}");
        }
        let (code, _, said) = notify(&["--router", &format!("{netns}/TWIN"), "BACKUP"])?;
        ensure!(code == Some(0), "{said}");
        pair.b.agent.events.expect(SLACK, &json!({"event": "report.received", "router_id": id}))?;
    }
    // Both are shown, told apart.
    let shown = pair.b.agent.command(&["status", "TWIN"])?;
    ensure!(shown.contains("no-blue") && shown.contains("no-green") && shown.contains("eth9"), "{shown}");
    ensure!(!shown.contains(&name), "only these: {shown}");
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn who_reports_900_times_a_second_fills_no_disk_and_each_verdict_is_written() -> Result<()> {
    let mut pair = Scene::default().start("many")?;
    let (socket, id) = (pair.b.agent.socket(), pair.router.id);
    let file = pair.b.agent.folder().join("events.jsonl");
    let size = || fs::metadata(&file).map(|found| found.size());
    let begun = Instant::now();
    let (mut sent, mut before) = (0u32, None);
    // The first seconds spend what may come at once.
    while begun.elapsed() < Duration::from_secs(18) {
        let due = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX).saturating_mul(REPORTS) / 1000;
        while sent < due {
            // Now and then a lie.
            let state = if sent % 450 == 0 { "primary" } else { "backup" };
            report::claim(&socket, id, state)?;
            sent += 1;
        }
        if before.is_none() && begun.elapsed() > Duration::from_secs(6) {
            before = Some((Instant::now(), size()?));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (since, before) = before.context("a size")?;
    let a_second = (size()? - before) * 1000 / u64::try_from(since.elapsed().as_millis())?;
    ensure!(a_second < BYTES, "{a_second} bytes a second of {sent} reports");
    let left_out = || json!({"event": "channel.degraded", "channel": "events"});
    let told = pair.b.agent.events.expect(SLACK, &left_out())?;
    let reason = told["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("report.received") && reason.contains(&id.to_string()), "{told}");
    // Verdicts and a delivery are written although the limit is reached.
    report::claim(&socket, id, "primary")?;
    pair.b.event(SLACK * 2, "transition.rejected", json!({"claim": "primary"}))?;
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK * 2, "primary")?;
    wait::until(SLACK * 2, "it is delivered", || {
        pair.b.agent.events.read().ok()?;
        let sent = |event: &Value| event["event"] == "delivery.sent" && event["states"][0]["state"] == "primary";
        pair.b.agent.events.since_mark().iter().any(sent).then_some(())
    })?;
    // It is over in the end.
    pair.b.agent.events.expect(Duration::from_secs(25), &json!({"event": "channel.restored", "channel": "events"}))?;
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr().lock(),
        format_args!("{sent} reports in {:.0?}: {a_second} bytes a second\n", begun.elapsed()),
    );
    Ok(())
}
