//! A backup whose keepalived does not listen: the pair has no redundancy.

use std::time::Duration;

use anyhow::Result;
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::json;

/// A backup is looked at every ten seconds, and once more before its keepalived is named.
const LOOKED: Duration = Duration::from_secs(11);

#[test]
#[ignore = "needs root"]
fn a_backups_keepalived_dies_and_comes_back() -> Result<()> {
    let mut pair = Scene::default().start("dead-backup")?;
    pair.b.keepalived()?.kill()?;
    let down = pair.b.raised(LOOKED + SLACK, "keepalived_down")?;
    assert_eq!((&down["severity"], &down["evidence"]["listener"]), (&json!("warning"), &json!("gone")));
    let status = pair.b.agent.status(&pair.b.site)?;
    assert_eq!((&status["confirmed"], &status["anomalies"]), (&json!("backup"), &json!(["keepalived_down"])));
    pair.b.explains(&["the router has no redundancy", "keepalived does not run", "is the master: priority 50"])?;
    pair.b.start_keepalived()?;
    pair.b.cleared(LOOKED + SLACK, "keepalived_down")?;
    assert_eq!(pair.a.anomalies()?, [""; 0]);
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn one_that_resigned_in_order_is_a_notice() -> Result<()> {
    let mut pair = Scene::default().start("in-order")?;
    pair.a.keepalived()?.stop()?;
    pair.a.confirmed(SLACK, "backup")?;
    let down = pair.a.raised(SLACK, "keepalived_down")?;
    assert_eq!((&down["severity"], &down["evidence"]["listener"]), (&json!("notice"), &json!("resigned")));
    pair.a.explains(&["keepalived resigned and ended"])?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_reload_of_a_backups_keepalived_names_nothing() -> Result<()> {
    let mut pair = Scene::default().start("reloads")?;
    for _ in 0..12 {
        pair.b.keepalived()?.reread()?;
        // keepalived drops a signal that comes while it reloads.
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!((pair.a.anomalies()?, pair.b.anomalies()?), (vec![], vec![]));
    pair.heard(&["primary"], &["backup"])
}
