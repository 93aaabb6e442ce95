//! The accept loop: who gets a slot, who waits, who is turned away.
//!
//! A thread of its own, because the backlog is one queue for all users: whoever fills it delays the
//! others by what it takes to empty it. So nothing stands between one accept and the next but a look
//! at the peer's uid and at its share, and of one that is taken, or told about, at its process, which may be
//! gone a moment later; a connection that is turned away costs no task, and one that is taken is served elsewhere. While somebody floods, the backlog is narrowed as well: a full queue
//! refuses the same either way, but whoever gets in waits behind fewer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::answers::Answers;
use super::limits::Entry;
use super::refusal::Refusal;
use super::server::{Shared, refuse, serve};
use crate::paths::SocketFile;
use crate::peer::{Caller, Looker, Peer};
use crate::telemetry::event::Event;

/// Pause after a failed accept, doubled up to the second. Nothing is lost: whoever connected waits
/// in the backlog.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// So many refused peers may linger over their answer; the rest gets it without.
const REFUSING: usize = 64;
/// So long after the answers are spent the same user is turned away without another look.
const CROWD: Duration = Duration::from_millis(5);
/// Closing frees what the peer has sent, message by message, which may take a hundred times what accepting
/// takes. Beyond so many bytes it is done elsewhere, ...
const HEAVY: u64 = 4096;
/// ... so many at once.
const CLOSING: usize = 16;
/// The backlog meanwhile, at most.
const NARROW: i32 = 512;

/// Ends the accept loop when it is dropped.
#[derive(Debug)]
pub(super) struct End(Arc<OwnedFd>);

