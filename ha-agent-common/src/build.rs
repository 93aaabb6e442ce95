//! Builds VRRP frames, for tests and for measuring the classifier. The layouts are those of RFC 2338,
//! RFC 3768 and RFC 9568, and of keepalived where they leave a choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use crate::ah;
use crate::frame::{IPPROTO_AH, IPPROTO_VRRP};
use crate::slice::Slice;

/// An advert to be built; change what the case needs.
#[derive(Clone, Debug)]
pub struct Advert {
    /// 2 or 3.
    pub version: u8,
    /// VRRP type: 1.
    pub kind: u8,
    /// Virtual router.
    pub vrid: u8,
    /// 0 to 255.
    pub priority: u8,
    /// Centiseconds; VRRPv2 carries whole seconds.
    pub interval_cs: u16,
    /// The list.
    pub addresses: Vec<IpAddr>,
    /// Source; its family is the frame's.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// VRRPv2 authentication.
    pub auth: Auth,
    /// VRRPv3 over IPv4: leave the pseudo-header out of the checksum.
    pub plain_checksum: bool,
    /// VRRPv3 over IPv4: put this address in the place of the destination's into the pseudo-header, as
    /// `old_unicast_checksum` does with the group's.
    pub old_checksum: Option<Ipv4Addr>,
    /// IPv4 option words: no-operations.
    pub option_words: u8,
    /// IPv4 options behind those, filled up with zeros to whole words.
    pub options: Vec<u8>,
    /// Source MAC.
    pub mac: [u8; 6],
    /// Destination MAC; none: the group's.
    pub to_mac: Option<[u8; 6]>,
    /// Send from the virtual router's MAC.
    pub vmac: bool,
    /// Append keepalived's 28-byte HMAC trailer.
    pub trailer: bool,
    /// Zeros behind the advert that the IP header counts.
    pub padding: u8,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
}

/// VRRPv2 authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// None.
    None,
    /// Simple password.
    Pass([u8; 8]),
    /// IP authentication header, with an integrity value of no key.
    Ah,
    /// IP authentication header, its integrity value made with this key.
    AhKey {
        /// The eight bytes of `auth_pass`.
        key: [u8; 8],
        /// Its sequence number.
        sequence: u32,
    },
}

impl Auth {
    /// Whether it is the IP authentication header.
    pub const fn is_ah(self) -> bool {
        matches!(self, Self::Ah | Self::AhKey { .. })
    }
}

impl Advert {
    /// A VRRPv2 advert over IPv4 as Neutron's keepalived sends it: priority 50, 2 s, one address.
    pub fn v2() -> Self {
        Self {
            version: 2,
            kind: 1,
            vrid: 1,
            priority: 50,
            interval_cs: 200,
            addresses: vec![Ipv4Addr::new(169, 254, 0, 1).into()],
            source: Ipv4Addr::new(169, 254, 192, 1).into(),
            destination: Ipv4Addr::new(224, 0, 0, 18).into(),
            ttl: 255,
            auth: Auth::None,
            plain_checksum: false,
            old_checksum: None,
            option_words: 0,
            options: Vec::new(),
            mac: [0x02, 0, 0, 0, 0, 1],
            to_mac: None,
            vmac: false,
            trailer: false,
            padding: 0,
            fragment: 0,
        }
    }

    /// The same as VRRPv3.
    pub fn v3() -> Self {
        Self { version: 3, ..Self::v2() }
    }

