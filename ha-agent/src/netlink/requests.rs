//! Questions to the kernel about a namespace, asked from outside it: by its nsid.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;
use tokio::task::JoinHandle;

use super::carrier::Carrier;
use super::decode::{self, Address, IfName};
use super::namespace::{Dump, LinkState, Want};
use super::resolve::ResolveError;
use super::vmac::{self, Macvlan};

/// The kernel answers in microseconds; this is for an answer that got lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request failed. All are retried.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the kernel refused the {what} request: {source}")]
    Refused { what: &'static str, source: io::Error },
    #[error("the answer to the {what} request did not come or was not whole; it is asked again")]
    NoAnswer { what: &'static str },
    #[error("the address table changed while it was read; it is read again")]
    Interrupted,
    #[error("this kernel does not answer for another namespace (Linux 5.0 or later is needed)")]
    NoTarget,
    #[error("the request socket is lost")]
    Lost,
}

/// Asks; cheap to clone. The connection is the task that [`Requests::start`] returns.
#[derive(Clone)]
pub(super) struct Requests {
    handle: Handle,
    carrier: Carrier,
}

impl Requests {
    /// Opens the request socket. It is in the agent's own namespace and pins no other.
    pub(super) fn start(carrier: &Carrier) -> io::Result<(Self, JoinHandle<()>)> {
        let (mut connection, handle, _unsolicited) = rtnetlink::from_socket(carrier.carry()?);
        // The end of a dump says whether it was interrupted.
        connection.set_forward_done(true);
        Ok((Self { handle, carrier: carrier.clone() }, tokio::spawn(connection)))
    }

    /// A namespace's file and its inode.
    pub(super) async fn open(&self, path: &Path) -> Result<(OwnedFd, u64), ResolveError> {
        self.carrier.open(path).await
    }

    /// The id by which the agent's namespace knows the namespace `netns` (an open nsfs file); it is
    /// given one if it has none. An id holds no reference to the namespace.
    pub(super) async fn nsid(&self, netns: BorrowedFd<'_>) -> Result<i32, RequestError> {
        // A second round when somebody else gives it an id between the two requests.
        for _ in 0..2 {
            if let Some(id) = self.known_nsid(netns).await? {
                return Ok(id);
            }
            let mut message = NsidMessage::default();
            message.attributes = vec![NsidAttribute::Id(-1), fd_attribute(netns)];
            let given = self.ask("RTM_NEWNSID", RouteNetlinkMessage::NewNsId(message), NLM_F_ACK).await;
            match given {
                Ok(_) => {}
                Err(RequestError::Refused { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        self.known_nsid(netns).await?.ok_or(RequestError::NoAnswer { what: "RTM_GETNSID" })
    }

    /// As [`Self::nsid`], but gives none.
    pub(super) async fn known_nsid(&self, netns: BorrowedFd<'_>) -> Result<Option<i32>, RequestError> {
        let mut message = NsidMessage::default();
        message.attributes = vec![fd_attribute(netns)];
        let answers = self.ask("RTM_GETNSID", RouteNetlinkMessage::GetNsId(message), 0).await?;
        answers
            .iter()
            .find_map(|answer| match answer {
                RouteNetlinkMessage::NewNsId(message) => Some(decode::nsid(message)),
                _ => None,
            })
            .ok_or(RequestError::NoAnswer { what: "RTM_GETNSID" })
    }

    /// The wanted links and addresses of the namespace `target`; none: the agent's own.
    pub(super) async fn dump(&self, target: Option<i32>, want: &Want) -> Result<Dump, RequestError> {
        let mut dump = Dump::default();
        for name in &want.names {
            if let Some(link) = self.link(target, *name).await? {
                dump.links.push(link);
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let wanted = |vip: &IpAddr| vip.is_ipv6() == (family == AddressFamily::Inet6);
            if want.vips.iter().any(wanted) {
                self.addresses(target, family, &want.vips, &mut dump.addresses).await?;
            }
        }
        Ok(dump)
    }

    /// One link by its name. One request per wanted name, not a dump: an answer that cannot be
    /// decoded is then noticed, and a host with thousands of links is not read for one of them.
    async fn link(&self, target: Option<i32>, name: IfName) -> Result<Option<LinkState>, RequestError> {
        const WHAT: &str = "RTM_GETLINK";
        let mut message = LinkMessage::default();
        message.attributes =
            vec![LinkAttribute::IfName(name.to_text()), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        message.attributes.extend(target.map(LinkAttribute::IfNetnsId));
        let answers = self.ask(WHAT, RouteNetlinkMessage::GetLink(message), NLM_F_ACK).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(RequestError::Refused { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        for answer in &answers {
            let RouteNetlinkMessage::NewLink(message) = answer else {
                continue;
            };
            let told = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfNetnsId(nsid) => Some(*nsid),
                _ => None,
            });
            if told != target {
                return Err(RequestError::NoTarget);
            }
            let (ifindex, named, up) = decode::link_of(message).ok_or(RequestError::NoAnswer { what: WHAT })?;
            // The kernel finds a link by its alternative names too; notifications tell the real one.
            return Ok((named == name).then_some(LinkState { name, ifindex, up }));
        }
        Err(RequestError::NoAnswer { what: WHAT })
    }

    /// The macvlans of the namespace `target`.
    pub(super) async fn macvlans(&self, target: Option<i32>) -> Result<Vec<Macvlan>, RequestError> {
        const WHAT: &str = "RTM_GETLINK";
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)]),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        message.attributes.extend(target.map(LinkAttribute::IfNetnsId));
        let mut answers = self.send(RouteNetlinkMessage::GetLink(message), NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut found = Vec::new();
        while let Some(answer) = next(&mut answers, WHAT).await? {
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                return Err(RequestError::Interrupted);
            }
            match answer.payload {
                NetlinkPayload::Done(done) if done.code == 0 => return Ok(found),
                NetlinkPayload::Done(done) => return Err(refused(WHAT, done.code)),
                NetlinkPayload::Error(error) => return Err(refused(WHAT, error.raw_code())),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => found.extend(vmac::of(&message)),
                _ => {}
            }
        }
        Err(RequestError::NoAnswer { what: WHAT })
    }

    async fn addresses(
        &self,
        target: Option<i32>,
        family: AddressFamily,
        vips: &[IpAddr],
        into: &mut Vec<Address>,
    ) -> Result<(), RequestError> {
        let mut message = AddressMessage::default();
        message.header.family = family;
        if let Some(nsid) = target {
            message.attributes.push(AddressAttribute::TargetNetNsId(nsid));
        }
        let mut answers = self.send(RouteNetlinkMessage::GetAddress(message), NLM_F_REQUEST | NLM_F_DUMP)?;
        loop {
            let Some(answer) = next(&mut answers, "RTM_GETADDR").await? else {
                return Err(RequestError::NoAnswer { what: "RTM_GETADDR" });
            };
            if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                return Err(RequestError::Interrupted);
            }
            match answer.payload {
                NetlinkPayload::Done(done) if done.code == 0 => return Ok(()),
                NetlinkPayload::Done(done) => return Err(refused("RTM_GETADDR", done.code)),
                NetlinkPayload::Error(error) => {
                    return Err(refused("RTM_GETADDR", error.raw_code()));
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
                    let told = message.attributes.iter().find_map(|attribute| match attribute {
                        AddressAttribute::TargetNetNsId(nsid) => Some(*nsid),
                        _ => None,
                    });
                    if told != target {
                        return Err(RequestError::NoTarget);
                    }
                    if let Some(address) = decode::address_of(&message)
                        && vips.binary_search(&address.local).is_ok()
                    {
                        into.push(address);
                    }
                }
                _ => {}
            }
        }
    }

    /// A request with at most a few answers.
    async fn ask(
        &self,
        what: &'static str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, RequestError> {
        let mut answers = self.send(message, NLM_F_REQUEST | flags)?;
        let mut out = Vec::new();
        while let Some(answer) = next(&mut answers, what).await? {
            match answer.payload {
                NetlinkPayload::Error(error) if error.raw_code() != 0 => {
                    return Err(refused(what, error.raw_code()));
                }
                NetlinkPayload::InnerMessage(message) => out.push(message),
                _ => {}
            }
        }
        Ok(out)
    }

    fn send(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin + use<>, RequestError> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        let stream = self.handle.clone().request(message).map_err(|_| RequestError::Lost)?;
        Ok(Box::pin(stream))
    }
}

async fn next<S>(
    answers: &mut S,
    what: &'static str,
) -> Result<Option<NetlinkMessage<RouteNetlinkMessage>>, RequestError>
where
    S: Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
{
    tokio::time::timeout(PATIENCE, answers.next()).await.map_err(|_| RequestError::NoAnswer { what })
}

fn refused(what: &'static str, code: i32) -> RequestError {
    RequestError::Refused { what, source: io::Error::from_raw_os_error(code.saturating_abs()) }
}

fn fd_attribute(netns: BorrowedFd<'_>) -> NsidAttribute {
    NsidAttribute::Fd(netns.as_raw_fd().unsigned_abs())
}
