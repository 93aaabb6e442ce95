//! What a frame can have that a sound advert of the configuration has not. Some of it does no harm.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::configuration::{Auth, Configuration, Host, VRID};
use super::sketch::{self, Header, Padding, Piece, Sketch, Sum, group_mac, mac, virtual_mac};

/// Between the sequence numbers of two adverts: more than what keepalived itself sends in between.
pub const STEP: u32 = 1000;

/// One difference from the sound advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// Destination MAC.
    To(Mac),
    /// Source MAC.
    From(Mac),
    /// Tags: type, and priority with VLAN id.
    Tags(&'static [(u16, u16)]),
    /// Ethernet's type.
    EtherType(u16),
    /// What follows the packet.
    Padding(Padding),
    /// Bytes that the frame's end lacks.
    CutFrame(usize),
    /// IP version.
    IpVersion(u8),
    /// Told header length in words.
    Ihl(u8),
    /// IPv4 options.
    Options(&'static str, &'static [u8]),
    /// Type of service or traffic class.
    Tos(u8),
    /// Told length less the real one.
    Length(i32),
    /// Flags and offset of a whole packet.
    Fragment(u16),
    /// Several fragments.
    Pieces(Cutting),
    /// TTL or hop limit.
    Ttl(u8),
    /// Added to the header's checksum.
    HeaderSum(u16),
    /// IP protocol or next header.
    Protocol(u8),
    /// Source address.
    Source(Place),
    /// Destination address, with the MAC address that it stands for.
    Destination(Place),
    /// Destination address alone.
    DestinationOnly(Place),
    /// IPv6 extension headers.
    Extensions(&'static str, &'static [(u8, &'static [u8])]),
    /// An authentication header where none belongs.
    AhAdded,
    /// None where one belongs.
    AhRemoved,
    /// Its next header.
    AhNext(u8),
    /// Its told length.
    AhLength(u8),
    /// Its reserved field.
    AhReserved(u16),
    /// Its SPI.
    AhSpi(u32),
    /// Its sequence number.
    AhSequence(Sequence),
    /// Made with another password.
    AhKey,
    /// A bit of its value.
    AhFlip,
    /// VRRP version alone.
    Version(u8),
    /// The sound advert of the other version.
    OtherVersion,
    /// VRRP type.
    Kind(u8),
    /// Virtual router.
    Vrid(u8),
    /// Priority.
    Priority(u8),
    /// Told number of addresses less the real one.
    Count(i16),
    /// VRRPv2: authentication type.
    AuthType(u8),
    /// VRRPv2: the 8 bytes of authentication.
    AuthWord([u8; 8]),
    /// Interval: seconds or centiseconds.
    Interval(u16),
    /// VRRPv3: the four bits before the interval.
    Reserved(u8),
    /// Address list.
    Addresses(List),
    /// Checksum's form.
    Checksum(Form),
    /// Bytes behind the VRRP packet, within the IP packet.
    Surplus(usize, u8),
    /// Bytes that the VRRP packet's end lacks.
    CutPacket(usize),
}

/// MAC addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mac {
    /// The interface's.
    Own,
    /// Nobody's: a switch floods it.
    Other,
    /// Broadcast.
    Broadcast,
    /// That of the group.
    Group,
    /// Of another group.
    OtherGroup,
    /// Of the group of all hosts.
    AllHosts,
    /// The virtual router's.
    Virtual,
    /// Another virtual router's.
    OtherVirtual,
    /// The virtual router's of the other family.
    VirtualOfOtherFamily,
    /// Zeros.
    Zero,
    /// The third host's.
    Stranger,
}

/// IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The node under test.
    Own,
    /// The second peer.
    Stranger,
    /// A host with a lower address than the node.
    Low,
    /// The first virtual address.
    Virtual,
    /// Of no network that the node knows.
    OffLink,
    /// All zeros.
    Zero,
    /// Loopback.
    Loopback,
    /// The group.
    Group,
    /// Another link-local group.
    OtherGroup,
    /// All hosts of the link.
    AllHosts,
    /// A group further away than the link.
    FarGroup,
    /// Broadcast.
    Broadcast,
    /// The network's broadcast address.
    NetBroadcast,
    /// The network's own address.
    Network,
    /// 240/4.
    Reserved,
    /// Unicast instead of multicast or the reverse.
    OtherMode,
    /// IPv6: the interface's other address.
    OwnOther,
    /// IPv6: an IPv4 address.
    Mapped,
}

/// How a packet is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Two fragments.
    Two(usize),
    /// The second first.
    Reversed(usize),
    /// Three fragments of 8 bytes and the rest.
    Three,
    /// The last one lacks.
    NoEnd,
    /// The first one lacks.
    NoBegin,
    /// The first one twice.
    Twice,
    /// They overlap.
    Overlap,
    /// The second one has another TTL.
    TtlOfSecond(u8),
    /// The first one has another TTL.
    TtlOfFirst(u8),
    /// The second one goes to a MAC that is nobody's.
    SecondElsewhere,
}

/// Sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// 1.
    Old,
    /// The last one again.
    Same,
    /// One more than the last one.
    Next,
    /// Far on.
    Far,
}

/// Address lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// In another order.
    Turned,
    /// The first one twice instead of the last one.
    Doubled,
    /// The first one twice, as one more.
    OneMoreDoubled,
    /// A foreign one instead of the last one.
    Foreign,
    /// A foreign one instead of the first one.
    ForeignFirst,
    /// A foreign one more.
    OneMore,
    /// Without the last one.
    OneLess,
    /// None.
    Empty,
    /// Twenty, the configured ones among them.
    Twenty,
}

/// Forms of checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Without a pseudo-header.
    Plain,
    /// With one.
    Pseudo,
    /// With one that goes to the configured group.
    PseudoGroup,
    /// With one that goes to 224.0.0.18.
    PseudoDefault,
    /// Over surplus bytes too.
    Whole,
    /// Plain, over surplus bytes too.
    PlainWhole,
    /// Wrong.
    Wrong,
    /// 0.
    Zero,
}

impl Deviation {
    /// Changes the sketch.
    pub fn apply(self, sketch: &mut Sketch, configuration: &Configuration) {
        let v6 = configuration.v6;
        match self {
            Self::To(to) => sketch.to = to.of(configuration),
            Self::From(from) => sketch.from = from.of(configuration),
            Self::Tags(tags) => sketch.tags = tags.to_vec(),
            Self::EtherType(kind) => sketch.ethertype = Some(kind),
            Self::Padding(padding) => sketch.padding = padding,
            Self::CutFrame(count) => (sketch.cut, sketch.padding) = (count, Padding::None),
            Self::IpVersion(version) => sketch.ip_version = version,
            Self::Ihl(words) => sketch.ihl = Some(words),
            Self::Options(_, bytes) => sketch.options = bytes.to_vec(),
            Self::Tos(tos) => sketch.tos = tos,
            Self::Length(length) => sketch.length = length,
            Self::Fragment(field) => sketch.fragment = field,
            Self::Pieces(cutting) => sketch.pieces = cutting.pieces(),
            Self::Ttl(ttl) => sketch.ttl = ttl,
            Self::HeaderSum(more) => sketch.header_sum = Some(more),
            Self::Protocol(protocol) => sketch.protocol = Some(protocol),
            Self::Source(place) => sketch.source = place.of(configuration),
            Self::Destination(place) => {
                sketch.destination = place.of(configuration);
                sketch.to = place.mac(configuration);
            }
            Self::DestinationOnly(place) => sketch.destination = place.of(configuration),
            Self::Extensions(_, extensions) => {
                sketch.extensions = extensions.iter().map(|(kind, bytes)| (*kind, bytes.to_vec())).collect();
            }
            Self::AhAdded => sketch.ah = Some(Header::sound(configuration, sketch.id.into())),
            Self::AhRemoved => sketch.ah = None,
            Self::AhNext(next) => ah(sketch, |ah| ah.next = next),
            Self::AhLength(length) => ah(sketch, |ah| ah.length = length),
            Self::AhReserved(reserved) => ah(sketch, |ah| ah.reserved = reserved),
            Self::AhSpi(spi) => ah(sketch, |ah| ah.spi = Some(spi)),
            Self::AhSequence(sequence) => ah(sketch, |ah| ah.sequence = sequence.from(ah.sequence)),
            Self::AhKey => ah(sketch, |ah| ah.key = *b"another\0"),
            Self::AhFlip => ah(sketch, |ah| ah.flip = 1),
            Self::Version(version) => sketch.packet.version = version,
            Self::OtherVersion => other_version(sketch, configuration),
            Self::Kind(kind) => sketch.packet.kind = kind,
            Self::Vrid(vrid) => sketch.packet.vrid = vrid,
            Self::Priority(priority) => sketch.packet.priority = priority,
            Self::Count(more) => {
                let real = i16::try_from(sketch.packet.addresses.len()).unwrap_or(0);
                sketch.packet.count = Some(u8::try_from((real + more).clamp(0, 255)).unwrap_or(0));
            }
            Self::AuthType(kind) => sketch.packet.interval[0] = kind,
            Self::AuthWord(word) => sketch.packet.auth = sketch.packet.auth.map(|_| word),
            Self::Interval(interval) => {
                let [high, low] = interval.to_be_bytes();
                if configuration.version == 2 {
                    sketch.packet.interval[1] = low;
                } else {
                    sketch.packet.interval = [sketch.packet.interval[0] & 0xf0 | high & 0x0f, low];
                }
            }
            Self::Reserved(bits) => sketch.packet.interval[0] |= bits << 4,
            Self::Addresses(list) => list.apply(&mut sketch.packet.addresses, configuration),
            Self::Checksum(form) => {
                sketch.packet.sum = match form {
                    Form::Plain => Sum::Plain,
                    Form::Pseudo => Sum::Pseudo,
                    Form::PseudoGroup => Sum::PseudoGroup(configuration.group()),
                    Form::PseudoDefault if v6 => Sum::Pseudo,
                    Form::PseudoDefault => Sum::PseudoGroup(Ipv4Addr::new(224, 0, 0, 18).into()),
                    Form::Whole => Sum::Whole,
                    Form::PlainWhole => Sum::PlainWhole,
                    Form::Wrong => Sum::Wrong,
                    Form::Zero => Sum::Zero,
                };
            }
            Self::Surplus(count, byte) => sketch.packet.surplus = vec![byte; count],
            Self::CutPacket(count) => sketch.packet.cut = count,
        }
    }
}

