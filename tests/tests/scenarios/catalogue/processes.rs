//! keepalived is stopped, frozen or killed.

use anyhow::Result;
use ha_agent_tests::pair::{SLACK, Scene};
use ha_agent_tests::timeline::latency;
use serde_json::json;

use super::{Bound, Case, FALLS_SILENT, ORPHANS, SETTLE, SKEW, TAKES_OVER, TURN};
use crate::ADVERT;

/// A master that falls silent and keeps its VIP.
const SILENT: &[Bound] = &[FALLS_SILENT, TAKES_OVER, ORPHANS];

#[test]
#[ignore = "needs root"]
fn frozen() -> Result<()> {
    let mut pair = Scene::default().start("frozen")?;
    let mut case = Case::now("SIGSTOP on the master", SILENT);
    pair.a.keepalived()?.freeze()?;
    case.caused();
    let silent = pair.a.raised(ADVERT * 2 + SLACK, "silent_primary")?;
    case.came("a: silent_primary", &silent)?;
    assert_eq!(silent["evidence"]["tx"]["state"], "silent");
    assert_eq!(silent["evidence"]["vip"], "present");
    assert_eq!(pair.a.agent.status(&pair.a.site)?["confirmed"], "primary");
    pair.a.explains(&["the VIP is set here but no adverts leave", "no adverts of ours leave"])?;

    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    let orphan = pair.a.raised(ADVERT * 2 + SLACK, "orphan_vip")?;
    case.came("a: orphan_vip", &orphan)?;
    assert_eq!(orphan["evidence"]["foreign"]["priority"], 50);
    assert_eq!(orphan["evidence"]["listener"], "stalled");
    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["basis"], "wire");
    assert!(pair.a.site.holds_vip(), "both hold it until the first one goes on");
    pair.a.explains(&[
        "the VIP is still set here while another node is master",
        "Confirmed backup",
        "keepalived is frozen",
    ])?;
    pair.a.heard(SLACK, &["primary", "backup"])?;

    assert_eq!(pair.a.anomalies()?, ["silent_primary", "orphan_vip"]);
    assert_eq!(pair.b.anomalies()?, ["no_primary"], "between the two there was nobody");
    pair.mark()?;
    pair.a.keepalived()?.thaw()?;
    pair.a.vip(SLACK, false)?;
    pair.a.cleared(SLACK, "orphan_vip")?;
    pair.a.never("transition.confirmed", json!({"state": "primary"}))?;
    pair.b.never("transition.confirmed", json!({}))?;
    assert_eq!(pair.a.agent.status(&pair.a.site)?["anomalies"], json!([]));
    case.told(
        &mut pair,
        &["primary", "backup"],
        &["backup", "primary"],
        "SIGCONT: it hears the other one and gives way",
    )
}

#[test]
#[ignore = "needs root"]
fn both_killed() -> Result<()> {
    let mut pair = Scene::default().start("both")?;
    let mut case = Case::now("SIGKILL of both processes of the master", SILENT);
    pair.a.keepalived()?.kill()?;
    case.caused();
    // The killed one's VIP stays: first it is only silent, then another node is master.
    let silent = pair.a.raised(ADVERT * 2 + SLACK, "silent_primary")?;
    case.came("a: silent_primary", &silent)?;
    assert_eq!(silent["evidence"]["listener"], "gone");
    pair.a.explains(&["nobody listens for adverts here: keepalived is dead"])?;

    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    assert_eq!(primary["previous"], "backup");
    assert_eq!(primary["basis"], "report+vip+wire");
    assert!((crate::SETTLE..ADVERT).contains(&latency(&primary)?), "{primary}");

    let backup = pair.a.confirmed(ADVERT * 3 + SLACK, "backup")?;
    assert_eq!((&backup["previous"], &backup["basis"]), (&json!("primary"), &json!("wire")));
    assert_eq!(backup["evidence"]["vip"], "present");
    let orphan = pair.a.raised(SLACK, "orphan_vip")?;
    case.came("a: orphan_vip", &orphan)?;
    assert_eq!(orphan["evidence"]["foreign"]["priority"], 50);
    pair.a.cleared(SLACK, "silent_primary")?;
    pair.a.explains(&["silent_primary over after", "whether keepalived was killed without cleaning up"])?;

    // Between the two of them there was nobody.
    assert_eq!(pair.a.anomalies()?, ["silent_primary", "orphan_vip"]);
    assert_eq!(pair.b.anomalies()?, ["no_primary"]);
    pair.b.cleared(SLACK, "no_primary")?;
    pair.b.never("transition.rejected", json!({}))?;

    // Started again it removes the VIP that the killed one left.
    assert!(pair.a.site.holds_vip());
    pair.a.start_keepalived()?;
    pair.a.cleared(SLACK, "orphan_vip")?;
    case.told(&mut pair, &["primary", "backup"], &["backup", "primary"], "keepalived is started again")
}

