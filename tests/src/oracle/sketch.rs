//! What a frame is before it is bytes: a sound advert of a configuration, whose every part can be changed,
//! and which then is written with what depends on the rest (lengths, sums, the integrity check value) right.

use std::net::{IpAddr, Ipv4Addr};

use ha_agent_common::build::checksum;

use super::configuration::{Auth, Configuration, Host, MAC, VRID};
use super::deviation::STEP;
use super::md5::hmac;

/// IP protocol numbers.
pub const VRRP: u8 = 112;
/// The authentication header's.
pub const AH: u8 = 51;
/// IPv6 fragment header.
const FRAGMENT: u8 = 44;
/// Ethernet's least length without the checksum.
const LEAST: usize = 60;
/// A length of an authentication header with 12 bytes of ICV.
const AH_LENGTH: usize = 24;

/// A frame, or the fragments of a packet.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Destination MAC.
    pub to: [u8; 6],
    /// Source MAC.
    pub from: [u8; 6],
    /// Tags: their type, and priority with VLAN id.
    pub tags: Vec<(u16, u16)>,
    /// Instead of IP's own type.
    pub ethertype: Option<u16>,
    /// What follows the packet.
    pub padding: Padding,
    /// Bytes that the frame's end lacks.
    pub cut: usize,
    /// IP version.
    pub ip_version: u8,
    /// IPv4: the header's length in words, when it is not the real one.
    pub ihl: Option<u8>,
    /// IPv4: options, a multiple of 4.
    pub options: Vec<u8>,
    /// IPv4 type of service, IPv6 traffic class.
    pub tos: u8,
    /// Told length of the packet (IPv4) or of its payload (IPv6) less the real one.
    pub length: i32,
    /// IPv4 identification.
    pub id: u16,
    /// IPv4 flags and fragment offset of a packet that is sent whole.
    pub fragment: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Instead of the right protocol or next header.
    pub protocol: Option<u8>,
    /// Added to the IPv4 header's checksum.
    pub header_sum: Option<u16>,
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// IPv6 extension headers: their type, and their bytes without the next header's type.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Authentication header.
    pub ah: Option<Header>,
    /// The VRRP packet.
    pub packet: Packet,
    /// How it is parted.
    pub pieces: Vec<Piece>,
}

/// What follows the packet in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Up to Ethernet's least length.
    Least,
    /// None.
    None,
    /// So many bytes.
    Bytes(usize),
}

/// An authentication header.
#[derive(Clone, Debug)]
pub struct Header {
    /// Next header.
    pub next: u8,
    /// Its length in words less 2.
    pub length: u8,
    /// Reserved.
    pub reserved: u16,
    /// Instead of the source address.
    pub spi: Option<u32>,
    /// Sequence number.
    pub sequence: u32,
    /// The key of the integrity check value.
    pub key: [u8; 8],
    /// Is turned into the value.
    pub flip: u8,
}

/// A VRRP packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Version.
    pub version: u8,
    /// Type.
    pub kind: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Told number of addresses, when it is not the real one.
    pub count: Option<u8>,
    /// The two bytes behind the count: authentication and interval, or the interval.
    pub interval: [u8; 2],
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// VRRPv2's authentication.
    pub auth: Option<[u8; 8]>,
    /// Form of the checksum.
    pub sum: Sum,
    /// What follows it within the IP packet.
    pub surplus: Vec<u8>,
    /// Bytes that its end lacks.
    pub cut: usize,
}

/// What a checksum is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// The packet as its count tells, without a pseudo-header.
    Plain,
    /// With the pseudo-header.
    Pseudo,
    /// With a pseudo-header that goes to the group.
    PseudoGroup(IpAddr),
    /// With the pseudo-header, and over all that follows.
    Whole,
    /// Plain, over all that follows.
    PlainWhole,
    /// As the sound one, changed.
    Wrong,
    /// None: 0.
    Zero,
}

