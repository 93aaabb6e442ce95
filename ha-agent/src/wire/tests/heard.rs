//! What a socket such as keepalived's hears, and what the classifier says of it.

use std::net::Ipv4Addr;

use ha_agent_common::build::{Auth, checksum};

use super::rig::{Listener, MACS};
use super::*;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// What is expected of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Peer,
    Rejected(Reason),
    Unheard(Reason),
}

fn told(event: &WireEvent) -> (u8, Told) {
    match event {
        WireEvent::Advert { advert, .. } => (advert.priority, advert.refused.map_or(Told::Peer, Told::Rejected)),
        WireEvent::Invalid { frame, .. } => (frame.priority, Told::Unheard(frame.reason)),
        WireEvent::Lost { .. } => panic!("{event:?}"),
    }
}

fn tagged(mut frame: Vec<u8>, kind: u16, id: u8) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    frame.splice(12..12, [high, low, 0, id]);
    frame
}

fn with_header(mut frame: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    frame[14 + at] = byte;
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn flipped(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    frame[at] ^= 1;
    frame
}

/// A name, an advert, what is changed of its frame, and what is expected.
type Case = (&'static str, Frame, fn(Vec<u8>) -> Vec<u8>, Told);

/// Frames for a VRRPv2 instance of the usual group, and what becomes of each.
fn cases() -> Vec<Case> {
    use Told::{Peer, Rejected, Unheard};
    let base = Frame { source: "169.254.192.2".parse().unwrap(), ..Frame::v2() };
    let from = |source: [u8; 4]| Frame { source: source.into(), ..base.clone() };
    let options = |options: &[u8]| Frame { options: options.to_vec(), ..base.clone() };
    let same: fn(Vec<u8>) -> Vec<u8> = |frame| frame;
    vec![
        ("sound", base.clone(), same, Peer),
        ("to our own MAC", Frame { to_mac: Some(MACS[0]), ..base.clone() }, same, Peer),
        ("to all", Frame { to_mac: Some([0xff; 6]), ..base.clone() }, same, Peer),
        ("priority tag", base.clone(), |frame| tagged(frame, 0x8100, 0), Peer),
        ("priority tag of 802.1ad", base.clone(), |frame| tagged(frame, 0x88a8, 0), Peer),
        ("two priority tags", base.clone(), |frame| tagged(tagged(frame, 0x8100, 0), 0x8100, 0), Peer),
        ("no-operations", options(&[1, 1, 1]), same, Peer),
        ("record route", options(&[7, 7, 4, 0, 0, 0, 0]), same, Peer),
        ("router alert", options(&[148, 4, 0, 0]), same, Peer),
        ("timestamp", options(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]), same, Peer),
        ("on the link", from([169, 254, 200, 7]), same, Peer),
        ("from no address", from([0, 0, 0, 0]), same, Peer),
        ("TTL", Frame { ttl: 64, ..base.clone() }, same, Rejected(Reason::Ttl)),
        ("checksum", base.clone(), |frame| flipped(frame, 41), Rejected(Reason::Checksum)),
        ("version", Frame { version: 3, ..base.clone() }, same, Rejected(Reason::Version)),
        ("password", Frame { auth: Auth::Pass([1; 8]), ..base.clone() }, same, Rejected(Reason::Auth)),
        ("interval", Frame { interval_cs: 300, ..base.clone() }, same, Rejected(Reason::Interval)),
        ("addresses", Frame { addresses: vec![base.source], ..base.clone() }, same, Rejected(Reason::Addresses)),
        ("length", Frame { padding: 2, ..base.clone() }, same, Rejected(Reason::Length)),
        (
            "another host's",
            Frame { to_mac: Some([2, 0, 0, 0, 9, 9]), ..base.clone() },
            same,
            Unheard(Reason::OtherHost),
        ),
        (
            "a virtual router's",
            Frame { to_mac: Some([0, 0, 0x5e, 0, 1, 1]), ..base.clone() },
            same,
            Unheard(Reason::OtherHost),
        ),
        (
            "another group",
            Frame { destination: Ipv4Addr::new(224, 0, 0, 19).into(), ..base.clone() },
            same,
            Unheard(Reason::Destination),
        ),
        (
            "our address",
            Frame { destination: Ipv4Addr::new(169, 254, 192, 1).into(), to_mac: Some(MACS[0]), ..base.clone() },
            same,
            Unheard(Reason::Destination),
        ),
        ("header checksum", base.clone(), |frame| flipped(frame, 25), Unheard(Reason::Header)),
        ("total length", base.clone(), |frame| with_header(frame, 2, 5), Unheard(Reason::Header)),
        ("malformed option", options(&[7, 7, 5, 0, 0, 0, 0]), same, Unheard(Reason::Header)),
        ("label", options(&[134, 10, 0, 0, 0, 1, 1, 4, 0, 0]), same, Unheard(Reason::Header)),
        ("source route", options(&[131, 7, 8, 10, 0, 0, 1]), same, Unheard(Reason::SourceRoute)),
        ("from a group", from([224, 0, 0, 5]), same, Unheard(Reason::MartianSource)),
        ("from all", from([255; 4]), same, Unheard(Reason::MartianSource)),
        ("from the loopback", from([127, 0, 0, 1]), same, Unheard(Reason::MartianSource)),
        ("off the link", from([10, 66, 0, 1]), same, Unheard(Reason::MartianSource)),
        ("from us", from([169, 254, 192, 1]), same, Unheard(Reason::OwnSource)),
        ("authentication header", Frame { auth: Auth::Ah, ..base }, same, Unheard(Reason::Protocol)),
    ]
}

/// The classifier says of each frame what a socket such as keepalived's hears of it.
#[tokio::test]
#[ignore = "needs root"]
async fn privileged_the_classifier_hears_what_keepaliveds_socket_hears() {
    let pair = Pair::new("heard");
    pair.set(0, "ipv4/conf/ha0/rp_filter", 1);
    let mut rig = Rig::new(WireOptions::default());
    rig.wire.attach(pair.target(0, 1)).await.unwrap();
    let listener = rig.netns.run_in(pair.netns(0), || Listener::open("ha0", GROUP)).await.unwrap().unwrap();
    rig.vrrp_socket(pair.netns(0), "ha0", 112).await.send(&from_a(1, 50));
    rig.advert(|_, advert| advert.side == Side::Local).await;
    let mut expected = Vec::new();
    let cases = cases();
    assert!(cases.len() < 100, "each has a priority of its own");
    for (priority, (case, advert, change, expects)) in (101..).zip(cases) {
        let mac = [0x02, 0, 0, 0, 0xb, priority];
        rig.send(pair.netns(1), change(Frame { priority, mac, ..advert }.frame())).await;
        let event = rig.next().await;
        assert_eq!(told(&event), (priority, expects), "{case}");
        let seen = match event {
            WireEvent::Advert { advert, .. } => (advert.mac, advert.vlan),
            WireEvent::Invalid { frame, .. } => (frame.mac, frame.vlan),
            WireEvent::Lost { .. } => unreachable!("told apart above"),
        };
        assert_eq!(seen.0.map(|mac| mac.0), Some(mac), "{case}");
        assert_eq!(seen.1, case.contains("priority tag").then_some(0), "{case}");
        if !matches!(expects, Told::Unheard(_)) {
            expected.push(priority);
        }
    }
    // Another VLAN's is nobody's here, and is not even told.
    rig.send(pair.netns(1), tagged(Frame { priority: 99, ..Frame::v2() }.frame(), 0x8100, 5)).await;
    rig.send(pair.netns(1), Frame { priority: 254, source: "169.254.192.2".parse().unwrap(), ..Frame::v2() }.frame())
        .await;
    assert_eq!(told(&rig.next().await), (254, Told::Peer));
    assert_eq!(rig.wire.stats().tagged, 1);
    assert_eq!(listener.until(254), expected, "what the socket heard");
    rig.stop().await;
}

/// An answer about a source is asked for anew when something changed.
#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_doubted_source_is_asked_about_again() {
    let pair = Pair::new("doubt");
    let mut rig = Rig::new(WireOptions::default());
    rig.wire.attach(pair.target(0, 1)).await.unwrap();
    let stranger = Frame { source: Ipv4Addr::new(10, 66, 0, 1).into(), interval_cs: 25_500, ..Frame::v2() };
    rig.send(pair.netns(1), stranger.frame()).await;
    rig.advert(|_, advert| advert.side == Side::Foreign).await;
    assert_eq!(rig.wire.read(router(0, 1)).unwrap().speakers.len(), 1);
    pair.set(0, "ipv4/conf/ha0/rp_filter", 1);
    rig.wire.doubt_sources(router(0, 1));
    assert_eq!(rig.wire.read(router(0, 1)).unwrap().speakers.len(), 1, "as it was, until the answer comes");
    let WireEvent::Invalid { frame, .. } = rig.next().await else { panic!("a frame") };
    assert_eq!(frame.reason, Reason::MartianSource);
    assert!(rig.wire.read(router(0, 1)).unwrap().speakers.is_empty());
    rig.stop().await;
}

