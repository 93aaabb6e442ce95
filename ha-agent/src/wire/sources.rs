//! Which sources the kernel takes: asked once for each, remembered while they speak. Bookkeeping only.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::time::Mono;

/// Sources remembered per watch: as many as there are speakers kept, on both sides.
const PLACES: usize = 128;
/// An answer holds for so long; addresses, routes and filters may change.
const HOLDS: Duration = Duration::from_secs(60);
/// A question that was not answered is asked again after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// This host's.
    Ours,
    /// Another host's.
    Theirs,
}

/// A source as one watch sees it: the address as the maps have it.
pub(super) type Source = (Whose, [u8; 16]);

#[derive(Clone, Copy, Debug)]
struct Answer {
    /// None: not answered yet.
    taken: Option<bool>,
    /// It is an address of this host, which is why it is not taken from elsewhere.
    own: bool,
    asked: Mono,
    /// When it was last looked at: the one that was not for longest goes.
    used: Mono,
}

/// What is known of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Whether the kernel takes it; none: not answered yet.
    pub(super) taken: Option<bool>,
    /// Whether it is to be asked now.
    pub(super) ask: bool,
}

/// The answers of one watch.
#[derive(Debug, Default)]
pub(super) struct Sources {
    answers: HashMap<Source, Answer>,
}

impl Sources {
    /// What is known of a source at `now`. Whoever is told to ask does.
    pub(super) fn look(&mut self, source: Source, now: Mono) -> Known {
        if let Some(answer) = self.answers.get_mut(&source) {
            answer.used = now;
            let patience = if answer.taken.is_some() { HOLDS } else { PATIENCE };
            let ask = now.since(answer.asked) >= patience;
            if ask {
                answer.asked = now;
            }
            return Known { taken: answer.taken, ask };
        }
        if self.answers.len() >= PLACES
            && let Some(oldest) = self.answers.iter().min_by_key(|(_, answer)| answer.used).map(|(source, _)| *source)
        {
            self.answers.remove(&oldest);
        }
        self.answers.insert(source, Answer { taken: None, own: false, asked: now, used: now });
        Known { taken: None, ask: true }
    }

    /// Remembers an answer; whether it is another one than before.
    pub(super) fn answered(&mut self, source: Source, taken: Option<bool>) -> bool {
        let Some(answer) = self.answers.get_mut(&source) else {
            return false;
        };
        let news = taken.is_some() && answer.taken != taken;
        if taken.is_some() {
            answer.taken = taken;
        }
        news
    }

    /// Remembers whether a source that is not taken is an address of this host.
    pub(super) fn is_ours(&mut self, source: Source, own: bool) {
        if let Some(answer) = self.answers.get_mut(&source) {
            answer.own = own;
        }
    }

    /// Whether a source is known to be an address of this host.
    pub(super) fn own(&self, source: &Source) -> bool {
        self.answers.get(source).is_some_and(|answer| answer.own)
    }

    /// Addresses or routes changed: every answer is asked again.
    pub(super) fn doubt(&mut self) {
        for answer in self.answers.values_mut() {
            answer.asked = Mono(0);
        }
    }
}

#[cfg(test)]
mod tests;
