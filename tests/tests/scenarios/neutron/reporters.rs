//! The real monitors report to the agent; and a whole node's reports at once.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use ha_agent_tests::bed::Place;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::neutron::{Content, Kind, Monitor, Release, Server, write};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;
use serde_json::json;

use super::crowd::Crowd;
use super::tell;

/// Longest wait for a monitor in Python to tell its first state.
const IMPORTING: Duration = Duration::from_secs(60);
/// Reports at once: what a node of so many routers sends when its other node dies.
const REPORTS: u16 = 400;

/// A release's monitor is started by the command line that its L3 agent makes, but for where it reports.
fn reports_what_it_sees(name: &str, release: Release) -> Result<()> {
    let mut crowd = Crowd::start(name, 1, Release::V29, Kind::Recorder)?;
    let place = crowd.bed.places().first().context("a router")?;
    let written = write(release, &crowd.agent.neutron(), &place.wanted(), Content::Bare)?;
    let written = written.like(place.id, &place.netns)?;
    let programs = release.monitor()?;
    let programs = programs.parent().context("a folder")?;
    let monitor = Monitor::start(&crowd.lab, &written, programs, Some(&crowd.intake()?))?;
    assert!(monitor.cmdline().contains(&format!("{}.monitor", place.id)), "{}", monitor.cmdline());
    let first = json!({"event": "report.received", "state": "backup"});
    match release {
        Release::V29 => monitor
            .rouse(IMPORTING, || crowd.agent.events.read().is_ok() && crowd.agent.events.find(&first).is_some())?,
        _ => {
            // It tells its first state by itself.
            crowd.agent.events.expect(IMPORTING, &first).with_context(|| monitor.output())?;
            wait::until(IMPORTING, "the monitor has subscribed", || monitor.subscribed().then_some(()))?;
        }
    }
    let confirmed = json!({"event": "transition.confirmed", "state": "primary"});
    place.become_primary()?;
    crowd.agent.events.expect(IMPORTING, &json!({"event": "report.received", "state": "primary"}))?;
    crowd.agent.events.expect(SLACK, &confirmed)?;
    crowd.told(SLACK, &["backup", "primary"])?;

    // And back; nothing that it says is refused.
    crowd.agent.events.mark()?;
    place.resign()?;
    crowd.agent.events.expect(SLACK, &json!({"event": "report.received", "state": "backup"}))?;
    crowd.told(crowd.patience(), &["backup", "primary", "backup"])?;
    assert!(monitor.lives());
    crowd.agent.events.read()?;
    let refused = crowd.agent.events.all().iter().find(|event| event["event"] == "report.refused");
    assert_eq!(refused, None);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_monitor_of_28_reports_to_the_agent() -> Result<()> {
    reports_what_it_sees("mon28", Release::V28)
}

#[test]
#[ignore = "needs root"]
fn the_script_of_29_reports_to_the_agent() -> Result<()> {
    reports_what_it_sees("mon29", Release::V29)
}

#[test]
#[ignore = "needs root"]
fn of_400_reports_at_once_none_is_lost() -> Result<()> {
    let crowd = Crowd::start("r400", REPORTS, Release::V29, Kind::Recorder)?;
    // Every monitor has just told its first state, as after a restart of the node.
    let taken = post_at_once(&crowd.lab, &crowd.intake()?, crowd.bed.places(), "backup")?;
    assert_eq!(taken, usize::from(REPORTS), "first states");
    for place in crowd.bed.places() {
        place.become_primary()?;
    }
    let taken = post_at_once(&crowd.lab, &crowd.intake()?, crowd.bed.places(), "primary")?;
    crowd.told(crowd.patience(), &["backup", "primary"])?;

    // The same without the agent.
    let bare = crowd.lab.node_folder("bare")?;
    let server = Server::start(&crowd.lab, Release::V29, Kind::Recorder, &bare)?;
    let answered = post_at_once(&crowd.lab, &bare, crowd.bed.places(), "primary")?;
    let heard = || crowd.bed.places().iter().filter(|place| !server.states(place.id).is_empty()).count();
    wait::until(SLACK, "what was answered was heard", || (heard() >= answered).then_some(()))?;
    tell(&format!(
        "{REPORTS} reports at once by the curl of Neutron {}'s script: by the agent {taken} taken and {REPORTS} at its \
         L3 agent, {} lost; straight to the same server {} there, {} lost",
        Release::V29,
        usize::from(REPORTS) - taken,
        heard(),
        usize::from(REPORTS) - heard()
    ));
    assert_eq!(taken, usize::from(REPORTS));
    Ok(())
}

/// Posts a state of every router with the script's own curl command, all at the same moment: each
/// curl is up and waits for the end of its standard input. Gives how many were answered 200.
fn post_at_once(lab: &Lab, state_path: &Path, places: &[Place], state: &str) -> Result<usize> {
    let path = lab.folder().join("answers");
    let answers = File::create(&path)?;
    let socket = state_path.join("keepalived-state-change");
    let start = |place: &Place| {
        Command::new("curl")
            .args(["--connect-timeout", "5", "-X", "POST"])
            .args(["-H", &format!("X-Neutron-Router-Id: {}", place.id), "-H", &format!("X-Neutron-State: {state}")])
            .args(["-H", "Connection: close", "--unix-socket"])
            .arg(&socket)
            .arg("http://127.0.0.1/")
            // Beyond the script's: begin together, say how it was answered.
            .args(["--config", "-", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}\n"])
            .stdin(Stdio::piped())
            .stdout(answers.try_clone()?)
            .stderr(Stdio::null())
            .spawn()
            .context("starting curl")
    };
    let mut running: Vec<Child> = places.iter().map(start).collect::<Result<_>>()?;
    for curl in &mut running {
        drop(curl.stdin.take());
    }
    for curl in &mut running {
        curl.wait()?;
    }
    let mut codes = String::new();
    File::open(&path)?.read_to_string(&mut codes)?;
    Ok(codes.lines().filter(|code| *code == "200").count())
}
