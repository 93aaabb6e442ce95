//! Another pair of eyes than the agent's: what the kernel's address tables say, and which adverts
//! cross the bridge, so that what is true is known without asking the agent.

use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use socket2::{Domain, Protocol, Socket, Type};

use crate::forge::Mac;
use crate::hostile::mac;
use crate::lab::{Lab, Site};
use crate::place;

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const ADDRESSES: u32 = 0x10 | 0x100;
/// `ETH_P_ALL`, in the byte order in which the kernel wants it: frames that the bridge forwards from port to port
/// are seen before it takes them.
const EVERYTHING: i32 = 0x0003_u16.to_be() as i32;
/// IP protocol of VRRP, and of the authentication header.
const VRRP: u8 = 112;
const AH: u8 = 51;
/// The bridge shows a frame once per port: within this time it is the same one.
const SAME: Duration = Duration::from_millis(50);

/// An advert that crossed the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    /// When.
    pub at: SystemTime,
    /// Its source address.
    pub source: Ipv4Addr,
    /// The MAC that it came from.
    pub mac: Mac,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Its priority; 0 resigns.
    pub priority: u8,
}

/// What was witnessed so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// For each site's address: whether its VIP is set, and since when.
    vips: HashMap<Ipv4Addr, (bool, SystemTime)>,
    /// For each site's address: its MAC, which tells it from whoever speaks in its name.
    macs: HashMap<Ipv4Addr, Mac>,
    /// Every advert.
    adverts: Vec<Advert>,
}

/// Looks until it is dropped.
#[derive(Debug)]
pub struct Witness {
    shared: Arc<Shared>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    more: Condvar,
}

impl Seen {
    /// Whether a site's VIP is set, and since when it is so.
    pub fn vip(&self, site: &Site) -> Option<(bool, SystemTime)> {
        self.vips.get(&site.ip()).copied()
    }

    /// The last advert of a router.
    pub fn last(&self, vrid: u8) -> Option<&Advert> {
        self.adverts.iter().rev().find(|advert| advert.vrid == vrid)
    }

    /// The last advert that a site sent.
    pub fn last_of(&self, site: &Site) -> Option<&Advert> {
        self.adverts.iter().rev().find(|advert| self.is_from(advert, site))
    }

    /// The first advert that a site sent after `since`.
    pub fn first_of(&self, site: &Site, since: SystemTime) -> Option<&Advert> {
        self.since(site, since).next()
    }

    /// Every advert that a site sent after `since`.
    pub fn since(&self, site: &Site, since: SystemTime) -> impl Iterator<Item = &Advert> {
        let site = site.clone();
        self.adverts.iter().filter(move |advert| advert.at > since && self.is_from(advert, &site))
    }

    /// Whether a site itself sent it.
    fn is_from(&self, advert: &Advert, site: &Site) -> bool {
        let own = self.macs.get(&site.ip()).is_none_or(|mac| *mac == advert.mac);
        own && advert.vrid == site.router.vrid && advert.source == site.ip()
    }

    /// Whether a site is master at this moment: it holds the VIP, and it was the last that advertised,
    /// within one and a half intervals.
    pub fn is_master(&self, site: &Site, interval: Duration) -> bool {
        let age = |advert: &Advert| advert.at.elapsed().unwrap_or_default();
        let speaks = self.last(site.router.vrid).is_some_and(|advert| {
            advert.source == site.ip() && advert.priority > 0 && age(advert) < interval + interval / 2
        });
        speaks && self.vip(site).is_some_and(|(present, _)| present)
    }
}

impl Witness {
    /// Looks at these sites of a lab; their namespaces exist.
    ///
    /// # Errors
    /// When a namespace cannot be entered or a socket not be opened.
    pub fn of(lab: &Lab, sites: &[&Site]) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut tables = Vec::new();
        for site in sites {
            let socket = place::within(&site.netns, address_events)?;
            shared.seen().vips.insert(site.ip(), (site.holds_vip(), SystemTime::now()));
            // A tun device has none.
            if let Ok(mac) = mac(&site.netns, &site.interface) {
                shared.seen().macs.insert(site.ip(), mac);
            }
            tables.push((socket, site.ip(), site.router.vip_address()));
        }
        let wire = place::within(&lab.fabric(), || {
            let wire = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(EVERYTHING)));
            arriving(wire.context("a packet socket")?)
        })?;
        let (stop, stopped) = UnixStream::pair().context("a pair of sockets")?;
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || watch(&tables, wire, &stopped, &shared)
        });
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Looks at what was seen.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.shared.seen())
    }

    /// Waits until something is seen.
    ///
    /// # Errors
    /// When it is not seen in time; the message names `what`.
    pub fn until<T>(&self, within: Duration, what: &str, mut look: impl FnMut(&Seen) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        let mut seen = self.shared.seen();
        loop {
            if let Some(found) = look(&seen) {
                return Ok(found);
            }
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() {
                bail!("not witnessed within {within:?}: {what}");
            }
            seen = self.shared.more.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a packet socket see only what arrives at the bridge's ports: it sends a frame out of each of the others.
fn arriving(socket: Socket) -> Result<Socket> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on))?;
    let (value, option) = (std::ptr::from_ref(&on).cast(), libc::PACKET_IGNORE_OUTGOING);
    // SAFETY: the value is an integer of that length, and lives as long as the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, length) };
    ensure!(done == 0, "PACKET_IGNORE_OUTGOING: {}", std::io::Error::last_os_error());
    Ok(socket)
}

