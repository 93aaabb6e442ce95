//! Who attacks: a host on the HA network, and a tenant's virtual machine behind the router. Each has a
//! namespace of its own and sends what it likes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::command::{ip_in, run_in};
use crate::forge::{Mac, from_mac, to_mac};
use crate::frames::{Injector, sealed};
use crate::lab::{Lab, Router, Site};
use crate::place;

/// A MAC that nobody has: a switch floods it, and every receiver takes it for another host's.
pub const NOBODY: Mac = [0x02, 0, 0, 0, 0x99, 0x99];
/// Length of an Ethernet header.
const ETHERNET: usize = 14;
/// IP protocol.
const VRRP: i32 = 112;
/// A host's interface and a virtual machine's are told apart by their names; the router's side of the latter.
const INSIDE: &str = "qr-hostile";

/// A host on the HA network.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its place on the network.
    pub site: Site,
    /// Its MAC.
    pub mac: Mac,
    wire: Arc<Injector>,
}

/// A virtual machine behind a router.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its own address.
    pub ip: Ipv4Addr,
    mac: Mac,
    gateway: Mac,
    wire: Arc<Injector>,
}

/// A process with no right but `CAP_NET_RAW`, by the kind of socket that keepalived has.
#[derive(Clone, Debug)]
pub struct Process(Arc<Socket>);

/// Sends the same frames again and again, in turn, until it is ended or dropped.
#[derive(Debug)]
pub struct Pulse {
    every: Duration,
    stop: Option<mpsc::Sender<()>>,
    sent: Arc<(Mutex<usize>, Condvar)>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Who sends frames of any kind.
pub trait Sender: Clone + Send + 'static {
    /// Sends one as it is.
    ///
    /// # Errors
    /// When the interface does not take it.
    fn send(&self, frame: &[u8]) -> Result<()>;

    /// Begins to send all of them, with a pause after each round.
    fn pulse(&self, frames: Vec<Vec<u8>>, every: Duration) -> Pulse {
        let (stop, stopped) = mpsc::channel();
        let sent = Arc::new((Mutex::new(0), Condvar::new()));
        let (sender, counter) = (self.clone(), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            loop {
                for frame in &frames {
                    sender.send(frame)?;
                }
                *counter.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                counter.1.notify_all();
                if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        });
        Pulse { every, stop: Some(stop), sent, thread: Some(thread) }
    }
}

impl Host {
    /// One that joins the network of the router's HA interfaces.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn join(lab: &Lab, name: &str, router: &Router) -> Result<Self> {
        let site = lab.site(name, router)?;
        let mac = mac(&site.netns, &site.interface)?;
        let wire = Arc::new(Injector::on(&site.netns, &site.interface)?);
        Ok(Self { site, mac, wire })
    }
}

impl Sender for Host {
    fn send(&self, frame: &[u8]) -> Result<()> {
        self.wire.send_as_it_is(frame)
    }
}

/// From where the socket was opened.
impl Sender for Arc<Injector> {
    fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_as_it_is(frame)
    }
}

impl Tenant {
    /// One behind the router at `site`, which forwards between its networks, as Neutron's routers do.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn behind(site: &Site) -> Result<Self> {
        let machine = site.lab().site_planned(&format!("vm-{}", site.node), &site.router);
        machine.add_netns()?;
        let (inner, outer) = (machine.netns.as_str(), site.netns.as_str());
        ip_in(outer, &["link", "add", INSIDE, "type", "veth", "peer", "name", "eth0", "netns", inner])?;
        for (netns, interface, address) in [(outer, INSIDE, "10.99.0.1/24"), (inner, "eth0", "10.99.0.2/24")] {
            ip_in(netns, &["addr", "add", address, "dev", interface])?;
            ip_in(netns, &["link", "set", interface, "up"])?;
        }
        ip_in(inner, &["route", "add", "default", "via", "10.99.0.1"])?;
        forward(site)?;
        Ok(Self {
            ip: Ipv4Addr::new(10, 99, 0, 2),
            mac: mac(inner, "eth0")?,
            gateway: mac(outer, INSIDE)?,
            wire: Arc::new(Injector::on(inner, "eth0")?),
        })
    }
}

