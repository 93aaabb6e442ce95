//! The same storm twice: with the monitors of Neutron 29.0.0, and with the agent and its drop-ins in
//! their place. Both report to the same server, Neutron's own, on the same routers, one after the other.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::bed::Bed;
use ha_agent_tests::drop_in;
use ha_agent_tests::hearing::Heard;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::neutron::{Content, Kind, Monitor, Release, Server, Written, write};
use ha_agent_tests::wait;

use crate::figure::{Figure, Goal, median};
use crate::gauge::{Gauge, groups};
use crate::measure::Scale;
use crate::node::{HOLD, PATIENCE};
use crate::progress;

/// What is left to do when all was told ends within this.
const CALM: Duration = Duration::from_secs(1);
/// Attaching the classifier takes the kernel some 20 ms per router.
const START: Duration = Duration::from_secs(180);

/// What one side needs for one storm.
struct Side {
    /// KiB of PSS per router, before the storm.
    memory: f64,
    /// Processes per router, the agent's among them.
    processes: f64,
    /// Milliseconds of CPU per transition.
    cpu: f64,
    /// Milliseconds from a VIP until the server is told, the middle one.
    median: f64,
    /// Milliseconds from the last VIP until the last one is told.
    last: f64,
    /// Never told.
    lost: f64,
}

/// Both sides, `scale.runs` times, and the ratios.
pub(crate) fn storm(lab: &Lab, scale: Scale) -> Result<Vec<Figure>> {
    let bed = Bed::build(lab, "against", scale.routers)?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for run in 1..=scale.runs {
        theirs.push(neutron(lab, &bed, run)?);
        resign(&bed)?;
        ours.push(agent(lab, &bed, run)?);
        resign(&bed)?;
    }
    Ok(figures(usize::from(scale.routers), &theirs, &ours))
}

/// The script of 29.0.0 for every router.
fn neutron(lab: &Lab, bed: &Bed, run: u16) -> Result<Side> {
    progress(&format!("run {run}: starting Neutron's monitors for {} routers", bed.places().len()));
    let state_path = lab.node_folder(&format!("neutron-{run}"))?;
    let server = Server::start(lab, Release::V29, Kind::Recorder, &state_path)?;
    let written = written(bed, &state_path)?;
    let programs = Release::V29.monitor()?;
    let programs = programs.parent().context("a folder")?;
    let mut monitors = Vec::new();
    for (place, written) in bed.places().iter().zip(&written) {
        let monitor = Monitor::start(lab, written, programs, None)?;
        // It tells its first state with the first event of any address: not in the storm.
        monitor.rouse(START, || !server.states(place.id).is_empty())?;
        monitors.push(monitor);
    }
    measure(bed, &server, &monitors, None)
}

/// The agent, and its drop-in for every router, started by the same command lines.
fn agent(lab: &Lab, bed: &Bed, run: u16) -> Result<Side> {
    progress(&format!("run {run}: starting the agent and its drop-ins for {} routers", bed.places().len()));
    let settings = Settings { without_fifo: true, ..Settings::default() };
    let mut agent = Agent::configure(lab, &format!("agent-{run}"), &[], &settings)?;
    let server = Server::start(lab, Release::V29, Kind::Recorder, &agent.neutron())?;
    agent.start()?;
    let written = written(bed, &agent.neutron())?;
    let (program, configuration) = (drop_in::program()?, agent.configuration());
    let programs = program.parent().context("a folder")?;
    let more = ["--config".as_ref(), configuration.as_os_str()];
    let mut monitors = Vec::new();
    for (place, written) in bed.places().iter().zip(&written) {
        let conf = std::fs::read_to_string(written.conf.with_file_name("template"))?;
        std::fs::write(&written.conf, conf).with_context(|| format!("the configuration of {}", place.id))?;
        monitors.push(Monitor::start_with(lab, written, programs, &more)?);
    }
    for place in bed.places() {
        server.expect_changes(START, place.id, &["backup"])?;
    }
    wait::until(START, "every channel is in use", || {
        let status = agent.ask(&["status"]).ok()?;
        let rows = status["routers"].as_array()?;
        rows.iter().all(|row| row["wire"] != "unknown").then_some(())
    })?;
    // The last ones may have been told just now, and the storm tells the contrary.
    thread::sleep(HOLD + CALM);
    let side = measure(bed, &server, &monitors, Some(agent.id()?))?;
    drop(monitors);
    agent.stop()?;
    Ok(side)
}