impl Deviation {
    /// Of Ethernet or IP.
    pub fn is_below_vrrp(&self) -> bool {
        matches!(
            self,
            Self::To(_)
                | Self::From(_)
                | Self::Tags(_)
                | Self::EtherType(_)
                | Self::Padding(_)
                | Self::CutFrame(_)
                | Self::IpVersion(_)
                | Self::Ihl(_)
                | Self::Options(..)
                | Self::Tos(_)
                | Self::Length(_)
                | Self::Fragment(_)
                | Self::Pieces(_)
                | Self::Ttl(_)
                | Self::HeaderSum(_)
                | Self::Protocol(_)
                | Self::Source(_)
                | Self::Destination(_)
                | Self::DestinationOnly(_)
                | Self::Extensions(..)
        )
    }
}

fn ah(sketch: &mut Sketch, change: impl FnOnce(&mut Header)) {
    if let Some(ah) = &mut sketch.ah {
        change(ah);
    }
}

/// As the other version would be sound, in the same family.
fn other_version(sketch: &mut Sketch, configuration: &Configuration) {
    let packet = &mut sketch.packet;
    if configuration.version == 2 {
        packet.version = 3;
        packet.interval = [0, 100];
        packet.auth = None;
        packet.sum = Sum::Pseudo;
    } else {
        packet.version = 2;
        packet.interval = [0, 1];
        packet.auth = (!configuration.v6).then_some([0; 8]);
        packet.sum = if configuration.v6 { Sum::Whole } else { Sum::Plain };
    }
}

