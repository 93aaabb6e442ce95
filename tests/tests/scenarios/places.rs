//! Namespaces and interfaces that come, go and come back.

use anyhow::{Context, Result};
use ha_agent_tests::agent::Settings;
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::{Node, SLACK, Scene};
use ha_agent_tests::wait;
use rustix::process::Signal;
use serde_json::json;

use crate::ADVERT;

/// A node alone: it is primary after its time.
fn becomes_primary(node: &mut Node) -> Result<()> {
    node.start_keepalived()?;
    node.vip(node.settings.master_down() + SLACK, true)?;
    let primary = node.confirmed(SLACK, "primary")?;
    assert_eq!(primary["basis"], "report+vip+wire");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_namespace_that_is_not_there_yet() -> Result<()> {
    let lab = Lab::new("later")?;
    let site = lab.site_planned("a", &Router::new(12));
    let mut node = Scene::default().node_at(site)?;
    node.agent.start()?;
    let status = wait::until(SLACK, "it says what it waits for", || {
        let status = node.agent.status(&node.site).ok()?;
        status["degraded"].as_array().is_some_and(|why| !why.is_empty()).then_some(status)
    })?;
    assert_eq!(status["confirmed"], json!(null));

    node.site.add_netns()?;
    node.site.plug()?;
    becomes_primary(&mut node)?;
    let status = node.agent.status(&node.site)?;
    assert_eq!(status["degraded"], json!([]));
    // What it is on the way may be overtaken while the L3 agent is told nothing.
    let told = || {
        let mut told = node.l3.states(node.site.router.id);
        told.dedup();
        told
    };
    wait::until(SLACK, "the L3 agent is told", || (told().last()? == "primary").then_some(()))?;
    let mut way = ["fault", "backup", "primary"].iter();
    assert!(told().iter().all(|state| way.any(|step| step == state)), "{:?}", told());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_router_that_neutron_writes_is_found_and_forgotten() -> Result<()> {
    let lab = Lab::new("neutron")?;
    let router = Router::new(15);
    let site = lab.site_in(&format!("qrouter-{}", router.id), "a", &router)?;
    let mut scene = Scene { reporter: ha_agent_tests::pair::Reporter::Script, ..Scene::default() };
    scene.agent.without_routers = true;
    let mut node = scene.node_at(site)?;
    node.agent.start()?;

    // As the L3 agent does it: the folder, the file, then keepalived.
    let folder = node.agent.neutron().join("ha_confs").join(router.id.to_string());
    std::fs::create_dir_all(&folder)?;
    node.start_keepalived()?;
    let conf = node.keepalived()?.configuration().to_owned();
    std::fs::copy(conf, folder.join("keepalived.conf"))?;
    let watched = node.event(SLACK, "router.watched", json!({"source": "ha_confs", "vrid": 15}))?;
    assert_eq!(watched["interface"], node.site.interface.as_str());
    assert_eq!(watched["vip"], router.vip().as_str());
    node.vip(node.settings.master_down() + SLACK, true)?;
    node.confirmed(SLACK, "primary")?;
    node.l3.expect_changes(SLACK, router.id, &["backup", "primary"])?;

    std::fs::remove_dir_all(&folder)?;
    node.event(SLACK, "router.forgotten", json!({}))?;
    assert!(node.agent.status(&node.site).is_err(), "it is no longer listed");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_router_given_by_hand_wins_over_the_found_one() -> Result<()> {
    let lab = Lab::new("both")?;
    let router = Router::new(16);
    let site = lab.site_in(&format!("qrouter-{}", router.id), "a", &router)?;
    let mut node = Scene::default().node_at(site)?;
    node.start_keepalived()?;
    let folder = node.agent.neutron().join("ha_confs").join(router.id.to_string());
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(node.keepalived()?.configuration(), folder.join("keepalived.conf"))?;
    let broken = node.agent.neutron().join("ha_confs/2f0c1c52-5b1d-4f53-9f0e-000000000001");
    std::fs::create_dir_all(&broken)?;
    std::fs::write(broken.join("keepalived.conf"), "vrrp_instance VR_1 {\n    virtual_router_id none\n}\n")?;
    node.agent.start()?;
    let degraded = json!({"event": "channel.degraded", "channel": "inventory"});
    let reason = node.agent.events.expect(SLACK, &degraded)?["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("keepalived.conf:2: ")), "{reason}");
    node.agent.lacks(SLACK, &json!([{"channel": "inventory", "reason": reason}]))?;
    node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    assert_eq!(node.agent.status(&node.site)?["source"], "config");

    // No longer given by hand, it is still there.
    node.agent.events.mark()?;
    let found = Settings { without_routers: true, ..Settings::default() };
    node.agent.write_configuration(&[], &found)?;
    node.agent.signal(Signal::HUP)?;
    node.event(SLACK, "router.watched", json!({"source": "ha_confs"}))?;
    let before = sequence(&node)?;

    // Its state outlives a restart in which it is found only after a while.
    node.agent.kill()?;
    node.agent.events.mark()?;
    node.agent.start()?;
    node.event(SLACK, "router.watched", json!({"source": "ha_confs"}))?;
    node.asserted(ADVERT * 2 + SLACK)?;
    node.never("transition.confirmed", json!({}))?;
    let after = sequence(&node)?;
    assert!(before <= after, "counted on: {before}, then {after}");
    Ok(())
}

fn sequence(node: &Node) -> Result<u64> {
    let status = node.agent.status(&node.site)?;
    status["sequence"].as_u64().with_context(|| format!("a sequence in {status}"))
}
