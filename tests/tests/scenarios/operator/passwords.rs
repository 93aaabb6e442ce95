//! `auth_pass` changed on one side.

use std::time::Duration;

use anyhow::{Result, ensure};
use ha_agent_tests::pair::{Node, SLACK};
use serde_json::json;

use super::found;

/// So long it must be said, at least.
const GOES_ON: Duration = Duration::from_secs(12);

/// Each of the two names the other one's adverts, and what to compare, now and as long as it goes on.
fn names(node: &Node, other: &Node) -> Result<()> {
    let status = node.agent.status(&node.site)?;
    ensure!(status["anomalies"].as_array().is_some_and(|all| !all.is_empty()), "{status}");
    let address = other.site.ip().to_string();
    node.explains(&[
        &format!("Now: an advert from {address}"),
        "it came from MAC",
        "auth_pass differs: compare it on both nodes",
    ])
}

#[test]
#[ignore = "needs root"]
fn changed_on_one_side() -> Result<()> {
    let mut scene = found();
    scene.keepalived.auth_pass = Some("oldword".to_owned());
    let mut pair = scene.start("password")?;
    pair.b.settings.auth_pass = Some("newword".to_owned());
    let settings = pair.b.settings.clone();
    pair.b.keepalived()?.reload(&settings)?;
    pair.b.write_ha_confs()?;
    // The other node's adverts are nothing to it: it takes over.
    pair.b.vip(settings.master_down() + SLACK * 2, true)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.event(SLACK, "anomaly.raised", json!({"kind": "forged_advert"}))?;
    }
    std::thread::sleep(GOES_ON);
    names(&pair.a, &pair.b)?;
    names(&pair.b, &pair.a)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.never("anomaly.cleared", json!({"kind": "forged_advert"}))?;
    }
    Ok(())
}
