//! What the classifier should remember and report, given how a frame is judged.

use std::collections::BTreeMap;

use ha_agent_common::judge::{Peer, STRANGER};
use ha_agent_common::{
    Class, Device, EGRESS, ForeignKey, INGRESS, NO_VLAN, PIECE_BYTES, PieceHead, RECORD_CHANGED, RECORD_FIRST,
    RECORD_FRAME, RECORD_RESUMED, Record, Rules, Speaker, Watch, counter,
};

use super::reference::{self, Judged, Sight};

/// How many counters there are.
pub const COUNTERS: usize = counter::COUNT as usize;

/// The expected contents of the maps.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By VRID and `FAMILY_…`. Budgets do not grow here: the run sees to that in the kernel too.
    pub watches: BTreeMap<(u8, u8), Watch>,
    /// By [`Watch::id`] and address.
    pub peers: BTreeMap<(u32, [u8; 16]), Peer>,
    /// The budget of pieces.
    pub device: Device,
    /// By [`Watch::id`].
    pub local: BTreeMap<u32, Speaker>,
    /// Speakers elsewhere.
    pub foreign: BTreeMap<ForeignKey, Speaker>,
    /// `ha_agent_common::counter`.
    pub counters: [u64; COUNTERS],
    /// The secret of lists.
    pub key: [u64; 2],
}

/// A frame as it is judged.
#[derive(Clone, Debug)]
pub enum Step {
    /// It ends at what it is.
    Seen(Sight),
    /// It is somebody's here.
    Watched {
        /// VRID and family.
        watch: (u8, u8),
        /// What it is to that watch.
        judged: Box<Judged>,
    },
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

/// What comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// A record of its direction.
    pub record: Option<Record>,
    /// A piece; where the packet begins in the frame. Place and time are the kernel's.
    pub piece: Option<(PieceHead, usize)>,
}

impl Model {
    /// Judges a frame; nothing is changed yet.
    pub fn judge(&self, direction: u8, frame: &[u8]) -> Step {
        let sight = reference::sight(frame, direction);
        let Sight::Vrrp { vrid, family, base } = sight else {
            return Step::Seen(sight);
        };
        let Some(watch) = self.watches.get(&(vrid, family)) else {
            return Step::Seen(sight);
        };
        let checked = direction == EGRESS || watch.rules.has(Rules::CHECK_PEERS);
        let far = reference::far_end(frame, base, direction);
        let peer = self.peers.get(&(watch.id, far)).filter(|_| checked).copied();
        let local = self.local.get(&watch.id).copied().unwrap_or_default();
        let judged = reference::judge(frame, base, direction, watch, (peer, &local), self.key);
        Step::Watched { watch: (vrid, family), judged: Box::new(judged) }
    }

    /// Which memory a frame will change.
    pub fn concerns(&self, step: &Step) -> Memory {
        let Step::Watched { watch: (_, family), judged } = step else {
            return Memory::None;
        };
        let watch = &judged.watch;
        let tokens = match judged.judgement.class {
            Class::Unheard => return Memory::None,
            Class::Ours => return Memory::Local(watch.id),
            Class::Peer => watch.foreign_tokens,
            Class::Rejected => watch.refused_tokens,
        };
        let key = foreign_key(watch.id, *family, &judged.speaker);
        // A stranger costs a token before it is remembered.
        if self.foreign.contains_key(&key) || tokens > 0 { Memory::Foreign(key) } else { Memory::None }
    }

    /// Takes a frame in, seen at `now_ns`; gives what comes out.
    pub fn take(&mut self, direction: u8, frame: &[u8], step: &Step, now_ns: u64) -> Expected {
        self.count(counter::FRAMES);
        let (key, judged) = match step {
            Step::Watched { watch, judged } => (*watch, **judged),
            Step::Seen(sight) => return self.seen(direction, frame, *sight, now_ns),
        };
        self.count(counter::VRRP);
        let Judged { judgement, mut speaker, mut watch } = judged;
        speaker.last_seen_ns = now_ns;
        let class = judgement.class;
        let (kind, paid) = match class {
            Class::Unheard => {
                self.count(counter::INVALID);
                watch.unheard += 1;
                watch.reason = judgement.reason;
                speaker.refused = judgement.reason;
                let stranger = judgement == STRANGER;
                let tokens = if stranger { &mut watch.source_tokens } else { &mut watch.refused_tokens };
                (RECORD_FRAME, pay(tokens))
            }
            Class::Ours => {
                watch.ours += 1;
                let kind = news(self.local.get(&watch.id), &mut speaker);
                self.local.insert(watch.id, speaker);
                (kind, kind == 0 || pay(&mut watch.local_tokens))
            }
            Class::Peer => {
                watch.peers += 1;
                if speaker.priority == 0 {
                    (watch.resigned_ns, watch.resigned_src, watch.resigned_mac) = (now_ns, speaker.src, speaker.mac);
                }
                self.resigned(key.1, &watch, &speaker);
                self.foreign(key.1, watch.id, &mut speaker, &mut watch.foreign_tokens)
            }
            Class::Rejected => {
                self.count(counter::INVALID);
                watch.rejected += 1;
                watch.rejected_ns = now_ns;
                watch.reason = judgement.reason;
                self.foreign(key.1, watch.id, &mut speaker, &mut watch.refused_tokens)
            }
        };
        if !paid {
            watch.withheld += 1;
            self.count(counter::WITHHELD);
        }
        self.watches.insert(key, watch);
        let record = (paid && kind != 0).then_some(Record {
            speaker,
            watch: watch.id,
            kind,
            direction,
            family: key.1,
            class: class as u8,
            reason: judgement.reason,
            pad: [0; 7],
        });
        Expected { record, piece: None }
    }

