use ha_agent_common::{Class, EGRESS, FAMILY_V4, FAMILY_V6, RECORD_CHANGED};
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
        list: 76,
        content: 77,
        sender: 78,
        src,
        mac: [2, 0, 0, 0, 0, 1],
        vlan: 0,
        interval_cs: 200,
        priority: 50,
        version: 2,
        vip_count: 1,
        auth_type: 1,
        ttl: 255,
        ..Speaker::default()
    }
}

fn record(speaker: Speaker, direction: u8, class: Class) -> Record {
    Record {
        speaker,
        watch: 1,
        kind: RECORD_CHANGED,
        direction,
        family: FAMILY_V4,
        class: class as u8,
        reason: speaker.refused,
        pad: [0; 7],
    }
}

fn router() -> RouterId {
    RouterId(Uuid::from_u128(1))
}

fn expected() -> Advert {
    Advert {
        side: Side::Foreign,
        refused: None,
        source: "169.254.192.1".parse().unwrap(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        vlan: Some(0),
        sender: 78,
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
}

#[test]
fn a_speaker_keeps_every_field() {
    assert_eq!(advert(&speaker(1), FAMILY_V4, Side::Foreign), expected());
    let v6 = Speaker { src: [0xfe; 16], ..speaker(1) };
    assert_eq!(advert(&v6, FAMILY_V6, Side::Local).source, IpAddr::from([0xfe; 16]));
    let bare = Speaker { mac: [0; 6], vlan: NO_VLAN, ..speaker(1) };
    let advert = advert(&bare, FAMILY_V4, Side::Local);
    assert_eq!((advert.mac, advert.vlan), (None, None));
}

#[test]
fn a_record_of_a_speaker_is_an_advert() {
    let told = event(router(), &record(speaker(1), INGRESS, Class::Peer));
    assert_eq!(told, Some(WireEvent::Advert { router: router(), advert: expected() }));
    let refused = Speaker { refused: kernel::Reason::Password as u8, ..speaker(1) };
    let Some(WireEvent::Advert { advert, .. }) = event(router(), &record(refused, INGRESS, Class::Rejected)) else {
        panic!("an advert");
    };
    assert_eq!(advert, Advert { refused: Some(Reason::Password), ..expected() });
    let Some(WireEvent::Advert { advert, .. }) = event(router(), &record(speaker(1), EGRESS, Class::Ours)) else {
        panic!("an advert");
    };
    assert_eq!(advert.side, Side::Local);
}

#[test]
fn a_record_of_a_frame_is_one_with_its_reason() {
    for code in kernel::Reason::ALL {
        let frame = Record {
            kind: RECORD_FRAME,
            reason: *code as u8,
            ..record(Speaker { ttl: 7, ..speaker(2) }, INGRESS, Class::Unheard)
        };
        let Some(WireEvent::Invalid { frame, .. }) = event(router(), &frame) else {
            panic!("{code:?}");
        };
        // The core's words are the classifier's.
        assert_eq!(format!("{:?}", frame.reason), format!("{code:?}"));
        assert_eq!((frame.side, frame.ttl, frame.at, frame.priority), (Side::Foreign, 7, Mono(20), 50));
        assert_eq!((frame.source, frame.vlan), ("169.254.192.2".parse().unwrap(), Some(0)));
    }
    let without = Record { kind: RECORD_FRAME, reason: 0, ..record(speaker(2), EGRESS, Class::Unheard) };
    assert_eq!(event(router(), &without), None);
}
