//! What the script of 29.0.0 and the monitor of 28.0.2 lose, and the agent beside them does not.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use ha_agent_tests::bed::{INTERFACE, Place, VIP, VIP_PREFIX};
use ha_agent_tests::figures::tell;
use ha_agent_tests::neutron::{Content, Crowd, Kind, Monitor, Release, Server, Written, write};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;

/// Longest wait for a monitor that starts.
const IMPORTING: Duration = Duration::from_secs(60);

/// One router with two that watch it: the agent with its server, a release's monitor with its own.
struct Beside {
    crowd: Crowd,
    release: Release,
    server: Server,
    written: Written,
}

impl Beside {
    fn start(name: &str, release: Release) -> Result<Self> {
        let crowd = Crowd::start(name, 1, release, Kind::Recorder)?;
        let theirs = crowd.lab.node_folder("theirs")?;
        let place = crowd.bed.places().first().context("a router")?;
        let written = write(release, &theirs, &place.wanted(), Content::Bare)?.like(place.id, &place.netns)?;
        let server = Server::start(&crowd.lab, release, Kind::Recorder, &theirs)?;
        Ok(Self { crowd, release, server, written })
    }

    fn place(&self) -> &Place {
        &self.crowd.bed.places()[0]
    }

    fn monitor(&self) -> Result<Monitor> {
        let programs = self.release.monitor()?;
        Monitor::start(&self.crowd.lab, &self.written, programs.parent().context("a folder")?, None)
    }

    /// Waits for a word in the file that the monitor keeps beside the configuration.
    fn wrote(&self, state: &str) -> Result<()> {
        let path = self.written.conf.with_file_name("state");
        wait::until(IMPORTING, "the monitor's state file", || {
            std::fs::read_to_string(&path).is_ok_and(|word| word == state).then_some(())
        })
    }

    /// Both L3 agents are away while the router becomes primary, and come back when the monitor has met that.
    fn away(&mut self, met: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.server.stop()?;
        self.crowd.server.stop()?;
        self.crowd.agent.events.mark()?;
        self.place().become_primary()?;
        let confirmed = serde_json::json!({"event": "transition.confirmed", "state": "primary"});
        self.crowd.agent.events.expect(SLACK, &confirmed)?;
        met(self)?;
        self.server.listen()?;
        self.crowd.server.listen()
    }

    /// The script hears: it told its first state, which any event makes it do.
    fn hears(&self, script: &Monitor) -> Result<()> {
        script.rouse(IMPORTING, || !self.server.states(self.place().id).is_empty())?;
        self.server.expect(SLACK, self.place().id, &["backup"])
    }
}

#[test]
#[ignore = "needs root"]
fn the_first_state_is_told_without_an_event() -> Result<()> {
    let beside = Beside::start("first", Release::V29)?;
    // The agent told it already.
    beside.crowd.told(SLACK, &["backup"])?;
    let script = beside.monitor()?;
    beside.wrote("backup")?;
    wait::until(IMPORTING, "the script has subscribed", || (script.reads() && script.subscribed()).then_some(()))?;
    let id = beside.place().id;
    assert!(beside.server.states(id).is_empty(), "the script tells its first state at once now");
    // Not because it could not: the first event of any address makes it tell.
    beside.hears(&script)?;
    tell(format_args!(
        "first state: by the agent told at once; by the script of {} with the first event",
        Release::V29
    ));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_vip_that_is_set_while_a_monitor_starts_is_not_lost() -> Result<()> {
    let mut beside = Beside::start("gap", Release::V29)?;
    // The agent, started anew with the VIP set meanwhile.
    beside.crowd.agent.kill()?;
    beside.place().become_primary()?;
    beside.crowd.agent.start()?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary"])?;
    beside.place().resign()?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary", "backup"])?;

    // The script, with the VIP set between its look at the addresses and its subscription.
    let programs = beside.crowd.lab.node_folder("programs")?;
    let mkfifo = programs.join("mkfifo");
    let vip = format!("{VIP}/{VIP_PREFIX}");
    let gap = format!(
        "#!/bin/sh\nip -n {} addr add {vip} dev {INTERFACE}\nPATH=/usr/bin:/bin exec mkfifo \"$@\"\n",
        beside.place().netns
    );
    std::fs::write(&mkfifo, gap)?;
    std::fs::set_permissions(&mkfifo, std::fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::symlink(Release::V29.monitor()?, programs.join("neutron-keepalived-state-change"))?;
    let script = Monitor::start(&beside.crowd.lab, &beside.written, &programs, None)?;
    beside.hears(&script)?;
    assert_eq!(std::fs::read_to_string(beside.written.conf.with_file_name("state"))?, "backup");
    tell(format_args!("a VIP set during the start: by the agent told; by the script of {} lost", Release::V29));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn one_refusal_makes_nobody_deaf() -> Result<()> {
    let mut beside = Beside::start("deaf", Release::V29)?;
    let id = beside.place().id;
    let script = beside.monitor()?;
    // It tells, as long as somebody listens.
    beside.hears(&script)?;
    beside.away(|_| wait::until(IMPORTING, "the script gives up", || (!script.reads()).then_some(())))?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary"])?;
    beside.place().resign()?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary", "backup"])?;

    assert!(script.lives(), "the liveness check finds it");
    assert_eq!(beside.server.states(id), ["backup"], "the script goes on after a refusal now");
    tell(format_args!(
        "an L3 agent that was away: by the agent told; the script of {} is deaf, its pid alive",
        Release::V29
    ));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn one_refusal_makes_nobody_deaf_as_it_makes_the_monitor_of_28() -> Result<()> {
    let mut beside = Beside::start("deaf28", Release::V28)?;
    let id = beside.place().id;
    let monitor = beside.monitor()?;
    beside.server.expect(IMPORTING, id, &["backup"])?;
    wait::until(IMPORTING, "the monitor has subscribed", || monitor.subscribed().then_some(()))?;
    // It hears and tells, as long as somebody listens; and so all of its threads are there.
    beside.place().become_primary()?;
    beside.server.expect(IMPORTING, id, &["backup", "primary"])?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary"])?;
    beside.place().resign()?;
    let before = ["backup", "primary", "backup"];
    beside.server.expect(IMPORTING, id, &before)?;
    beside.crowd.told(beside.crowd.patience(), &before)?;
    let threads = monitor.threads()?;

    beside.away(|beside| {
        beside.wrote("primary")?;
        wait::until(IMPORTING, "its thread that reads events is gone", || {
            (monitor.threads().ok()? < threads).then_some(())
        })
    })?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary", "backup", "primary"])?;
    beside.place().resign()?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary", "backup", "primary", "backup"])?;

    assert!(monitor.lives(), "the liveness check finds it");
    assert_eq!(beside.server.states(id), before, "it goes on after a refusal now");
    beside.wrote("primary")?;
    tell(format_args!(
        "an L3 agent that was away: by the agent told; the monitor of {} is deaf, its pid alive, its state file wrong",
        Release::V28
    ));
    Ok(())
}