    /// VRRPv3 over IPv6.
    pub fn v6() -> Self {
        Self {
            addresses: vec![Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into()],
            source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11).into(),
            destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
            ..Self::v3()
        }
    }

    /// The Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let body = self.body();
        let mut frame = self.ethernet();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let begin = frame.len();
                let mut options = vec![1; usize::from(self.option_words) * 4];
                options.extend(&self.options);
                options.resize(options.len().next_multiple_of(4), 0);
                let ah = if self.auth.is_ah() { 24 } else { 0 };
                let header = 20 + options.len();
                let total = u16::try_from(header + ah + body.len()).unwrap_or(u16::MAX);
                frame.push(0x40 | u8::try_from(header / 4).unwrap_or(15) & 15);
                frame.push(0xc0);
                frame.extend(total.to_be_bytes());
                frame.extend([0, 1]);
                frame.extend(self.fragment.to_be_bytes());
                frame.push(self.ttl);
                frame.push(if ah > 0 { IPPROTO_AH } else { IPPROTO_VRRP });
                frame.extend([0, 0]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
                frame.extend(options);
                let sum = checksum(&frame[begin..]);
                frame[begin + 10..begin + 12].copy_from_slice(&sum.to_be_bytes());
                if ah > 0 {
                    let sequence = if let Auth::AhKey { sequence, .. } = self.auth { sequence } else { 7 };
                    frame.extend([IPPROTO_VRRP, 4, 0, 0]);
                    frame.extend(source.octets());
                    frame.extend(sequence.to_be_bytes());
                    frame.extend([0xa5; 12]);
                }
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
                frame.extend([IPPROTO_VRRP, self.ttl]);
                frame.extend(source.octets());
                frame.extend(destination.octets());
            }
            _ => {}
        }
        frame.extend(body);
        if let Auth::AhKey { key, .. } = self.auth
            && self.option_words == 0
            && self.options.is_empty()
        {
            seal(&mut frame, key, self.is_multicast());
        }
        // Ethernet's least length without the checksum.
        if frame.len() < 60 {
            frame.resize(60, 0);
        }
        frame
    }

    /// The packet: the frame from its IP header on, without what Ethernet fills up.
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = self.frame().split_off(14);
        let length = match (self.source, packet.get(2..6)) {
            (IpAddr::V4(_), Some([high, low, ..])) => usize::from(u16::from_be_bytes([*high, *low])),
            (_, Some([_, _, high, low])) => 40 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        packet.truncate(length);
        packet
    }

    fn is_multicast(&self) -> bool {
        self.destination.is_multicast()
    }

    fn ethernet(&self) -> Vec<u8> {
        let v6 = self.source.is_ipv6();
        let group = if v6 { [0x33, 0x33, 0, 0, 0, 0x12] } else { [0x01, 0, 0x5e, 0, 0, 0x12] };
        let mut frame = self.to_mac.unwrap_or(group).to_vec();
        if self.vmac {
            frame.extend([0, 0, 0x5e, 0, if v6 { 2 } else { 1 }, self.vrid]);
        } else {
            frame.extend(self.mac);
        }
        frame.extend(if v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        frame
    }

    /// VRRP header, addresses, authentication, trailer.
    fn body(&self) -> Vec<u8> {
        let v4 = self.source.is_ipv4();
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        let mut body = vec![self.version << 4 | self.kind, self.vrid, self.priority, count];
        if self.version == 2 {
            body.push(match self.auth {
                Auth::None => 0,
                Auth::Pass(_) => 1,
                Auth::Ah | Auth::AhKey { .. } => 2,
            });
            body.push(u8::try_from(self.interval_cs / 100).unwrap_or(u8::MAX));
        } else {
            body.extend((self.interval_cs & 0x0fff).to_be_bytes());
        }
        body.extend([0, 0]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => body.extend(address.octets()),
                IpAddr::V6(address) => body.extend(address.octets()),
            }
        }
        if self.version == 2 && v4 {
            body.extend(match self.auth {
                Auth::Pass(word) => word,
                _ => [0; 8],
            });
        }
        let mut summed = body.clone();
        if self.version == 3 && !self.plain_checksum || !v4 {
            summed.extend(self.pseudo(body.len()));
        }
        let sum = checksum(&summed);
        if let Some(field) = body.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        if self.trailer {
            body.extend([0x5a; 28]);
        }
        body.extend(core::iter::repeat_n(0, usize::from(self.padding)));
        body
    }

    fn pseudo(&self, length: usize) -> Vec<u8> {
        let mut pseudo = Vec::new();
        let destination = self.old_checksum.map_or(self.destination, IpAddr::V4);
        for address in [self.source, destination] {
            match address {
                IpAddr::V4(address) => pseudo.extend(address.octets()),
                IpAddr::V6(address) => pseudo.extend(address.octets()),
            }
        }
        pseudo.extend(u32::try_from(length).unwrap_or(0).to_be_bytes());
        pseudo.extend([0, 0, 0, IPPROTO_VRRP]);
        pseudo
    }
}

/// Writes the integrity value of the packet in a frame with an authentication header, as far as the IP header
/// says that the packet goes. Behind IPv4 options it is a wrong one: no keepalived sends any.
pub fn seal(frame: &mut [u8], key: [u8; 8], multicast: bool) {
    const ICV: core::ops::Range<usize> = 46..58;
    let Some(packet) = frame.get(14..) else { return };
    let Some(&[high, low]) = packet.get(2..4) else { return };
    let fields = ah::Mutable { total: u32::from(u16::from_be_bytes([high, low])), ttl: !multicast };
    let icv = ah::icv(&Slice::new(packet, [0; 2]), &ah::Key::new(key), fields, &mut ah::Work::new());
    if let (Some(icv), Some(place)) = (icv, frame.get_mut(ICV)) {
        place.copy_from_slice(&icv);
    }
}

/// RFC 1071, plainly.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