impl Mac {
    fn of(self, configuration: &Configuration) -> [u8; 6] {
        match self {
            Self::Own => mac(Host::Own),
            Self::Other => [0x02, 0, 0, 0, 0xee, 0xee],
            Self::Broadcast => [0xff; 6],
            Self::Group => group_mac(configuration.group()),
            Self::OtherGroup => group_mac(Place::OtherGroup.of(configuration)),
            Self::AllHosts => group_mac(Place::AllHosts.of(configuration)),
            Self::Virtual => virtual_mac(configuration),
            Self::OtherVirtual => {
                let [a, b, c, d, e, vrid] = virtual_mac(configuration);
                [a, b, c, d, e, vrid + 1]
            }
            Self::VirtualOfOtherFamily => {
                let [a, b, c, d, family, vrid] = virtual_mac(configuration);
                [a, b, c, d, 3 - family, vrid]
            }
            Self::Zero => [0; 6],
            Self::Stranger => mac(Host::Stranger),
        }
    }
}

impl Place {
    fn of(self, configuration: &Configuration) -> IpAddr {
        let v4 = |a, b, c, d| IpAddr::from(Ipv4Addr::new(a, b, c, d));
        let v6 = |a, h| IpAddr::from(Ipv6Addr::new(a, 0, 0, 0, 0, 0, 0, h));
        let is_v6 = configuration.v6;
        match self {
            Self::Own => configuration.address(Host::Own),
            Self::Stranger => configuration.address(Host::Stranger),
            Self::Low if is_v6 => v6(if configuration.unicast { 0xfd77 } else { 0xfe80 }, 2),
            Self::Low => sketch::on_link(2),
            Self::Virtual => configuration.virtual_address(0),
            Self::OffLink if is_v6 => v6(0xfd99, 9),
            Self::OffLink => v4(10, 9, 9, 9),
            Self::Zero if is_v6 => v6(0, 0),
            Self::Zero => v4(0, 0, 0, 0),
            Self::Loopback if is_v6 => v6(0, 1),
            Self::Loopback => v4(127, 0, 0, 5),
            Self::Group => configuration.group(),
            Self::OtherGroup if is_v6 => v6(0xff02, 0x13),
            Self::OtherGroup => v4(224, 0, 0, 19),
            Self::AllHosts if is_v6 => v6(0xff02, 1),
            Self::AllHosts => v4(224, 0, 0, 1),
            Self::FarGroup if is_v6 => v6(0xff05, 0x12),
            Self::FarGroup => v4(239, 0, 0, 18),
            Self::Broadcast if is_v6 => v6(0xff01, 0x12),
            Self::Broadcast => v4(255, 255, 255, 255),
            Self::NetBroadcast if is_v6 => v6(0xff12, 0x12),
            Self::NetBroadcast => v4(169, 254, 255, 255),
            Self::Network if is_v6 => v6(0xfe80, 0),
            Self::Network => v4(169, 254, 192, 0),
            Self::Reserved if is_v6 => v6(0x0100, 1),
            Self::Reserved => v4(240, 0, 0, 1),
            Self::OtherMode if configuration.unicast => configuration.group(),
            Self::OtherMode => configuration.address(Host::Own),
            Self::OwnOther if configuration.unicast => v6(0xfe80, 10),
            Self::OwnOther => v6(0xfd77, 10),
            Self::Mapped => Ipv4Addr::new(169, 254, 192, 101).to_ipv6_mapped().into(),
        }
    }

