//! What the script of 29.0.0 loses, and the agent beside it does not.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use ha_agent_tests::bed::{INTERFACE, Place, VIP, VIP_PREFIX};
use ha_agent_tests::command::ip_in;
use ha_agent_tests::neutron::{Content, Kind, Monitor, Release, Server, Written, write};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;

use super::crowd::Crowd;
use super::tell;

/// One router with two that watch it: the agent with its server, the script with its own.
struct Beside {
    crowd: Crowd,
    server: Server,
    written: Written,
}

impl Beside {
    fn start(name: &str) -> Result<Self> {
        let crowd = Crowd::start(name, 1, Release::V29, Kind::Recorder)?;
        let theirs = crowd.lab.node_folder("theirs")?;
        let place = crowd.bed.places().first().context("a router")?;
        let written = write(Release::V29, &theirs, &place.wanted(), Content::Bare)?.like(place.id, &place.netns)?;
        let server = Server::start(&crowd.lab, Release::V29, Kind::Recorder, &theirs)?;
        Ok(Self { crowd, server, written })
    }

    fn place(&self) -> &Place {
        &self.crowd.bed.places()[0]
    }

    fn script(&self) -> Result<Monitor> {
        let programs = Release::V29.monitor()?;
        Monitor::start(&self.crowd.lab, &self.written, programs.parent().context("a folder")?, None)
    }

    /// Waits for a word in the file that the script keeps beside the configuration.
    fn wrote(&self, state: &str) -> Result<()> {
        let path = self.written.conf.with_file_name("state");
        wait::until(SLACK, "the script's state file", || {
            std::fs::read_to_string(&path).is_ok_and(|word| word == state).then_some(())
        })
    }

    /// An address event that is nobody's business.
    fn nudge(&self, verb: &str) -> Result<()> {
        ip_in(&self.place().netns, &["addr", verb, "192.0.2.99/32", "dev", "lo"]).map(drop)
    }
}

#[test]
#[ignore = "needs root"]
fn the_first_state_is_told_without_an_event() -> Result<()> {
    let beside = Beside::start("first")?;
    // The agent told it already.
    beside.crowd.told(SLACK, &["backup"])?;
    let script = beside.script()?;
    beside.wrote("backup")?;
    wait::until(SLACK, "the script has subscribed", || (script.reads() && script.subscribed()).then_some(()))?;
    let id = beside.place().id;
    assert!(beside.server.states(id).is_empty(), "the script tells its first state at once now");
    // Not because it could not: the first event of any address makes it tell.
    beside.nudge("add")?;
    beside.server.expect(SLACK, id, &["backup"])?;
    tell(&format!("first state: by the agent told at once; by the script of {} with the first event", Release::V29));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_vip_that_is_set_while_a_monitor_starts_is_not_lost() -> Result<()> {
    let mut beside = Beside::start("gap")?;
    let id = beside.place().id;
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
    wait::until(SLACK, "the script has subscribed", || (script.reads() && script.subscribed()).then_some(()))?;
    beside.nudge("add")?;
    beside.server.expect(SLACK, id, &["backup"])?;
    beside.nudge("del")?;
    assert_eq!(std::fs::read_to_string(beside.written.conf.with_file_name("state"))?, "backup");
    tell(&format!("a VIP set during the start: by the agent told; by the script of {} lost", Release::V29));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn one_refusal_makes_nobody_deaf() -> Result<()> {
    let mut beside = Beside::start("deaf")?;
    let id = beside.place().id;
    let script = beside.script()?;
    wait::until(SLACK, "the script has subscribed", || (script.reads() && script.subscribed()).then_some(()))?;
    // Both L3 agents are away while the router changes, and come back.
    beside.server.stop()?;
    beside.crowd.server.stop()?;
    beside.place().become_primary()?;
    let confirmed = serde_json::json!({"event": "transition.confirmed", "state": "primary"});
    beside.crowd.agent.events.expect(SLACK, &confirmed)?;
    wait::until(SLACK, "the script gives up", || (!script.reads()).then_some(()))?;
    beside.server.listen()?;
    beside.crowd.server.listen()?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary"])?;
    beside.place().resign()?;
    beside.crowd.told(beside.crowd.patience(), &["backup", "primary", "backup"])?;

    assert!(script.lives(), "the liveness check finds it");
    assert!(beside.server.states(id).is_empty(), "the script goes on after a refusal now");
    tell(&format!(
        "an L3 agent that was away: by the agent told; the script of {} is deaf, its pid alive",
        Release::V29
    ));
    Ok(())
}
