//! Adverts do not arrive, or are not accepted.

use anyhow::Result;
use ha_agent_tests::agent;
use ha_agent_tests::keepalived::{Keepalived, Settings};
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::wait;
use serde_json::json;

use super::{ADV, AGE, Bound, Case, DOWN, FALLS_SILENT, ORPHANS, SETTLE, SILENCE, TAKES_OVER, TURN};
use crate::ADVERT;

/// D of a node that advertises every 2 s.
const DOWN_2: u64 = 6805;
/// keepalived's start.
const START: u64 = 500;

/// A pair whose first node goes on as master when it hears the second one.
fn with_a_better(name: &str) -> Result<Pair> {
    let mut pair = Scene::default().build(name)?;
    pair.a.settings.priority = 60;
    pair.elect()?;
    pair.watch()?;
    Ok(pair)
}

#[test]
#[ignore = "needs root"]
fn output_dropped_on_the_master() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound { why: "1.5 adv after its last advert that passed, + settle", ..FALLS_SILENT },
        Bound { why: "D after the last advert that passed + settle", ..TAKES_OVER },
        ORPHANS,
    ];
    let mut pair = with_a_better("output")?;
    // keepalived goes on in good faith: it claims primary, holds the VIP and hears only worse adverts.
    let mut case = Case::now("nft drops output on the master", BOUNDS);
    pair.a.site.drop_vrrp("output")?;
    case.caused();
    let silent = pair.a.raised(ADVERT * 2 + SLACK, "silent_primary")?;
    case.came("a: silent_primary", &silent)?;
    pair.a.explains(&["the VIP is set here but no adverts leave", "an output rule drops IP protocol 112"])?;
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    let orphan = pair.a.raised(ADVERT * 3 + SLACK, "orphan_vip")?;
    case.came("a: orphan_vip", &orphan)?;
    assert_eq!(orphan["evidence"]["foreign"]["priority"], 50);
    let backup = pair.a.confirmed(SLACK, "backup")?;
    assert_eq!(backup["basis"], "wire");
    pair.a.explains(&[
        "the VIP is still set here while another node is master",
        "169.254.192.11 is master too: priority 50",
        "keepalived reads adverts here, but none of its own leave",
    ])?;
    assert_eq!(orphan["evidence"]["listener"], "reading");

    pair.a.site.pass_vrrp()?;
    pair.a.cleared(ADVERT * 2 + SLACK, "orphan_vip")?;
    pair.a.confirmed(SLACK, "primary")?;
    pair.b.confirmed(SLACK, "backup")?;
    assert_eq!(pair.a.anomalies()?, ["silent_primary", "orphan_vip"]);
    assert_eq!(pair.b.anomalies()?, ["no_primary"]);
    let told = ["primary", "backup", "primary"];
    case.told(&mut pair, &told, &["backup", "primary", "backup"], "adverts leave again")
}

#[test]
#[ignore = "needs root"]
fn input_dropped_on_a_backup() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound {
            what: "b: split_brain",
            least: DOWN - AGE,
            most: DOWN + TURN + ADV * 2,
            why: "D after the last advert that passed; both go on for more than 1 adv",
        },
        Bound {
            what: "a: split_brain",
            least: DOWN - AGE,
            most: DOWN + TURN + ADV * 2,
            why: "as the other node sees it",
        },
        Bound {
            what: "b: claim rejected",
            least: DOWN - AGE + SILENCE + SETTLE,
            most: DOWN + TURN + SILENCE + SETTLE,
            why: "its own claim is borne out but outdone: 1.5 adv + settle after it",
        },
    ];
    let mut pair = with_a_better("input")?;
    let mut case = Case::now("nft drops input on a backup", BOUNDS);
    pair.b.site.drop_vrrp("input")?;
    case.caused();
    pair.b.vip(pair.b.settings.master_down() + SLACK, true)?;
    assert!(pair.a.site.holds_vip(), "both hold it");
    for (node, what, other) in [(&mut pair.b, "b: split_brain", 60), (&mut pair.a, "a: split_brain", 50)] {
        let split = node.raised(ADVERT * 3 + SLACK, "split_brain")?;
        case.came(what, &split)?;
        assert_eq!(split["severity"], "error");
        assert_eq!(split["evidence"]["vip"], "present");
        // The worse half transmits, yields for a moment each time it is heard over, and goes on.
        let ours = &split["evidence"]["tx"];
        assert!(ours["state"] == "transmitting" || (other > 50 && ours["state"] == "yielded"), "{split}");
        assert!(ours["age_ms"].as_u64().is_some_and(|age| age < 1500), "{split}");
        assert_eq!(split["evidence"]["foreign"]["priority"], other);
        node.explains(&["this node and another one advertise at the same time", "is master too"])?;
    }
    let within = ADVERT * 2 + SLACK;
    let rejected = pair.b.event(within, "transition.rejected", json!({"claim": "primary"}))?;
    case.came("b: claim rejected", &rejected)?;
    assert_eq!(rejected["reason"], "better_competitor");
    assert_eq!(rejected["evidence"]["foreign"]["priority"], 60);
    assert_eq!(pair.b.agent.status(&pair.b.site)?["confirmed"], "backup");

    pair.b.site.pass_vrrp()?;
    pair.b.vip(ADVERT * 2 + SLACK, false)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.cleared(ADVERT * 2 + SLACK, "split_brain")?;
        assert_eq!(node.anomalies()?, ["split_brain"]);
        node.never("transition.confirmed", json!({}))?;
    }
    case.told(&mut pair, &["primary"], &["backup"], "the worse half hears the better one and gives way")
}