/// A fragment: which bytes of the IP payload.
#[derive(Clone, Debug)]
pub struct Piece {
    /// First byte, a multiple of 8.
    pub begin: usize,
    /// Behind the last byte; what is more than there is means the end.
    pub end: usize,
    /// TTL, when it is another.
    pub ttl: Option<u8>,
    /// Other bytes than the packet's.
    pub garbled: bool,
    /// A second tag, only here.
    pub to: Option<[u8; 6]>,
}

impl Piece {
    /// Those bytes, unchanged.
    pub fn of(begin: usize, end: usize) -> Self {
        Self { begin, end, ttl: None, garbled: false, to: None }
    }
}

/// The MAC address of a host.
pub fn mac(host: Host) -> [u8; 6] {
    [MAC[0], MAC[1], MAC[2], MAC[3], MAC[4], host as u8]
}

/// The MAC address of a virtual router.
pub fn virtual_mac(configuration: &Configuration) -> [u8; 6] {
    [0, 0, 0x5e, 0, if configuration.v6 { 2 } else { 1 }, VRID]
}

/// The MAC address of a multicast group.
pub fn group_mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let octets = group.octets();
            [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]
        }
    }
}

impl Sketch {
    /// A sound advert of a host under a configuration: worse than the instance itself.
    pub fn sound(configuration: &Configuration, host: Host, sequence: u32) -> Self {
        let v2 = configuration.version == 2;
        let auth = configuration.auth;
        Self {
            to: if configuration.unicast { MAC } else { group_mac(configuration.group()) },
            from: if configuration.listens_on_vmac() { virtual_mac(configuration) } else { mac(host) },
            tags: Vec::new(),
            ethertype: None,
            padding: Padding::Least,
            cut: 0,
            ip_version: if configuration.v6 { 6 } else { 4 },
            ihl: None,
            options: Vec::new(),
            tos: 0xc0,
            length: 0,
            // No two packets within half a minute have the same.
            id: u16::try_from((sequence / STEP) & 0xffff).unwrap_or(0),
            fragment: 0,
            ttl: configuration.sound_ttl(),
            protocol: None,
            header_sum: None,
            source: configuration.address(host),
            destination: configuration.destination(),
            extensions: Vec::new(),
            ah: (auth == Auth::Ah).then(|| Header::sound(configuration, sequence)),
            packet: Packet {
                version: configuration.version,
                kind: 1,
                vrid: VRID,
                priority: 100,
                count: None,
                interval: match (v2, auth) {
                    (true, Auth::None) => [0, 1],
                    (true, Auth::Pass) => [1, 1],
                    (true, Auth::Ah) => [2, 1],
                    (false, _) => 100_u16.to_be_bytes(),
                },
                addresses: configuration.addresses(),
                auth: (v2 && !configuration.v6)
                    .then(|| if auth == Auth::Pass { configuration.password() } else { [0; 8] }),
                sum: configuration.sound_sum(),
                surplus: Vec::new(),
                cut: 0,
            },
            pieces: Vec::new(),
        }
    }

