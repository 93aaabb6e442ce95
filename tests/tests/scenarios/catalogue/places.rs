//! The interface goes down, the device or the namespace goes.

use anyhow::Result;
use ha_agent_tests::lab::{Lab, RELEASE, Router};
use ha_agent_tests::pair::{Node, SLACK, Scene};
use ha_agent_tests::wait;
use serde_json::json;

use super::{Bound, Case, DOWN, SETTLE, SILENCE, TAKES_OVER, TURN};
use crate::ADVERT;

/// What an interface that goes down takes: keepalived's FIFO line came 6 to 13 ms after it.
const LINK: u64 = 15;

#[test]
#[ignore = "needs root"]
fn the_interface_goes_down() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound { what: "a: fault", least: 0, most: LINK, why: "link and address events; nothing must settle" },
        TAKES_OVER,
        Bound { what: "a: backup", least: 0, most: TURN, why: "keepalived reports it, the VIP is not there" },
    ];
    let mut pair = Scene::default().start("link")?;
    let mut case = Case::now("interface down", BOUNDS);
    pair.a.site.set_link("down")?;
    case.caused();
    let fault = pair.a.confirmed(SLACK, "fault")?;
    case.came("a: fault", &fault)?;
    assert_eq!(fault["evidence"]["link"], "down");
    assert_eq!(fault["evidence"]["vip"], "absent");
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    pair.a.explains(&["Confirmed fault", "is down or without carrier"])?;
    assert_eq!(pair.a.anomalies()?, [""; 0], "a fault is a state, not a disagreement");
    assert_eq!(pair.b.anomalies()?, ["no_primary"]);
    pair.b.cleared(SLACK, "no_primary")?;
    pair.a.heard(SLACK, &["primary", "fault"])?;

    pair.mark()?;
    case.again();
    pair.a.site.set_link("up")?;
    case.caused();
    let backup = pair.a.confirmed(SLACK, "backup")?;
    case.came("a: backup", &backup)?;
    pair.a.never("anomaly.raised", json!({}))?;
    case.told(&mut pair, &["primary", "fault", "backup"], &["backup", "primary"], "the interface is up again")
}

/// A node alone, confirmed primary.
fn alone(name: &str, vrid: u8) -> Result<(Lab, Node)> {
    let lab = Lab::new(name)?;
    let mut node = Scene::default().node(&lab, "a", &Router::new(vrid))?;
    node.start_keepalived()?;
    node.vip(node.settings.master_down() + SLACK, true)?;
    node.agent.start()?;
    node.confirmed(ADVERT * 2 + SLACK, "primary")?;
    node.heard(SLACK, &["primary"])?;
    node.agent.events.mark()?;
    Ok((lab, node))
}

#[test]
#[ignore = "needs root"]
fn the_device_is_recreated() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound { what: "a: fault", least: 0, most: LINK, why: "link and address events; nothing must settle" },
        Bound {
            what: "a: primary",
            least: DOWN + SETTLE,
            most: DOWN + SETTLE + 1000,
            why: "keepalived's start, D, settle",
        },
    ];
    let (_lab, mut node) = alone("device", 14)?;
    let mut case = Case::now("device deleted and made anew", BOUNDS);
    node.site.unplug()?;
    case.caused();
    let fault = node.confirmed(SLACK, "fault")?;
    case.came("a: fault", &fault)?;
    assert_eq!(fault["evidence"]["link"], "gone");
    node.explains(&["Confirmed fault", "does not exist"])?;
    node.keepalived()?.stop()?;

    // Under the same name with another index.
    node.agent.events.mark()?;
    node.site.plug()?;
    case.again();
    node.start_keepalived()?;
    case.caused();
    let primary = node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    case.came("a: primary", &primary)?;
    assert_eq!(primary["basis"], "report+vip+wire");
    assert_eq!(node.agent.status(&node.site)?["wire"], "transmitting");
    node.explains(&["Confirmed primary", "adverts left on"])?;
    let told = ["primary", "fault", "backup", "primary"];
    case.told_alone(&mut node, &told, "the device is there again")
}

#[test]
#[ignore = "needs root"]
fn the_namespace_is_deleted() -> Result<()> {
    const BOUNDS: &[Bound] = &[Bound {
        what: "a: primary again",
        least: DOWN + SETTLE,
        most: DOWN + SILENCE + SETTLE + 1000,
        why: "keepalived's start, D, settle",
    }];
    let (_lab, mut node) = alone("deleted", 13)?;
    node.keepalived()?.kill()?;
    node.keepalived = None;
    node.site.delete_netns()?;
    // Its interface goes only when nobody, the agent included, holds the namespace any more.
    wait::until(RELEASE, "the namespace is let go", || (!node.site.is_plugged()).then_some(()))?;
    assert!(node.agent.runs());
    wait::until(SLACK, "explain says what is missing", || node.explains(&["does not exist"]).ok())?;
    let fault = node.confirmed(SLACK, "fault")?;
    assert_eq!(fault["basis"], "vip", "the kernel says so");

    node.agent.events.mark()?;
    node.site.add_netns()?;
    node.site.plug()?;
    let mut case = Case::now("namespace deleted and made anew", BOUNDS);
    node.start_keepalived()?;
    case.caused();
    let primary = node.confirmed(node.settings.master_down() + SLACK, "primary")?;
    case.came("a: primary again", &primary)?;
    wait::until(SLACK, "it is watched again", || {
        let status = node.agent.status(&node.site).ok()?;
        (status["degraded"] == json!([]) && status["wire"] == "transmitting").then_some(())
    })?;
    node.explains(&["Confirmed primary"])?;
    // The hold of the L3 agent leaves out what was over within it.
    let told = ["primary", "backup", "primary"];
    case.told_alone(&mut node, &told, "the namespace is there again")
}