impl Drop for End {
    fn drop(&mut self) {
        // The only error is a counter that is full, and then the loop is awake already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// A user who floods.
#[derive(Clone, Copy)]
struct Crowd {
    uid: u32,
    refusal: Refusal,
    until: Instant,
}

/// Owns the listening socket and its name.
pub(super) struct Accepting {
    /// Not blocking.
    listener: UnixListener,
    /// As configured.
    backlog: i32,
    /// Whether it is narrowed.
    narrow: bool,
    file: Option<SocketFile>,
    shared: Arc<Shared>,
    connections: TaskTracker,
    runtime: Handle,
    refusing: Arc<Semaphore>,
    closing: Arc<Semaphore>,
    answers: Answers,
    crowd: Option<Crowd>,
    looker: Looker,
    end: Arc<OwnedFd>,
}

impl Accepting {
    /// What [`Accepting::run`] takes to run, and what ends it.
    pub(super) fn new(
        listener: UnixListener,
        backlog: i32,
        file: SocketFile,
        shared: Arc<Shared>,
        connections: TaskTracker,
    ) -> io::Result<(Self, End)> {
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let accepting = Self {
            listener,
            backlog,
            narrow: false,
            file: Some(file),
            shared,
            connections,
            runtime: Handle::current(),
            refusing: Arc::new(Semaphore::new(REFUSING)),
            closing: Arc::new(Semaphore::new(CLOSING)),
            answers: Answers::new(),
            crowd: None,
            looker: Looker::default(),
            end: Arc::clone(&end),
        };
        Ok((accepting, End(end)))
    }

    /// Accepts until the end, then removes the socket's name and answers 503 to the backlog.
    pub(super) fn run(mut self) {
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        let mut pause = None;
        loop {
            match accept_now(&self.listener) {
                Ok(stream) => {
                    self.recovered(&mut pause);
                    self.admit(stream);
                }
                // The kernel finds a descriptor before it looks into the backlog: there is one again.
                Err(Errno::AGAIN) => {
                    self.recovered(&mut pause);
                    let flooded = self.crowd.is_some_and(|crowd| Instant::now() < crowd.until);
                    self.set_narrow(flooded);
                    if self.wait(Some(&self.listener), flooded.then_some(CROWD)) {
                        break;
                    }
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // With its descriptors there may be room.
                Err(Errno::MFILE | Errno::NFILE) if self.looker.let_go() => {}
                Err(error) => {
                    let wait = self.failed(error, pause);
                    pause = Some(wait);
                    if self.wait(None, Some(wait)) {
                        break;
                    }
                }
            }
        }
        self.close();
    }

    /// Sleeps until there is somebody to accept, the time is over, or the end came: then true.
    fn wait(&self, listener: Option<&UnixListener>, limit: Option<Duration>) -> bool {
        let mut waited = vec![PollFd::new(&*self.end, PollFlags::IN)];
        waited.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        // An interruption is as good as an event: the caller looks again.
        let _ = poll(&mut waited, limit.as_ref());
        waited.first().is_some_and(|end| !end.revents().is_empty())
    }

    /// Counts a failed accept, tells about the first of a row, and says how long to wait.
    fn failed(&self, error: Errno, pause: Option<Duration>) -> Duration {
        self.shared.metrics.accept_errors.inc();
        let Some(pause) = pause else {
            let error = io::Error::from(error);
            tracing::warn!(%error, "intake: cannot accept connections; they wait");
            self.shared.events.emit(Event::ChannelDegraded {
                channel: "report".to_owned(),
                reason: format!(
                    "connections cannot be accepted ({error}): reports are late; raise the limit \
                     of open files (LimitNOFILE)"
                ),
                router_id: None,
            });
            return BACKOFF.0;
        };
        (pause * 2).min(BACKOFF.1)
    }

    /// Tells that an accept did not fail, after one that did.
    fn recovered(&self, pause: &mut Option<Duration>) {
        if pause.take().is_some() {
            self.shared.events.emit(Event::ChannelRestored { channel: "report".to_owned(), router_id: None });
        }
    }

    fn admit(&mut self, stream: OwnedFd) {
        let peer = match Peer::of(stream.as_fd()) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::debug!(%error, "intake: a peer without credentials is dropped");
                return;
            }
        };
        if let Some(crowd) = self.crowd.filter(|crowd| crowd.uid == peer.uid && Instant::now() < crowd.until) {
            self.shared.refused_of_many(crowd.refusal);
            return self.close_one(stream);
        }
        if self.shared.stopping.is_cancelled() {
            self.refused(Refusal::Stopping, &stream, peer);
            return self.turn_away(stream, Refusal::Stopping);
        }
        let limits = self.shared.limits.load();
        let entry = limits.share(peer).ok_or(Refusal::PeerNotAllowed).and_then(|share| {
            limits.count_connection(peer)?;
            Ok((share.clone(), share.enter()?))
        });
        let (share, entry) = match entry {
            Ok(entered) => entered,
            Err(refusal) if !self.answers.allow(refusal, peer.uid) => {
                self.shared.refused_of_many(refusal);
                self.crowd = Some(Crowd { uid: peer.uid, refusal, until: Instant::now() + CROWD });
                drop(limits);
                self.set_narrow(true);
                return self.close_one(stream);
            }
            Err(refusal) => {
                self.refused(refusal, &stream, peer);
                return self.turn_away(stream, refusal);
            }
        };
        let caller = Caller { peer, process: self.looker.look(stream.as_fd(), peer) };
        let shared = self.shared.clone();
        let header_timeout = limits.header_timeout;
        let open = Open::new(shared.clone());
        let serving = async move {
            let _open = open;
            let slot = match entry {
                Entry::Slot(slot) => Ok(slot),
                // Those before it in the queue may sit out a whole timeout.
                queued => tokio::select! {
                    slot = queued.slot(header_timeout * 2) => slot,
                    () = shared.stopping.cancelled() => Err(Refusal::Stopping),
                },
            };
            // Not before: each thing that the peer of a watched connection writes wakes a worker.
            let Some(stream) = watched(stream) else { return };
            match slot {
                Ok(_slot) => {
                    let turn = share.turn.clone();
                    turn.take(serve(shared, share, stream, caller, header_timeout)).await;
                }
                Err(refusal) => {
                    shared.refused(refusal, &caller, None);
                    refuse(stream, refusal).await;
                }
            }
        };
        self.connections.spawn_on(serving, &self.runtime);
    }

    fn refused(&mut self, refusal: Refusal, stream: &OwnedFd, peer: Peer) {
        let look = || self.looker.look(stream.as_fd(), peer);
        self.shared.refused_at_the_door(refusal, peer, look);
    }

    /// Closes it, in a thread of the runtime's where that takes long.
    fn close_one(&self, stream: OwnedFd) {
        let heavy = rustix::io::ioctl_fionread(&stream).is_ok_and(|bytes| bytes > HEAVY);
        if heavy && let Ok(permit) = self.closing.clone().try_acquire_owned() {
            self.runtime.spawn_blocking(move || {
                drop(stream);
                drop(permit);
            });
        }
    }

    fn set_narrow(&mut self, narrow: bool) {
        if narrow != self.narrow {
            let backlog = if narrow { self.backlog.min(NARROW) } else { self.backlog };
            if let Err(error) = rustix::net::listen(&self.listener, backlog) {
                tracing::debug!(%error, "intake: the backlog stays as it is");
            }
            self.narrow = narrow;
        }
    }

    fn turn_away(&self, stream: OwnedFd, refusal: Refusal) {
        if let Ok(permit) = self.refusing.clone().try_acquire_owned() {
            let Some(stream) = watched(stream) else { return };
            let refusing = async move {
                let _permit = permit;
                refuse(stream, refusal).await;
            };
            self.connections.spawn_on(refusing, &self.runtime);
        } else {
            // A fresh socket's buffer holds the answer; the peer may be too late to see it.
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = rustix::net::send(&stream, refusal.raw().as_bytes(), flags);
            self.close_one(stream);
        }
    }

    fn close(mut self) {
        if let Some(file) = self.file.take() {
            file.remove();
        }
        while let Ok(stream) = accept_now(&self.listener) {
            if let Ok(peer) = Peer::of(stream.as_fd()) {
                self.refused(Refusal::Stopping, &stream, peer);
            }
            self.turn_away(stream, Refusal::Stopping);
        }
    }
}

/// A connection that waits in the backlog.
fn accept_now(listener: &UnixListener) -> Result<OwnedFd, Errno> {
    accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

/// The connection as tokio serves it; none when its poller cannot take it.
fn watched(stream: OwnedFd) -> Option<UnixStream> {
    UnixStream::from_std(stream.into())
        .map_err(|error| tracing::warn!(%error, "intake: a connection cannot be watched and is dropped"))
        .ok()
}

/// Counts an open connection.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.metrics.connections.inc();
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