    /// The Ethernet frames, in the order in which they are sent.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let payload = self.payload();
        // What a piece holds all of is no fragment.
        let is_part = |piece: &&Piece| piece.begin > 0 || piece.end < payload.len();
        if self.pieces.is_empty() || payload.len() <= 8 {
            return vec![self.frame(&self.packet_whole(&payload), self.to)];
        }
        self.pieces
            .iter()
            .filter(is_part)
            .map(|piece| {
                let ttl = piece.ttl.unwrap_or(self.ttl);
                let end = piece.end.min(payload.len());
                let mut part = payload.get(piece.begin.min(end)..end).unwrap_or_default().to_vec();
                if piece.garbled {
                    part.iter_mut().for_each(|byte| *byte ^= 0x55);
                }
                let field = u16::try_from(piece.begin / 8).unwrap_or(0);
                let more = u16::from(end < payload.len());
                let packet = if self.is_v6() {
                    let field = (field << 3 | more).to_be_bytes();
                    let next = self.first_header();
                    let header = [&[next, 0, field[0], field[1], 0, 0][..], &self.id.to_be_bytes()].concat();
                    self.header_v6(FRAGMENT, &[header, part].concat(), ttl)
                } else {
                    self.header_v4(field | more << 13, &part, ttl)
                };
                self.frame(&packet, piece.to.unwrap_or(self.to))
            })
            .collect()
    }

    fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    fn frame(&self, packet: &[u8], to: [u8; 6]) -> Vec<u8> {
        let mut frame = [to, self.from].concat();
        for (kind, tag) in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        let kind = self.ethertype.unwrap_or(if self.is_v6() { 0x86dd } else { 0x0800 });
        frame.extend(kind.to_be_bytes());
        frame.extend(packet);
        match self.padding {
            Padding::Least => frame.resize(frame.len().max(LEAST), 0),
            Padding::None => {}
            Padding::Bytes(count) => frame.extend(std::iter::repeat_n(0x5a, count)),
        }
        // The rest of an Ethernet header at least, or the socket does not take it.
        frame.truncate(frame.len().saturating_sub(self.cut).max(15));
        frame
    }

    /// The type of what follows the IP header, or the first extension header.
    fn first_header(&self) -> u8 {
        let inner = self.protocol.unwrap_or(if self.ah.is_some() { AH } else { VRRP });
        self.extensions.first().map_or(inner, |(kind, _)| *kind)
    }

    fn packet_whole(&self, payload: &[u8]) -> Vec<u8> {
        if self.is_v6() {
            self.header_v6(self.first_header(), payload, self.ttl)
        } else {
            self.header_v4(self.fragment, payload, self.ttl)
        }
    }

    fn header_v4(&self, fragment: u16, payload: &[u8], ttl: u8) -> Vec<u8> {
        let mut header = self.raw_v4(self.tos, fragment, payload.len(), ttl);
        let sum = checksum(&header).wrapping_add(self.header_sum.unwrap_or(0));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(payload);
        header
    }

    /// An IPv4 header with a checksum of 0.
    fn raw_v4(&self, tos: u8, fragment: u16, payload: usize, ttl: u8) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let told = i32::try_from(words * 4 + payload).unwrap_or(0) + self.length;
        let protocol = self.first_header();
        let mut header = vec![self.ip_version << 4 | self.ihl.unwrap_or(u8::try_from(words).unwrap_or(15)), tos];
        header.extend(u16::try_from(told.max(0)).unwrap_or(u16::MAX).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(fragment.to_be_bytes());
        header.extend([ttl, protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        header
    }

    fn header_v6(&self, next: u8, payload: &[u8], ttl: u8) -> Vec<u8> {
        let told = i32::try_from(payload.len()).unwrap_or(0) + self.length;
        let mut header = vec![self.ip_version << 4 | self.tos >> 4, self.tos << 4, 0, 0];
        header.extend(u16::try_from(told.max(0)).unwrap_or(u16::MAX).to_be_bytes());
        header.extend([next, ttl]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(payload);
        header
    }

    /// What the IP header carries.
    fn payload(&self) -> Vec<u8> {
        let body = self.body();
        let inner = self.protocol.unwrap_or(if self.ah.is_some() { AH } else { VRRP });
        let mut payload = Vec::new();
        for (index, (_, bytes)) in self.extensions.iter().enumerate() {
            payload.push(self.extensions.get(index + 1).map_or(inner, |(kind, _)| *kind));
            payload.extend(bytes);
        }
        if let Some(ah) = &self.ah {
            let mut header = vec![ah.next, ah.length];
            header.extend(ah.reserved.to_be_bytes());
            match ah.spi {
                Some(spi) => header.extend(spi.to_be_bytes()),
                None => header.extend(&octets(self.source)[..4]),
            }
            header.extend(ah.sequence.to_be_bytes());
            header.extend([0; 12]);
            // Over the header as it is delivered: what may change on the way is 0.
            let ttl = if self.is_group(self.destination) { self.ttl } else { 0 };
            let ip = self.raw_v4(0, 0, AH_LENGTH + body.len(), ttl);
            let mut value = hmac(&ah.key, &[&ip[..], &header, &body].concat());
            value[0] ^= ah.flip;
            header[12..].copy_from_slice(&value[..12]);
            payload.extend(header);
        }
        payload.extend(body);
        payload
    }

    fn is_group(&self, address: IpAddr) -> bool {
        address.is_multicast()
    }

    /// The VRRP packet.
    fn body(&self) -> Vec<u8> {
        let packet = &self.packet;
        let count = packet.count.unwrap_or(u8::try_from(packet.addresses.len()).unwrap_or(u8::MAX));
        let mut body = vec![packet.version << 4 | packet.kind & 15, packet.vrid, packet.priority, count];
        body.extend(packet.interval);
        body.extend([0, 0]);
        for address in &packet.addresses {
            body.extend(octets(*address));
        }
        body.extend(packet.auth.unwrap_or_default().iter().take(if packet.auth.is_some() { 8 } else { 0 }));
        body.extend(&packet.surplus);
        body.truncate(body.len().saturating_sub(packet.cut));
        // As a reader counts that goes by the count.
        let width = if self.is_v6() { 16 } else { 4 };
        let told = 8 + usize::from(count) * width + if packet.auth.is_some() { 8 } else { 0 };
        let (told, whole) = (told.min(body.len()), body.len());
        let sound = match (self.is_v6(), packet.version) {
            (true, _) => Sum::Whole,
            (false, 3) => Sum::Pseudo,
            (false, _) => Sum::Plain,
        };
        let sum = match packet.sum {
            Sum::Zero => 0,
            Sum::Wrong => self.sum(sound, &body, told, whole) ^ 0x0100,
            form => self.sum(form, &body, told, whole),
        };
        if let Some(field) = body.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        body
    }

    fn sum(&self, form: Sum, body: &[u8], told: usize, whole: usize) -> u16 {
        let (length, destination) = match form {
            Sum::Plain => (told, None),
            Sum::PlainWhole => (whole, None),
            Sum::Whole => (whole, Some(self.destination)),
            Sum::PseudoGroup(group) => (told, Some(group)),
            _ => (told, Some(self.destination)),
        };
        let mut summed = body.get(..length).unwrap_or(body).to_vec();
        if let Some(destination) = destination {
            // In front, so that an odd length pads at the end.
            let mut pseudo = octets(self.source);
            pseudo.extend(octets(destination));
            pseudo.extend(u32::try_from(length).unwrap_or(0).to_be_bytes());
            pseudo.extend([0, 0, 0, VRRP]);
            pseudo.extend(summed);
            summed = pseudo;
        }
        checksum(&summed)
    }
}

impl Header {
    /// As keepalived's own.
    pub fn sound(configuration: &Configuration, sequence: u32) -> Self {
        Self { next: VRRP, length: 4, reserved: 0, spi: None, sequence, key: configuration.password(), flip: 0 }
    }
}

impl Configuration {
    /// The form of checksum that keepalived itself sends.
    pub fn sound_sum(&self) -> Sum {
        match (self.v6, self.version) {
            (true, _) => Sum::Whole,
            (false, 3) if self.name == "v3-unicast-old" => Sum::PseudoGroup(self.group()),
            (false, 3) => Sum::Pseudo,
            (false, _) => Sum::Plain,
        }
    }
}

/// An address as the wire has it.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An IPv4 address of the configurations' link.
pub fn on_link(last: u8) -> IpAddr {
    Ipv4Addr::new(169, 254, 192, last).into()
}
