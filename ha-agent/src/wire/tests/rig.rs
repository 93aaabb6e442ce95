//! Two namespaces, a loaded classifier, and sockets that send.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::advert_rules::AdvertRules;

/// Two namespaces joined by a veth pair called `ha0` in both; gone with the test.
pub(in crate::wire) struct Pair {
    pub(in crate::wire) names: [String; 2],
}

/// The MACs of `ha0`.
pub(in crate::wire) const MACS: [[u8; 6]; 2] = [[0x02, 0, 0, 0, 0xa, 0], [0x02, 0, 0, 0, 0xb, 0]];

pub(in crate::wire) fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output().unwrap();
    assert!(done.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl Pair {
    pub(in crate::wire) fn new(tag: &str) -> Self {
        let names = ["a", "b"].map(|end| format!("haw-{tag}-{}-{end}", std::process::id()));
        let pair = Self { names };
        for name in &pair.names {
            ip(&["netns", "add", name]);
        }
        pair.join();
        pair
    }

    pub(in crate::wire) fn join(&self) {
        let [a, b] = &self.names;
        ip(&["-n", a, "link", "add", "ha0", "type", "veth", "peer", "name", "ha0", "netns", b]);
        for (end, address) in [(0, "169.254.192.1/18"), (1, "169.254.192.2/18")] {
            let name = self.names[end].as_str();
            ip(&["-n", name, "link", "set", "ha0", "address", &mac_text(MACS[end])]);
            ip(&["-n", name, "addr", "add", address, "dev", "ha0"]);
            ip(&["-n", name, "link", "set", "ha0", "up"]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
            self.set(end, "ipv4/conf/all/rp_filter", 0);
            self.set(end, "ipv4/conf/ha0/rp_filter", 0);
        }
    }

    /// Sets a value of `/proc/sys/net`.
    pub(in crate::wire) fn set(&self, end: usize, name: &str, value: u8) {
        let script = format!("echo {value} > /proc/sys/net/{name}");
        ip(&["netns", "exec", &self.names[end], "sh", "-c", &script]);
    }

    pub(in crate::wire) fn netns(&self, end: usize) -> Netns {
        Netns::Path(PathBuf::from("/run/netns").join(&self.names[end]))
    }

    pub(in crate::wire) fn target(&self, end: usize, vrid: u8) -> Target {
        Target {
            through: None,
            router: router(end, vrid),
            netns: self.netns(end),
            interface: "ha0".to_owned(),
            vrid,
            family: Family::V4,
            vip: IpAddr::from([169, 254, 0, 1]),
            rules: AdvertRules::default(),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            let _gone = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

pub(in crate::wire) fn router(end: usize, vrid: u8) -> RouterId {
    RouterId(Uuid::from_u128(((end as u128) << 8) | u128::from(vrid)))
}

pub(in crate::wire) struct Rig {
    pub(in crate::wire) wire: Wire,
    pub(in crate::wire) netns: NetnsThread,
    pub(in crate::wire) events: mpsc::Receiver<WireEvent>,
    pub(in crate::wire) registry: Registry,
}

impl Rig {
    pub(in crate::wire) fn new(options: WireOptions) -> Self {
        let netns = NetnsThread::spawn(CancellationToken::new()).unwrap();
        let (sender, events) = mpsc::channel(1024);
        let mut registry = Registry::default();
        let wire = Wire::start(options, netns.clone(), sender, &mut registry, CancellationToken::new()).unwrap();
        Self { wire, netns, events, registry }
    }

    pub(in crate::wire) async fn next(&mut self) -> WireEvent {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv())
            .await
            .expect("an event within 20 s")
            .expect("the reader runs")
    }

    /// The next advert that fits; others are passed over.
    pub(in crate::wire) async fn advert(&mut self, fits: impl Fn(RouterId, &Advert) -> bool) -> Advert {
        loop {
            if let WireEvent::Advert { router, advert } = self.next().await
                && fits(router, &advert)
            {
                return advert;
            }
        }
    }

    /// Sends a frame out of `ha0` of one end, by a packet socket.
    pub(in crate::wire) async fn send(&self, netns: Netns, frame: Vec<u8>) {
        self.netns.run_in(netns, move || send_raw("ha0", &[frame])).await.unwrap().unwrap();
    }

    /// A socket as keepalived sends by.
    pub(in crate::wire) async fn vrrp_socket(
        &self,
        netns: Netns,
        interface: &'static str,
        protocol: i32,
    ) -> VrrpSocket {
        self.netns.run_in(netns, move || VrrpSocket::open(interface, protocol)).await.unwrap().unwrap()
    }

    pub(in crate::wire) async fn stop(self) {
        self.wire.stop().await;
        self.netns.stop().await;
    }
}

pub(in crate::wire) fn send_raw(interface: &str, frames: &[Vec<u8>]) -> std::io::Result<()> {
    use rustix::net::netdevice::name_to_index;
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let index = name_to_index(&socket, interface)?;
    let mut storage = socket2::SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` fits into the storage and any bytes are a value of it.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index.cast_signed();
    address.sll_halen = 6;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage was filled as a `sockaddr_ll` of this length.
    let address = unsafe { socket2::SockAddr::new(storage, length) };
    // One socket for all: closing one waits for the kernel's readers.
    for frame in frames {
        socket.send_to(frame, &address)?;
    }
    Ok(())
}

pub(in crate::wire) fn from_a(vrid: u8, priority: u8) -> Frame {
    Frame { vrid, priority, ..Frame::v2() }
}

/// A raw IPv4 socket that makes its own IP headers.
pub(in crate::wire) struct VrrpSocket(Socket);

impl VrrpSocket {
    pub(in crate::wire) fn open(interface: &str, protocol: i32) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(protocol)))?;
        socket.set_header_included_v4(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_multicast_loop_v4(false)?;
        Ok(Self(socket))
    }

    /// Has the IP layer loop back what is sent to a group.
    pub(in crate::wire) fn looped(self) -> Self {
        self.0.set_multicast_loop_v4(true).unwrap();
        self
    }

    pub(in crate::wire) fn send(&self, advert: &Frame) {
        let IpAddr::V4(to) = advert.destination else { panic!("{advert:?}") };
        self.0.send_to(&advert.packet(), &SocketAddrV4::new(to, 0).into()).unwrap();
    }
}

/// A socket as keepalived listens by: for the group, on one device.
pub(in crate::wire) struct Listener(Socket);

impl Listener {
    pub(in crate::wire) fn open(interface: &str, group: Ipv4Addr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112)))?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        let none: libc::c_int = 0;
        // SAFETY: the pointer is to an integer of the length that is given.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_MULTICAST_ALL,
                (&raw const none).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if done != 0 {
            return Err(std::io::Error::last_os_error());
        }
        socket.join_multicast_v4_n(&group, &socket2::InterfaceIndexOrAddress::Index(index))?;
        socket.bind(&SocketAddrV4::new(group, 0).into())?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self(socket))
    }

    /// Priorities of what was heard, up to the advert of this priority.
    pub(in crate::wire) fn until(&self, last: u8) -> Vec<u8> {
        use std::io::Read as _;
        let mut heard = Vec::new();
        let mut packet = [0; 2048];
        loop {
            let length = (&self.0).read(&mut packet).expect("the last advert within 20 s");
            let header = usize::from(packet[0] & 15) * 4;
            assert!(length >= header + 8);
            let priority = packet[header + 2];
            if priority == last {
                return heard;
            }
            heard.push(priority);
        }
    }
}
