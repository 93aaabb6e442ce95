//! What the watches know of their instances: anything between nothing and what a configuration says.

use std::net::IpAddr;

use fastrand::Rng;
use ha_agent_common::judge::Peer;
use ha_agent_common::list::List;
use ha_agent_common::{Rules, ah};

use super::frames::{GROUP, PASSWORDS, address, group, own, source};

/// Rules that the frames of [`super::frames`] often fit.
pub fn rules(rng: &mut Rng, v6: bool, key: [u64; 2]) -> Rules {
    let mut rules = Rules { group: GROUP, ..Rules::default() };
    if rng.u8(0..6) == 0 {
        return rules;
    }
    if rng.u8(0..4) > 0 {
        rules.version = rng.choice([2, 3]).unwrap_or(2);
    }
    if rng.u8(0..4) > 0 {
        rules.flags |= Rules::KNOWS_MODE;
        if rng.u8(0..3) == 0 {
            rules.flags |= Rules::UNICAST;
        }
        let unicast = rules.is_unicast();
        if rng.bool() {
            rules.destination = wide(if unicast { own(v6) } else { group(v6) });
        }
        if unicast && rng.bool() {
            rules.flags |= Rules::CHECK_PEERS;
        }
        if rng.bool() {
            rules.flags |= Rules::MODE_CONFIGURED;
            // A group that is not named is not known.
            if rng.bool() && (unicast || rules.destination != [0; 16]) {
                rules.flags |= Rules::KNOWS_TARGETS;
            }
            if unicast {
                rules.ttl = rng.choice([0, 64, 255]).unwrap_or(0);
            }
        }
    }
    if rng.u8(0..3) > 0 {
        let password = rng.choice(PASSWORDS).unwrap_or_default();
        rules.flags |= Rules::KNOWS_AUTH;
        rules.auth_type = rng.choice([0, 0, 1, 2, 2]).unwrap_or(0);
        if v6 || rules.version == 3 {
            rules.auth_type = 0;
        }
        if rng.u8(0..4) > 0 {
            match rules.auth_type {
                1 => rules.password = password,
                2 => rules.ah = ah::Key::new(password),
                _ => {}
            }
            if rules.auth_type > 0 {
                rules.flags |= Rules::KNOWS_PASSWORD;
            }
        }
    }
    if rng.bool() {
        rules.interval_cs = rng.choice([100, 200]).unwrap_or(100);
    }
    if rng.bool() {
        let mut list = List::default();
        let count = rng.u8(0..3);
        for low in 0..count {
            match address(v6, low) {
                IpAddr::V4(address) => list.add_v4(key, address.octets()),
                IpAddr::V6(address) => list.add_v6(key, &address.octets()),
            }
        }
        rules.flags |= Rules::KNOWS_LIST;
        (rules.list, rules.vip_count) = (list.digest, count);
    }
    for (flag, of) in [
        (Rules::ANY_LIST, 3),
        (Rules::PADDING, 2),
        (Rules::OLD_CHECKSUM, 6),
        (Rules::NEVER_OLD_CHECKSUM, 6),
        (Rules::ANY_CHECKSUM, 6),
        (Rules::VMAC, 6),
        (Rules::TAKES_NONE, 16),
    ] {
        if rng.u8(0..of) == 0 {
            rules.flags |= flag;
        }
    }
    rules
}

/// One of the sources, as our own.
pub fn ours(rng: &mut Rng, v6: bool) -> [u8; 16] {
    wide(source(v6, rng.u8(1..4)))
}

/// Some of the sources, as peers.
pub fn peers(rng: &mut Rng, v6: bool) -> Vec<([u8; 16], Peer)> {
    let mut peer = |last| {
        let (low, high) = rng.choice([(0, 255), (255, 255), (64, 254)]).unwrap_or((0, 255));
        (wide(source(v6, last)), Peer { min_ttl: low, max_ttl: high, pad: [0; 2] })
    };
    let mut peers = vec![peer(1), peer(2), peer(3)];
    // Where adverts of these instances go to, too.
    let to = peer(1).1;
    peers.extend(rng.bool().then(|| (wide(own(v6)), to)));
    peers
}

fn wide(address: IpAddr) -> [u8; 16] {
    let mut wide = [0; 16];
    match address {
        IpAddr::V4(address) => wide[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => wide = address.octets(),
    }
    wide
}
