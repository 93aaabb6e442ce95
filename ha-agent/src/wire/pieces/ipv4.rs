//! IPv4 fragments, as the kernel reads them (`net/ipv4/ip_input.c`, `ip_fragment.c`; RFC 791 section 3.2).

use ha_agent_common::Reason;
use ha_agent_common::frame::{be16, fault_v4};
use ha_agent_common::slice::Slice;

use super::queue::{LONGEST, Part};

/// Bytes of a header without options.
const HEADER: usize = 20;

/// A fragment of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    /// Identification.
    pub(super) id: u16,
    /// Protocol.
    pub(super) protocol: u8,
    /// Its own IP header.
    pub(super) header: &'a [u8],
    /// What it carries.
    pub(super) part: Part<'a>,
    /// Why the kernel drops it before it looks for the others, a [`Reason`]; 0: it does not.
    pub(super) fault: u8,
}

/// Reads a fragment; none where there is no header.
///
/// Where the length is wrong, it carries what is there.
pub(super) fn read(bytes: &[u8]) -> Option<Fragment<'_>> {
    let ip: &[u8; HEADER] = bytes.first_chunk()?;
    let length = usize::from(ip[0] & 15) * 4;
    if ip[0] >> 4 != 4 || length < HEADER {
        return None;
    }
    let header = bytes.get(..length)?;
    // The key is for lists of addresses, which are not looked at here.
    let fault = fault_v4(&Slice::new(bytes, [0; 2]), ip);
    let total = usize::from(be16(ip[2], ip[3])).clamp(length, bytes.len());
    let mut carried = bytes.get(length..total)?;
    let place = be16(ip[6], ip[7]);
    let more = place & 0x2000 != 0;
    let at = usize::from(place & 0x1fff) * 8;
    if more {
        // Only the last one may end anywhere.
        carried = carried.get(..carried.len() & !7)?;
    }
    let part = Part { at, bytes: carried, more, ecn: ip[1] & 3 };
    Some(Fragment { id: be16(ip[4], ip[5]), protocol: ip[9], header, part, fault })
}

/// The packet, by the header of its first fragment; none when it would be too long.
pub(super) fn join(header: &[u8], payload: &[u8], ecn: u8) -> Option<Vec<u8>> {
    let length = header.len() + payload.len();
    let total = u16::try_from(length).ok().filter(|_| length <= LONGEST)?;
    let mut packet = Vec::with_capacity(length);
    packet.extend_from_slice(header);
    packet.extend_from_slice(payload);
    let ip: &mut [u8; HEADER] = packet.first_chunk_mut()?;
    ip[1] |= ecn;
    [ip[2], ip[3]] = total.to_be_bytes();
    [ip[6], ip[7]] = [0, 0];
    [ip[10], ip[11]] = [0, 0];
    let [high, low] = checksum(packet.get(..header.len())?).to_be_bytes();
    *packet.get_mut(10)? = high;
    *packet.get_mut(11)? = low;
    Some(packet)
}

/// RFC 791: the header's checksum.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(be16(pair[0], pair[1]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !(folded as u16)
}

/// What the first fragment says by itself, as if it were the whole: for naming one that is dropped.
pub(super) fn alone(fragment: &Fragment<'_>) -> Option<(Vec<u8>, u8)> {
    if fragment.part.at != 0 {
        return None;
    }
    let fault = if fragment.fault == 0 { Reason::Header as u8 } else { fragment.fault };
    Some((join(fragment.header, fragment.part.bytes, 0)?, fault))
}
