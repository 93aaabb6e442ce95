//! The VIP is taken away or added by another hand than keepalived's.

use anyhow::Result;
use ha_agent_tests::pair::{SLACK, Scene};
use serde_json::json;

use super::{Bound, Case, SETTLE, SILENCE, SKEW, TURN};
use crate::ADVERT;

#[test]
#[ignore = "needs root"]
fn deleted_on_the_master() -> Result<()> {
    /// The skew of priority 60.
    const SKEW_60: u64 = 766;
    const BOUNDS: &[Bound] = &[
        Bound { what: "a: backup", least: 0, most: TURN, why: "keepalived sees it and resigns 4 ms later" },
        Bound {
            what: "a: primary",
            least: SKEW_60 + SETTLE,
            most: SKEW_60 + TURN * 2 + SETTLE,
            why: "the skew + settle",
        },
    ];
    let mut pair = Scene::default().build("deleted-vip")?;
    // Both wait the skew: so that the first node's is over first.
    pair.a.settings.priority = 60;
    pair.elect()?;
    pair.watch()?;
    // Else both changes could fall into the time in which the L3 agent is told nothing.
    pair.rest()?;
    let mut case = Case::now("VIP deleted by hand on the master", BOUNDS);
    pair.a.site.delete_vip()?;
    case.caused();
    let backup = pair.a.confirmed(SLACK, "backup")?;
    case.came("a: backup", &backup)?;
    assert_eq!(backup["evidence"]["vip"], "absent");
    assert_eq!(backup["evidence"]["tx"]["state"], "resigned");
    let primary = pair.a.confirmed(SLACK, "primary")?;
    case.came("a: primary", &primary)?;
    pair.b.never("transition.confirmed", json!({}))?;
    for node in [&mut pair.a, &mut pair.b] {
        assert_eq!(node.anomalies()?, [""; 0]);
        node.never("transition.rejected", json!({}))?;
    }
    pair.a.explains(&["Confirmed primary", "primary -> backup confirmed by", "backup -> primary confirmed by"])?;
    case.told(&mut pair, &["primary", "backup", "primary"], &["backup"], "keepalived resigns and sets it again")
}

#[test]
#[ignore = "needs root"]
fn deleted_where_keepalived_does_not_track_it() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound {
            what: "a: missing_vip",
            least: SETTLE,
            most: SILENCE + SETTLE,
            why: "the wire is read 1.5 adv after the last advert and shows the next one; + settle",
        },
        Bound { what: "a: cleared", least: 0, most: TURN, why: "at once" },
    ];
    let mut scene = Scene::default();
    scene.keepalived.no_track = true;
    let mut pair = scene.start("no-track")?;
    let mut case = Case::now("no_track VIP deleted", BOUNDS);
    pair.a.site.delete_vip()?;
    case.caused();
    let missing = pair.a.raised(SLACK, "missing_vip")?;
    case.came("a: missing_vip", &missing)?;
    assert_eq!(missing["evidence"]["tx"]["state"], "transmitting");
    pair.a.explains(&["adverts leave but the VIP is not set", "Check: who removed the address"])?;
    // keepalived never sets it again; neither does it resign.
    assert_eq!(pair.a.agent.status(&pair.a.site)?["confirmed"], "primary");

    case.again();
    pair.a.site.add_vip()?;
    case.caused();
    let cleared = pair.a.cleared(SLACK, "missing_vip")?;
    case.came("a: cleared", &cleared)?;
    assert_eq!(pair.a.anomalies()?, ["missing_vip"]);
    assert_eq!(pair.b.anomalies()?, [""; 0]);
    case.told(&mut pair, &["primary"], &["backup"], "the VIP is set again")
}

#[test]
#[ignore = "needs root"]
fn added_on_a_backup() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound { what: "b: orphan_vip", least: SETTLE, most: SETTLE + TURN, why: "settle" },
        Bound {
            what: "b: claim rejected",
            least: SILENCE + SETTLE,
            most: SILENCE + SETTLE + TURN,
            why: "the VIP bears it out, the wire does not: 1.5 adv + settle",
        },
        Bound { what: "b: cleared", least: 0, most: TURN, why: "at once" },
    ];
    let mut pair = Scene::default().start("added-vip")?;
    let mut case = Case::now("VIP added by hand on a backup", BOUNDS);
    pair.b.site.add_vip()?;
    case.caused();
    let orphan = pair.b.raised(SLACK, "orphan_vip")?;
    case.came("b: orphan_vip", &orphan)?;
    assert_eq!(orphan["severity"], "error");
    assert_eq!(orphan["evidence"]["vip"], "present");
    let status = pair.b.agent.status(&pair.b.site)?;
    assert_eq!((&status["vip"], &status["confirmed"]), (&json!("present"), &json!("backup")));
    assert_eq!(status["anomalies"], json!(["orphan_vip"]));

    // Even with a matching claim the wire is still against it.
    case.again();
    assert_eq!(pair.b.claim("primary")?, 200);
    let rejected = pair.b.event(ADVERT * 2 + SLACK, "transition.rejected", json!({"claim": "primary"}))?;
    case.came("b: claim rejected", &rejected)?;
    assert_eq!(rejected["reason"], "partly_contradicted");
    pair.b.explains(&[
        "the VIP is still set here while another node is master",
        "Confirmed backup",
        "is master too",
    ])?;

    case.again();
    pair.b.site.delete_vip()?;
    case.caused();
    let cleared = pair.b.cleared(SLACK, "orphan_vip")?;
    case.came("b: cleared", &cleared)?;
    assert_eq!(pair.b.anomalies()?, ["orphan_vip"]);
    assert_eq!(pair.a.anomalies()?, [""; 0]);
    case.told(&mut pair, &["primary"], &["backup"], "the VIP is removed")
}

#[test]
#[ignore = "needs root"]
fn added_on_a_backup_that_becomes_master_later() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound {
            what: "b: primary",
            least: SKEW + SETTLE,
            most: SKEW + SETTLE + TURN,
            why: "the skew + settle; no address event comes, the VIP was there before",
        },
        Bound { what: "b: cleared", least: SKEW, most: SKEW + TURN, why: "its own first advert, the skew after" },
    ];
    let mut pair = Scene::default().start("kept-vip")?;
    pair.b.site.add_vip()?;
    pair.b.raised(SLACK, "orphan_vip")?;
    let mut case = Case::now("VIP added by hand on a backup, which becomes master", BOUNDS);
    pair.a.keepalived()?.stop()?;
    case.caused();
    let cleared = pair.b.cleared(SLACK, "orphan_vip")?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    case.came("b: cleared", &cleared)?;
    case.came("b: primary", &primary)?;
    pair.a.confirmed(SLACK, "backup")?;
    pair.b.explains(&["Confirmed primary", "orphan_vip over after"])?;
    assert_eq!(pair.b.anomalies()?, ["orphan_vip"]);
    case.told(&mut pair, &["primary", "backup"], &["backup", "primary"], "this node becomes master")
}
