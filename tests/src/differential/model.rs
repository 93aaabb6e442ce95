//! What the classifier should remember and report, given what the reference reads.

use std::collections::BTreeMap;

use ha_agent_common::{
    EGRESS, ForeignKey, RECORD_CHANGED, RECORD_FIRST, RECORD_INVALID, RECORD_RESUMED, Record, Speaker, Watch, counter,
};

use super::reference::{Advert, Sight};
use super::terms;

/// How many counters there are.
pub const COUNTERS: usize = counter::COUNT as usize;

/// The expected contents of the maps.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By VRID and `FAMILY_…`. Budgets do not grow here: the run sees to that in the kernel too.
    pub watches: BTreeMap<(u8, u8), Watch>,
    /// By [`Watch::id`].
    pub local: BTreeMap<u32, Speaker>,
    /// Speakers elsewhere.
    pub foreign: BTreeMap<ForeignKey, Speaker>,
    /// `ha_agent_common::counter`.
    pub counters: [u64; COUNTERS],
}

/// Which memory a frame concerns, and so where the time is found at which the kernel saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// None: the frame changes no speaker.
    None,
    /// The speaker on this host.
    Local(u32),
    /// A speaker elsewhere.
    Foreign(ForeignKey),
}

impl Model {
    /// Which memory a frame will change.
    pub fn concerns(&self, direction: u8, sight: &Sight) -> Memory {
        let Sight::Advert(advert) = sight else {
            return Memory::None;
        };
        let Some(watch) = self.watches.get(&(advert.vrid, terms::family(advert.family))) else {
            return Memory::None;
        };
        if advert.fault.is_some() {
            return Memory::None;
        }
        if direction == EGRESS {
            return Memory::Local(watch.id);
        }
        let key = foreign_key(watch.id, advert);
        // A stranger costs a token before it is remembered.
        if self.foreign.contains_key(&key) || watch.foreign_tokens > 0 { Memory::Foreign(key) } else { Memory::None }
    }

    /// Takes a frame in, seen at `now_ns`; gives the record that it makes.
    pub fn frame(&mut self, direction: u8, sight: &Sight, now_ns: u64) -> Option<Record> {
        self.count(counter::FRAMES);
        match sight {
            Sight::Other => return None,
            Sight::Tagged => self.count(counter::TAGGED),
            Sight::Fragment => self.count(counter::FRAGMENT),
            Sight::Headless | Sight::Advert(_) => {}
        }
        self.count(counter::VRRP);
        let Sight::Advert(advert) = sight else {
            return None;
        };
        let family = terms::family(advert.family);
        let Some(mut watch) = self.watches.get(&(advert.vrid, family)).copied() else {
            self.count(counter::UNKNOWN_VRID);
            return None;
        };
        let mut speaker = terms::speaker(advert);
        speaker.last_seen_ns = now_ns;
        let (kind, paid) = if advert.fault.is_some() {
            self.count(counter::INVALID);
            watch.invalid_frames += 1;
            (RECORD_INVALID, pay(&mut watch.invalid_tokens))
        } else if direction == EGRESS {
            watch.local_adverts += 1;
            let kind = news(self.local.get(&watch.id), &mut speaker);
            self.local.insert(watch.id, speaker);
            (kind, kind == 0 || pay(&mut watch.local_tokens))
        } else {
            watch.foreign_adverts += 1;
            let key = foreign_key(watch.id, advert);
            let known = self.foreign.get(&key).copied();
            let kind = news(known.as_ref(), &mut speaker);
            let paid = kind == 0 || pay(&mut watch.foreign_tokens);
            if known.is_some() || paid {
                self.foreign.insert(key, speaker);
            } else {
                self.count(counter::FOREIGN_NOT_STORED);
            }
            (kind, paid)
        };
        if !paid {
            watch.withheld += 1;
            self.count(counter::WITHHELD);
        }
        self.watches.insert((advert.vrid, family), watch);
        (paid && kind != 0).then_some(Record {
            speaker,
            watch: watch.id,
            kind,
            direction,
            family,
            invalid: terms::code(advert.fault),
            ttl: advert.ttl,
            pad: [0; 7],
        })
    }

    fn count(&mut self, which: u32) {
        self.counters[which as usize] += 1;
    }
}

fn foreign_key(watch: u32, advert: &Advert) -> ForeignKey {
    ForeignKey { watch, family: terms::family(advert.family).into(), src: terms::speaker(advert).src }
}

fn pay(tokens: &mut u32) -> bool {
    let paid = *tokens > 0;
    *tokens = tokens.saturating_sub(1);
    paid
}

/// Completes what the frame says by what was known; gives the kind of news, or 0.
fn news(known: Option<&Speaker>, new: &mut Speaker) -> u8 {
    let Some(known) = known.filter(|known| known.last_seen_ns != 0) else {
        new.run_since_ns = new.last_seen_ns;
        (new.adverts, new.run_adverts) = (1, 1);
        return RECORD_FIRST;
    };
    new.adverts = known.adverts + 1;
    new.last_priority = if known.priority > 0 { known.priority } else { known.last_priority };
    let came_back = known.priority == 0 && new.priority > 0;
    // 1.5 intervals of 10 ms units.
    let patience = u64::from(known.interval_cs.max(1)) * 15_000_000;
    if came_back || new.last_seen_ns - known.last_seen_ns > patience {
        new.run_since_ns = new.last_seen_ns;
        new.run_adverts = 1;
        return RECORD_RESUMED;
    }
    new.run_since_ns = known.run_since_ns;
    new.run_adverts = known.run_adverts + 1;
    let said = |s: &Speaker| {
        (s.priority, s.interval_cs, s.version, s.vips_hash, s.vip_count, s.auth_type, s.flags, s.auth_data, s.src)
    };
    if said(known) == said(new) { 0 } else { RECORD_CHANGED }
}
