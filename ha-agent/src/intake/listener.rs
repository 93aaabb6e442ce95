//! The accept loop: who gets a slot, who waits, who is turned away.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendFlags, SocketFlags, accept_with};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::limits::Entry;
use super::peer::Peer;
use super::refusal::Refusal;
use super::server::{Shared, refuse, serve};
use crate::paths::SocketFile;
use crate::telemetry::event::Event;

/// Pause after a failed accept, doubled up to the second. Nothing is lost: whoever connected waits
/// in the backlog.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// So many refused peers may linger over their answer; the rest gets it without.
const REFUSING: usize = 64;

/// Owns the listening socket and its name.
pub(super) struct Accepting {
    pub(super) listener: UnixListener,
    pub(super) file: Option<SocketFile>,
    pub(super) shared: Arc<Shared>,
    pub(super) connections: TaskTracker,
}

impl Accepting {
    /// Accepts until the stop, then removes the socket's name and answers 503 to the backlog.
    pub(super) async fn run(self) {
        let refusing = Arc::new(Semaphore::new(REFUSING));
        let mut pause = None;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shared.stopping.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    if pause.take().is_some() {
                        self.shared
                            .events
                            .emit(Event::ChannelRestored { channel: "report".to_owned(), router_id: None });
                    }
                    self.admit(stream, &refusing);
                }
                Err(error) => {
                    let wait = self.failed(&error, pause);
                    pause = Some(wait);
                    let sleep = tokio::time::sleep(wait);
                    self.shared.stopping.run_until_cancelled(sleep).await;
                }
            }
        }
        self.close(&refusing);
    }

    /// Counts a failed accept, tells about the first of a row, and says how long to wait.
    fn failed(&self, error: &io::Error, pause: Option<Duration>) -> Duration {
        self.shared.metrics.accept_errors.inc();
        let Some(pause) = pause else {
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

    fn admit(&self, stream: UnixStream, refusing: &Arc<Semaphore>) {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::debug!(%error, "intake: a peer without credentials is dropped");
                return;
            }
        };
        let limits = self.shared.limits.load();
        let entry =
            limits.share(peer.uid).ok_or(Refusal::PeerNotAllowed).and_then(|share| Ok((share.clone(), share.enter()?)));
        let (share, entry) = match entry {
            Ok(entered) => entered,
            Err(refusal) => {
                self.shared.refused(refusal, peer, None);
                self.turn_away(stream, refusal, refusing);
                return;
            }
        };
        let shared = self.shared.clone();
        let header_timeout = limits.header_timeout;
        let open = Open::new(shared.clone());
        self.connections.spawn(async move {
            let _open = open;
            let slot = match entry {
                Entry::Slot(slot) => Ok(slot),
                // Those before it in the queue may sit out a whole timeout.
                queued => tokio::select! {
                    slot = queued.slot(header_timeout * 2) => slot,
                    () = shared.stopping.cancelled() => Err(Refusal::Stopping),
                },
            };
            match slot {
                Ok(_slot) => serve(shared, share, stream, peer, header_timeout).await,
                Err(refusal) => {
                    shared.refused(refusal, peer, None);
                    refuse(stream, refusal).await;
                }
            }
        });
    }

    fn turn_away(&self, stream: UnixStream, refusal: Refusal, refusing: &Arc<Semaphore>) {
        if let Ok(permit) = refusing.clone().try_acquire_owned() {
            self.connections.spawn(async move {
                let _permit = permit;
                refuse(stream, refusal).await;
            });
        } else {
            // A fresh socket's buffer holds the answer; the peer may be too late to see it. Past
            // tokio, which does not know yet that the socket can be written.
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let _ = rustix::net::send(&stream, refusal.raw().as_bytes(), flags);
        }
    }

    fn close(mut self, refusing: &Arc<Semaphore>) {
        if let Some(file) = self.file.take() {
            file.remove();
        }
        // Readiness as tokio remembers it may be stale: ask the kernel until there is nobody left.
        while let Some(stream) = accept_now(&self.listener) {
            if let Ok(peer) = Peer::of(&stream) {
                self.shared.refused(Refusal::Stopping, peer, None);
            }
            self.turn_away(stream, Refusal::Stopping, refusing);
        }
    }
}

/// A connection that waits in the backlog, if there is one.
fn accept_now(listener: &UnixListener) -> Option<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = accept_with(listener, flags).ok()?;
    UnixStream::from_std(fd.into()).ok()
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