    fn mac(self, configuration: &Configuration) -> [u8; 6] {
        match self.of(configuration) {
            group if group.is_multicast() => group_mac(group),
            _ if matches!(self, Self::Broadcast | Self::NetBroadcast) => [0xff; 6],
            _ => mac(Host::Own),
        }
    }
}

impl Cutting {
    fn pieces(self) -> Vec<Piece> {
        const ALL: usize = usize::MAX;
        let two = |at| vec![Piece::of(0, at), Piece::of(at, ALL)];
        match self {
            Self::Two(at) => two(at),
            Self::Reversed(at) => two(at).into_iter().rev().collect(),
            Self::Three => vec![Piece::of(0, 8), Piece::of(8, 16), Piece::of(16, ALL)],
            Self::NoEnd => vec![Piece::of(0, 8)],
            Self::NoBegin => vec![Piece::of(8, ALL)],
            Self::Twice => vec![Piece::of(0, 8), Piece::of(0, 8), Piece::of(8, ALL)],
            Self::Overlap => {
                let mut second = Piece::of(0, 16);
                second.garbled = true;
                vec![Piece::of(0, 8), second, Piece::of(8, ALL)]
            }
            Self::TtlOfSecond(ttl) => {
                let mut pieces = two(8);
                pieces[1].ttl = Some(ttl);
                pieces
            }
            Self::TtlOfFirst(ttl) => {
                let mut pieces = two(8);
                pieces[0].ttl = Some(ttl);
                pieces
            }
            Self::SecondElsewhere => {
                let mut pieces = two(8);
                pieces[1].to = Some([0x02, 0, 0, 0, 0xee, 0xee]);
                pieces
            }
        }
    }
}

impl Sequence {
    fn from(self, sound: u32) -> u32 {
        match self {
            Self::Old => 1,
            // Between it and this one is a mark, whose number is not looked at.
            Self::Same => sound.saturating_sub(2 * STEP),
            Self::Next => sound.saturating_sub(2 * STEP) + 1,
            Self::Far => sound + STEP / 2,
        }
    }
}

