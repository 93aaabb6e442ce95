//! In mode `observe` a claim that is refused was passed on, and that is said.

use anyhow::Result;
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn a_false_claim_is_passed_on_and_it_is_said() -> Result<()> {
    let mut scene = Scene::default();
    scene.agent.top = "mode = \"observe\"".to_owned();
    let mut pair = scene.build("observed")?;
    pair.elect()?;
    for node in [&mut pair.a, &mut pair.b] {
        node.agent.start()?;
    }
    pair.b.confirmed(SLACK, "backup")?;
    assert_eq!(pair.b.claim("primary")?, 200);
    let rejected = pair.b.event(SLACK, "transition.rejected", json!({"claim": "primary"}))?;
    assert_eq!(rejected["passed_on"], true);
    pair.b.event(SLACK, "channel.degraded", json!({"channel": "report"}))?;
    let status = pair.b.agent.status(&pair.b.site)?;
    assert_eq!(status["degraded"][0]["channel"], "report", "{status}");
    pair.b.explains(&[
        "it was passed on all the same, since the mode is observe. With enforce it would have been refused.",
        "the L3 agent was told primary as it was reported, but backup is confirmed",
    ])?;
    assert_eq!(pair.b.claim("backup")?, 200);
    pair.b.event(SLACK, "channel.restored", json!({"channel": "report"}))?;
    assert_eq!(pair.b.agent.status(&pair.b.site)?["degraded"], json!([]));
    Ok(())
}
