//! Outputs that stand still or fail: standard error, the event sinks, the disk of the outbox.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::Settings;
use ha_agent_tests::command::run;
use ha_agent_tests::guardian::Trace;
use ha_agent_tests::keepalived::make_fifo;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::timeline::at;
use ha_agent_tests::wait;
use serde_json::json;

/// What a fault may delay a failover by.
const LATE: Duration = Duration::from_millis(100);
/// SIGTERM until the process is gone: `agent::STOP_LIMIT`.
const STOP: Duration = Duration::from_secs(8);

/// A pipe that is full, and that nobody reads. It is one as long as the file is open.
fn stalled(path: &Path) -> Result<std::fs::File> {
    make_fifo(path)?;
    let mut pipe =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).context("a pipe")?;
    let mut filled = 0;
    while let Ok(count) = pipe.write(&[b'.'; 4096]) {
        filled += count;
    }
    ensure!(filled > 0, "nothing was written into the pipe");
    Ok(pipe)
}

/// A file system without a free block.
fn full_disk(lab: &Lab) -> Result<PathBuf> {
    let mount = lab.node_folder("full")?;
    let path = mount.to_str().context("a path that is UTF-8")?;
    lab.guardian().make(|notes| {
        notes.note(Trace::Mount(path));
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", path])
    })?;
    std::fs::create_dir(mount.join("state"))?;
    // Up to the last block; that the last write fails is the point.
    let _ = std::fs::write(mount.join("filler"), vec![1; 128 << 10]);
    Ok(mount)
}

/// From the last advert of `a` that counts to the handing over at `b`: what the agent adds to keepalived's own time.
fn told_after(pair: &mut Pair) -> Result<Duration> {
    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK * 2, "primary")?;
    pair.b.heard(SLACK * 2, &["backup", "primary"])?;
    let sent = wait::until(SLACK, "delivery.sent", || {
        pair.b.agent.events.read().ok()?;
        let events = pair.b.agent.events.since_mark().iter();
        let mut sent = events.filter(|event| event["event"] == "delivery.sent");
        sent.find(|event| event["states"][0]["state"] == "primary").cloned()
    })?;
    let verdict = Duration::from_secs_f64(primary["latency_ms"].as_f64().context("latency_ms")? / 1000.0);
    Ok(verdict + at(&sent)?.duration_since(at(&primary)?)?)
}

#[test]
#[ignore = "needs root"]
fn with_every_output_stalled_or_failing_a_failover_is_told_in_time() -> Result<()> {
    let mut control = Scene::default().start("outputs-none")?;
    let without = told_after(&mut control)?;
    drop(control);

    let lab = Lab::new("outputs")?;
    let full = full_disk(&lab)?;
    let mut pair = Scene::default().build_in(lab)?;
    let settings = Settings { state_dir: Some(full.join("state")), ..Settings::default() };
    pair.b.agent.write_configuration(&[&pair.b.site], &settings)?;
    let more = format!("sinks = [\"stdout\", \"journald\", \"file:{}\", ", full.join("events.jsonl").display());
    let text = std::fs::read_to_string(pair.b.agent.configuration())?;
    std::fs::write(pair.b.agent.configuration(), text.replace("sinks = [", &more))?;
    let folder = pair.lab.node_folder("pipes")?;
    let (out, error) = (folder.join("stdout"), folder.join("stderr"));
    let _unread = [stalled(&out)?, stalled(&error)?];
    pair.b.agent.with_outputs(&out, &error, "trace");
    pair.elect()?;
    pair.watch()?;
    let with = told_after(&mut pair)?;
    ensure!(with < without + LATE, "told after {with:?}, without the fault after {without:?}");

    // What is lost is named and counted, in an answer that waits for none of them.
    let asked = std::time::Instant::now();
    let status = pair.b.agent.ask(&["status"])?;
    ensure!(asked.elapsed() < SLACK, "{:?}", asked.elapsed());
    let degraded = status["degraded"].to_string();
    for words in ["diagnostics", "standard error", "outbox", "No space left", "journald"] {
        ensure!(degraded.contains(words), "{words}: {degraded}");
    }

    let stopped = std::time::Instant::now();
    let code = pair.b.agent.stop()?;
    ensure!(code == Some(0) && stopped.elapsed() < STOP, "{code:?} after {:?}", stopped.elapsed());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_log_on_a_full_disk_and_a_log_without_a_reader_end_nothing() -> Result<()> {
    for (name, error) in [("log-full", Some("/dev/full")), ("log-closed", None)] {
        let mut pair = Scene::default().start(name)?;
        pair.b.agent.stop()?;
        let fifo = pair.lab.node_folder("pipes")?.join("stderr");
        let reader = stalled(&fifo)?;
        let error = error.map_or(fifo, PathBuf::from);
        pair.b.agent.with_outputs(Path::new("/dev/null"), &error, "trace");
        pair.b.agent.start()?;
        // The last reader goes: what is written from now on is EPIPE.
        drop(reader);
        pair.b.asserted(SLACK)?;
        pair.mark()?;
        pair.a.keepalived()?.stop()?;
        pair.b.confirmed(SLACK * 2, "primary")?;
        let status = pair.b.agent.ask(&["status"])?;
        ensure!(status["degraded"][0]["channel"] == "diagnostics", "{status}");
        ensure!(pair.b.agent.metric("ha_agent_diagnostics_lost_total")? > 0);
        pair.heard(&["primary", "backup"], &["backup", "backup", "primary"])?;
        ensure!(pair.b.agent.stop()? == Some(0));
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn an_event_file_at_the_limit_of_its_size_fails_by_name() -> Result<()> {
    const LIMIT: usize = 1 << 20;
    let mut pair = Scene::default().start("file-size")?;
    pair.b.agent.stop()?;
    let grown = pair.lab.node_folder("grown")?.join("events.jsonl");
    std::fs::write(&grown, vec![b'\n'; LIMIT])?;
    let text = std::fs::read_to_string(pair.b.agent.configuration())?;
    let more = format!("sinks = [\"file:{}\", ", grown.display());
    std::fs::write(pair.b.agent.configuration(), text.replace("sinks = [", &more))?;
    pair.b.agent.with_file_size(LIMIT);
    pair.b.agent.start()?;
    let named = json!({"event": "channel.degraded", "channel": "events"});
    let event = pair.b.agent.events.expect(SLACK, &named)?;
    let reason = event["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("File too large") && reason.contains("grown/events.jsonl"), "{event}");
    pair.b.asserted(SLACK)?;
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK * 2, "primary")?;
    // Told again after the restart.
    pair.heard(&["primary", "backup"], &["backup", "backup", "primary"])
}
