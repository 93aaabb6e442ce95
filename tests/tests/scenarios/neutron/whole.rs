//! The whole of it, with each release's own parts at both ends: Neutron's code writes the
//! configuration and the monitor's command line, Neutron's server receives. Between them stand a real
//! keepalived, the process in the monitor's place, and the agent with its defaults.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::agent::{Agent, Settings};
use ha_agent_tests::drop_in;
use ha_agent_tests::figures::tell;
use ha_agent_tests::keepalived::{self, Keepalived};
use ha_agent_tests::lab::{Lab, Router, Site};
use ha_agent_tests::neutron::{Content, Kind, Monitor, Release, Server, write};
use ha_agent_tests::pair::SLACK;
use ha_agent_tests::wait;
use serde_json::json;

/// `advert_int` as Neutron writes it by default.
const ADVERT_INT: u8 = 2;

fn master_down() -> Duration {
    keepalived::Settings { advert_int: ADVERT_INT, ..keepalived::Settings::default() }.master_down()
}

fn a_failover_is_told_once(name: &str, release: Release) -> Result<()> {
    let lab = Lab::new(name)?;
    let router = Router::new(17);
    // One node is watched; the other one is there to be killed, in a namespace of another name.
    let (here, there) = (lab.site_in(&format!("qrouter-{}", router.id), "here", &router)?, lab.site("there", &router)?);
    let settings = Settings { without_routers: true, without_fifo: true, ..Settings::default() };
    let mut agent = Agent::configure(&lab, "here", &[], &settings)?;
    let server = Server::start(&lab, release, Kind::Recorder, &agent.neutron())?;
    agent.start()?;

    let written = write(release, &agent.neutron(), &(&here).into(), Content::Bare)?;
    assert_eq!(written.vip, router.vip());
    let theirs = write(release, &lab.node_folder("there")?, &(&there).into(), Content::Bare)?;
    let mut other = Keepalived::start_with(&there, &theirs.conf)?;
    holds(&there, &other)?;
    let own = Keepalived::start_with(&here, &written.conf)?;

    let programs = drop_in::program()?;
    let programs = programs.parent().context("a folder")?;
    // Its socket is looked up in the agent's configuration, which is not in its usual place here.
    let configuration = agent.configuration();
    let monitor = Monitor::start_with(&lab, &written, programs, &["--config".as_ref(), configuration.as_os_str()])?;
    ensure!(monitor.cmdline().contains(&format!("{}.monitor", router.id)), "{}", monitor.cmdline());
    let watched = json!({"event": "router.watched", "router_id": router.id.to_string()});
    agent.events.expect(SLACK * 2, &watched)?;
    server.expect_changes(SLACK * 2, router.id, &["backup"])?;

    agent.events.mark()?;
    other.kill()?;
    holds(&here, &own)?;
    let confirmed = json!({"event": "transition.confirmed", "state": "primary", "basis": "vip+wire"});
    agent.events.expect(SLACK * 2, &confirmed)?;
    server.expect_changes(SLACK * 2, router.id, &["backup", "primary"]).with_context(|| agent.events.story())?;

    assert!(monitor.lives());
    let status = agent.ask(&["status"])?;
    assert_eq!(status["routers"][0]["delivered"], "primary", "{status}");
    // Nothing comes after it: an orderly end of the agent sends what is left to send.
    assert_eq!(agent.stop()?, Some(0));
    let primaries = server.states(router.id).iter().filter(|state| *state == "primary").count();
    ensure!(primaries == 1, "{:?}\n{}", server.states(router.id), agent.events.story());
    tell(format_args!("Neutron {release}: its configuration, its command line, its server: primary told once"));
    Ok(())
}

fn holds(site: &Site, keepalived: &Keepalived) -> Result<()> {
    wait::until(master_down() + SLACK * 2, "the VIP", || site.holds_vip().then_some(()))
        .with_context(|| format!("keepalived said:\n{}", keepalived.log()))
}

#[test]
#[ignore = "needs root"]
fn a_failover_is_told_once_to_26() -> Result<()> {
    a_failover_is_told_once("whole26", Release::V26)
}

#[test]
#[ignore = "needs root"]
fn a_failover_is_told_once_to_28() -> Result<()> {
    a_failover_is_told_once("whole28", Release::V28)
}

#[test]
#[ignore = "needs root"]
fn a_failover_is_told_once_to_29() -> Result<()> {
    a_failover_is_told_once("whole29", Release::V29)
}

#[test]
#[ignore = "needs root"]
fn what_neutron_writes_is_read_whole() -> Result<()> {
    let lab = Lab::new("written")?;
    let site = lab.site_planned("a", &Router::new(254));
    for release in Release::ALL {
        let settings = Settings { without_routers: true, without_fifo: true, ..Settings::default() };
        let mut agent = Agent::configure(&lab, &format!("a{release}"), &[], &settings)?;
        let written = write(release, &agent.neutron(), &(&site).into(), Content::Whole)?;
        ensure!(written.command.iter().any(|word| word == "--enable_conntrackd"), "{:?}", written.command);
        agent.start()?;
        let watched = json!({
            "event": "router.watched", "router_id": site.router.id.to_string(), "source": "ha_confs",
            "interface": site.interface, "vip": written.vip, "vrid": 254,
        });
        agent.events.expect(SLACK * 2, &watched).with_context(|| format!("Neutron {release}"))?;
        let wrong = agent.events.find(&json!({"event": "channel.degraded", "channel": "inventory"}));
        ensure!(wrong.is_none(), "Neutron {release}: {wrong:?}");
        agent.stop()?;
    }
    Ok(())
}
