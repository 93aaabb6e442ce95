use super::*;

const ALL: [Reason; 28] = [
    Reason::Ttl,
    Reason::Checksum,
    Reason::Length,
    Reason::Type,
    Reason::Version,
    Reason::Auth,
    Reason::Password,
    Reason::Icv,
    Reason::Sequence,
    Reason::Interval,
    Reason::Addresses,
    Reason::Mode,
    Reason::PeerSource,
    Reason::PeerTtl,
    Reason::OtherHost,
    Reason::Destination,
    Reason::Header,
    Reason::SourceRoute,
    Reason::MartianSource,
    Reason::OwnSource,
    Reason::Protocol,
    Reason::Forwarded,
    Reason::NotVrrpSocket,
    Reason::LocalSource,
    Reason::LocalTtl,
    Reason::SecondSender,
    Reason::StrangerResigned,
    Reason::Contradiction,
];

#[test]
fn the_word_of_a_reason_is_what_serde_writes() {
    for reason in ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
}

#[test]
fn what_keepalived_reads_is_rejected_and_what_it_never_gets_is_unheard() {
    let count = |standing| ALL.into_iter().filter(|reason| reason.standing() == standing).count();
    assert_eq!([Standing::Rejected, Standing::Unheard, Standing::Taken].map(count), [14, 12, 2]);
    assert_eq!(Reason::PeerTtl.standing(), Standing::Rejected);
    assert_eq!(Reason::OtherHost.standing(), Standing::Unheard);
}

#[test]
fn a_mac_is_written_as_text_and_read_again() {
    let mac = Mac([0, 0, 0x5e, 0, 1, 0xff]);
    assert_eq!(mac.to_string(), "00:00:5e:00:01:ff");
    assert_eq!(serde_json::to_value(mac).unwrap(), "00:00:5e:00:01:ff");
    assert_eq!(serde_json::from_str::<Mac>("\"00:00:5e:00:01:ff\"").unwrap(), mac);
    for wrong in
        ["", "00:00:5e:00:01", "00:00:5e:00:01:ff:00", "0:0:5e:0:1:ff", "00:00:5e:00:01:+f", "é0:00:5e:00:01:f"]
    {
        assert_eq!(wrong.parse::<Mac>(), Err(()), "{wrong}");
    }
}
