//! A device whose frames have no header of their own: tun.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use super::*;

/// Opens `tun0` in the thread's namespace; what is written to it arrives there.
fn open_tun() -> std::io::Result<fs::File> {
    let file = fs::File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all zero is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (into, byte) in request.ifr_name.iter_mut().zip(*b"tun0") {
        *into = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request is an `ifreq`, valid for reads and writes.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(file)
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_device_without_ethernet_is_seen() {
    let pair = Pair::new("tun");
    let mut rig = Rig::new(WireOptions::default());
    let mut tun = rig.netns.run_in(pair.netns(0), open_tun).await.unwrap().unwrap();
    let name = pair.names[0].as_str();
    ip(&["-n", name, "addr", "add", "10.77.0.1/24", "dev", "tun0"]);
    ip(&["-n", name, "link", "set", "tun0", "up"]);
    pair.set(0, "ipv4/conf/tun0/rp_filter", 1);
    rig.wire.attach(Target { interface: "tun0".to_owned(), ..pair.target(0, 1) }).await.unwrap();
    let at = |last, priority| Frame { source: Ipv4Addr::new(10, 77, 0, last).into(), ..from_a(1, priority) };
    rig.vrrp_socket(pair.netns(0), "tun0", 112).await.send(&at(1, 50));
    let own = rig.advert(|_, _| true).await;
    assert_eq!((own.side, own.priority), (Side::Local, 50));
    tun.write_all(&at(2, 60).packet()).unwrap();
    let peer = rig.advert(|_, _| true).await;
    assert_eq!((peer.side, peer.priority, peer.refused), (Side::Foreign, 60, None));
    assert_eq!((peer.mac, peer.vlan), (None, None));
    tun.write_all(&Frame { ttl: 64, ..at(2, 61) }.packet()).unwrap();
    assert_eq!(rig.advert(|_, _| true).await.refused, Some(Reason::Ttl));
    tun.write_all(&Frame { source: Ipv4Addr::new(10, 78, 0, 2).into(), ..at(2, 62) }.packet()).unwrap();
    let WireEvent::Invalid { frame, .. } = rig.next().await else { panic!("a frame") };
    assert_eq!((frame.reason, frame.mac), (Reason::MartianSource, None));
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_device_of_another_kind_is_refused_in_words() {
    let pair = Pair::new("kind");
    let rig = Rig::new(WireOptions::default());
    // An address family of its own: its frames begin with a header that is not Ethernet's.
    let added =
        Command::new("ip").args(["-n", &pair.names[0], "link", "add", "odd0", "type", "vcan"]).output().unwrap();
    if added.status.success() {
        let refused = rig.wire.attach(Target { interface: "odd0".to_owned(), ..pair.target(0, 1) }).await;
        assert!(matches!(refused, Err(WireError::UnknownLink { .. })), "{refused:?}");
    }
    rig.stop().await;
}
