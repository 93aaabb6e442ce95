//! A better advert that nobody hears: the kernel never delivers it to keepalived, so it is nobody's.

use std::net::Ipv4Addr;

use anyhow::Result;
use ha_agent_common::build::Advert;
use ha_agent_tests::forge::{source_routed, to_mac, with_a_broken_header};
use ha_agent_tests::frames::sealed;
use ha_agent_tests::hostile::{Host, NOBODY, Sender, set};
use ha_agent_tests::pair::{Pair, SLACK, Scene};

use super::{EVERY, beside, better, forged, found, mac, moves_nothing, only};
use crate::ADVERT;

/// The other node is told in time while such adverts come; plainly sent, one is heard.
fn heard_by_nobody(name: &str, reasons: &[&str], unheard: impl Fn(&Pair, Advert) -> Result<Vec<u8>>) -> Result<()> {
    moved_by_none(beside(found(), name)?, reasons, unheard, |_, advert| Ok(sealed(&advert.frame())))
}

fn moved_by_none(
    (pair, host): (Pair, Host),
    reasons: &[&str],
    unheard: impl Fn(&Pair, Advert) -> Result<Vec<u8>>,
    sound: impl Fn(&Pair, Advert) -> Result<Vec<u8>>,
) -> Result<()> {
    let advert = better(&pair, host.site.ip());
    let frame = unheard(&pair, advert.clone())?;
    let mut pair = moves_nothing((pair, host), EVERY, &frame, &["forged_advert"], |pair| sound(pair, advert))?;
    forged(&mut pair.b, reasons).map(drop)
}

#[test]
#[ignore = "needs root"]
fn to_a_mac_that_nobody_has() -> Result<()> {
    heard_by_nobody("oh", &["other_host"], |_, advert| Ok(sealed(&to_mac(advert.frame(), NOBODY))))
}

#[test]
#[ignore = "needs root"]
fn to_another_group() -> Result<()> {
    heard_by_nobody("group", &["destination"], |_, advert| {
        let destination = Ipv4Addr::new(224, 0, 0, 19).into();
        Ok(sealed(&Advert { destination, ..advert }.frame()))
    })
}

#[test]
#[ignore = "needs root"]
fn to_all_hosts() -> Result<()> {
    // Every host is in this group; keepalived's socket is bound to another one.
    heard_by_nobody("hosts", &["destination"], |_, advert| {
        let destination = Ipv4Addr::new(224, 0, 0, 1).into();
        Ok(sealed(&to_mac(Advert { destination, ..advert }.frame(), [1, 0, 0x5e, 0, 0, 1])))
    })
}

#[test]
#[ignore = "needs root"]
fn from_a_loopback_address() -> Result<()> {
    heard_by_nobody("martian1", &["martian_source"], |_, advert| {
        Ok(sealed(&Advert { source: Ipv4Addr::new(127, 0, 0, 9).into(), ..advert }.frame()))
    })
}

#[test]
#[ignore = "needs root"]
fn from_a_group() -> Result<()> {
    heard_by_nobody("martian2", &["martian_source"], |_, advert| {
        Ok(sealed(&Advert { source: Ipv4Addr::new(224, 0, 0, 9).into(), ..advert }.frame()))
    })
}

#[test]
#[ignore = "needs root"]
fn from_broadcast() -> Result<()> {
    heard_by_nobody("martian3", &["martian_source"], |_, advert| {
        Ok(sealed(&Advert { source: Ipv4Addr::BROADCAST.into(), ..advert }.frame()))
    })
}

#[test]
#[ignore = "needs root"]
fn from_the_node_s_own_address() -> Result<()> {
    // To its MAC alone: the other node would believe it.
    heard_by_nobody("own", &["own_source", "martian_source"], |pair, advert| {
        let advert = Advert { source: pair.b.site.ip().into(), ..advert };
        Ok(sealed(&to_mac(advert.frame(), mac(&pair.b)?)))
    })
}

#[test]
#[ignore = "needs root"]
fn from_off_the_link_where_the_reverse_path_is_checked() -> Result<()> {
    let (pair, host) = beside(found(), "rpf")?;
    for node in [&pair.a, &pair.b] {
        set(&node.site, &format!("net/ipv4/conf/{}/rp_filter", node.site.interface), "1")?;
    }
    let off_link =
        |_: &Pair, advert| Ok(sealed(&Advert { source: Ipv4Addr::new(203, 0, 113, 9).into(), ..advert }.frame()));
    moved_by_none((pair, host), &["martian_source"], off_link, |pair, advert| {
        // Where it is not, keepalived hears it.
        set(&pair.b.site, &format!("net/ipv4/conf/{}/rp_filter", pair.b.site.interface), "0")?;
        off_link(pair, advert)
    })
}

#[test]
#[ignore = "needs root"]
fn with_a_source_route() -> Result<()> {
    heard_by_nobody("srr", &["source_route"], |pair, advert| Ok(source_routed(advert.frame(), pair.b.site.ip())))
}

#[test]
#[ignore = "needs root"]
fn with_a_wrong_checksum_of_the_ip_header() -> Result<()> {
    heard_by_nobody("header", &["header"], |_, advert| Ok(with_a_broken_header(&advert.frame())))
}

/// As before, where the routers are given by hand: what is not delivered is known all the same.
#[test]
#[ignore = "needs root"]
fn to_a_mac_that_nobody_has_where_the_router_is_given_by_hand() -> Result<()> {
    let frame = |_: &Pair, advert: Advert| Ok(sealed(&to_mac(advert.frame(), NOBODY)));
    moved_by_none(beside(Scene::default(), "by-hand")?, &["other_host"], frame, |_, advert| Ok(sealed(&advert.frame())))
}

/// Two masters that both go on are a split brain; a master and one that nobody hears are none.
#[test]
#[ignore = "needs root"]
fn is_no_split_brain() -> Result<()> {
    let (mut pair, host) = beside(found(), "no-split")?;
    let advert = better(&pair, host.site.ip());
    let pulse = host.pulse(vec![sealed(&to_mac(advert.frame(), NOBODY))], EVERY);
    pulse.more(8, EVERY * 20)?;
    for node in [&mut pair.a, &mut pair.b] {
        only(node, &["forged_advert"])?;
        forged(node, &["other_host"])?;
    }
    pulse.end()?;
    pair.heard(&["primary"], &["backup"])?;
    // Heard, it would have been the master.
    pair.mark()?;
    host.send(&sealed(&advert.frame()))?;
    pair.a.vip(ADVERT + SLACK, false)?;
    pair.a.confirmed(SLACK, "backup").map(drop)
}
