//! Adverts that nobody's keepalived sent, put on the bridge with any source address.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::{Lab, Router};
use crate::place;

/// RFC 9568 section 5.1.1.2.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// IP protocol of VRRP.
const VRRP: u8 = 112;
/// `IPPROTO_RAW`: the IP header is ours.
const RAW: i32 = 255;

/// A VRRPv2 advert of one address, valid but for what is changed.
#[derive(Clone, Copy, Debug)]
pub struct Advert {
    /// Source address.
    pub source: Ipv4Addr,
    /// Virtual router identifier.
    pub vrid: u8,
    /// 0 resigns.
    pub priority: u8,
    /// The address it lists.
    pub vip: Ipv4Addr,
    /// Seconds between adverts.
    pub interval: u8,
    /// 255, or it was routed.
    pub ttl: u8,
    /// Whether its checksum is right.
    pub sound: bool,
}

impl Advert {
    /// One that keepalived takes for genuine: of this router, every second.
    pub fn of(router: &Router, source: Ipv4Addr, priority: u8) -> Self {
        Self { source, vrid: router.vrid, priority, vip: router.vip_ip(), interval: 1, ttl: 255, sound: true }
    }

    /// Puts it on the lab's bridge, which floods it to all nodes.
    ///
    /// # Errors
    /// When no raw socket can be opened there.
    pub fn send(&self, lab: &Lab) -> Result<()> {
        let packet = self.packet();
        place::within(&lab.fabric(), move || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW))).context("a raw socket")?;
            socket.bind_device(Some(b"fabric")).context("binding to the bridge")?;
            let sent =
                socket.send_to(&packet, &SocketAddrV4::new(GROUP, 0).into()).context("sending a forged advert")?;
            ensure!(sent == packet.len(), "a forged advert was cut");
            Ok(())
        })
    }

    /// IP header (its checksum and length are the kernel's to fill in), then RFC 3768 section 5.1.
    fn packet(&self) -> Vec<u8> {
        let mut body = vec![0x21, self.vrid, self.priority, 1, 0, self.interval, 0, 0];
        body.extend(self.vip.octets());
        body.extend([0; 8]);
        let sum: u32 = body.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let right = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX);
        let checksum = if self.sound { right } else { right ^ 0x0101 };
        body[6..8].copy_from_slice(&checksum.to_be_bytes());

        let length = u8::try_from(20 + body.len()).unwrap_or(u8::MAX);
        let mut packet = vec![0x45, 0xc0, 0, length, 0, 0, 0, 0, self.ttl, VRRP, 0, 0];
        packet.extend(self.source.octets());
        packet.extend(GROUP.octets());
        packet.extend(body);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_right_unless_it_shall_not_be() {
        for (sound, fits) in [(true, true), (false, false)] {
            let advert = Advert { sound, ..Advert::of(&Router::new(7), Ipv4Addr::new(169, 254, 192, 200), 200) };
            let packet = advert.packet();
            let words = packet[20..].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16) == 0xffff, fits);
        }
    }
}
