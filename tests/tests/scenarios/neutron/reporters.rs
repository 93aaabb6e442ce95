//! The real monitors report to the agent.

use std::time::Duration;

use anyhow::{Context, Result};
use ha_agent_tests::neutron::{Content, Crowd, Kind, Monitor, Release, write};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;
use serde_json::json;

/// Longest wait for a monitor in Python to tell its first state.
const IMPORTING: Duration = Duration::from_secs(60);

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