    fn seen(&mut self, direction: u8, frame: &[u8], sight: Sight, now_ns: u64) -> Expected {
        match sight {
            Sight::Tagged => {
                self.count(counter::VRRP);
                self.count(counter::TAGGED);
            }
            Sight::Headless => self.count(counter::VRRP),
            Sight::Vrrp { .. } => {
                self.count(counter::VRRP);
                self.count(counter::UNKNOWN_VRID);
            }
            Sight::Piece(family, base) if direction == INGRESS => {
                self.count(counter::VRRP);
                self.count(counter::FRAGMENT);
                let length = frame.len().saturating_sub(base);
                if length == 0 || length > PIECE_BYTES || !pay(&mut self.device.tokens) {
                    self.device.lost_ns = now_ns;
                    self.count(counter::WITHHELD);
                    return Expected::default();
                }
                let link = reference::link(frame);
                let head = PieceHead {
                    realm: 0,
                    seen_ns: now_ns,
                    ifindex: 1,
                    length: u16::try_from(length).unwrap_or(u16::MAX),
                    vlan: NO_VLAN,
                    mac: link.mac,
                    family,
                    host: link.host,
                    to: link.to,
                    pad: [0; 2],
                };
                return Expected { record: None, piece: Some((head, base)) };
            }
            Sight::Other | Sight::Piece(..) => {}
        }
        Expected::default()
    }

    /// Ends the run of a speaker who has resigned since.
    fn resigned(&mut self, family: u8, watch: &Watch, speaker: &Speaker) {
        let by = (watch.resigned_src, watch.resigned_mac);
        if let Some(known) = self.foreign.get_mut(&foreign_key(watch.id, family, speaker))
            && watch.resigned_ns > known.last_seen_ns
            && by == (known.src, known.mac)
        {
            known.priority = 0;
        }
    }

    /// Remembers a speaker elsewhere; the kind of news, and whether it was paid for.
    fn foreign(&mut self, family: u8, watch: u32, speaker: &mut Speaker, tokens: &mut u32) -> (u8, bool) {
        let key = foreign_key(watch, family, speaker);
        let known = self.foreign.get(&key).copied();
        let kind = news(known.as_ref(), speaker);
        let paid = kind == 0 || pay(tokens);
        if known.is_some() || paid {
            self.foreign.insert(key, *speaker);
        } else {
            self.count(counter::FOREIGN_NOT_STORED);
        }
        (kind, paid)
    }

    fn count(&mut self, which: u32) {
        self.counters[which as usize] += 1;
    }
}

/// What a step is called in the figures.
pub fn name(step: &Step, direction: u8) -> String {
    match step {
        Step::Seen(Sight::Other) => "other".to_owned(),
        Step::Seen(Sight::Tagged) => "tagged".to_owned(),
        Step::Seen(Sight::Piece(..)) => "piece".to_owned(),
        Step::Seen(Sight::Headless) => "headless".to_owned(),
        Step::Seen(Sight::Vrrp { .. }) => "unknown".to_owned(),
        Step::Watched { judged, .. } => {
            let class = format!("{:?}", judged.judgement.class);
            let way = if direction == EGRESS { " leaving" } else { "" };
            match ha_agent_common::Reason::from_code(judged.judgement.reason) {
                Some(reason) => format!("{class} {reason:?}{way}"),
                None => class,
            }
        }
    }
}

fn foreign_key(watch: u32, family: u8, speaker: &Speaker) -> ForeignKey {
    ForeignKey {
        watch,
        family: family.into(),
        vlan: speaker.vlan,
        src: speaker.src,
        content: speaker.content,
        mac: speaker.mac,
        pad: [0; 2],
    }
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
    let said = |s: &Speaker| (s.content, s.sender, s.src);
    if said(known) == said(new) && new.priority > 0 { 0 } else { RECORD_CHANGED }
}
