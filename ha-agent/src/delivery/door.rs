//! The thread that reaches the L3 agent's socket, which belongs to another user: it looks at it and
//! connects, and never reads a byte. It ends with the last handle.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::receiver::Identity;
use super::way;
use crate::privilege::{self, Role};

/// Errands that wait at once; a caller beyond that waits for room.
const QUEUE: usize = 64;

/// A handle to the thread; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Door {
    errands: mpsc::Sender<Errand>,
}

#[derive(Debug)]
enum Errand {
    Look(PathBuf, oneshot::Sender<Option<Identity>>),
    Connect(PathBuf, oneshot::Sender<io::Result<StdStream>>),
}

impl Door {
    /// Starts the thread. Without it nothing can be delivered: every connection then fails, and is
    /// tried again like any other.
    /// `own`: our own sockets, where no state ever goes.
    pub(super) fn open(own: Vec<PathBuf>) -> Self {
        let (errands, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name(Role::Delivery.thread_name().to_owned());
        if let Err(error) = thread.spawn(move || run(queue, &own)) {
            tracing::error!(%error, "the delivery thread cannot be started");
        }
        Self { errands }
    }

    /// Begins to look which receiver answers at this path; the answer is none where there is nothing, or it cannot
    /// be looked at. None: the thread is busy with what came before, as with a path below a mount that hangs.
    pub(super) fn look(&self, socket: &Path) -> Option<oneshot::Receiver<Option<Identity>>> {
        let (answer, answered) = oneshot::channel();
        self.errands.try_send(Errand::Look(socket.to_owned(), answer)).ok()?;
        Some(answered)
    }

    /// A connection to the socket at this path.
    pub(super) async fn connect(&self, socket: &Path) -> io::Result<UnixStream> {
        let (answer, answered) = oneshot::channel();
        let ended = || io::Error::other("the delivery thread has ended");
        self.errands.send(Errand::Connect(socket.to_owned(), answer)).await.map_err(|_| ended())?;
        UnixStream::from_std(answered.await.map_err(|_| ended())??)
    }
}

fn run(mut queue: mpsc::Receiver<Errand>, own: &[PathBuf]) {
    privilege::enter(Role::Delivery);
    while let Some(errand) = queue.blocking_recv() {
        // Who asked may have gone.
        match errand {
            Errand::Look(path, answer) => {
                let _ = answer.send(way::find(&path).ok().map(|found| Identity::of(&found.stat)));
            }
            Errand::Connect(path, answer) => drop(answer.send(connected(&path, own))),
        }
    }
}

/// A unix socket connects at once, or not at all: a full backlog is `EAGAIN`.
fn connected(path: &Path, own: &[PathBuf]) -> io::Result<StdStream> {
    let found = way::find(path)?;
    way::check_foreign(&found, own)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // What was found, whatever has its name by now.
    let there = format!("/proc/self/fd/{}", found.file.as_raw_fd());
    connect(&socket, &SocketAddrUnix::new(there)?)?;
    way::check_listener(&socket, &found)?;
    Ok(socket.into())
}
