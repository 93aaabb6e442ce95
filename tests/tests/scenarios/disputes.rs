//! The channels disagree for long: it is named, and the truth is passed on.

use std::time::Instant;

use anyhow::Result;
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::json;

use crate::{ADVERT, SETTLE};

#[test]
#[ignore = "needs root"]
fn a_frozen_keepalived() -> Result<()> {
    let mut pair = Scene::default().start("frozen")?;
    let frozen = Instant::now();
    pair.a.keepalived()?.freeze()?;
    let silent = pair.a.raised(ADVERT * 3 / 2 + SETTLE + SLACK, "silent_primary")?;
    assert!(frozen.elapsed() > ADVERT / 2, "an advert may have left just before: {:?}", frozen.elapsed());
    assert!(frozen.elapsed() < ADVERT * 3, "{:?}", frozen.elapsed());
    assert_eq!(silent["evidence"]["tx"]["state"], "silent");
    assert_eq!(pair.a.agent.status(&pair.a.site)?["confirmed"], "primary");

    pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    let orphan = pair.a.raised(ADVERT * 2 + SLACK, "orphan_vip")?;
    assert_eq!(orphan["evidence"]["foreign"]["priority"], 50);
    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["basis"], "wire");
    pair.a.heard(SLACK, &["primary", "backup"])?;

    pair.mark()?;
    pair.a.keepalived()?.thaw()?;
    pair.a.vip(SLACK, false)?;
    pair.a.cleared(SLACK, "orphan_vip")?;
    pair.a.never("transition.confirmed", json!({"state": "primary"}))?;
    pair.b.never("transition.confirmed", json!({}))?;
    assert_eq!(pair.a.agent.status(&pair.a.site)?["anomalies"], json!([]));
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn a_split_brain_is_named_on_both_nodes_and_the_worse_half_is_not_passed_on() -> Result<()> {
    let mut pair = Scene::default().build("split")?;
    // So that the master goes on when it hears the other one.
    pair.a.settings.priority = 60;
    pair.elect()?;
    pair.watch()?;

    pair.b.site.drop_vrrp("input")?;
    pair.b.vip(pair.b.settings.master_down() + SLACK, true)?;
    assert!(pair.a.site.holds_vip(), "both hold it");
    for (node, other) in [(&mut pair.a, 50), (&mut pair.b, 60)] {
        let split = node.raised(ADVERT * 3 + SLACK, "split_brain")?;
        assert_eq!(split["severity"], "error");
        assert_eq!(split["evidence"]["vip"], "present");
        // The worse half transmits, yields for a moment each time it is heard over, and goes on.
        let ours = &split["evidence"]["tx"];
        assert!(ours["state"] == "transmitting" || (other > 50 && ours["state"] == "yielded"), "{split}");
        assert!(ours["age_ms"].as_u64().is_some_and(|age| age < 1500), "{split}");
        assert_eq!(split["evidence"]["foreign"]["priority"], other);
    }
    let within = ADVERT * 3 / 2 + SETTLE + SLACK;
    let rejected = pair.b.event(within, "transition.rejected", json!({"claim": "primary"}))?;
    assert_eq!(rejected["reason"], "better_competitor");
    assert_eq!(rejected["evidence"]["foreign"]["priority"], 60);
    assert_eq!(pair.b.agent.status(&pair.b.site)?["confirmed"], "backup");

    pair.b.site.pass_vrrp()?;
    pair.b.vip(ADVERT * 2 + SLACK, false)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.cleared(ADVERT * 2 + SLACK, "split_brain")?;
        node.never("transition.confirmed", json!({}))?;
    }
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn a_master_whose_adverts_are_filtered_hands_over_in_truth() -> Result<()> {
    let mut pair = Scene::default().start("filtered")?;
    // Both claims go on as before; nothing leaves the first node any more, and it hears nothing.
    pair.a.site.drop_vrrp("output")?;
    pair.a.raised(ADVERT * 3 / 2 + SETTLE + SLACK, "silent_primary")?;
    pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    pair.b.heard(SLACK, &["backup", "primary"])
}
