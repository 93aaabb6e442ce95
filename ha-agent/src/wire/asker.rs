//! Asks the kernel about sources, and tells what was held back until it answered: one task.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::maps::Shared;
use super::source::{self, Question};
use super::sources::{Source, Whose};
use super::table::Entry;
use super::{WireEvent, attach, translate};
use crate::advert_rules::Mode;
use crate::core::model::{RouterId, Side};
use crate::netns::NetnsThread;

/// Questions that wait at once. One that finds no room is asked again with the next advert or reading.
pub(super) const QUEUE: usize = 1024;

/// A question about a source of a watched router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Whose watch.
    pub(super) router: RouterId,
    /// Whether the kernel takes packets from it, or has the address itself.
    pub(super) source: Source,
}

/// Descriptors kept for the time when none are left: without them nobody's adverts could be told any more.
struct Reserve([Option<OwnedFd>; Self::OPEN]);

impl Reserve {
    /// What a question opens: the namespace, the thread's own namespace, the socket.
    const OPEN: usize = 3;

    fn new() -> Self {
        Self(std::array::from_fn(|_| std::io::stderr().as_fd().try_clone_to_owned().ok()))
    }

    /// Gives them back while `ask` runs.
    async fn lend<T>(&mut self, ask: impl Future<Output = T>) -> T {
        self.0 = Default::default();
        let answer = ask.await;
        *self = Self::new();
        answer
    }
}

/// See the module. Ends with its channel, or with the receiver of the events.
pub(super) struct Asker {
    pub(super) shared: Arc<Shared>,
    pub(super) netns: NetnsThread,
    pub(super) events: mpsc::Sender<WireEvent>,
}

impl Asker {
    pub(super) async fn run(self, mut asks: mpsc::Receiver<Ask>) {
        let mut reserve = Reserve::new();
        while let Some(Ask { router, source }) = asks.recv().await {
            let entry = self.shared.table().entry(router).cloned();
            let Some(entry) = entry else { continue };
            let mut answer = ask(&self.netns, &entry, source).await;
            if answer.is_none_or(|(taken, _)| taken.is_none()) {
                answer = reserve.lend(ask(&self.netns, &entry, source)).await;
            }
            if let Some((_, own)) = answer {
                self.shared.is_ours(entry.id, source, own);
            }
            let taken = answer.and_then(|(taken, _)| taken);
            if !self.shared.answered(entry.id, source, taken) {
                continue;
            }
            let held_back = self.held_back(router, &entry, source, taken == Some(true));
            if source.0 == Whose::Ours && taken == Some(false) {
                self.shared.disown(&entry, source.1);
            }
            for event in held_back {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What the source has said so far, as events.
    fn held_back(&self, router: RouterId, entry: &Entry, source: Source, taken: bool) -> Vec<WireEvent> {
        let mut speakers = self.shared.of_source(entry, source).unwrap_or_default();
        let family = entry.key.family;
        if source.0 == Whose::Ours
            && let Some(speaker) = self.shared.held(entry.id, &source.1)
        {
            let speaker = if taken { self.shared.promote(entry, &speaker) } else { speaker };
            speakers = vec![(Side::Local, speaker)];
        }
        speakers
            .into_iter()
            .map(|(side, speaker)| {
                if taken {
                    self.shared.adopt(entry, side, &speaker);
                    return WireEvent::Advert { router, advert: translate::advert(&speaker, family, side) };
                }
                let reason = self.shared.refusal(entry, side, &speaker.src);
                WireEvent::Invalid { router, frame: translate::frame(&speaker, family, side, reason) }
            })
            .collect()
    }
}

/// Asks the kernel whether it takes packets from a source, none when it does not tell, and, if not, whether the
/// source is this host's own.
pub(super) async fn ask(netns: &NetnsThread, entry: &Entry, source: Source) -> Option<(Option<bool>, bool)> {
    let target = Arc::clone(&entry.target);
    let address = translate::address(&source.1, entry.key.family);
    if source.0 == Whose::Ours && target.rules.source == Some(address) {
        return Some((Some(true), false));
    }
    let question = match source.0 {
        Whose::Ours => Question::IsLocal,
        Whose::Theirs => Question::Arrives(own_address(&target.rules.mode, target.rules.source)),
    };
    let ifindex = entry.place.ifindex;
    let answer = netns.run_in(target.netns.clone(), move || {
        // keepalived's socket is bound to its VMAC, where there is one.
        let receives = target.rules.receive_interface.as_deref().and_then(attach::index_of);
        let taken = source::ask(receives.unwrap_or(ifindex), address, question);
        // The whole of 127/8 is local, and nobody's own.
        let asked = taken == Some(false) && !address.is_loopback();
        let own = asked && source::ask(ifindex, address, Question::IsLocal) == Some(true);
        (taken, own)
    });
    answer.await.ok()
}

/// The address of ours that unicast adverts come to, where the configuration says it.
fn own_address(mode: &Option<Mode>, source: Option<IpAddr>) -> Option<Ipv4Addr> {
    match (mode, source) {
        (Some(Mode::Unicast { .. }), Some(IpAddr::V4(address))) => Some(address),
        _ => None,
    }
}