#[test]
#[ignore = "needs root"]
fn the_child_killed() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound {
            what: "a: backup",
            least: SETTLE,
            most: SETTLE + TURN,
            why: "the VIP went, and no advert left after it: settle",
        },
        TAKES_OVER,
    ];
    let mut pair = Scene::default().start("child")?;
    let mut case = Case::now("SIGKILL of the child only", BOUNDS);
    pair.a.keepalived()?.kill_child()?;
    case.caused();
    let backup = pair.a.confirmed(ADVERT * 2 + SLACK, "backup")?;
    case.came("a: backup", &backup)?;
    assert_eq!(backup["evidence"]["vip"], "absent", "the child's successor removes it");
    assert_eq!(backup["evidence"]["tx"]["state"], "silent");
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    for node in [&mut pair.a, &mut pair.b] {
        assert_eq!(node.anomalies()?, ["no_primary"], "nobody is master until D is over");
        node.cleared(SLACK, "no_primary")?;
        node.never("transition.rejected", json!({}))?;
    }
    pair.a.explains(&[
        "nobody advertises and the VIP is not set here; the last advert was ours",
        "no_primary over after",
    ])?;
    case.told(&mut pair, &["primary", "backup"], &["backup", "primary"], "the other node becomes master")
}

#[test]
#[ignore = "needs root"]
fn the_parent_killed() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound { what: "a: backup", least: 0, most: TURN, why: "the child resigns as if it were told to" },
        Bound { what: "b: primary", least: SKEW + SETTLE, most: SKEW + TURN * 2 + SETTLE, why: "the skew + settle" },
        Bound {
            what: "a: keepalived_down",
            least: 2000,
            most: 2000 + TURN * 2,
            why: "nobody listened 1 s later, nor 1 s after that",
        },
    ];
    let mut pair = Scene::default().start("parent")?;
    let mut case = Case::now("SIGKILL of the parent only", BOUNDS);
    pair.a.keepalived()?.kill_parent()?;
    case.caused();
    let backup = pair.a.confirmed(SLACK, "backup")?;
    case.came("a: backup", &backup)?;
    assert_eq!(backup["evidence"]["tx"]["state"], "resigned");
    let primary = pair.b.confirmed(SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    let down = pair.a.raised(SLACK, "keepalived_down")?;
    case.came("a: keepalived_down", &down)?;
    assert_eq!(down["severity"], "notice", "a stop in order");
    pair.a.explains(&["Confirmed backup", "keepalived resigned and ended"])?;
    pair.a.start_keepalived()?;
    pair.a.cleared(SLACK, "keepalived_down")?;
    assert_eq!(pair.a.anomalies()?, ["keepalived_down"]);
    assert_eq!(pair.b.anomalies()?, [""; 0]);
    for node in [&mut pair.a, &mut pair.b] {
        node.never("transition.rejected", json!({}))?;
    }
    case.told(&mut pair, &["primary", "backup"], &["backup", "primary"], "keepalived is started again")
}