impl Sender for Tenant {
    /// To its router.
    fn send(&self, frame: &[u8]) -> Result<()> {
        self.wire.send_as_it_is(&sealed(&to_mac(from_mac(frame.to_vec(), self.mac), self.gateway)))
    }
}

impl Process {
    /// One in this namespace, whose frames leave by this interface.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn within(netns: &str, interface: &str) -> Result<Self> {
        let socket = place::within(netns, || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP))).context("a raw socket")?;
            socket.set_header_included_v4(true)?;
            socket.set_multicast_loop_v4(false)?;
            socket.bind_device(Some(interface.as_bytes()))?;
            Ok(socket)
        })?;
        Ok(Self(Arc::new(socket)))
    }

    /// One in a container with a namespace of its own, which has a macvlan on the node's HA interface.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn in_container(site: &Site) -> Result<Self> {
        let container = site.lab().site_planned(&format!("c-{}", site.node), &site.router);
        container.add_netns()?;
        let (inner, outer) = (container.netns.as_str(), site.netns.as_str());
        let link = ["link", "add", INSIDE, "link", &site.interface, "type", "macvlan", "mode", "private"];
        ip_in(outer, &link)?;
        ip_in(outer, &["link", "set", INSIDE, "netns", inner])?;
        ip_in(inner, &["link", "set", INSIDE, "up"])?;
        // Of the router's network, so that it may send wherever it likes.
        ip_in(inner, &["addr", "add", "10.99.1.1/24", "dev", INSIDE])?;
        ip_in(inner, &["route", "add", "default", "dev", INSIDE])?;
        // Nobody answers for an address that is nobody's.
        ip_in(inner, &["link", "set", INSIDE, "arp", "off"])?;
        Self::within(inner, INSIDE)
    }
}

/// A frame without its Ethernet header: the kernel makes one.
impl Sender for Process {
    fn send(&self, frame: &[u8]) -> Result<()> {
        // Without what Ethernet pads: the kernel takes all that it is given for the packet.
        let length = frame.get(ETHERNET + 2..ETHERNET + 4).context("a length")?;
        let end = ETHERNET + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let packet = frame.get(ETHERNET..end).context("a packet")?;
        let to: [u8; 4] = packet.get(16..20).and_then(|to| to.try_into().ok()).context("a destination")?;
        let to = SockAddr::from(SocketAddrV4::new(Ipv4Addr::from(to), 0));
        self.0.send_to(packet, &to).map(drop).context("sending a packet")
    }
}

impl Pulse {
    /// The pause between two rounds.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// How many rounds were sent.
    pub fn sent(&self) -> usize {
        *self.sent.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many more rounds were sent.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn more(&self, rounds: usize, within: Duration) -> Result<()> {
        let began = Instant::now();
        let mut sent = self.sent.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *sent + rounds;
        while *sent < until {
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() {
                bail!("{} of {until} rounds of frames were sent within {within:?}", *sent);
            }
            sent = self.sent.1.wait_timeout(sent, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a frame could not be sent.
    pub fn end(mut self) -> Result<()> {
        drop(self.stop.take());
        let thread = self.thread.take().context("a thread")?;
        thread.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Lets a router forward between its interfaces.
///
/// # Errors
/// When the setting cannot be written.
pub fn forward(site: &Site) -> Result<()> {
    set(site, "net/ipv4/ip_forward", "1")
}

/// Sets a kernel parameter in a site's namespace, by its path under `/proc/sys`.
///
/// # Errors
/// When it cannot be written.
pub fn set(site: &Site, parameter: &str, value: &str) -> Result<()> {
    run_in(&site.netns, &["sh", "-c", &format!("echo {value} > /proc/sys/{parameter}")]).map(drop)
}

/// The MAC of an interface.
///
/// # Errors
/// When there is none.
pub fn mac(netns: &str, interface: &str) -> Result<Mac> {
    let text = ip_in(netns, &["-j", "link", "show", interface])?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let text = links[0]["address"].as_str().with_context(|| format!("a MAC in {links}"))?;
    let mut mac = [0; 6];
    for (byte, digits) in mac.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(mac)
}