impl List {
    fn apply(self, addresses: &mut Vec<IpAddr>, configuration: &Configuration) {
        let foreign = configuration.virtual_address(99);
        let first = addresses.first().copied();
        match self {
            Self::Turned => addresses.reverse(),
            Self::Doubled => {
                if let (Some(last), Some(first)) = (addresses.last_mut(), first) {
                    *last = first;
                }
            }
            Self::OneMoreDoubled => addresses.extend(first),
            Self::Foreign => {
                addresses.pop();
                addresses.push(foreign);
            }
            Self::ForeignFirst => {
                if let Some(first) = addresses.first_mut() {
                    *first = foreign;
                }
            }
            Self::OneMore => addresses.push(foreign),
            Self::OneLess => drop(addresses.pop()),
            Self::Empty => addresses.clear(),
            Self::Twenty => *addresses = (0..20).map(|number| configuration.virtual_address(number)).collect(),
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(mac) => write!(out, "destination MAC {mac:?}"),
            Self::From(mac) => write!(out, "source MAC {mac:?}"),
            Self::Tags(tags) => {
                let words =
                    tags.iter().map(|(kind, tag)| format!("{kind:04x} id {} priority {}", tag & 0xfff, tag >> 13));
                write!(out, "tagged {}", words.collect::<Vec<_>>().join(", then "))
            }
            Self::EtherType(kind) => write!(out, "Ethernet type {kind:04x}"),
            Self::Padding(Padding::Bytes(count)) => write!(out, "{count} bytes behind the packet"),
            Self::Padding(padding) => write!(out, "padding {padding:?}"),
            Self::CutFrame(count) => write!(out, "frame {count} bytes too short"),
            Self::IpVersion(version) => write!(out, "IP version {version}"),
            Self::Ihl(words) => write!(out, "told header length {words} words"),
            Self::Options(name, bytes) => write!(out, "options {name} ({bytes:02x?})"),
            Self::Tos(tos) => write!(out, "type of service {tos:#04x}"),
            Self::Length(more) => write!(out, "told length {more:+}"),
            Self::Fragment(field) => write!(out, "flags and fragment offset {field:#06x}"),
            Self::Pieces(cutting) => write!(out, "fragments: {cutting:?}"),
            Self::Ttl(ttl) => write!(out, "TTL {ttl}"),
            Self::HeaderSum(more) => write!(out, "header checksum {more:+}"),
            Self::Protocol(protocol) => write!(out, "IP protocol {protocol}"),
            Self::Source(place) => write!(out, "source {place:?}"),
            Self::Destination(place) => write!(out, "destination {place:?}"),
            Self::DestinationOnly(place) => write!(out, "destination {place:?} at the sound MAC"),
            Self::Extensions(name, _) => write!(out, "extension headers: {name}"),
            Self::AhAdded => write!(out, "authentication header added"),
            Self::AhRemoved => write!(out, "authentication header left out"),
            Self::AhNext(next) => write!(out, "AH next header {next}"),
            Self::AhLength(length) => write!(out, "AH told length {length}"),
            Self::AhReserved(reserved) => write!(out, "AH reserved field {reserved:#06x}"),
            Self::AhSpi(spi) => write!(out, "AH SPI {spi:#010x}"),
            Self::AhSequence(sequence) => write!(out, "AH sequence number {sequence:?}"),
            Self::AhKey => write!(out, "AH of another password"),
            Self::AhFlip => write!(out, "AH value with a bit turned"),
            Self::Version(version) => write!(out, "VRRP version {version} alone"),
            Self::OtherVersion => write!(out, "a sound advert of the other VRRP version"),
            Self::Kind(kind) => write!(out, "VRRP type {kind}"),
            Self::Vrid(vrid) => write!(out, "VRID {vrid} instead of {VRID}"),
            Self::Priority(priority) => write!(out, "priority {priority}"),
            Self::Count(more) => write!(out, "told address count {more:+}"),
            Self::AuthType(kind) => write!(out, "authentication type {kind}"),
            Self::AuthWord(word) => write!(out, "authentication bytes {}", word.escape_ascii()),
            Self::Interval(interval) => write!(out, "interval {interval}"),
            Self::Reserved(bits) => write!(out, "reserved bits {bits:#x}"),
            Self::Addresses(list) => write!(out, "addresses {list:?}"),
            Self::Checksum(form) => write!(out, "checksum {form:?}"),
            Self::Surplus(count, byte) => write!(out, "{count} surplus bytes {byte:#04x} behind VRRP"),
            Self::CutPacket(count) => write!(out, "VRRP packet {count} bytes too short"),
        }
    }
}

/// Whether a deviation can be had under a configuration.
pub fn fits(deviation: Deviation, configuration: &Configuration) -> bool {
    use Deviation as D;
    let (v6, ah) = (configuration.v6, configuration.auth == Auth::Ah);
    match deviation {
        D::Ihl(_) | D::Options(..) | D::Fragment(_) | D::HeaderSum(_) => !v6,
        D::Extensions(..) => v6,
        D::Source(Place::OwnOther | Place::Mapped) | D::Destination(Place::OwnOther | Place::Mapped) => v6,
        D::AhAdded => !ah && !v6,
        D::AhRemoved
        | D::AhNext(_)
        | D::AhLength(_)
        | D::AhReserved(_)
        | D::AhSpi(_)
        | D::AhSequence(_)
        | D::AhKey
        | D::AhFlip => ah,
        D::AuthType(_) | D::AuthWord(_) => configuration.version == 2,
        D::Reserved(_) => configuration.version == 3,
        D::Checksum(Form::PseudoDefault) => configuration.group.is_some(),
        D::Addresses(List::Turned | List::Doubled) => configuration.count > 1,
        _ => true,
    }
}