#[test]
#[ignore = "needs root"]
fn lost_between_the_nodes() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound { why: "D after the last advert that came + settle: from here the same as a dead peer", ..TAKES_OVER },
        Bound {
            what: "a: backup",
            least: 0,
            most: ADV + TURN,
            why: "mended, the next advert of the higher address ends it",
        },
    ];
    let mut pair = Scene::default().start("partition")?;
    let mut case = Case::now("loss in the fabric", BOUNDS);
    pair.b.site.cut()?;
    case.caused();
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    assert!(pair.a.site.holds_vip() && pair.b.site.holds_vip(), "both hold it");
    pair.a.never("transition.confirmed", json!({}))?;
    for node in [&pair.a, &pair.b] {
        // One node cannot tell it; the logs of both can.
        node.explains(&["Confirmed primary", "no other master is heard"])?;
    }

    case.again();
    pair.b.site.mend()?;
    case.caused();
    let backup = pair.a.confirmed(ADVERT * 2 + SLACK, "backup")?;
    case.came("a: backup", &backup)?;
    assert_eq!(backup["evidence"]["foreign"]["address"], "169.254.192.11");
    pair.a.vip(SLACK, false)?;
    assert_eq!(pair.a.anomalies()?, [""; 0]);
    assert_eq!(pair.b.anomalies()?, ["no_primary"], "until it took over");
    case.told(&mut pair, &["primary", "backup"], &["backup", "primary"], "the fabric carries adverts again")
}

/// keepalived with the longer interval becomes master, sends one advert, and never another one: each
/// advert that it drops puts its next one off. Its VIP stays, so both nodes hold it.
#[test]
#[ignore = "needs root"]
fn an_advert_interval_that_differs() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound {
            what: "b: primary",
            least: DOWN_2 + SETTLE,
            most: DOWN_2 + START + SETTLE,
            why: "its start, D, settle: it listens to nobody",
        },
        Bound {
            what: "a: advert_interval_mismatch",
            least: DOWN_2 + SETTLE,
            most: DOWN_2 + START + SETTLE,
            why: "its start, D, settle",
        },
    ];
    let mut pair = Scene::default().build("interval")?;
    pair.b.settings.advert_int = 2;
    let other = agent::Settings { advert_interval: Some(2), ..Default::default() };
    pair.b.agent.write_configuration(&[&pair.b.site], &other)?;
    pair.a.start_keepalived()?;
    pair.a.vip(pair.a.settings.master_down() + SLACK, true)?;
    for (node, state) in [(&mut pair.a, "primary"), (&mut pair.b, "backup")] {
        node.agent.start()?;
        node.heard(ADVERT * 2 + SLACK, &[state])?;
    }
    // The backup's agent finds it before its keepalived does anything.
    pair.b.raised(SLACK, "advert_interval_mismatch")?;
    pair.mark()?;

    let mut case = Case::now("v2 advert-interval mismatch", BOUNDS);
    pair.b.start_keepalived()?;
    case.caused();
    let primary = pair.b.confirmed(pair.b.settings.master_down() + SLACK, "primary")?;
    case.came("b: primary", &primary)?;
    let mismatch = pair.a.raised(ADVERT * 2 + SLACK, "advert_interval_mismatch")?;
    case.came("a: advert_interval_mismatch", &mismatch)?;
    let told = mismatch["detail"].as_str().unwrap_or_default();
    let begin = format!("adverts come every 2000 ms, but ours go every 1000 ms; {} ", pair.b.site.ip());
    assert!(told.starts_with(&begin) && told.ends_with("advert_int differs: compare it on both nodes"), "{told}");
    for node in [&pair.a, &pair.b] {
        node.explains(&["carry another interval; VRRPv2 then drops them, and both stay master", "Check: advert_int"])?;
    }
    assert!(pair.a.site.holds_vip() && pair.b.site.holds_vip(), "both hold it");
    // Each advert that it drops puts its next one off: it is silent, and still a master.
    wait::until(ADVERT * 4 + SLACK, "the wire of b is delayed", || {
        (pair.b.agent.status(&pair.b.site).ok()?["wire"] == "delayed").then_some(())
    })?;
    assert_eq!(pair.b.agent.status(&pair.b.site)?["confirmed"], "primary");
    pair.b.explains(&["advert_interval_mismatch", "Confirmed primary"])?;

    pair.mark()?;
    let same = Settings { advert_int: 1, ..pair.b.settings.clone() };
    pair.b.keepalived()?.reload(&same)?;
    pair.b.cleared(ADVERT * 4 + SLACK, "advert_interval_mismatch")?;
    // The other one has the higher address, and is heard now.
    pair.a.confirmed(ADVERT * 4 + SLACK, "backup")?;
    case.told(&mut pair, &["primary", "backup"], &["backup", "primary"], "the intervals are the same again")
}

