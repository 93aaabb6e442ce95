//! The thread that the kernel must trust: it opens the netlink sockets and namespace files, and carries
//! requests to the kernel and answers back. It understands neither.
//!
//! The kernel asks for CAP_NET_ADMIN when a request about another namespace is *sent*, and again when
//! the rest of a dump is *received*; for CAP_NET_BROADCAST when a socket that hears all namespaces is
//! opened. What is heard on that socket later can be received by anyone.

use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::BufMut;
use netlink_sys::{AsyncSocket, Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::resolve::{self, ResolveError};
use super::socket;
use crate::privilege::{Role, host};

/// Errands that wait at once: more than there are requests at once.
const QUEUE: usize = 64;
/// Room for one answer; the kernel fills a dump's answers up to 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// A handle to the thread, which ends with the last one.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    errands: mpsc::Sender<Errand>,
}

#[derive(Debug)]
enum Errand {
    Listen { receive_buffer: usize, answer: SyncSender<io::Result<Socket>> },
    Carry { answer: SyncSender<io::Result<Carried>> },
    Open { path: PathBuf, answer: oneshot::Sender<Result<(OwnedFd, u64), ResolveError>> },
}

impl Carrier {
    /// Starts the thread. Must be called within a tokio runtime.
    pub(super) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (errands, queue) = mpsc::channel(QUEUE);
        let task = host(Role::Netlink, serve(queue))?;
        Ok((Self { errands }, task))
    }

    /// The socket that hears every namespace; waits for it, which takes the kernel microseconds.
    pub(super) fn listen(&self, receive_buffer: usize) -> io::Result<Socket> {
        let (answer, answered) = sync_channel(1);
        self.give(Errand::Listen { receive_buffer, answer })?;
        answered.recv().map_err(|_| ended())?
    }

    /// A socket for requests, whose datagrams the thread carries; waits likewise.
    pub(super) fn carry(&self) -> io::Result<Carried> {
        let (answer, answered) = sync_channel(1);
        self.give(Errand::Carry { answer })?;
        answered.recv().map_err(|_| ended())?
    }

    /// A namespace's file and its inode.
    pub(super) async fn open(&self, path: &Path) -> Result<(OwnedFd, u64), ResolveError> {
        let (answer, answered) = oneshot::channel();
        let errand = Errand::Open { path: path.to_owned(), answer };
        self.errands.send(errand).await.map_err(|_| ResolveError::Open(ended()))?;
        answered.await.map_err(|_| ResolveError::Open(ended()))?
    }

    fn give(&self, errand: Errand) -> io::Result<()> {
        self.errands.try_send(errand).map_err(|_| io::Error::other("the netlink thread is busy or has ended"))
    }
}

fn ended() -> io::Error {
    io::Error::other("the netlink thread has ended")
}

async fn serve(mut queue: mpsc::Receiver<Errand>) {
    while let Some(errand) = queue.recv().await {
        // Who asked may have gone.
        match errand {
            Errand::Listen { receive_buffer, answer } => drop(answer.send(socket::open(receive_buffer))),
            Errand::Carry { answer } => drop(answer.send(carried())),
            Errand::Open { path, answer } => drop(answer.send(resolve::open(&path))),
        }
    }
}

/// One end of a request socket, as `rtnetlink` wants it; the other end is on the thread.
#[derive(Debug)]
pub(super) struct Carried {
    /// The same socket, for its options only.
    socket: Socket,
    to_kernel: mpsc::Sender<Vec<u8>>,
    from_kernel: Mutex<mpsc::Receiver<io::Result<Vec<u8>>>>,
}

fn carried() -> io::Result<Carried> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    // Without the strict check the kernel ignores the target of an address dump and dumps the
    // agent's own namespace instead.
    socket.set_netlink_get_strict_chk(true)?;
    let same = socket.as_fd().try_clone_to_owned()?.into_raw_fd();
    // SAFETY: the descriptor was just made, is a netlink socket and belongs to nobody else.
    let same = unsafe { Socket::from_raw_fd(same) };
    // SAFETY: the socket owns its descriptor, keeps it open until it is dropped, never swaps it.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
    let (to_kernel, requests) = mpsc::channel(QUEUE);
    let (answers, from_kernel) = mpsc::channel(QUEUE);
    tokio::spawn(go_between(socket, requests, answers));
    Ok(Carried { socket: same, to_kernel, from_kernel: Mutex::new(from_kernel) })
}

/// Carries until the other end is gone or the socket fails. When answers are not taken, the kernel
/// keeps the rest of the dump.
async fn go_between(
    socket: AsyncFd<Socket>,
    mut requests: mpsc::Receiver<Vec<u8>>,
    answers: mpsc::Sender<io::Result<Vec<u8>>>,
) {
    let kernel = SocketAddr::new(0, 0);
    let mut buffer = Vec::with_capacity(DATAGRAM);
    loop {
        let done = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => socket.get_ref().send_to(&request, &kernel, 0).map(|_| None),
                None => return,
            },
            guard = socket.readable() => match guard {
                Ok(mut guard) => {
                    buffer.clear();
                    match guard.try_io(|socket| socket.get_ref().recv_from(&mut buffer, 0)) {
                        Ok(Ok((_, sender))) => Ok((sender.port_number() == 0).then(|| buffer.clone())),
                        Ok(Err(error)) => Err(error),
                        Err(_nothing_there) => continue,
                    }
                }
                Err(error) => Err(error),
            },
        };
        let answer = match done {
            Ok(None) => continue,
            Ok(Some(answer)) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let over = answer.as_ref().is_err_and(|error| error.raw_os_error() != Some(libc::ENOBUFS));
        if answers.send(answer).await.is_err() || over {
            return;
        }
    }
}

impl Carried {
    fn take(&self, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut from_kernel = self.from_kernel.lock().unwrap_or_else(PoisonError::into_inner);
        from_kernel.poll_recv(context).map(|answer| answer.unwrap_or_else(|| Err(ended())))
    }
}

impl AsyncSocket for Carried {
    fn socket_ref(&self) -> &Socket {
        &self.socket
    }

    fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Not without a [`Carrier`].
    fn new(_protocol: isize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn poll_send(&self, _: &mut Context<'_>, request: &[u8]) -> Poll<io::Result<usize>> {
        // More than all requests that there are at once find room.
        let sent = self.to_kernel.try_send(request.to_vec());
        Poll::Ready(sent.map(|()| request.len()).map_err(|_| ended()))
    }

    fn poll_send_to(&self, context: &mut Context<'_>, request: &[u8], _: &SocketAddr) -> Poll<io::Result<usize>> {
        self.poll_send(context, request)
    }

    fn poll_recv<B: BufMut>(&self, context: &mut Context<'_>, into: &mut B) -> Poll<io::Result<()>> {
        self.take(context).map_ok(|answer| into.put_slice(&answer))
    }

    fn poll_recv_from<B: BufMut>(&self, context: &mut Context<'_>, into: &mut B) -> Poll<io::Result<SocketAddr>> {
        self.poll_recv(context, into).map_ok(|()| SocketAddr::new(0, 0))
    }

    fn poll_recv_from_full(&self, context: &mut Context<'_>) -> Poll<io::Result<(Vec<u8>, SocketAddr)>> {
        self.take(context).map_ok(|answer| (answer, SocketAddr::new(0, 0)))
    }
}
