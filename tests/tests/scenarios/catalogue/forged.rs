//! Adverts that no keepalived sent.

use std::net::Ipv4Addr;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use ha_agent_common::build::Advert;
use ha_agent_tests::frames::{self, Injector};
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::wait;
use ha_agent_tests::witness::Witness;
use serde_json::json;

use super::{Bound, Case, SETTLE, SILENCE, TURN};
use crate::ADVERT;

/// On the HA network, and nobody's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(169, 254, 192, 200);
/// How long no forged frame must have come until the anomaly is over.
const QUIET: u64 = 10_000;

/// A frame that keepalived rejects: named at once on both nodes, over when none came for 10 s.
const REJECTED: &[Bound] = &[
    Bound { what: "a: forged_advert", least: 0, most: TURN, why: "the frame itself tells" },
    Bound { what: "b: forged_advert", least: 0, most: TURN, why: "the frame itself tells" },
    Bound { what: "a: cleared", least: QUIET, most: QUIET + TURN, why: "10 s without such a frame" },
    Bound { what: "b: cleared", least: QUIET, most: QUIET + TURN, why: "10 s without such a frame" },
];

/// Where the frame builder's frames come from.
const MAC: &str = "02:00:00:00:00:01";
/// Where an Ethernet frame has its IP header.
const IP: usize = 14;

/// Sends one forged frame that changes nothing.
fn is_named(name: &'static str, reason: &str, priority: u8, forge: impl FnOnce(Advert) -> Vec<u8>) -> Result<()> {
    let mut pair = Scene::default().start("forged")?;
    // Whoever resigns before the agent listened for long could have been a master.
    std::thread::sleep(Duration::from_millis(SILENCE * 2));
    pair.mark()?;
    let witness = Witness::of(&pair.lab, &[&pair.a.site, &pair.b.site])?;
    let wire = Injector::on_fabric(&pair.lab)?;
    let frame = forge(Advert { priority, ..frames::advert(&pair.router, STRANGER) });
    // keepalived puts its next advert off with each one that it rejects: just after an advert of its own
    // that makes no silence that anybody would name.
    let since = SystemTime::now();
    witness.until(ADVERT * 2, "an advert of the master", |seen| seen.first_of(&pair.a.site, since).map(drop))?;
    let mut case = Case::now(name, REJECTED);
    wire.send(&frame)?;
    for (node, what) in [(&mut pair.a, "a: forged_advert"), (&mut pair.b, "b: forged_advert")] {
        let forged = node.raised(SLACK, "forged_advert")?;
        case.came(what, &forged)?;
        let told = forged["detail"].as_str().unwrap_or_default();
        let begin = format!(
            "an advert from {STRANGER} is not genuine: {reason} (priority {priority}, TTL {}); it came from MAC {MAC}; ",
            frame[IP + 8]
        );
        assert!(told.starts_with(&begin), "{told}");
        node.explains(&["a frame came that keepalived rejects", &STRANGER.to_string(), reason])?;
    }
    for (node, what) in [(&mut pair.a, "a: cleared"), (&mut pair.b, "b: cleared")] {
        let cleared = node.cleared(Duration::from_millis(QUIET) + SLACK, "forged_advert")?;
        case.came(what, &cleared)?;
        assert_eq!(node.anomalies()?, ["forged_advert"]);
        node.never("transition.confirmed", json!({}))?;
    }
    witness.look(|seen| {
        assert!(seen.is_master(&pair.a.site, ADVERT), "{seen:?}");
        assert!(seen.last_of(&pair.b.site).is_none(), "the backup did not speak: {seen:?}");
    });
    case.told(&mut pair, &["primary"], &["backup"], "no such frame for 10 s")
}

#[test]
#[ignore = "needs root"]
fn that_crossed_a_router() -> Result<()> {
    is_named("forged TTL", "ttl", 200, |advert| Advert { ttl: 254, ..advert }.frame())
}

#[test]
#[ignore = "needs root"]
fn with_a_wrong_checksum() -> Result<()> {
    is_named("forged checksum", "checksum", 200, |advert| {
        let mut frame = advert.frame();
        frame[IP + 20 + 6] ^= 1;
        frame
    })
}

#[test]
#[ignore = "needs root"]
fn that_resigns_for_somebody_who_never_was_master() -> Result<()> {
    is_named("forged priority 0 from a foreign source", "stranger_resigned", 0, |advert| advert.frame())
}