/// The stranger advertises less often than the router does: keepalived puts its next advert off with
/// each one that it drops, so of two that drop each other's the more frequent one keeps speaking.
#[test]
#[ignore = "needs root"]
fn another_router_on_the_same_vrid() -> Result<()> {
    const BOUNDS: &[Bound] = &[
        Bound {
            what: "a: foreign_master",
            least: DOWN_2 + SETTLE,
            most: DOWN_2 + START + SETTLE,
            why: "the stranger knows nobody that it hears: its start and D, + settle",
        },
        Bound {
            what: "b: advert_interval_mismatch",
            least: DOWN_2 + SETTLE,
            most: DOWN_2 + START + SETTLE,
            why: "as on the other node, which knows its own addresses; this one only its interval",
        },
        Bound { what: "a: cleared", least: 0, most: TURN, why: "the stranger resigns" },
        Bound { what: "b: cleared", least: 0, most: TURN, why: "the stranger resigns" },
    ];
    let mut pair = Scene::default().start("stranger")?;
    let place = pair.lab.site("c", &pair.router.clone())?;
    let settings = Settings { vip: Some("169.254.0.99/24".to_owned()), advert_int: 2, ..Default::default() };
    let mut case = Case::now("duplicate VRID, rejected adverts", BOUNDS);
    let mut stranger = Keepalived::start(&place, &settings)?;
    case.caused();
    let foreign = pair.a.raised(settings.master_down() + SLACK, "foreign_master")?;
    case.came("a: foreign_master", &foreign)?;
    let detail = foreign["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with(&format!("{} advertises on this VRID", place.ip())), "{detail}");
    pair.a.explains(&["someone else uses this VRID with other addresses", "for a second group with the same VRID"])?;
    // Entered by hand, and never a master: what the addresses are, nobody told it.
    let mismatch = pair.b.raised(SLACK, "advert_interval_mismatch")?;
    case.came("b: advert_interval_mismatch", &mismatch)?;
    let detail = mismatch["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(&format!("{} (priority", place.ip())), "{detail}");
    case.again();
    stranger.stop()?;
    case.caused();
    for (node, what, kind) in
        [(&mut pair.a, "a: cleared", "foreign_master"), (&mut pair.b, "b: cleared", "advert_interval_mismatch")]
    {
        let cleared = node.cleared(SLACK, kind)?;
        case.came(what, &cleared)?;
        // Its advert puts the master's next one off to at most 2 adv after the last: that may be named.
        let mut anomalies = node.anomalies()?;
        anomalies.retain(|named| named != "silent_primary" && named != "no_primary");
        assert_eq!(anomalies, [kind]);
        node.never("transition.confirmed", json!({}))?;
    }
    case.told(&mut pair, &["primary"], &["backup"], "the stranger is stopped")
}
