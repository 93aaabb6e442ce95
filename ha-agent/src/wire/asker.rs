//! Asks the kernel about sources, and tells what was held back until it answered: one task.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::maps::Shared;
use super::source::{self, Question};
use super::sources::{Source, Whose};
use super::table::Entry;
use super::{WireEvent, attach, translate};
use crate::advert_rules::Mode;
use crate::core::model::{Reason, RouterId, Side};
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

/// See the module. Ends with its channel, or with the receiver of the events.
pub(super) struct Asker {
    pub(super) shared: Arc<Shared>,
    pub(super) netns: NetnsThread,
    pub(super) events: mpsc::Sender<WireEvent>,
}

impl Asker {
    pub(super) async fn run(self, mut asks: mpsc::Receiver<Ask>) {
        while let Some(Ask { router, source }) = asks.recv().await {
            let entry = self.shared.table().entry(router).cloned();
            let Some(entry) = entry else { continue };
            let taken = ask(&self.netns, &entry, source).await;
            if !self.shared.answered(entry.id, source, taken) {
                continue;
            }
            for event in self.held_back(router, &entry, source, taken == Some(true)) {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        }
    }

    /// What the source has said so far, as events.
    fn held_back(&self, router: RouterId, entry: &Entry, source: Source, taken: bool) -> Vec<WireEvent> {
        let speakers = self.shared.of_source(entry, source).unwrap_or_default();
        let family = entry.key.family;
        speakers
            .into_iter()
            .map(|(side, speaker)| {
                if taken {
                    return WireEvent::Advert { router, advert: translate::advert(&speaker, family, side) };
                }
                let reason = self.refusal(entry, side, &speaker.src);
                WireEvent::Invalid { router, frame: translate::frame(&speaker, family, side, reason) }
            })
            .collect()
    }

    /// Why a source is not taken.
    pub(super) fn refusal(&self, entry: &Entry, side: Side, source: &[u8; 16]) -> Reason {
        refusal(&self.shared, entry, side, source)
    }
}

/// Asks the kernel about a source.
pub(super) async fn ask(netns: &NetnsThread, entry: &Entry, source: Source) -> Option<bool> {
    let target = Arc::clone(&entry.target);
    let address = translate::address(&source.1, entry.key.family);
    if source.0 == Whose::Ours && target.rules.source == Some(address) {
        return Some(true);
    }
    let question = match source.0 {
        Whose::Ours => Question::IsLocal,
        Whose::Theirs => Question::Arrives(own_address(&target.rules.mode, target.rules.source)),
    };
    let ifindex = entry.place.ifindex;
    let answer = netns.run_in(target.netns.clone(), move || {
        // keepalived's socket is bound to its VMAC, where there is one.
        let receives = target.rules.receive_interface.as_deref().and_then(attach::index_of);
        source::ask(receives.unwrap_or(ifindex), address, question)
    });
    answer.await.ok().flatten()
}

/// See [`Asker::refusal`].
pub(super) fn refusal(shared: &Shared, entry: &Entry, side: Side, source: &[u8; 16]) -> Reason {
    if side == Side::Local {
        return Reason::LocalSource;
    }
    let ours = shared.local(entry.id).ok().flatten().is_some_and(|local| local.src == *source);
    if ours { Reason::OwnSource } else { Reason::MartianSource }
}

/// The address of ours that unicast adverts come to, where the configuration says it.
fn own_address(mode: &Option<Mode>, source: Option<IpAddr>) -> Option<Ipv4Addr> {
    match (mode, source) {
        (Some(Mode::Unicast { .. }), Some(IpAddr::V4(address))) => Some(address),
        _ => None,
    }
}
