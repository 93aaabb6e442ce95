//! What leaves and is ours, and what leaves and is not.

use std::net::Ipv4Addr;

use ha_agent_common::build::Auth;

use super::rig::MACS;
use super::*;

/// Something about a frame that leaves: the sender of ours, or why it is not.
async fn leaving(rig: &mut Rig) -> Result<u64, Reason> {
    loop {
        match rig.next().await {
            WireEvent::Advert { advert, .. } if advert.side == Side::Local => return Ok(advert.sender),
            WireEvent::Invalid { frame, .. } if frame.side == Side::Local => return Err(frame.reason),
            _ => {}
        }
    }
}

async fn attached(tag: &str) -> (Pair, Rig) {
    let pair = Pair::new(tag);
    let rig = Rig::new(WireOptions::default());
    rig.wire.attach(pair.target(0, 1)).await.unwrap();
    (pair, rig)
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_socket_for_vrrp_is_ours_and_another_one_is_told_apart() {
    let (pair, mut rig) = attached("sock").await;
    let one = rig.vrrp_socket(pair.netns(0), "ha0", 112).await;
    let two = rig.vrrp_socket(pair.netns(0), "ha0", 112).await;
    one.send(&from_a(1, 50));
    let first = leaving(&mut rig).await.unwrap();
    assert_ne!(first, 0);
    two.send(&from_a(1, 50));
    let second = leaving(&mut rig).await.unwrap();
    assert_ne!(first, second);
    one.send(&from_a(1, 50));
    assert_eq!(leaving(&mut rig).await, Ok(first));
    let judged = rig.wire.judged(router(0, 1)).unwrap();
    assert_eq!((judged.ours, judged.unheard), (3, 0));
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_an_authentication_header_is_ours_by_a_socket_of_its_protocol() {
    let (pair, mut rig) = attached("ah").await;
    let socket = rig.vrrp_socket(pair.netns(0), "ha0", 51).await;
    let advert = Frame { auth: Auth::AhKey { key: *b"secret\0\0", sequence: 4 }, ..from_a(1, 50) };
    socket.send(&advert);
    assert!(leaving(&mut rig).await.is_ok());
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_what_other_sockets_send_is_not_ours() {
    let (pair, mut rig) = attached("other").await;
    rig.send(pair.netns(0), from_a(1, 99).frame()).await;
    assert_eq!(leaving(&mut rig).await, Err(Reason::NotVrrpSocket), "a packet socket");
    // IPPROTO_RAW: whatever header it likes.
    rig.vrrp_socket(pair.netns(0), "ha0", 255).await.send(&from_a(1, 99));
    assert_eq!(leaving(&mut rig).await, Err(Reason::NotVrrpSocket), "a raw socket for all protocols");
    let socket = rig.vrrp_socket(pair.netns(0), "ha0", 112).await;
    socket.send(&Frame { ttl: 64, ..from_a(1, 99) });
    assert_eq!(leaving(&mut rig).await, Err(Reason::LocalTtl));
    socket.send(&Frame { source: "169.254.192.99".parse().unwrap(), ..from_a(1, 99) });
    assert_eq!(leaving(&mut rig).await, Err(Reason::LocalSource));
    socket.send(&from_a(1, 50));
    assert!(leaving(&mut rig).await.is_ok());
    let reading = rig.wire.read(router(0, 1)).unwrap();
    assert_eq!(reading.speakers.len(), 1);
    assert_eq!(reading.speakers[0].priority, 50);
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_what_is_forwarded_is_not_ours() {
    let (pair, mut rig) = attached("fwd").await;
    pair.set(0, "ipv4/ip_forward", 1);
    // A hairpin: to our MAC, and on to where it came from.
    let hairpin = Frame {
        source: Ipv4Addr::new(169, 254, 192, 77).into(),
        destination: Ipv4Addr::new(169, 254, 192, 2).into(),
        to_mac: Some(MACS[0]),
        ..from_a(1, 99)
    };
    rig.send(pair.netns(1), hairpin.frame()).await;
    let WireEvent::Invalid { frame, .. } = rig.next().await else { panic!("it arrives") };
    // Nothing is known of the mode: a single address might be ours, but it is not.
    assert_eq!((frame.side, frame.reason), (Side::Local, Reason::Forwarded));
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_our_own_advert_that_is_looped_back_is_nobody_elses() {
    let (pair, mut rig) = attached("loop").await;
    let socket = rig.vrrp_socket(pair.netns(0), "ha0", 112).await.looped();
    for priority in [50, 51] {
        socket.send(&from_a(1, priority));
        assert!(leaving(&mut rig).await.is_ok());
    }
    let judged = rig.wire.judged(router(0, 1)).unwrap();
    assert_eq!((judged.ours, judged.peers, judged.rejected, judged.unheard), (2, 0, 0, 0));
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_an_advert_by_a_virtual_mac_is_ours() {
    let (pair, mut rig) = attached("vmac").await;
    let name = pair.names[0].as_str();
    ip(&["-n", name, "link", "add", "vrrp.1", "link", "ha0", "address", "00:00:5e:00:01:01", "type", "macvlan"]);
    ip(&["-n", name, "link", "set", "vrrp.1", "up"]);
    rig.vrrp_socket(pair.netns(0), "vrrp.1", 112).await.send(&from_a(1, 50));
    assert!(leaving(&mut rig).await.is_ok());
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_another_address_of_ours_counts_from_its_first_advert_on() {
    let (pair, mut rig) = attached("resrc").await;
    let socket = rig.vrrp_socket(pair.netns(0), "ha0", 112).await;
    socket.send(&from_a(1, 50));
    assert!(leaving(&mut rig).await.is_ok());
    // As after a reload with another `mcast_src_ip`.
    ip(&["-n", &pair.names[0], "addr", "add", "169.254.192.7/18", "dev", "ha0"]);
    let moved: IpAddr = "169.254.192.7".parse().unwrap();
    for priority in [51, 52] {
        socket.send(&Frame { source: moved, ..from_a(1, priority) });
        assert!(leaving(&mut rig).await.is_ok());
        let reading = rig.wire.read(router(0, 1)).unwrap();
        let speakers: Vec<_> = reading.speakers.iter().map(|speaker| (speaker.source, speaker.priority)).collect();
        assert_eq!(speakers, [(moved, priority)]);
    }
    // The program passed over one of them, which the agent has made up for.
    let judged = rig.wire.judged(router(0, 1)).unwrap();
    assert_eq!((judged.ours, judged.unheard), (2, 1));
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_nothing_is_learned_from_a_source_that_is_not_ours() {
    let (pair, mut rig) = attached("learn").await;
    let socket = rig.vrrp_socket(pair.netns(0), "ha0", 112).await;
    let stranger = Frame { source: "169.254.192.99".parse().unwrap(), ..Frame::v3() };
    socket.send(&stranger);
    assert_eq!(leaving(&mut rig).await, Err(Reason::LocalSource));
    let peer = Frame { source: "169.254.192.2".parse().unwrap(), ..Frame::v2() };
    rig.send(pair.netns(1), peer.frame()).await;
    let heard = rig.advert(|_, advert| advert.side == Side::Foreign).await;
    assert_eq!(heard.refused, None, "another version would be refused");
    // The control: ours does show the version.
    socket.send(&Frame { source: "169.254.192.1".parse().unwrap(), ..Frame::v3() });
    assert!(leaving(&mut rig).await.is_ok());
    rig.send(pair.netns(1), Frame { priority: 60, ..peer }.frame()).await;
    let heard = rig.advert(|_, advert| advert.side == Side::Foreign && advert.priority == 60).await;
    assert_eq!(heard.refused, Some(Reason::Version));
    // Nor is what was ours forgotten for it.
    socket.send(&stranger);
    assert_eq!(leaving(&mut rig).await, Err(Reason::LocalSource));
    let reading = rig.wire.read(router(0, 1)).unwrap();
    let ours = reading.speakers.iter().find(|speaker| speaker.side == Side::Local).map(|speaker| speaker.source);
    assert_eq!(ours, Some("169.254.192.1".parse().unwrap()));
    rig.stop().await;
}
