//! The one multicast socket that hears every namespace. Raw `recvmsg`, because the namespace that a
//! notification comes from is told only in its control message.

use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::MulticastGroup;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock;
use crate::core::time::Mono;

/// What is asked for with `SO_RCVBUFFORCE`; the kernel charges only what is really queued.
pub(super) const RECEIVE_BUFFER: usize = 8 << 20;

/// Room for one notification. A link's is about a kilobyte; only answers to requests can be longer.
const DATAGRAM: usize = 32 << 10;

/// What a receive gave.
pub(super) enum Received {
    /// A datagram of this many bytes in [`Listener::bytes`].
    Datagram {
        length: usize,
        /// The namespace it comes from; none: the socket's own.
        nsid: Option<i32>,
        at: Mono,
    },
    /// The kernel had to drop notifications.
    Overrun,
    /// Nothing is queued.
    Empty,
}

pub(super) struct Listener {
    fd: AsyncFd<Socket>,
    buffer: Box<[u8]>,
}

impl Listener {
    /// Reads from a socket that [`open`] made.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        // SAFETY: the socket owns its descriptor, keeps it open until it is dropped, never swaps it.
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { fd: registered?, buffer: vec![0; DATAGRAM].into_boxed_slice() })
    }

    /// Waits until something can be received.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.fd.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Receives one datagram, without waiting.
    ///
    /// `io::Result::Err` means that the socket is of no more use.
    pub(super) fn receive(&mut self) -> io::Result<Received> {
        let buffer = &mut self.buffer;
        let result = self.fd.try_io(Interest::READABLE, |socket| receive(socket.as_raw_fd(), buffer));
        settle(result)
    }

    /// As [`Self::receive`], but also when the reactor has not yet noticed that there is something.
    pub(super) fn receive_now(&mut self) -> io::Result<Received> {
        settle(receive(self.fd.get_ref().as_raw_fd(), &mut self.buffer))
    }

    /// The bytes of the last datagram.
    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        self.buffer.get(..length).unwrap_or(&[])
    }
}

/// Opens and subscribes. Needs `CAP_NET_BROADCAST` to hear other namespaces.
pub(super) fn open(receive_buffer: usize) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    size_buffer(&socket, receive_buffer)?;
    // Before the groups: otherwise the first notifications of other namespaces are not meant
    // for this socket.
    socket.set_listen_all_namespaces(true)?;
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr, MulticastGroup::Nsid];
    let mask = groups.into_iter().fold(0, |mask, group| mask | 1 << (group as u32 - 1));
    socket.bind(&SocketAddr::new(0, mask))?;
    Ok(socket)
}

/// Beyond `net.core.rmem_max` with `CAP_NET_ADMIN`, up to it without.
fn size_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes)
        .or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(socket, bytes))
        .map_err(io::Error::from)
}

fn settle(result: io::Result<Received>) -> io::Result<Received> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Received::Empty),
        Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => Ok(Received::Overrun),
        other => other,
    }
}

fn receive(fd: i32, buffer: &mut [u8]) -> io::Result<Received> {
    loop {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // Aligned as `struct cmsghdr` must be; two control messages of an int would fit.
        let mut control = [0u64; 8];
        // SAFETY: an all-zero `sockaddr_nl` is a valid one.
        let mut sender: libc::sockaddr_nl = unsafe { mem::zeroed() };
        // SAFETY: an all-zero `msghdr` is a valid, empty one.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut sender).cast();
        header.msg_namelen = libc::socklen_t::try_from(size_of_val(&sender)).unwrap_or(0);
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        // SAFETY: every pointer in `header` is to a live local or to `buffer`, with its true length.
        let read = unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT) };
        let at = clock::now();
        let Ok(length) = usize::try_from(read) else {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        };
        // Only the kernel (port 0) is believed.
        if sender.nl_pid != 0 {
            continue;
        }
        // A notification of which a part is lost is a lost notification.
        if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
            return Ok(Received::Overrun);
        }
        return Ok(Received::Datagram { length, nsid: nsid_of(&header), at });
    }
}

/// The `NETLINK_LISTEN_ALL_NSID` control message, absent for the socket's own namespace.
fn nsid_of(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: `header` is as `recvmsg` has left it, its control buffer still lives in the caller.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: not null, so it points to a whole header inside the control buffer.
        let head = unsafe { control.read() };
        if head.cmsg_level == libc::SOL_NETLINK && head.cmsg_type == libc::NETLINK_LISTEN_ALL_NSID {
            // SAFETY: the data of this header follows it inside the control buffer.
            let data = unsafe { libc::CMSG_DATA(control) };
            // SAFETY: the kernel's data of this type is one int, whole since it was not truncated.
            return Some(unsafe { data.cast::<i32>().read_unaligned() });
        }
        // SAFETY: both are from the same `recvmsg`.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
}
