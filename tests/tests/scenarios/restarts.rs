//! The agent itself ends: killed in the middle of something, or in order.

use anyhow::Result;
use ha_agent_tests::agent::Agent;
use ha_agent_tests::pair::{SLACK, Scene};
use ha_agent_tests::{report, wait};
use serde_json::json;

use crate::ADVERT;

/// `EX_TEMPFAIL`: another one runs.
const ALREADY_RUNNING: i32 = 75;
/// `EX_CONFIG`.
const BAD_CONFIGURATION: i32 = 78;

#[test]
#[ignore = "needs root"]
fn killed_after_the_verdict_and_before_the_delivery() -> Result<()> {
    let mut pair = Scene::default().start("undelivered")?;
    pair.b.l3.stop();
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.b.agent.kill()?;
    assert_eq!(pair.b.l3.states(pair.router.id), ["backup"]);

    pair.b.l3.listen()?;
    pair.b.agent.start()?;
    pair.b.l3.expect_changes(SLACK, pair.router.id, &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_role_that_changed_while_the_agent_was_down_is_the_first_that_is_told() -> Result<()> {
    let mut scene = Scene::default();
    // What is known at the start could go at once.
    scene.agent.delivery = "l3_agent_hold = \"0s\"".to_owned();
    let mut pair = scene.start("changed-meanwhile")?;
    pair.b.l3.stop();
    pair.a.keepalived()?.stop()?;
    pair.b.confirmed(SLACK, "primary")?;
    pair.b.agent.kill()?;
    // On disk: primary, not yet delivered.
    pair.b.keepalived()?.stop()?;
    pair.b.vip(SLACK, false)?;
    pair.b.l3.listen()?;
    pair.mark()?;
    pair.b.agent.start()?;
    pair.b.confirmed(ADVERT * 2 + SLACK, "backup")?;
    // Had `primary` been told first, the truth would have waited for l3_agent_hold behind it.
    let sent = pair.b.agent.events.expect(SLACK, &json!({"event": "delivery.sent"}))?;
    assert_eq!(sent["states"][0]["state"], "backup", "{sent}");
    assert!(!pair.b.l3.states(pair.router.id).contains(&"primary".to_owned()));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn killed_before_the_verdict() -> Result<()> {
    let mut pair = Scene::default().start("unjudged")?;
    // The backup's agent dies while the router is on its way there: within the skew and the settle time.
    pair.a.keepalived()?.resign()?;
    pair.b.agent.kill()?;
    pair.b.vip(SLACK, true)?;
    assert_eq!(pair.b.l3.states(pair.router.id), ["backup"]);

    pair.b.agent.start()?;
    let primary = pair.b.confirmed(ADVERT * 2 + SLACK, "primary")?;
    assert_eq!(primary["previous"], "backup", "the last confirmed state is kept: {primary}");
    pair.b.l3.expect_changes(SLACK, pair.router.id, &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn killed_and_started_again_with_nothing_changed() -> Result<()> {
    let mut pair = Scene::default().start("same")?;
    let since = pair.a.agent.status(&pair.a.site)?["since"].clone();
    pair.a.agent.kill()?;
    assert!(pair.a.agent.socket().exists(), "a stale socket stays");
    pair.a.agent.start()?;
    pair.a.asserted(ADVERT * 2 + SLACK)?;
    assert_eq!(pair.a.agent.status(&pair.a.site)?["since"], since, "nothing has changed");
    // The stale socket was replaced.
    assert_eq!(pair.a.claim("primary")?, 200);
    pair.a.l3.expect_changes(SLACK, pair.router.id, &["primary"])?;
    pair.a.never("transition.confirmed", json!({}))?;
    // Nor after another one: what was asserted again was not confirmed then.
    assert_eq!(pair.a.agent.stop()?, Some(0));
    pair.a.agent.events.mark()?;
    pair.a.agent.start()?;
    pair.a.asserted(ADVERT * 2 + SLACK)?;
    assert_eq!(pair.a.agent.status(&pair.a.site)?["since"], since);
    pair.a.explains(&["Confirmed primary since"])
}

#[test]
#[ignore = "needs root"]
fn ends_in_order_and_leaves_no_socket() -> Result<()> {
    let mut pair = Scene::default().start("order")?;
    assert_eq!(pair.a.agent.stop()?, Some(0));
    pair.a.agent.events.expect(SLACK, &json!({"event": "agent.stopped"}))?;
    assert!(!pair.a.agent.socket().exists());
    assert!(!pair.a.agent.folder().join("run/admin.sock").exists());
    // The router does not care.
    assert!(pair.a.site.holds_vip());
    pair.b.heard(SLACK, &["backup"])
}

#[test]
#[ignore = "needs root"]
fn a_second_agent_does_not_disturb_the_first() -> Result<()> {
    let mut pair = Scene::default().start("second")?;
    let mut second = Agent::configure(&pair.lab, "a", &[&pair.a.site], &Default::default())?;
    second.spawn()?;
    assert_eq!(second.ends()?, Some(ALREADY_RUNNING), "{}", second.log());
    assert_eq!(pair.a.claim("primary")?, 200);
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn a_bad_configuration_ends_it_and_a_bad_reload_changes_nothing() -> Result<()> {
    let mut pair = Scene::default().start("config")?;
    let good = std::fs::read_to_string(pair.a.agent.configuration())?;
    std::fs::write(pair.a.agent.configuration(), good.replace("state_path", "state_paht"))?;
    pair.a.agent.signal(rustix::process::Signal::HUP)?;
    wait::until(SLACK, "the reload is refused in words", || pair.a.agent.log().contains("state_paht").then_some(()))?;
    assert_eq!(pair.a.claim("primary")?, 200);

    pair.a.agent.stop()?;
    pair.a.agent.spawn()?;
    assert_eq!(pair.a.agent.ends()?, Some(BAD_CONFIGURATION));
    let log = pair.a.agent.log();
    assert!(log.contains("did you mean") || log.contains("state_path"), "{log}");
    assert!(report::claim(&pair.a.agent.socket(), pair.router.id, "primary").is_err());
    pair.b.heard(SLACK, &["backup"])
}
