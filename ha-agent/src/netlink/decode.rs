//! rtnetlink's bytes → the few facts that the watch needs. Pure; takes any bytes without panicking.
//!
//! Only the wanted attributes are parsed: a notification with an attribute that this build does not
//! understand must not cost the fact it carries, and links carry kilobytes of statistics.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NetlinkBuffer, NlasIterator, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeader, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

/// linux/rtnetlink.h, message types.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWNSID: u16 = 88;
const RTM_DELNSID: u16 = 89;
/// linux/if_addr.h and linux/if_link.h, attribute types.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFLA_IFNAME: u16 = 3;
/// Fixed parts before the attributes: `struct ifaddrmsg`, `struct ifinfomsg`.
const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;

/// An interface's name as the kernel keeps it: at most 15 bytes, zero-filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName([u8; 16]);

impl IfName {
    /// None where the kernel could not have such an interface (`dev_valid_name`, Linux 6.18): empty,
    /// longer than 15 bytes, `.`, `..`, or with a slash, a colon, a blank or a NUL in it.
    pub fn new(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let odd = |byte: &u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace() || *byte == 0x0b;
        if matches!(bytes, [] | b"." | b"..") || bytes.len() > 15 || bytes.iter().any(odd) {
            return None;
        }
        let mut out = [0; 16];
        out[..bytes.len()].copy_from_slice(bytes);
        Some(Self(out))
    }

    /// The name; lossy where it is not UTF-8.
    pub fn to_text(self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(16);
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }

    fn from_attribute(value: &[u8]) -> Option<Self> {
        let end = value.iter().position(|byte| *byte == 0);
        let bytes = &value[..end.unwrap_or(value.len())];
        if bytes.is_empty() || bytes.len() > 15 {
            return None;
        }
        let mut out = [0; 16];
        out[..bytes.len()].copy_from_slice(bytes);
        Some(Self(out))
    }
}

/// An address of an interface. The kernel tells entries apart by all of it but `usable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub ifindex: u32,
    /// The address itself.
    pub local: IpAddr,
    /// The other end's address on a point-to-point link, else `local` again.
    pub peer: IpAddr,
    /// Prefix length as sent, not checked.
    pub prefix: u8,
    /// False once duplicate address detection has failed: the kernel keeps such an IPv6 address
    /// but does not use it. A tentative one is usable here: it is in the table, and keepalived
    /// (which sets `nodad`) has already taken the role.
    pub usable: bool,
}

/// A fact from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An address is set, or one that was has changed.
    AddressSet(Address),
    /// An address is taken away.
    AddressGone(Address),
    /// A link is there, or has changed.
    Link {
        /// Its index.
        ifindex: u32,
        /// Its name now.
        name: IfName,
        /// Administratively up, running and with carrier.
        up: bool,
    },
    /// A link has left the namespace or is deleted.
    LinkGone {
        /// Its index.
        ifindex: u32,
    },
    /// A namespace was given an id.
    NamespaceNamed {
        /// Its nsid in the socket's namespace.
        nsid: i32,
    },
    /// A namespace has died; its id may be given to another one.
    NamespaceGone {
        /// Its nsid in the socket's namespace.
        nsid: i32,
    },
}

/// All messages of a datagram. After an error in a message's frame nothing more can be found.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Message, DecodeError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let length = match NetlinkBuffer::new_checked(rest) {
                Ok(buffer) => buffer.length() as usize,
                Err(e) => {
                    rest = &[];
                    return Some(Err(e));
                }
            };
            let (one, _) = rest.split_at(length.min(rest.len()));
            // Messages are aligned to four bytes.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
            if let Some(result) = message(one).transpose() {
                return Some(result);
            }
        }
        None
    })
}