/// Over IPv6, where the kernel asks for no way back.
#[tokio::test]
#[ignore = "needs root"]
async fn privileged_ipv6_is_heard_by_its_group_and_its_sum() {
    let pair = Pair::new("v6");
    let mut rig = Rig::new(WireOptions::default());
    rig.wire.attach(Target { family: Family::V6, ..pair.target(0, 1) }).await.unwrap();
    let base = Frame::v6();
    let mut sum = base.frame();
    sum[14 + 46] ^= 1;
    let cases = [
        (base.frame(), Told::Peer),
        (Frame { source: "2001:db8::1".parse().unwrap(), ..base.clone() }.frame(), Told::Peer),
        (Frame { ttl: 64, ..base.clone() }.frame(), Told::Rejected(Reason::Ttl)),
        (sum, Told::Unheard(Reason::Checksum)),
        (
            Frame { destination: "ff02::13".parse().unwrap(), ..base.clone() }.frame(),
            Told::Unheard(Reason::Destination),
        ),
        (Frame { source: "::1".parse().unwrap(), ..base }.frame(), Told::Unheard(Reason::MartianSource)),
    ];
    for (frame, expects) in cases {
        rig.send(pair.netns(1), frame).await;
        assert_eq!(told(&rig.next().await).1, expects);
    }
    rig.stop().await;
}