/// A socket that tells of addresses that come and go here.
fn address_events() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, ADDRESSES)).context("subscribing to addresses")?;
    Ok(socket)
}

/// Until the other end of `stopped` is closed.
fn watch(tables: &[(OwnedFd, Ipv4Addr, IpAddr)], mut wire: Socket, stopped: &UnixStream, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut ready =
            vec![PollFd::new(stopped, PollFlags::IN), PollFd::from_borrowed_fd(wire.as_fd(), PollFlags::IN)];
        ready.extend(tables.iter().map(|(socket, ..)| PollFd::new(socket, PollFlags::IN)));
        let polled = poll(&mut ready, None);
        let readable: Vec<bool> = ready.iter().map(|entry| !entry.revents().is_empty()).collect();
        drop(ready);
        if polled.is_err() {
            continue;
        }
        if readable[0] {
            return;
        }
        let at = SystemTime::now();
        let mut seen = shared.seen();
        for ((socket, site, vip), _) in tables.iter().zip(&readable[2..]).filter(|(_, readable)| **readable) {
            while let Ok((length, _)) = recv(socket, &mut buffer[..], RecvFlags::empty()) {
                for present in changes(&buffer[..length], *vip) {
                    seen.vips.insert(*site, (present, at));
                }
            }
        }
        while let Ok(length) = wire.read(&mut buffer) {
            if let Some(advert) = advert(&buffer[..length], at) {
                let same = |known: &&Advert| at.duration_since(known.at).is_ok_and(|age| age < SAME);
                let fits = |known: &Advert| Advert { at, ..*known } == advert;
                if !seen.adverts.iter().rev().take_while(same).any(fits) {
                    seen.adverts.push(advert);
                }
            }
        }
        drop(seen);
        shared.more.notify_all();
    }
}

/// What a datagram says of the VIP.
fn changes(mut bytes: &[u8], vip: IpAddr) -> Vec<bool> {
    let mut found = Vec::new();
    while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        // Messages are padded to 4 bytes.
        let length = (message.header.length as usize).next_multiple_of(4);
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) if is(&address, vip) => {
                found.push(true);
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) if is(&address, vip) => {
                found.push(false);
            }
            _ => {}
        }
        match bytes.get(length..) {
            Some(rest) if length > 0 && !rest.is_empty() => bytes = rest,
            _ => break,
        }
    }
    found
}

/// An IPv6 address is the interface's own; of an IPv4 one `Address` may be the other end's.
fn is(address: &AddressMessage, vip: IpAddr) -> bool {
    address.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Local(ip) => *ip == vip,
        AddressAttribute::Address(ip) => vip.is_ipv6() && *ip == vip,
        _ => false,
    })
}

/// A VRRP advert in an untagged Ethernet frame, if it is one.
fn advert(frame: &[u8], at: SystemTime) -> Option<Advert> {
    let (mac, packet) = (<Mac>::try_from(frame.get(6..12)?).ok()?, frame.get(14..)?);
    let first = *packet.first()?;
    let mut header = usize::from(first & 0x0f) * 4;
    let protocol = *packet.get(9)?;
    if first >> 4 != 4 || ![VRRP, AH].contains(&protocol) {
        return None;
    }
    if protocol == AH {
        // RFC 4302 section 2.2: the length in words, less two.
        header += (usize::from(*packet.get(header + 1)?) + 2) * 4;
    }
    let source = <[u8; 4]>::try_from(packet.get(12..16)?).ok()?;
    let body = packet.get(header..)?;
    Some(Advert { at, source: source.into(), mac, vrid: *body.get(1)?, priority: *body.get(2)? })
}
