//! Many routers on one machine: a namespace each, with an HA interface that has carrier, and what
//! a keepalived would do there done by us, because a thousand keepaliveds do not fit.
//!
//! The order is keepalived's: becoming primary is an advert, then the VIP, then an advert every
//! 2 s; leaving is an advert of priority 0, then the VIP is removed.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::guardian::Trace;
use crate::lab::Lab;
use crate::neutron::Wanted;
use anyhow::{Context, Result, bail, ensure};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};
use uuid::Uuid;

/// The HA interface, the same in every namespace.
pub const INTERFACE: &str = "ha-bench";
/// The other end of the veth pair, in the same namespace: it gives carrier and hears nothing.
const PEER: &str = "peer";
/// The HA interface's own address.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 192, 1);
const ADDRESS_PREFIX: u8 = 18;
/// The VIP that Neutron gives VRID 1.
pub const VIP: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
/// The prefix length that Neutron gives it.
pub const VIP_PREFIX: u8 = 24;
/// The same everywhere: every namespace is its own network.
pub const VRID: u8 = 1;
/// Neutron's.
const PRIORITY: u8 = 50;
/// Between two adverts of a router, as Neutron configures it.
pub const ADVERT_INTERVAL: Duration = Duration::from_secs(2);
/// RFC 9568 section 5.1.1.2.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// IP protocol of VRRP.
const VRRP: i32 = 112;

/// One router.
#[derive(Debug)]
pub struct Place {
    /// Its id.
    pub id: Uuid,
    /// Its namespace, by name.
    pub netns: String,
    interface: u32,
    netlink: netlink_sys::Socket,
    wire: Socket,
    /// Whether it advertises; held while an advert is sent, so that none comes after the last one.
    primary: Mutex<bool>,
}

/// The routers, and who advertises for them.
#[derive(Debug)]
pub struct Bed {
    places: Arc<Vec<Place>>,
    stop: Arc<AtomicBool>,
    advertiser: Option<JoinHandle<()>>,
}

impl Bed {
    /// As many routers, all backup: no VIP, no adverts.
    ///
    /// # Errors
    /// When a namespace or an interface cannot be made.
    pub fn build(lab: &Lab, name: &str, routers: u16) -> Result<Self> {
        let family = format!("{}-{name}-", lab.folder().file_name().and_then(|name| name.to_str()).context("a name")?);
        let names: Vec<String> = (0..routers).map(|number| format!("{family}{number}")).collect();
        lab.guardian().make(|notes| {
            notes.note(Trace::Family(&family));
            batch(&names)
        })?;
        // A thread of its own goes from namespace to namespace and never comes back.
        let places = thread::spawn(move || names.into_iter().map(Place::furnish).collect::<Result<Vec<_>>>())
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that furnishes the namespaces panicked"))??;
        let (places, stop) = (Arc::new(places), Arc::new(AtomicBool::new(false)));
        let advertiser = thread::spawn({
            let (places, stop) = (Arc::clone(&places), Arc::clone(&stop));
            move || advertise(&places, &stop)
        });
        Ok(Self { places, stop, advertiser: Some(advertiser) })
    }

    /// The routers as sections of the agent's configuration.
    pub fn sections(&self) -> String {
        let section = |place: &Place| {
            format!(
                "[[router]]\nid = \"{}\"\nnetns = \"{}\"\ninterface = \"{INTERFACE}\"\n\
                 vip = \"{VIP}/{VIP_PREFIX}\"\nvrid = {VRID}\nadvert_interval = \"{}s\"\n",
                place.id,
                place.netns,
                ADVERT_INTERVAL.as_secs()
            )
        };
        self.places.iter().map(section).collect()
    }

    /// The routers.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(advertiser) = self.advertiser.take() {
            let _ = advertiser.join();
        }
    }
}

/// Adverts of those that are primary, spread evenly over the interval as unrelated keepaliveds are.
fn advertise(places: &[Place], stop: &AtomicBool) {
    let begin = Instant::now();
    let step = ADVERT_INTERVAL / u32::try_from(places.len().max(1)).unwrap_or(u32::MAX);
    let mut due = Duration::ZERO;
    for place in places.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        // The interval of a lone router is long: the end must not wait for it.
        while let Some(left) = due.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        due += step;
        let primary = place.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if *primary {
            // An advert that is not sent shows in the figures: the router is then silent.
            let _ = place.advert(PRIORITY);
        }
    }
}

/// All namespaces by one `ip`.
fn batch(names: &[String]) -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("starting ip")?;
    {
        let mut pipe = ip.stdin.take().context("the pipe to ip")?;
        for name in names {
            writeln!(pipe, "netns add {name}").context("writing to ip")?;
        }
    }
    let status = ip.wait().context("waiting for ip")?;
    ensure!(status.success(), "ip could not make {} namespaces: {status}", names.len());
    Ok(())
}

