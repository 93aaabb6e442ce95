//! Bytes that nobody would send.

use proptest::prelude::*;

use super::*;

fn any_rules() -> impl Strategy<Value = Rules> {
    (any::<u16>(), 0..5_u8, 0..4_u8, any::<u8>(), prop::sample::select(vec![0, 100, 200])).prop_map(
        |(flags, version, auth_type, vip_count, interval_cs)| Rules {
            flags,
            version,
            auth_type,
            vip_count,
            interval_cs,
            ..nothing()
        },
    )
}

/// Bytes behind an Ethernet header that lets them in, and often an IP header that says VRRP.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let noise =
        (prop::collection::vec(any::<u8>(), 60..400), any::<bool>(), any::<bool>()).prop_map(|(mut bytes, v6, ah)| {
            bytes[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
            bytes[14] = if v6 { 0x60 } else { 0x40 | bytes[14] & 15 };
            bytes[if v6 { 20 } else { 23 }] = if ah && !v6 { 51 } else { 112 };
            bytes
        });
    let bent = (0..4_usize, prop::collection::vec((14..200_usize, any::<u8>()), 0..4), 34..200_usize).prop_map(
        |(which, changes, keep)| {
            let advert = [
                Advert::v2(),
                Advert::v3(),
                Advert::v6(),
                Advert { auth: Auth::AhKey { key: SECRET, sequence: 1 }, ..Advert::v2() },
            ][which]
                .clone();
            let mut frame = advert.frame();
            for (at, byte) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(keep.max(20));
            frame
        },
    );
    prop_oneof![noise, bent]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_class_and_reason_belong_together(rules in any_rules(), frame in any_frame()) {
        if open(&frame, true).is_some() {
            let mut watch = watch(rules);
            let (judgement, _) = arrive(&mut watch, &frame, None);
            let reason = Reason::from_code(judgement.reason);
            prop_assert_eq!(judgement.class == Class::Peer, reason.is_none());
            prop_assert!(judgement.class != Class::Ours);
            prop_assert_eq!(watch.rules, rules, "nothing is learnt from what arrives");
        }
        if let Some((packet, envelope, header)) = open(&frame, false) {
            let frame = Frame { packet: &packet, envelope: &envelope, header };
            let (mut speaker, mut list) = (Speaker::default(), List::default());
            let mut watch = watch(rules);
            let sender = Sender { forwarded: false, vrrp_socket: true, cookie: 1 };
            let judgement = leaving(&frame, &sender, &rules, false, &mut speaker, &mut list);
            if judgement.class == Class::Ours {
                learn(&frame, &speaker, list.sum, &mut watch);
            }
        }
    }

    #[test]
    fn a_checksum_off_by_any_bit_is_found(bit in 0..16_usize, version in 2..4_u8, priority: u8) {
        let advert = Advert { version, priority, ..Advert::v2() };
        let mut frame = advert.frame();
        frame[VRRP + 6 + bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(judged(rules_like(&advert), &frame), rejected_for(Reason::Checksum));
    }
}
