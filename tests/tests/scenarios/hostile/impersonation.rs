//! In another's name: the peer's, and our own.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::Advert;
use ha_agent_tests::forge::to_mac;
use ha_agent_tests::frames::{self, Injector, sealed};
use ha_agent_tests::hostile::{Host, NOBODY, Pulse, Sender};
use ha_agent_tests::pair::{Pair, SLACK};
use ha_agent_tests::place;
use serde_json::json;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{EVERY, better, forged, found, in_time, next_advert, only, orphaned, unmoved, witness};
use crate::ADVERT;

/// The second node is deaf and becomes master beside the better first one.
fn deaf(name: &str) -> Result<Pair> {
    let mut pair = found().build(name)?;
    pair.a.settings.priority = 60;
    pair.elect()?;
    pair.watch()?;
    pair.b.site.drop_vrrp("input")?;
    pair.b.vip(pair.b.settings.master_down() + SLACK, true)?;
    Ok(pair)
}

/// The worse half is not confirmed, whatever is said in the better one's name.
fn stays_backup(pair: &mut Pair, frames: Vec<Vec<u8>>) -> Result<Pulse> {
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let pulse = host.pulse(frames, EVERY / 2);
    pulse.more(20, EVERY * 20)?;
    unmoved(&mut pair.b)?;
    pair.b.raised(SLACK, "split_brain")?;
    Ok(pulse)
}

#[test]
#[ignore = "needs root"]
fn the_worse_half_stays_backup_where_nobody_speaks_in_the_master_s_name() -> Result<()> {
    let mut pair = deaf("deaf0")?;
    stays_backup(&mut pair, Vec::new())?.end()?;
    only(&mut pair.b, &["split_brain"])?;
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn the_worse_half_stays_backup_though_the_better_one_seems_to_be_worse() -> Result<()> {
    let mut pair = deaf("deaf1")?;
    let worse = Advert { priority: 1, ..frames::advert(&pair.router, pair.a.site.ip()) };
    let pulse = stays_backup(&mut pair, vec![sealed(&worse.frame())])?;
    forged(&mut pair.b, &["contradiction"])?;
    only(&mut pair.b, &["split_brain", "forged_advert"])?;
    pulse.end()?;
    pair.heard(&["primary"], &["backup"])
}

#[test]
#[ignore = "needs root"]
fn the_worse_half_stays_backup_though_the_better_one_seems_to_resign() -> Result<()> {
    let mut pair = deaf("deaf2")?;
    let gone = Advert { priority: 0, ..frames::advert(&pair.router, pair.a.site.ip()) };
    let pulse = stays_backup(&mut pair, vec![sealed(&gone.frame())])?;
    only(&mut pair.b, &["split_brain", "forged_advert"])?;
    pulse.end()?;
    pair.heard(&["primary"], &["backup"])
}

/// Frames that leave the router's own namespace, but by no socket of VRRP's protocol.
#[test]
#[ignore = "needs root"]
fn an_orphan_stays_backup_though_its_namespace_sends_frames_of_its_own_making() -> Result<()> {
    let mut pair = orphaned("packet")?;
    let local = Arc::new(Injector::on(&pair.a.site.netns, &pair.a.site.interface)?);
    // The other node would believe it.
    let ours = to_mac(better(&pair, pair.a.site.ip()).frame(), NOBODY);
    let pulse = local.pulse(vec![sealed(&ours)], EVERY);
    pulse.more(8, EVERY * 20)?;
    unmoved(&mut pair.a)?;
    forged(&mut pair.a, &["not_vrrp_socket"])?;
    only(&mut pair.a, &["forged_advert"])?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

/// Two senders of one host for one virtual router: each of them is genuine by every sign but that.
#[test]
#[ignore = "needs root"]
fn a_second_local_sender_is_named() -> Result<()> {
    let mut pair = found().start("second")?;
    let body = Advert { priority: 40, ..frames::advert(&pair.router, pair.a.site.ip()) }.frame();
    let body = body[14 + 20..14 + 20 + 20].to_vec();
    let socket = place::within(&pair.a.site.netns, || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).context("a raw socket")?;
        socket.set_multicast_ttl_v4(255)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_if_v4(&pair.a.site.ip())?;
        Ok(socket)
    })?;
    let group = SockAddr::from(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(224, 0, 0, 18), 0));
    let witness = witness(&pair)?;
    for _ in 0..3 {
        next_advert(&witness, &pair.a)?;
        socket.send_to(&body, &group)?;
    }
    next_advert(&witness, &pair.a)?;
    forged(&mut pair.a, &["second_sender"])?;
    // keepalived did not move, and it is the one who knows.
    unmoved(&mut pair.a)?;
    ensure!(pair.a.site.holds_vip(), "keepalived goes on");
    pair.heard(&["primary"], &["backup"])
}

/// In the name of the master that resigned, to a node that heard it resign: keepalived itself believes that.
#[test]
#[ignore = "needs root"]
fn what_keepalived_believes_is_passed_on() -> Result<()> {
    let mut pair = found().start("believed")?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let witness = witness(&pair)?;
    let since = SystemTime::now();
    next_advert(&witness, &pair.a)?;
    host.send(&sealed(&better(&pair, pair.b.site.ip()).frame()))?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pair.b.never("transition.confirmed", json!({}))?;
    for node in [&mut pair.a, &mut pair.b] {
        node.raised(ADVERT * 2 + SLACK, "no_primary")?;
    }
    Ok(())
}