#[test]
#[ignore = "needs root"]
fn a_valid_better_one() -> Result<()> {
    /// D of priority 60, which is over before the other node's.
    const DOWN_60: u64 = 3766;
    const BOUNDS: &[Bound] = &[
        Bound { what: "a: backup", least: 0, most: TURN, why: "keepalived gives way 4 ms later" },
        Bound { what: "a: no_primary", least: SILENCE, most: SILENCE + TURN, why: "its sender is silent for 1.5 adv" },
        Bound { what: "b: no_primary", least: SILENCE, most: SILENCE + TURN, why: "its sender is silent for 1.5 adv" },
        Bound { what: "a: primary", least: DOWN_60 + SETTLE, most: DOWN_60 + TURN + SETTLE, why: "D + settle" },
        Bound { what: "a: cleared", least: DOWN_60, most: DOWN_60 + TURN, why: "the first advert after D" },
    ];
    let mut pair = Scene::default().build("better")?;
    pair.a.settings.priority = 60;
    pair.elect()?;
    pair.watch()?;
    let wire = Injector::on_fabric(&pair.lab)?;
    let mut case = Case::now("one forged valid better advert", BOUNDS);
    wire.send(&Advert { priority: 200, ..frames::advert(&pair.router, STRANGER) }.frame())?;
    let backup = pair.a.confirmed(SLACK, "backup")?;
    case.came("a: backup", &backup)?;
    assert_eq!(backup["evidence"]["foreign"]["address"], STRANGER.to_string());
    assert_eq!(backup["evidence"]["tx"]["state"], "yielded");
    for (node, what) in [(&mut pair.a, "a: no_primary"), (&mut pair.b, "b: no_primary")] {
        let nobody = node.raised(ADVERT * 2 + SLACK, "no_primary")?;
        case.came(what, &nobody)?;
        let detail = nobody["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&format!("{STRANGER} (priority 200) advertised once, ")), "{detail}");
        node.explains(&["nobody advertises, and nobody here holds the VIP", "advertised once"])?;
    }
    assert!(!pair.a.site.holds_vip() && !pair.b.site.holds_vip(), "the VIP is nowhere");

    let cleared = pair.a.cleared(pair.a.settings.master_down() + SLACK, "no_primary")?;
    case.came("a: cleared", &cleared)?;
    let primary = pair.a.confirmed(SLACK, "primary")?;
    case.came("a: primary", &primary)?;
    pair.b.cleared(SLACK, "no_primary")?;
    for node in [&mut pair.a, &mut pair.b] {
        assert_eq!(node.anomalies()?, ["no_primary"]);
    }
    pair.b.never("transition.confirmed", json!({}))?;
    case.told(&mut pair, &["primary", "backup", "primary"], &["backup"], "D is over: the master takes over again")
}

/// keepalived puts its own next advert off with each one that it rejects: who sends them often enough
/// makes a master fall silent, whatever their priority. They account for its silence, and move nothing.
#[test]
#[ignore = "needs root"]
fn rejected_ones_in_a_row_silence_a_master() -> Result<()> {
    /// Between two of them.
    const EVERY: u64 = 400;
    const BOUNDS: &[Bound] = &[
        Bound { what: "a: foreign_master", least: SETTLE, most: SETTLE + TURN, why: "other addresses: settle" },
        Bound { what: "a: cleared", least: 0, most: SILENCE + TURN, why: "its sender is silent for 1.5 adv" },
    ];
    let mut pair = Scene::default().build("starved")?;
    // So that it waits longest: the first node is given time to speak again.
    pair.b.settings.priority = 1;
    pair.elect()?;
    pair.watch()?;
    let wire = Injector::on_fabric(&pair.lab)?;
    let elsewhere = vec![Ipv4Addr::new(169, 254, 0, 99).into()];
    let frame = Advert { priority: 10, addresses: elsewhere, ..frames::advert(&pair.router, STRANGER) }.frame();
    let (enough, is_enough) = std::sync::mpsc::channel::<()>();
    let mut case = Case::now("rejected adverts in a row", BOUNDS);
    let sender = std::thread::spawn(move || -> Result<()> {
        loop {
            wire.send(&frame)?;
            if is_enough.recv_timeout(Duration::from_millis(EVERY)) != Err(RecvTimeoutError::Timeout) {
                return Ok(());
            }
        }
    });
    let shows = |pair: &Pair, word: &str| {
        wait::until(ADVERT * 2 + SLACK, &format!("the wire of a is {word}"), || {
            (pair.a.agent.status(&pair.a.site).ok()?["wire"] == word).then_some(())
        })
    };
    let delayed = shows(&pair, "delayed");
    drop(enough);
    sender.join().expect("the sender does not panic")?;
    delayed?;
    let foreign = pair.a.raised(SLACK, "foreign_master")?;
    case.came("a: foreign_master", &foreign)?;
    case.again();
    let cleared = pair.a.cleared(ADVERT * 2 + SLACK, "foreign_master")?;
    case.came("a: cleared", &cleared)?;
    shows(&pair, "transmitting")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.never("transition.confirmed", json!({}))?;
    }
    assert_eq!(pair.a.anomalies()?, ["foreign_master"]);
    // Entered by hand, and never a master: what the addresses are, nobody told it.
    assert_eq!(pair.b.anomalies()?, [""; 0]);
    case.told(&mut pair, &["primary"], &["backup"], "no more of them come")
}
