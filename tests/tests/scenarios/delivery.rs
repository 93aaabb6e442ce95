//! The L3 agent is away, restarted, or out of its mind.

use anyhow::Result;
use ha_agent_tests::l3_agent::Mode;
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::wait;
use serde_json::json;

use crate::ADVERT;

/// Longest pause between attempts in these scenes.
const RETRY_MAX: &str = "retry_max = \"1s\"";

fn start(name: &str, delivery: &str) -> Result<Pair> {
    let mut scene = Scene::default();
    scene.agent.delivery = delivery.to_owned();
    scene.start(name)
}

#[test]
#[ignore = "needs root"]
fn away_during_a_failover_and_back_with_a_new_socket() -> Result<()> {
    let mut pair = start("away", RETRY_MAX)?;
    pair.b.l3.stop();
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    let failed = pair.b.agent.events.expect(SLACK, &json!({"event": "delivery.failed"}))?;
    assert!(failed["retry_in_ms"].is_number(), "{failed}");
    assert_eq!(pair.b.agent.status(&pair.b.site)?["delivered"], "backup");
    assert_eq!(pair.b.l3.states(pair.router.id), ["backup"]);

    pair.b.l3.listen()?;
    pair.b.l3.expect_changes(SLACK, pair.router.id, &["backup", "primary"])?;
    pair.b.agent.events.expect(SLACK, &json!({"event": "delivery.recovered"}))?;
    wait::until(SLACK, "it is acknowledged", || {
        let status = pair.b.agent.status(&pair.b.site).ok()?;
        (status["delivered"] == "primary").then_some(())
    })?;
    pair.a.heard(SLACK, &["primary", "backup"])
}

#[test]
#[ignore = "needs root"]
fn restarted_without_any_change_it_is_told_again() -> Result<()> {
    let mut pair = start("again", RETRY_MAX)?;
    pair.a.l3.listen()?;
    pair.a.heard(SLACK * 2, &["primary", "primary"])?;
    pair.a.agent.events.expect(SLACK, &json!({"event": "delivery.recovered", "reason": "restarted"}))?;
    pair.b.heard(SLACK, &["backup"])
}

#[test]
#[ignore = "needs root"]
fn refusing_hanging_and_nonsense_are_retried() -> Result<()> {
    let mut pair = start("moods", RETRY_MAX)?;
    pair.b.l3.set_mode(Mode::Refusing);
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.b.agent.events.expect(SLACK, &json!({"event": "delivery.failed"}))?;
    for mode in [Mode::Nonsense, Mode::Hanging] {
        pair.b.l3.set_mode(mode);
        let seen = pair.b.l3.connections();
        wait::until(SLACK * 2, "another attempt", || (pair.b.l3.connections() > seen).then_some(()))?;
    }
    assert_eq!(pair.b.l3.states(pair.router.id), ["backup"]);
    pair.b.l3.set_mode(Mode::Answering);
    pair.b.l3.expect_changes(SLACK * 4, pair.router.id, &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn in_batches_by_json() -> Result<()> {
    let mut pair = start("json", "protocol = \"json\"")?;
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.a.confirmed(ADVERT + SLACK, "backup")?;
    pair.a.heard(SLACK, &["primary", "backup"])?;
    pair.b.heard(SLACK, &["backup", "primary"])?;
    for node in [&pair.a, &pair.b] {
        let sequences: Vec<Option<u64>> = node.l3.heard().iter().map(|heard| heard.sequence).collect();
        assert!(sequences.is_sorted_by(|before, after| before.is_some() && before < after), "{sequences:?}");
    }
    Ok(())
}
