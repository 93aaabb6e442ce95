//! What can be done to a frame that an honest speaker would not do, or seldom: other MACs, a tag, fragments,
//! options, extension headers, another checksum form, an authentication header, a list that collides.
//!
//! Frames come from [`ha_agent_common::build`]: untagged Ethernet, with a sound body.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use ha_agent_common::build::checksum;

use crate::command;
use crate::frames::sealed;

/// Length of an untagged Ethernet header.
const ETHERNET: usize = 14;
/// Length of an IPv4 header without options.
const IPV4: usize = 20;
/// Length of the IPv6 header.
const IPV6: usize = 40;
/// IP protocol of VRRP.
const VRRP: u8 = 112;
/// Where the integrity check value is in an authentication header (RFC 4302 section 2).
const ICV: usize = 12;
/// What HMAC-MD5-96 leaves of the hash (RFC 2403).
const ICV_LENGTH: usize = 12;
/// FNV-1a, 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A MAC address.
pub type Mac = [u8; 6];

/// From this MAC.
pub fn from_mac(mut frame: Vec<u8>, mac: Mac) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac);
    frame
}

/// To this MAC.
pub fn to_mac(mut frame: Vec<u8>, mac: Mac) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac);
    frame
}

/// With an 802.1Q tag: priority, and the id that follows.
pub fn tagged(frame: Vec<u8>, id: u16) -> Vec<u8> {
    let mut frame = sealed(&frame);
    let [high, low] = (id & 0x0fff | 0xe000).to_be_bytes();
    frame.splice(12..12, [0x81, 0x00, high, low]);
    frame
}

/// In two IPv4 fragments, the first of eight bytes: the VRRP header.
pub fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let end = ETHERNET + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let body = ETHERNET + IPV4;
    let part = |bytes: &[u8], offset_and_flags: u16| {
        let mut part = [&frame[..body], bytes].concat();
        part[16..18].copy_from_slice(&length(IPV4 + bytes.len()));
        part[18..20].copy_from_slice(&0x4321_u16.to_be_bytes());
        part[20..22].copy_from_slice(&offset_and_flags.to_be_bytes());
        part
    };
    // "More fragments"; then offset 1, in units of eight bytes.
    [part(&frame[body..body + 8], 0x2000), part(&frame[body + 8..end], 1)].map(|part| sealed(&part))
}

/// With IPv4 options, a multiple of four bytes.
pub fn with_options(mut frame: Vec<u8>, options: &[u8]) -> Vec<u8> {
    debug_assert_eq!(options.len() % 4, 0);
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    frame.truncate(ETHERNET + total);
    frame[16..18].copy_from_slice(&length(total + options.len()));
    frame[14] = 0x40 | u8::try_from((IPV4 + options.len()) / 4).unwrap_or(15);
    frame.splice(ETHERNET + IPV4..ETHERNET + IPV4, options.iter().copied());
    sealed(&frame)
}

/// With a loose source route over one router (RFC 791), already at its end.
pub fn source_routed(frame: Vec<u8>, over: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = over.octets();
    // Type, length, pointer behind the last address, the address; end of the list.
    with_options(frame, &[0x83, 7, 8, a, b, c, d, 0])
}

/// With a wrong checksum of the IPv4 header; to be sent as it is.
pub fn with_a_broken_header(frame: &[u8]) -> Vec<u8> {
    let mut frame = sealed(frame);
    frame[ETHERNET + 10] ^= 0xff;
    frame
}

/// An IPv6 frame with a hop-by-hop header of padding before the VRRP header.
pub fn hop_by_hop(mut frame: Vec<u8>) -> Vec<u8> {
    let body = u16::from_be_bytes([frame[18], frame[19]]);
    frame[18..20].copy_from_slice(&(body + 8).to_be_bytes());
    frame[20] = 0;
    // The next header, no more than eight bytes, PadN of four.
    frame.splice(ETHERNET + IPV6..ETHERNET + IPV6, [VRRP, 0, 1, 4, 0, 0, 0, 0]);
    frame
}

/// With bytes behind the advert that the IP header counts in.
pub fn with_trailer(mut frame: Vec<u8>, trailer: &[u8]) -> Vec<u8> {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    frame.truncate(ETHERNET + total);
    frame.extend(trailer);
    frame[16..18].copy_from_slice(&length(total + trailer.len()));
    sealed(&frame)
}

/// With an authentication header that fits: HMAC-MD5-96 over the IP header without what changes on the way,
/// the authentication header without its value, and the advert, as keepalived computes it.
///
/// # Errors
/// When the frame has no such header, or python3 cannot be run.
pub fn signed(frame: &[u8], password: &str, sequence: u32) -> Result<Vec<u8>> {
    let mut frame = sealed(frame);
    ensure!(frame[ETHERNET + 9] == 51, "no authentication header");
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let ah = ETHERNET + IPV4;
    frame[ah + 8..ah + 12].copy_from_slice(&sequence.to_be_bytes());
    let mut covered = frame[ETHERNET..ETHERNET + total].to_vec();
    covered[1] = 0;
    covered[6..8].fill(0);
    covered[10..12].fill(0);
    covered[IPV4 + ICV..IPV4 + ICV + ICV_LENGTH].fill(0);
    let mut key = [0; 8];
    key[..password.len()].copy_from_slice(password.as_bytes());
    let program = "import hmac, sys; print(hmac.new(*map(bytes.fromhex, sys.argv[1:]), 'md5').hexdigest())";
    let digest = command::run("python3", &["-c", program, &hex(&key), &hex(&covered)])?;
    for (index, byte) in frame[ah + ICV..ah + ICV + ICV_LENGTH].iter_mut().enumerate() {
        let digits = digest.get(index * 2..index * 2 + 2).context("an MD5 digest")?;
        *byte = u8::from_str_radix(digits, 16)?;
    }
    Ok(frame)
}

/// A VRRPv3 frame with its checksum over another destination than its own, as `old_unicast_checksum` has it.
pub fn summed_for(mut frame: Vec<u8>, destination: Ipv4Addr) -> Vec<u8> {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let body = ETHERNET + IPV4;
    frame[body + 6..body + 8].fill(0);
    let mut summed = frame[body..ETHERNET + total].to_vec();
    summed.extend(&frame[ETHERNET + 12..ETHERNET + 16]);
    summed.extend(destination.octets());
    summed.extend([0, VRRP]);
    summed.extend(length(total - IPV4));
    let sum = checksum(&summed);
    frame[body + 6..body + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Three other addresses with the same FNV-1a hash, taken over words of eight bytes and a last one of four.
///
/// The third is free to choose; the first word then follows, since multiplication by an odd number and
/// exclusive or can be undone.
pub fn colliding(addresses: [Ipv4Addr; 3], third: Ipv4Addr) -> [Ipv4Addr; 3] {
    let word = |a: Ipv4Addr, b: Ipv4Addr| {
        let ([a, b, c, d], [e, f, g, h]) = (a.octets(), b.octets());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let last = |address: Ipv4Addr| u64::from(u32::from_ne_bytes(address.octets()));
    let [first, second, known] = addresses;
    let after = (FNV_OFFSET ^ word(first, second)).wrapping_mul(FNV_PRIME) ^ last(known);
    let before = (after ^ last(third)).wrapping_mul(inverse(FNV_PRIME)) ^ FNV_OFFSET;
    let [a, b, c, d, e, f, g, h] = before.to_ne_bytes();
    [Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h), third]
}

/// Of an odd number modulo 2^64, by Newton's steps: each doubles the bits that are right.
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse))))
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