impl Place {
    /// What Neutron's code has to know to write this router.
    pub fn wanted(&self) -> Wanted {
        Wanted { id: self.id, vrid: VRID, interface: INTERFACE.to_owned(), address: ADDRESS.to_string() }
    }

    /// Makes the interface and opens the sockets; leaves this thread in the namespace.
    fn furnish(netns: String) -> Result<Self> {
        let file = File::open(Path::new("/run/netns").join(&netns)).with_context(|| format!("opening {netns}"))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("entering {netns}"))?;
        // Its frames would be measured too. Where that cannot be written it does little harm.
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
        let mut netlink = netlink_sys::Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
        netlink.bind_auto().context("binding a netlink socket")?;
        let create = NLM_F_CREATE | NLM_F_EXCL;
        ask(&netlink, RouteNetlinkMessage::NewLink(veth()), create).context("creating the HA interface")?;
        for end in [PEER, INTERFACE] {
            ask(&netlink, RouteNetlinkMessage::SetLink(up(end)), 0).with_context(|| format!("setting {end} up"))?;
        }
        let wire = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP))).context("opening a raw socket")?;
        let interface = rustix::net::netdevice::name_to_index(&wire, INTERFACE).context("the HA interface's index")?;
        ask(&netlink, RouteNetlinkMessage::NewAddress(address(interface, ADDRESS, ADDRESS_PREFIX)), create)
            .context("setting the HA interface's address")?;
        wire.bind_device(Some(INTERFACE.as_bytes()))?;
        wire.set_multicast_if_v4(&ADDRESS)?;
        wire.set_multicast_ttl_v4(255)?;
        wire.set_multicast_loop_v4(false)?;
        Ok(Self { id: Uuid::new_v4(), netns, interface, netlink, wire, primary: Mutex::new(false) })
    }

    /// As keepalived: an advert, then the VIP. Gives when the kernel was asked for the VIP.
    ///
    /// # Errors
    /// When the advert or the VIP is refused.
    pub fn become_primary(&self) -> Result<Instant> {
        let mut primary = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        self.advert(PRIORITY)?;
        *primary = true;
        drop(primary);
        let asked = Instant::now();
        let message = address(self.interface, VIP, VIP_PREFIX);
        ask(&self.netlink, RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("adding the VIP in {}", self.netns))?;
        Ok(asked)
    }

    /// As keepalived when it is stopped: the last advert has priority 0, then the VIP goes. Gives
    /// when the kernel was asked to remove it.
    ///
    /// # Errors
    /// As [`Place::become_primary`].
    pub fn resign(&self) -> Result<Instant> {
        let mut primary = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        *primary = false;
        self.advert(0)?;
        drop(primary);
        let asked = Instant::now();
        let message = address(self.interface, VIP, VIP_PREFIX);
        ask(&self.netlink, RouteNetlinkMessage::DelAddress(message), 0)
            .with_context(|| format!("removing the VIP in {}", self.netns))?;
        Ok(asked)
    }

    fn advert(&self, priority: u8) -> Result<()> {
        let frame = advert(priority);
        let sent = self.wire.send_to(&frame, &SocketAddrV4::new(GROUP, 0).into());
        let sent = sent.with_context(|| format!("sending an advert in {}", self.netns))?;
        ensure!(sent == frame.len(), "an advert was cut in {}", self.netns);
        Ok(())
    }
}

/// A VRRPv2 advert below its IP header (RFC 3768 section 5.1): version and type, VRID, priority,
/// one address, no authentication, the interval in seconds, the checksum; the VIP; 8 bytes of zeros.
fn advert(priority: u8) -> [u8; 20] {
    let [a, b, c, d] = VIP.octets();
    let interval = u8::try_from(ADVERT_INTERVAL.as_secs()).unwrap_or(u8::MAX);
    let mut frame = [0x21, VRID, priority, 1, 0, interval, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0];
    let sum: u32 = frame.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX);
    frame[6..8].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// A pair. Neither end can be up before it has the other one.
fn veth() -> LinkMessage {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![LinkAttribute::IfName(PEER.to_owned())];
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(INTERFACE.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    message
}

fn up(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    message
}

fn address(interface: u32, ip: Ipv4Addr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix;
    message.header.index = interface;
    message.attributes = vec![AddressAttribute::Local(ip.into()), AddressAttribute::Address(ip.into())];
    message
}

/// Asks the kernel for a change and reads its acknowledgement: the change is made when this returns.
fn ask(netlink: &netlink_sys::Socket, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    netlink.send_to(&bytes, &SocketAddr::new(0, 0), 0).context("asking the kernel")?;
    let (answer, _) = netlink.recv_from_full().context("the kernel's answer")?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).context("the kernel's answer")?.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        other => bail!("the kernel answered {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of all 16-bit words of a frame with a right checksum is all ones (RFC 1071).
    #[test]
    fn an_advert_has_a_right_checksum() {
        for priority in [0, 50, 255] {
            let frame = advert(priority);
            let sum: u32 = frame.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "priority {priority}");
        }
    }
}
