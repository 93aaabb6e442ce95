//! Whether the kernel takes a packet from a source on a device: the kernel is asked, so that reverse path
//! filters, policy routes, own addresses and their sysctls count as they do for the packet itself.
//!
//! `RTM_GETROUTE` with an input interface runs `ip_route_input_rcu`, which every arriving IPv4 packet goes
//! through (Linux 4.14 and later). The socket is opened in the device's namespace and closed at once, so
//! that it pins nothing. IPv6 has no such check.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Every host's group: every interface that is up is a member, so that only the source decides.
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// What a question about a source is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether a packet that arrives from it is delivered: to a group, or to this address of ours.
    Arrives(Option<Ipv4Addr>),
    /// Whether it is an address of this namespace.
    IsLocal,
}

/// Asks in the thread's namespace, about the interface of this index. None: the kernel cannot tell now.
pub(super) fn ask(ifindex: u32, source: IpAddr, question: Question) -> Option<bool> {
    let answer = match (question, source) {
        (Question::Arrives(to), IpAddr::V4(source)) => route(Some(ifindex), Some(source), to.unwrap_or(ALL_HOSTS)),
        // IPv6 routers take any source that is none of those that the classifier knows.
        (Question::Arrives(_), IpAddr::V6(_)) => return Some(true),
        (Question::IsLocal, IpAddr::V4(source)) => route(None, None, source),
        (Question::IsLocal, IpAddr::V6(source)) => {
            return addresses(0, AddressFamily::Inet6).ok().map(|all| all.contains(&source.into()));
        }
    };
    match (question, answer) {
        // A packet that would be forwarded reaches no socket here.
        (Question::Arrives(_), Ok(kind)) => Some(kind != RouteType::Unicast),
        (Question::IsLocal, Ok(kind)) => Some(kind == RouteType::Local),
        (Question::IsLocal, Err(error)) => match error.raw_os_error() {
            // No socket, or no room for the question: nothing was answered.
            None | Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => None,
            // Unreachable, prohibited, or thrown away.
            Some(_) => Some(false),
        },
        (Question::Arrives(_), Err(error)) => match error.raw_os_error() {
            // Martian, and refused by the reverse path filter.
            Some(libc::EINVAL | libc::EXDEV) => Some(false),
            _ => None,
        },
    }
}

/// The addresses of an interface (0: of all) in the thread's namespace, in the kernel's order.
pub(super) fn addresses(ifindex: u32, family: AddressFamily) -> io::Result<Vec<IpAddr>> {
    let mut message = AddressMessage::default();
    message.header.family = family;
    let request = RouteNetlinkMessage::GetAddress(message);
    let mut found = Vec::new();
    exchange(request, NLM_F_REQUEST | NLM_F_DUMP, |message| {
        if let RouteNetlinkMessage::NewAddress(message) = message
            && (ifindex == 0 || message.header.index == ifindex)
        {
            let of = |attribute: &AddressAttribute| match attribute {
                AddressAttribute::Local(address) => Some((0, *address)),
                AddressAttribute::Address(address) => Some((1, *address)),
                _ => None,
            };
            found.extend(message.attributes.iter().filter_map(of).min_by_key(|(rank, _)| *rank).map(|(_, a)| a));
        }
    })?;
    Ok(found)
}

fn route(iif: Option<u32>, source: Option<Ipv4Addr>, to: Ipv4Addr) -> io::Result<RouteType> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 32;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(to)));
    if let Some(source) = source.filter(|source| !source.is_unspecified()) {
        message.header.source_prefix_length = 32;
        message.attributes.push(RouteAttribute::Source(RouteAddress::Inet(source)));
    }
    if let Some(iif) = iif {
        message.attributes.push(RouteAttribute::Iif(iif));
    }
    let mut kind = None;
    exchange(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST, |message| {
        if let RouteNetlinkMessage::NewRoute(message) = message {
            kind = Some(message.header.kind);
        }
    })?;
    kind.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Sends a request and hands over every message of the answer.
fn exchange(request: RouteNetlinkMessage, flags: u16, mut take: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    socket.send_to(&buffer, &SocketAddr::new(0, 0), 0)?;
    let dump = flags & NLM_F_DUMP == NLM_F_DUMP || flags & NLM_F_ACK != 0;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(4).max(16);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => match error.code {
                    None => return Ok(()),
                    Some(_) => return Err(error.to_io()),
                },
                NetlinkPayload::InnerMessage(message) => take(message),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or(&[]);
        }
        if !dump {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
