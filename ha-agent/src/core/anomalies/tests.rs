use super::*;

#[test]
fn every_reason_names_one_disagreement() {
    let foreign = [Reason::Addresses, Reason::Version, Reason::Auth, Reason::Mode, Reason::PeerSource];
    for reason in foreign {
        assert_eq!(named_by(reason), AnomalyKind::ForeignMaster, "{reason:?}");
    }
    assert_eq!(named_by(Reason::Interval), AnomalyKind::AdvertIntervalMismatch);
    for reason in [Reason::Password, Reason::PeerTtl, Reason::OtherHost, Reason::Forwarded, Reason::Contradiction] {
        assert_eq!(named_by(reason), AnomalyKind::ForgedAdvert, "{reason:?}");
    }
}

#[test]
fn the_newest_frame_is_the_one_that_is_named() {
    let frame = |priority, at| Frame {
        side: crate::core::model::Side::Foreign,
        source: std::net::Ipv4Addr::new(169, 254, 192, 9).into(),
        mac: None,
        vlan: None,
        reason: Reason::Checksum,
        priority,
        ttl: 255,
        at: Mono(at),
    };
    let mut anomalies = Anomalies::default();
    for (priority, at) in [(1, 10), (2, 30), (3, 20)] {
        anomalies.forged(frame(priority, at));
    }
    assert_eq!(anomalies.last_forged, Some(frame(2, 30)));
}
