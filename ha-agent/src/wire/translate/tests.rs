use std::net::IpAddr;

use ha_agent_common::{EGRESS, FAMILY_V4, FAMILY_V6, RECORD_CHANGED, SPEAKER_UNICAST};
use uuid::Uuid;

use super::*;

fn speaker(last: u8) -> Speaker {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&[169, 254, 192, last]);
    Speaker {
        run_since_ns: 10,
        last_seen_ns: 20,
        adverts: 9,
        run_adverts: 3,
        vips_hash: 77,
        src,
        interval_cs: 200,
        priority: 50,
        version: 2,
        vip_count: 1,
        auth_type: 1,
        auth_data: *b"secret\0\0",
        last_priority: 40,
        ..Speaker::default()
    }
}

fn record(speaker: Speaker, direction: u8) -> Record {
    Record { speaker, watch: 1, kind: RECORD_CHANGED, direction, family: FAMILY_V4, invalid: 0, ttl: 255, pad: [0; 7] }
}

fn router() -> RouterId {
    RouterId(Uuid::from_u128(1))
}

#[test]
fn a_speaker_keeps_every_field() {
    let advert = advert(&speaker(1), FAMILY_V4, Side::Foreign);
    assert_eq!(
        advert,
        Advert {
            side: Side::Foreign,
            refused: None,
            source: "169.254.192.1".parse().unwrap(),
            mac: None,
            vlan: None,
            sender: 0,
            content: 77,
            priority: 50,
            interval: Duration::from_secs(2),
            version: 2,
            vip_count: 1,
            ttl: 255,
            run_since: Mono(10),
            at: Mono(20),
            run_adverts: 3,
        }
    );
    let v6 = Speaker { src: [0xfe; 16], ..speaker(1) };
    assert!(matches!(super::advert(&v6, FAMILY_V6, Side::Local).source, IpAddr::V6(_)));
}

#[test]
fn own_source_from_outside_is_no_advert() {
    let own = speaker(1);
    let other = event(router(), &record(speaker(2), INGRESS), Some(&own));
    assert!(matches!(other, Some(WireEvent::Advert { .. })));
    let forged = event(router(), &record(own, INGRESS), Some(&own));
    let Some(WireEvent::Invalid { frame, .. }) = forged else {
        panic!("{forged:?}");
    };
    assert_eq!((frame.reason, frame.side), (Reason::OwnSource, Side::Foreign));
    // Leaving, it is our own advert.
    let leaving = event(router(), &record(own, EGRESS), Some(&own));
    assert!(matches!(leaving, Some(WireEvent::Advert { .. })));
}

#[test]
fn unicast_is_heard_only_by_a_unicast_speaker() {
    let unicast = |last| Speaker { flags: SPEAKER_UNICAST, ..speaker(last) };
    let heard = |local: Option<&Speaker>| event(router(), &record(unicast(2), INGRESS), local).is_some();
    assert!(!heard(Some(&speaker(1))));
    assert!(heard(Some(&unicast(1))));
    assert!(heard(None));
}

#[test]
fn every_fault_has_its_reason() {
    let cases = [
        (INVALID_TTL, Reason::Ttl),
        (INVALID_CHECKSUM, Reason::Checksum),
        (INVALID_LENGTH, Reason::Length),
        (INVALID_TYPE, Reason::Type),
        (INVALID_VERSION, Reason::Version),
        (INVALID_AUTH, Reason::Auth),
    ];
    for (code, expected) in cases {
        let record = Record { kind: RECORD_INVALID, invalid: code, ttl: 7, ..record(speaker(2), INGRESS) };
        let Some(WireEvent::Invalid { frame, .. }) = event(router(), &record, None) else {
            panic!("{code}");
        };
        assert_eq!((frame.reason, frame.ttl, frame.at), (expected, 7, Mono(20)));
    }
}
