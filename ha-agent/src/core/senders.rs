//! Which local sockets our adverts were sent by.

use super::model::{Advert, Frame, Reason};
use super::policy::silence;
use super::time::Mono;

/// The last two of them. A socket's cookie is never used again, so one that comes back after another
/// one was not replaced by it: two of them send.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    last: Option<(u64, Mono)>,
    before: Option<(u64, Mono)>,
    second: Option<Frame>,
}

impl Senders {
    /// One of our adverts, in the order in which they were sent.
    pub fn sent(&mut self, advert: &Advert) {
        let Advert { side, source, mac, vlan, sender, priority, ttl, at, interval, run_since, .. } = *advert;
        match self.last {
            _ if sender == 0 => return,
            Some((last, since)) if last == sender => {
                self.last = Some((sender, at.max(since)));
                return;
            }
            _ => {}
        }
        let goes_on =
            |(before, then): (u64, Mono)| before == sender && (at.since(then) < silence(interval) || run_since <= then);
        if self.before.is_some_and(goes_on) {
            self.second = Some(Frame { side, source, mac, vlan, reason: Reason::SecondSender, priority, ttl, at });
        }
        self.before = self.last.replace((sender, at));
    }

    /// The newest advert that shows two of them.
    pub fn second(&self) -> Option<&Frame> {
        self.second.as_ref()
    }
}