/// One netlink message, header included; none when it is of no interest here.
///
/// # Errors
/// When the message contradicts its own lengths or lacks what it is about.
pub fn message(bytes: &[u8]) -> Result<Option<Message>, DecodeError> {
    let buffer = NetlinkBuffer::new_checked(bytes)?;
    let payload = buffer.payload();
    Ok(match buffer.message_type() {
        RTM_NEWADDR => Some(Message::AddressSet(address(payload)?)),
        RTM_DELADDR => Some(Message::AddressGone(address(payload)?)),
        RTM_NEWLINK => link(payload)?,
        RTM_DELLINK => {
            let header = LinkHeader::parse(payload)?;
            is_device(&header).then_some(Message::LinkGone { ifindex: header.index })
        }
        RTM_NEWNSID => nsid(&NsidMessage::parse(payload)?).map(|nsid| Message::NamespaceNamed { nsid }),
        RTM_DELNSID => nsid(&NsidMessage::parse(payload)?).map(|nsid| Message::NamespaceGone { nsid }),
        _ => None,
    })
}

/// The nsid of a message; none when it is not assigned.
pub(super) fn nsid(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if *id >= 0 => Some(*id),
        _ => None,
    })
}

/// Up, running and with carrier. keepalived judges by the first two; the third is lost at once with
/// the carrier while the second follows when the kernel's link watch runs.
pub(super) fn link_up(flags: LinkFlags) -> bool {
    flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp)
}

/// A link from a request's answer.
pub(super) fn link_of(message: &LinkMessage) -> Option<(u32, IfName, bool)> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => IfName::from_attribute(name.as_bytes()),
        _ => None,
    })?;
    Some((message.header.index, name, link_up(message.header.flags)))
}

/// An address from a request's answer.
pub(super) fn address_of(message: &AddressMessage) -> Option<Address> {
    build_address(&message.header, message.attributes.iter().cloned())
}

fn address(payload: &[u8]) -> Result<Address, DecodeError> {
    let header = AddressHeader::parse(payload)?;
    let mut wanted = Vec::with_capacity(3);
    for attribute in NlasIterator::new(payload.get(ADDRESS_HEADER..).unwrap_or(&[])) {
        let attribute = attribute?;
        if matches!(attribute.kind(), IFA_ADDRESS | IFA_LOCAL | IFA_FLAGS) {
            wanted.push(AddressAttribute::parse(&attribute)?);
        }
    }
    build_address(&header, wanted.into_iter()).ok_or_else(|| {
        DecodeError::from("an address message without an address, or with two of different families".to_owned())
    })
}

fn build_address(header: &AddressHeader, attributes: impl Iterator<Item = AddressAttribute>) -> Option<Address> {
    // `IFA_FLAGS` carries all 32 flags, the header the first eight.
    let mut flags = AddressFlags::from_bits_retain(u32::from(header.flags.bits()));
    let (mut local, mut other) = (None, None);
    for attribute in attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => other = Some(address),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    // IPv6 has `IFA_LOCAL` only where there is a peer.
    let local = local.or(other)?;
    let peer = other.unwrap_or(local);
    if local.is_ipv4() != peer.is_ipv4() {
        return None;
    }
    Some(Address {
        ifindex: header.index,
        local,
        peer,
        prefix: header.prefix_len,
        usable: !flags.contains(AddressFlags::Dadfailed),
    })
}

fn link(payload: &[u8]) -> Result<Option<Message>, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    if !is_device(&header) {
        return Ok(None);
    }
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..).unwrap_or(&[])) {
        let attribute = attribute?;
        if attribute.kind() == IFLA_IFNAME
            && let Some(name) = IfName::from_attribute(attribute.value())
        {
            return Ok(Some(Message::Link { ifindex: header.index, name, up: link_up(header.flags) }));
        }
    }
    Err(DecodeError::from("a link message without a name".to_owned()))
}

/// The link group also carries what a bridge says of its ports (`AF_BRIDGE`): a port that leaves its
/// bridge is reported as `RTM_DELLINK` although the device stays.
fn is_device(header: &LinkHeader) -> bool {
    header.interface_family == AddressFamily::Unspec
}

#[cfg(test)]
mod tests;