/// Every router's configuration and command line, by Neutron's code for the first one.
fn written(bed: &Bed, state_path: &std::path::Path) -> Result<Vec<Written>> {
    let first = bed.places().first().context("a router")?;
    let template = write(Release::V29, state_path, &first.wanted(), Content::Bare)?;
    let text = std::fs::read_to_string(&template.conf)?;
    let like = |place: &ha_agent_tests::bed::Place| {
        let written = template.like(place.id, &place.netns)?;
        std::fs::write(written.conf.with_file_name("template"), &text)?;
        Ok(written)
    };
    // Until its monitor is started, no router is there to be found.
    std::fs::remove_file(&template.conf)?;
    bed.places().iter().map(like).collect()
}

/// All turn primary at once.
fn measure(bed: &Bed, server: &Server, monitors: &[Monitor], agent: Option<u32>) -> Result<Side> {
    let mut members = groups(monitors.iter().map(Monitor::group));
    members.extend(agent.map(Gauge::new));
    let memory: f64 = members.iter().filter_map(|process| process.pss_kib().ok()).sum();
    let used = || -> Duration { members.iter().filter_map(|process| process.cpu_with_children().ok()).sum() };
    let (known, before) = (server.heard().len(), used());
    let mut asked = HashMap::new();
    for place in bed.places() {
        asked.insert(place.id.to_string(), place.become_primary()?);
    }
    let last = Instant::now();
    let primaries = || {
        let mut told = HashMap::new();
        for Heard { at, router, state, .. } in server.heard_after(known) {
            if state == "primary" {
                told.entry(router).or_insert(at);
            }
        }
        told
    };
    // Who is not told of by then is lost.
    let _ = wait::until(PATIENCE, "all are told", || (primaries().len() == asked.len()).then_some(()));
    thread::sleep(CALM);
    let (told, used) = (primaries(), used().saturating_sub(before));
    let milliseconds = |span: Duration| span.as_secs_f64() * 1e3;
    let late: Vec<f64> = told
        .iter()
        .filter_map(|(router, at)| Some(milliseconds(at.saturating_duration_since(*asked.get(router)?))))
        .collect();
    let end = told.values().max().copied().unwrap_or(last);
    #[expect(clippy::cast_precision_loss, reason = "counts of routers and processes")]
    let (routers, processes, lost) = (asked.len() as f64, members.len() as f64, (asked.len() - told.len()) as f64);
    let side = Side {
        memory: memory / routers,
        processes: processes / routers,
        cpu: milliseconds(used) / routers,
        median: median(&late),
        last: milliseconds(end.saturating_duration_since(last)),
        lost,
    };
    progress(&format!(
        "{:.0} KiB and {:.2} processes per router, {:.2} ms of CPU per transition, median {:.0} ms, last {:.0} ms, {} lost",
        side.memory, side.processes, side.cpu, side.median, side.last, side.lost
    ));
    Ok(side)
}

/// Back to where the next side begins.
fn resign(bed: &Bed) -> Result<()> {
    bed.places().iter().try_for_each(|place| place.resign().map(drop))
}

fn figures(routers: usize, theirs: &[Side], ours: &[Side]) -> Vec<Figure> {
    type Look = fn(&Side) -> f64;
    let rows: [(&str, &str, &'static str, Look); 6] = [
        ("memory_kib", "memory (PSS) of all processes ÷ routers", "KiB", |side| side.memory),
        ("processes", "processes per router", "", |side| side.processes),
        ("cpu_ms", "CPU per transition", "ms", |side| side.cpu),
        ("median_ms", "VIP → L3 agent, median", "ms", |side| side.median),
        ("last_ms", "last VIP → last one at the L3 agent", "ms", |side| side.last),
        ("lost", "transitions lost", "", |side| side.lost),
    ];
    let mut figures = Vec::new();
    for (name, what, unit, look) in rows {
        let new = |whose: &str, words: &str, unit| {
            let what = format!("{routers} routers, {what}, {words}");
            Figure::new(format!("against_{name}_{whose}"), what, unit, Goal::None)
        };
        let mut neutron = new("neutron", "Neutron 29.0.0", unit);
        neutron.samples.extend(theirs.iter().map(look));
        let mut agent = new("agent", "ha-agent and drop-ins", unit);
        agent.samples.extend(ours.iter().map(look));
        let mut ratio = new("ratio", "ratio", "×");
        ratio.samples.extend(theirs.iter().zip(ours).map(|(theirs, ours)| look(theirs) / look(ours)));
        ratio.samples.retain(|ratio| ratio.is_finite());
        let ratios = (!ratio.samples.is_empty()).then_some(ratio);
        figures.extend([neutron, agent].into_iter().chain(ratios));
    }
    figures
}
