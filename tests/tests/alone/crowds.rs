//! A whole node's routers at once, into Neutron's own servers: their backlog, their restart, their being away.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use ha_agent_tests::bed::Place;
use ha_agent_tests::figures::tell;
use ha_agent_tests::lab::Lab;
use ha_agent_tests::neutron::{Crowd, Kind, Release, Server};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;
use serde_json::json;

/// Routers that change at once: far more than the backlog of 5 of releases 27 and later.
const ROUTERS: u16 = 200;
/// Reports at once: what a node of so many routers sends when its other node dies.
const REPORTS: u16 = 400;

/// A burst; then the server goes away while all change back, for several attempts; then it comes
/// back with a new socket; then it is restarted with nothing changed.
fn bursts_outage_and_restart(name: &str, release: Release) -> Result<()> {
    let _alone = crate::alone();
    let mut crowd = Crowd::start(name, ROUTERS, release, Kind::Recorder)?;
    for place in crowd.bed.places() {
        place.become_primary()?;
    }
    crowd.told(crowd.patience(), &["backup", "primary"])?;

    crowd.server.stop()?;
    crowd.agent.events.mark()?;
    for place in crowd.bed.places() {
        place.resign()?;
    }
    // Attempts 1, 2, 4, 8 and so on of an outage are told.
    crowd.agent.events.expect(SLACK * 2, &json!({"event": "delivery.failed", "attempt": 4}))?;
    crowd.server.listen()?;
    crowd.told(crowd.patience(), &["backup", "primary", "backup"])?;
    crowd.agent.events.expect(SLACK, &json!({"event": "delivery.recovered"}))?;

    let known = crowd.server.heard().len();
    crowd.server.listen()?;
    let again = || {
        let mut routers: Vec<String> = crowd.server.heard_after(known).into_iter().map(|heard| heard.router).collect();
        routers.sort_unstable();
        routers.dedup();
        routers.len()
    };
    wait::until(crowd.patience(), "every state is asserted again", || (again() == usize::from(ROUTERS)).then_some(()))?;
    crowd.told(SLACK, &["backup", "primary", "backup"])?;
    tell(format_args!("Neutron {release}: {ROUTERS} routers at once, twice, an outage and a restart: none lost"));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn bursts_an_outage_and_a_restart_of_26() -> Result<()> {
    bursts_outage_and_restart("n26", Release::V26)
}

#[test]
#[ignore = "needs root"]
fn bursts_an_outage_and_a_restart_of_28() -> Result<()> {
    bursts_outage_and_restart("n28", Release::V28)
}

#[test]
#[ignore = "needs root"]
fn bursts_an_outage_and_a_restart_of_29() -> Result<()> {
    bursts_outage_and_restart("n29", Release::V29)
}

#[test]
#[ignore = "needs root"]
fn of_400_reports_at_once_none_is_lost() -> Result<()> {
    let _alone = crate::alone();
    let crowd = Crowd::start("r400", REPORTS, Release::V29, Kind::Recorder)?;
    // Every monitor has just told its first state, as after a restart of the node.
    let taken = post_at_once(&crowd.lab, &crowd.intake()?, crowd.bed.places(), "backup")?;
    assert_eq!(taken, usize::from(REPORTS), "first states");
    for place in crowd.bed.places() {
        place.become_primary()?;
    }
    let taken = post_at_once(&crowd.lab, &crowd.intake()?, crowd.bed.places(), "primary")?;
    crowd.told(crowd.patience(), &["backup", "primary"])?;
    let primary = |place: &&Place| crowd.server.states(place.id).last().is_some_and(|state| state == "primary");
    let told = crowd.bed.places().iter().filter(primary).count();

    // The same without the agent.
    let bare = crowd.lab.node_folder("bare")?;
    let server = Server::start(&crowd.lab, Release::V29, Kind::Recorder, &bare)?;
    let answered = post_at_once(&crowd.lab, &bare, crowd.bed.places(), "primary")?;
    let heard = || crowd.bed.places().iter().filter(|place| !server.states(place.id).is_empty()).count();
    wait::until(SLACK, "what was answered was heard", || (heard() >= answered).then_some(()))?;
    tell(format_args!(
        "{REPORTS} reports at once by the curl of Neutron {}'s script: by the agent {taken} taken and {told} at its \
         L3 agent, {} lost; straight to the same server {} there, {} lost",
        Release::V29,
        usize::from(REPORTS) - told,
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
