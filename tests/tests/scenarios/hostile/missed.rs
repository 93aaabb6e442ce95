//! Frames that keepalived hears in a form that is not the usual one: a master that speaks so is a master, told as
//! fast as any, and nobody is accused.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use anyhow::{Result, ensure};
use ha_agent_common::build::Advert;
use ha_agent_tests::forge::{fragments, hop_by_hop, tagged};
use ha_agent_tests::frames::{self, sealed};
use ha_agent_tests::hostile::{Host, Sender};
use ha_agent_tests::lab::{Lab, Router};
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use serde_json::json;

use super::{found, in_time, next_advert, only, witness};
use crate::ADVERT;

/// The usual pair; of two backups the first takes over.
fn unequal(scene: Scene, lab: Lab, router: Router) -> Result<Pair> {
    let mut pair = scene.build_of(lab, router)?;
    pair.b.settings.priority = 1;
    pair.elect()?;
    pair.watch()?;
    Ok(pair)
}

/// A third master, which speaks in a form of its own, takes over, goes on, and resigns.
fn is_master(mut pair: Pair, advert: &Advert, form: impl Fn(&Advert) -> Vec<Vec<u8>>) -> Result<()> {
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let witness = witness(&pair)?;
    if !pair.router.v6 {
        // As late as can be told by silence alone.
        next_advert(&witness, &pair.a)?;
    }
    let since = SystemTime::now();
    let pulse = host.pulse(form(advert), ADVERT);
    let backup = in_time(&mut pair.a, &witness, "backup", since)?;
    let foreign = &backup["evidence"]["foreign"];
    ensure!(foreign["address"] == advert.source.to_string() && foreign["priority"] == 200, "{backup}");
    pulse.more(3, ADVERT * 4)?;
    pair.b.never("transition.confirmed", json!({}))?;
    for node in [&mut pair.a, &mut pair.b] {
        only(node, &[])?;
    }
    pulse.end()?;
    let since = SystemTime::now();
    for frame in form(&Advert { priority: 0, ..advert.clone() }) {
        host.send(&frame)?;
    }
    pair.a.vip(ADVERT + SLACK, true)?;
    in_time(&mut pair.a, &witness, "primary", since)?;
    for node in [&mut pair.a, &mut pair.b] {
        only(node, &[])?;
    }
    pair.heard(&["primary", "backup", "primary"], &["backup"])
}

/// In IPv4, as the one that the pair's own master sends.
fn by_ipv4(name: &str, form: impl Fn(&Advert) -> Vec<Vec<u8>>) -> Result<()> {
    let pair = unequal(found(), Lab::new(name)?, Router::new(11))?;
    let source = Ipv4Addr::new(169, 254, 192, 200);
    let advert = Advert { priority: 200, ..frames::advert(&pair.router, source) };
    is_master(pair, &advert, form)
}

/// In IPv6.
fn by_ipv6(name: &str, form: impl Fn(&Advert) -> Vec<Vec<u8>>) -> Result<()> {
    let mut scene = found();
    scene.keepalived.version = Some(3);
    let pair = unequal(scene, Lab::new(name)?, Router::of_ipv6(11))?;
    let advert = Advert {
        vrid: pair.router.vrid,
        priority: 200,
        interval_cs: 100,
        addresses: vec![pair.router.vip_address()],
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc8).into(),
        ..Advert::v6()
    };
    is_master(pair, &advert, form)
}

#[test]
#[ignore = "needs root"]
fn plainly() -> Result<()> {
    by_ipv4("plain", |advert| vec![sealed(&advert.frame())])
}

#[test]
#[ignore = "needs root"]
fn with_a_tag_of_vlan_0() -> Result<()> {
    by_ipv4("tag0", |advert| vec![tagged(advert.frame(), 0)])
}

#[test]
#[ignore = "needs root"]
fn in_two_fragments() -> Result<()> {
    by_ipv4("fragments", |advert| fragments(&advert.frame()).to_vec())
}

#[test]
#[ignore = "needs root"]
fn with_the_same_addresses_in_another_order() -> Result<()> {
    let more = [Ipv4Addr::new(10, 11, 1, 1), Ipv4Addr::new(10, 11, 1, 2)];
    let mut scene = found();
    scene.keepalived.more_vips = more.map(|address| format!("{address}/24")).to_vec();
    let pair = unequal(scene, Lab::new("order")?, Router::new(11))?;
    let addresses = vec![more[1].into(), pair.router.vip_address(), more[0].into()];
    let source = Ipv4Addr::new(169, 254, 192, 200);
    let advert = Advert { priority: 200, addresses, ..frames::advert(&pair.router, source) };
    is_master(pair, &advert, |advert| vec![sealed(&advert.frame())])
}

#[test]
#[ignore = "needs root"]
fn plainly_in_ipv6() -> Result<()> {
    by_ipv6("plain6", |advert| vec![advert.frame()])
}

#[test]
#[ignore = "needs root"]
fn with_a_hop_by_hop_header() -> Result<()> {
    by_ipv6("hop", |advert| vec![hop_by_hop(advert.frame())])
}
