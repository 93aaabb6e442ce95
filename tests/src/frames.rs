//! Frames of one's own making on the wire between the nodes, as anyone with root on some machine of the
//! HA network could send them.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::{Advert, checksum};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::lab::{Lab, Router};
use crate::place;

/// An `AF_PACKET` socket; the one on the lab's bridge floods all nodes with what it is given.
#[derive(Debug)]
pub struct Injector {
    socket: Socket,
}

impl Injector {
    /// Opens it.
    ///
    /// # Errors
    /// When the bridge's namespace cannot be entered or the socket not be opened.
    pub fn on_fabric(lab: &Lab) -> Result<Self> {
        Self::on(&lab.fabric(), "fabric")
    }

    /// Opens one on an interface of a namespace, which sends from there.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the socket not be opened.
    pub fn on(netns: &str, interface: &str) -> Result<Self> {
        Ok(Self { socket: place::within(netns, || open(interface))? })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.send_as_it_is(&sealed(frame))
    }

    /// Sends one frame with the IPv4 header's checksum that it has.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub fn send_as_it_is(&self, frame: &[u8]) -> Result<()> {
        let sent = self.socket.send(frame).with_context(|| format!("sending {} bytes", frame.len()))?;
        ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }

    /// Sends the frames in turn, as fast as one core does, for so long; how many.
    pub fn flood(&self, frames: &[Vec<u8>], length: Duration) -> u64 {
        let frames: Vec<Vec<u8>> = frames.iter().map(|frame| sealed(frame)).collect();
        let end = Instant::now() + length;
        let mut sent = 0;
        while Instant::now() < end {
            // A full queue drops; the next one may pass.
            sent += frames.iter().filter(|frame| self.socket.send(frame).is_ok()).count() as u64;
        }
        sent
    }
}

/// The frame with the checksum of its IPv4 header, which the IP layer of a receiver wants.
pub fn sealed(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let length = frame.get(14).map_or(0, |byte| usize::from(byte & 15) * 4);
    if frame.get(12..14) == Some(&[0x08, 0x00])
        && let Some(header) = frame.get_mut(14..14 + length)
        && length >= 20
    {
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// A packet socket that sends out of an interface of this namespace, and hears nothing.
///
/// # Errors
/// When it cannot be opened, or there is no such interface.
pub fn open(interface: &str) -> Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).context("a packet socket")?;
    let index = rustix::net::netdevice::name_to_index(&socket, interface).context("the interface's index")?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a socket address: all integers, and no larger than the storage.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_ifindex = i32::try_from(index)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: family and length are those of the `sockaddr_ll` that was just written.
    let address = unsafe { SockAddr::new(storage, length) };
    socket.bind(&address).with_context(|| format!("binding descriptor {} to {interface}", socket.as_raw_fd()))?;
    Ok(socket)
}

/// An advert of the router as a stranger at `source` would send it: everything as the lab's keepalived
/// sends it.
pub fn advert(router: &Router, source: Ipv4Addr) -> Advert {
    let addresses = vec![router.vip_ip().into()];
    Advert { vrid: router.vrid, interval_cs: 100, addresses, source: source.into(), ..Advert::v2() }
}
