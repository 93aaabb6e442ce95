//! What a frame is and says, read plainly: slices and offsets, no cleverness, no code of the
//! product's. It is the independent witness of the differential test, so it stands alone: only the
//! standard library, written from RFC 9568, RFC 3768, RFC 2338 section 5.3 and what keepalived does
//! where they leave a choice.
//!
//! Three things are conventions of this project and no standard's: the order in which faults are
//! named, that a VRRP header which the frame cuts off counts as its first four bytes and zeros, and
//! the hash over the addresses.

/// Which protocol carries an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Not VRRP, as far as can be told.
    Other,
    /// VRRP behind an 802.1Q or 802.1ad tag.
    Tagged,
    /// A fragment of an IPv4 packet that may be VRRP.
    Fragment,
    /// VRRP without so much as a VRID.
    Headless,
    /// VRRP.
    Advert(Box<Advert>),
}

/// What an advert says, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// What carries it.
    pub family: Family,
    /// TTL or hop limit.
    pub ttl: u8,
    /// In an IP authentication header.
    pub ah: bool,
    /// Not sent to a group.
    pub unicast: bool,
    /// From the virtual router's MAC.
    pub vmac: bool,
    /// Where it comes from, 4 or 16 bytes.
    pub source: Vec<u8>,
    /// VRRP version as written.
    pub version: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// How many addresses it says it lists.
    pub count: u8,
    /// VRRPv2 authentication type; 0 otherwise.
    pub auth_type: u8,
    /// In centiseconds.
    pub interval_cs: u16,
    /// The list, 4 or 16 bytes each, where the length is right.
    pub addresses: Option<Vec<Vec<u8>>>,
    /// VRRPv2's password, where there is one.
    pub password: [u8; 8],
    /// VRRPv3 over IPv4, summed without the pseudo-header.
    pub plain_checksum: bool,
    /// The first fault.
    pub fault: Option<Fault>,
}

/// Why a receiver rejects an advert; the first of them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// RFC 9568 section 5.1.1.3, 5.1.2.3: not 255. Not asked of unicast.
    Ttl,
    /// Neither 2 nor 3.
    Version,
    /// No advertisement.
    Type,
    /// Not as long as its list of addresses makes it, or cut off.
    Length,
    /// Fits no form.
    Checksum,
    /// RFC 2338 section 5.3.6: no such type, or not what carries it.
    Authentication,
}

/// Reads a frame that begins with its Ethernet header and carries its tag, if any, in its bytes.
pub fn read(frame: &[u8]) -> Sight {
    match number(frame, 12, 2) {
        Some(0x0800) => ipv4(frame),
        Some(0x86dd) => ipv6(frame),
        Some(0x8100 | 0x88a8) => tagged(frame),
        _ => Sight::Other,
    }
}

/// One tag is looked behind.
fn tagged(frame: &[u8]) -> Sight {
    let protocol = match number(frame, 16, 2) {
        Some(0x0800) => frame.get(18 + 9).copied(),
        Some(0x86dd) => frame.get(18 + 6).copied().filter(|next| *next != 51),
        _ => None,
    };
    match protocol {
        Some(112 | 51) => Sight::Tagged,
        _ => Sight::Other,
    }
}

fn ipv4(frame: &[u8]) -> Sight {
    let Some(ip) = frame.get(14..34) else {
        return Sight::Other;
    };
    let (version, header, protocol) = (ip[0] / 16, usize::from(ip[0] % 16) * 4, ip[9]);
    if version != 4 || header < 20 || (protocol != 112 && protocol != 51) {
        return Sight::Other;
    }
    let fragment = u16::from_be_bytes([ip[6], ip[7]]);
    let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
    if more || offset != 0 {
        return Sight::Fragment;
    }
    let mut start = 14 + header;
    let end = 14 + usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let ah = protocol == 51;
    if ah {
        // RFC 4302 section 2: next header, then the header's own length in words, less two.
        match frame.get(start..start + 2) {
            Some([112, words]) => start += (usize::from(*words) + 2) * 4,
            _ => return Sight::Other,
        }
    }
    let (source, destination) = (&ip[12..16], &ip[16..20]);
    let multicast = (224..240).contains(&destination[0]);
    vrrp(&Carrier {
        frame,
        family: Family::V4,
        start,
        length: end.saturating_sub(start),
        ttl: ip[8],
        ah,
        unicast: !multicast,
        source,
        destination,
    })
}

fn ipv6(frame: &[u8]) -> Sight {
    let Some(ip) = frame.get(14..54) else {
        return Sight::Other;
    };
    if ip[0] / 16 != 6 || ip[6] != 112 {
        return Sight::Other;
    }
    let (source, destination) = (&ip[8..24], &ip[24..40]);
    vrrp(&Carrier {
        frame,
        family: Family::V6,
        start: 54,
        length: usize::from(u16::from_be_bytes([ip[4], ip[5]])),
        ttl: ip[7],
        ah: false,
        unicast: destination[0] != 0xff,
        source,
        destination,
    })
}

/// What was found around the VRRP packet.
struct Carrier<'a> {
    frame: &'a [u8],
    family: Family,
    /// Where VRRP begins.
    start: usize,
    /// How many bytes of it there are by the IP header.
    length: usize,
    ttl: u8,
    ah: bool,
    unicast: bool,
    source: &'a [u8],
    destination: &'a [u8],
}

