//! What a real keepalived heard: `cargo xtask oracle`.

use super::*;
use crate::FAMILY_V6;
use crate::frame::HOST_OTHER;

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 10];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 101];
const VIRTUAL: [u8; 6] = [0, 0, 0x5e, 0, 1, 7];
const OTHER_VIRTUAL: [u8; 6] = [0, 0, 0x5e, 0, 1, 8];
const VIRTUAL_OF_V6: [u8; 6] = [0, 0, 0x5e, 0, 2, 7];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x12];
const OTHER_GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x13];
const ALL: [u8; 6] = [0xff; 6];

fn envelope() -> Envelope {
    let mut envelope = Envelope { family: FAMILY_V4, ..Envelope::default() };
    envelope.dst[..4].copy_from_slice(&[224, 0, 0, 18]);
    envelope
}

/// As the kernel sees it on an interface with the MAC [`OWN`].
fn link(from: [u8; 6], to: [u8; 6]) -> Link {
    let host = match to {
        OWN => HOST_DEVICE,
        to if to[0] & 1 == 1 => HOST_GROUP,
        _ => HOST_OTHER,
    };
    Link { mac: from, to, host, ..Link::default() }
}

fn heard(flags: u16, from: [u8; 6], to: [u8; 6]) -> bool {
    gets(&link(from, to), &envelope(), 7, &Rules { flags, ..Rules::default() })
}

#[test]
fn an_interface_gets_what_is_for_its_mac_for_a_group_or_for_all() {
    for (to, gets) in [(OWN, true), (GROUP, true), (OTHER_GROUP, true), (ALL, true), (PEER, false), (VIRTUAL, false)] {
        for from in [PEER, VIRTUAL, OWN] {
            assert_eq!(heard(0, from, to), gets, "{from:02x?} {to:02x?}");
        }
    }
}

/// v3-vmac: "destination MAC OtherVirtual", "source MAC Own; destination MAC OtherGroup" were taken.
#[test]
fn a_macvlan_gets_what_is_for_its_own_mac_for_its_group_or_for_all() {
    for (to, gets) in [
        (VIRTUAL, true),
        (GROUP, true),
        (ALL, true),
        (OTHER_GROUP, false),
        (OWN, false),
        (OTHER_VIRTUAL, false),
        (VIRTUAL_OF_V6, false),
        (PEER, false),
    ] {
        assert_eq!(heard(Rules::VMAC, PEER, to), gets, "{to:02x?}");
    }
}

#[test]
fn a_macvlan_gets_all_that_is_sent_to_groups_from_its_own_mac_and_nothing_from_that_of_another() {
    for to in [GROUP, OTHER_GROUP, ALL] {
        assert!(heard(Rules::VMAC, VIRTUAL, to), "{to:02x?}");
        assert!(!heard(Rules::VMAC, OTHER_VIRTUAL, to), "{to:02x?}");
    }
}

/// v3-vmac-unicast: "destination MAC Group" from the virtual router's MAC was taken.
#[test]
fn an_interface_with_a_macvlan_gets_nothing_that_is_sent_to_groups_from_the_macvlans_mac() {
    for to in [GROUP, OTHER_GROUP, ALL] {
        assert!(!heard(Rules::VMAC_BESIDE, VIRTUAL, to), "{to:02x?}");
        assert!(heard(Rules::VMAC_BESIDE, PEER, to), "{to:02x?}");
    }
    assert!(heard(Rules::VMAC_BESIDE, VIRTUAL, OWN));
    assert!(!heard(Rules::VMAC_BESIDE, PEER, VIRTUAL));
}

#[test]
fn ipv6_has_macs_of_its_own() {
    let mut envelope = Envelope { family: FAMILY_V6, ..Envelope::default() };
    (envelope.dst[0], envelope.dst[1], envelope.dst[15]) = (0xff, 2, 0x12);
    let rules = Rules { flags: Rules::VMAC, ..Rules::default() };
    for (to, expected) in [([0x33, 0x33, 0, 0, 0, 0x12], true), ([0x33, 0x33, 0, 0, 0, 0x13], false)] {
        assert_eq!(gets(&link(PEER, to), &envelope, 7, &rules), expected, "{to:02x?}");
    }
    assert!(gets(&link(PEER, VIRTUAL_OF_V6), &envelope, 7, &rules));
    assert!(!gets(&link(PEER, VIRTUAL), &envelope, 7, &rules));
}
