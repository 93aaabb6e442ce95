//! What an instance's keepalived takes, in the classifier's terms.

use std::net::{IpAddr, Ipv4Addr};

use ha_agent_common::judge::Peer;
use ha_agent_common::list::List;
use ha_agent_common::{Rules, Speaker, ah};

use super::{Family, Target};
use crate::advert_rules::{AdvertRules, Authentication, Checksum, Mode};

/// RFC 9568 section 5.1.1.2.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The rules by which frames are judged, and the peers where their addresses are checked.
///
/// `own` is the address that unicast adverts to this node have, where the configuration does not say.
pub(super) fn kernel_rules(
    rules: &AdvertRules,
    family: Family,
    own: Option<IpAddr>,
    key: [u64; 2],
) -> (Rules, Vec<([u8; 16], Peer)>) {
    let mut to = Rules { version: rules.version.unwrap_or(0), ..Rules::default() };
    let mut peers = Vec::new();
    let flag = |to: &mut Rules, flag: u16, holds: bool| to.flags |= if holds { flag } else { 0 };
    to.group = rules.old_checksum_group.unwrap_or(GROUP).octets();
    match &rules.mode {
        None => {}
        Some(Mode::Multicast { group }) => {
            to.flags |= Rules::KNOWS_MODE;
            to.destination = group.map_or([0; 16], wide);
        }
        Some(Mode::Unicast { peers: given, check_source }) => {
            to.flags |= Rules::KNOWS_MODE | Rules::UNICAST;
            to.destination = rules.source.or(own).map_or([0; 16], wide);
            if *check_source {
                to.flags |= Rules::CHECK_PEERS;
                peers = given
                    .iter()
                    .map(|peer| {
                        (wide(peer.address), Peer { min_ttl: peer.min_ttl, max_ttl: peer.max_ttl, pad: [0; 2] })
                    })
                    .collect();
            }
        }
    }
    if let Some(authentication) = rules.authentication {
        to.flags |= Rules::KNOWS_AUTH;
        match authentication {
            Authentication::None => {}
            Authentication::PassUnknown => to.auth_type = 1,
            Authentication::AhUnknown => to.auth_type = 2,
            Authentication::Pass(password) => {
                to.auth_type = 1;
                to.password = password.word();
                to.flags |= Rules::KNOWS_PASSWORD;
            }
            Authentication::Ah(password) => {
                to.auth_type = 2;
                to.ah = ah::Key::new(password.word());
                to.flags |= Rules::KNOWS_PASSWORD;
            }
        }
    }
    if let Some(interval) = rules.interval {
        to.interval_cs = u16::try_from(interval.as_millis() / 10).unwrap_or(u16::MAX);
    }
    if let Some(addresses) = &rules.addresses {
        to.flags |= Rules::KNOWS_LIST;
        to.vip_count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
        to.list = digest(addresses, family, key);
    }
    flag(&mut to, Rules::ANY_LIST, rules.release.takes_any_addresses());
    flag(&mut to, Rules::PADDING, rules.release.bears_padding());
    flag(&mut to, Rules::OLD_CHECKSUM, rules.checksum == Checksum::Old);
    flag(&mut to, Rules::NEVER_OLD_CHECKSUM, rules.checksum == Checksum::Never);
    flag(&mut to, Rules::ANY_CHECKSUM, rules.checksum == Checksum::PlainV3 && rules.release.has_plain_v3());
    flag(&mut to, Rules::TAKES_NONE, rules.takes_none);
    flag(&mut to, Rules::VMAC, rules.has_vmac && rules.receive_interface.is_some());
    flag(&mut to, Rules::VMAC_BESIDE, rules.has_vmac && rules.receive_interface.is_none());
    (to, peers)
}

/// An address as the maps have it.
pub(super) fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// Whether a router's VIP is among the addresses that an advert of its own lists: of one address, or of the
/// list that is configured, the digest tells; of another list it does not.
pub(super) fn lists_vip(target: &Target, speaker: &Speaker, key: [u64; 2]) -> Option<bool> {
    let listed = |addresses: &[IpAddr]| {
        usize::from(speaker.vip_count) == addresses.len() && speaker.list == digest(addresses, target.family, key)
    };
    match &target.rules.addresses {
        Some(configured) if listed(configured) => Some(configured.contains(&target.vip)),
        _ => (speaker.vip_count == 1).then(|| listed(&[target.vip])),
    }
}

fn digest(addresses: &[IpAddr], family: Family, key: [u64; 2]) -> u64 {
    let mut list = List::default();
    for address in addresses {
        match (address, family) {
            (IpAddr::V4(address), Family::V4) => list.add_v4(key, address.octets()),
            (IpAddr::V6(address), Family::V6) => list.add_v6(key, &address.octets()),
            _ => {}
        }
    }
    list.digest
}

#[cfg(test)]
mod tests;