fn vrrp(carrier: &Carrier<'_>) -> Sight {
    let v4 = carrier.family == Family::V4;
    // What is there, at most what the IP header says.
    let there = carrier.frame.get(carrier.start..).unwrap_or(&[]);
    let there = &there[..there.len().min(carrier.length)];
    let mut header = [0; 8];
    match there.len() {
        0..4 => return Sight::Headless,
        4..8 => header[..4].copy_from_slice(&there[..4]),
        _ => header.copy_from_slice(&there[..8]),
    }
    let [version_and_type, vrid, priority, count, fifth, sixth, _, _] = header;
    let (version, kind) = (version_and_type / 16, version_and_type % 16);
    let vmac = [0x00, 0x00, 0x5e, 0x00, if v4 { 1 } else { 2 }, vrid];
    let mut advert = Advert {
        family: carrier.family,
        ttl: carrier.ttl,
        ah: carrier.ah,
        unicast: carrier.unicast,
        vmac: carrier.frame[6..12] == vmac,
        source: carrier.source.to_vec(),
        version,
        vrid,
        priority,
        count,
        auth_type: if version == 2 { fifth } else { 0 },
        interval_cs: if version == 2 { u16::from(sixth) * 100 } else { u16::from_be_bytes([fifth, sixth]) % 4096 },
        addresses: None,
        password: [0; 8],
        plain_checksum: false,
        fault: None,
    };
    advert.fault = fault(carrier, there, kind, &mut advert);
    Sight::Advert(Box::new(advert))
}

/// The first fault; on the way, what the advert says beyond its header.
fn fault(carrier: &Carrier<'_>, there: &[u8], kind: u8, advert: &mut Advert) -> Option<Fault> {
    if !carrier.unicast && carrier.ttl != 255 {
        return Some(Fault::Ttl);
    }
    if advert.version != 2 && advert.version != 3 {
        return Some(Fault::Version);
    }
    if kind != 1 {
        return Some(Fault::Type);
    }

    let v4 = carrier.family == Family::V4;
    let size = if v4 { 4 } else { 16 };
    let list_end = 8 + usize::from(advert.count) * size;
    let with_authentication = advert.version == 2 && v4;
    let whole = if with_authentication { list_end + 8 } else { list_end };
    // keepalived 2.4, auth_hmac.
    let trailer = advert.version == 3 && carrier.length == whole + 28;
    if (carrier.length != whole && !trailer) || there.len() != carrier.length {
        return Some(Fault::Length);
    }
    let list = &there[8..list_end];
    advert.addresses = Some(list.chunks(size).map(<[u8]>::to_vec).collect());
    if with_authentication && advert.auth_type == 1 {
        advert.password.copy_from_slice(&there[list_end..whole]);
    }

    let body = &there[..whole];
    let forms: &[(&[u8], usize)] = if trailer {
        // Whether the trailer is summed, and whether it counts in the pseudo-header, is left open.
        &[(body, carrier.length), (body, whole), (there, carrier.length)]
    } else {
        &[(body, whole)]
    };
    match forms.iter().find_map(|(bytes, length)| form(carrier, advert.version, bytes, *length)) {
        Some(plain) => advert.plain_checksum = plain && advert.version == 3,
        None => return Some(Fault::Checksum),
    }

    let fits = match (advert.auth_type, with_authentication) {
        (0, true) => !carrier.ah,
        (1, true) => !carrier.ah,
        (2, true) => carrier.ah,
        (0, false) => !carrier.ah,
        _ => false,
    };
    (!fits).then_some(Fault::Authentication)
}

/// Whether these bytes sum up, and if so whether without pseudo-header.
fn form(carrier: &Carrier<'_>, version: u8, bytes: &[u8], length: usize) -> Option<bool> {
    let mut pseudo = [carrier.source, carrier.destination].concat();
    // RFC 8200 section 8.1; over IPv4 (RFC 9568 section 5.2.8) zero, protocol and length sum up the same.
    pseudo.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    pseudo.extend([0, 0, 0, 112]);
    pseudo.extend(bytes);
    let v4 = carrier.family == Family::V4;
    let (with, without) = match (v4, version) {
        (true, 2) => (false, true),
        (true, _) => (true, true),
        (false, _) => (true, false),
    };
    if with && ones_complement_sum(&pseudo) == 0xffff {
        return Some(false);
    }
    (without && ones_complement_sum(bytes) == 0xffff).then_some(true)
}

/// RFC 1071, word by word.
pub fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) * 256 + u32::from(pair.get(1).copied().unwrap_or(0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The hash by which lists of addresses are compared: FNV-1a, 64 bits, over words of 8 bytes in the
/// machine's order; 4 bytes that are left over are a word of their own.
pub fn hash(addresses: &[Vec<u8>]) -> u64 {
    let mut hash = 14_695_981_039_346_656_037_u64;
    for chunk in addresses.concat().chunks(8) {
        let word = match chunk {
            [a, b, c, d] => u64::from(u32::from_ne_bytes([*a, *b, *c, *d])),
            [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            _ => 0,
        };
        hash ^= word;
        hash = hash.wrapping_mul(1_099_511_628_211);
    }
    hash
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + length)?;
    Some(bytes.iter().fold(0, |number, byte| number * 256 + u32::from(*byte)))
}
