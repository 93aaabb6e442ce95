//! The classifier in the kernel against the judgement that it shares with the agent, on the same frames.
//!
//! The kernel runs the real object (`BPF_PROG_TEST_RUN`), loaded and never attached; after each frame
//! its verdict, the frame itself, the records, the pieces, the memory of the speaker, the watch and every
//! counter are compared with what the shared code, compiled for this machine, says and the model makes of
//! it. Whether that is right is the oracle's affair, which asks a real keepalived.
//!
//! - [`mod@reference`]: the shared judgement, and what the program does around it.
//! - [`model`]: what should be remembered and reported.
//! - [`frames`]: what the frames are. [`rules`]: what the watches compare with them.
//!
//! A test run cannot give a frame a tag beside its data, the packet type `PACKET_LOOPBACK`, or a socket:
//! those branches are left to the tests that attach for real.

pub mod frames;
pub mod model;
pub mod reference;
pub mod rules;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use ha_agent::clock;
use ha_agent::wire::trial::{GO_ON, Trial};
use ha_agent_common::judge::PeerKey;
use ha_agent_common::{
    BUDGET_BURST, Device, EGRESS, FAMILY_V4, FAMILY_V6, INGRESS, Piece, PieceHead, RECORD_FRAME, Speaker, Watch,
};

use model::{Memory, Model, Step};

/// Frames between two fresh starts of the maps.
const EPISODE: u64 = 64;
/// A watch refilled in the future gains nothing, so that budgets do not depend on the time.
const NEVER: u64 = u64::MAX;

/// What was compared.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Frames.
    pub frames: u64,
    /// By what the reference took them for.
    pub kinds: BTreeMap<String, u64>,
    /// Records that were emitted, all as expected.
    pub records: u64,
    /// In all.
    pub took: Duration,
}

/// Compares so many frames, or stops at the first disagreement, which the error shows. The same seed
/// gives the same frames. The object is the one that the agent carries, or one at a path.
///
/// # Errors
/// A disagreement, or a kernel that does not load or run the object.
pub fn run(frames: u64, seed: u64, object: Option<&PathBuf>) -> Result<Figures> {
    let began = Instant::now();
    let mut figures = Figures::default();
    let trial = Trial::load(object).context("loading the classifier")?;
    let model = Model { key: trial.key, ..Model::default() };
    let mut run = Run { trial, model };
    let mut rng = Rng::with_seed(seed);
    for number in 0..frames {
        if number % EPISODE == 0 {
            run.begin(&mut rng)?;
        } else if rng.u8(0..16) == 0 {
            run.age(&mut rng)?;
        }
        let direction = if rng.u8(0..3) == 0 { EGRESS } else { INGRESS };
        let frame = frames::frame(&mut rng, &run.model.watches);
        let step = run.model.judge(direction, &frame);
        let told = run.compare(direction, &frame, &step).with_context(|| {
            format!("frame {number} of seed {seed}, direction {direction}:\n{}\n{step:?}", hex(&frame))
        })?;
        figures.frames += 1;
        figures.records += u64::from(told);
        *figures.kinds.entry(model::name(&step, direction)).or_default() += 1;
        if number % EPISODE == EPISODE - 1 {
            run.all_is_known()?;
        }
    }
    figures.took = began.elapsed();
    Ok(figures)
}

struct Run {
    trial: Trial,
    model: Model,
}

impl Run {
    /// Empties the maps and gives out rules and budgets: mostly enough, sometimes too little.
    fn begin(&mut self, rng: &mut Rng) -> Result<()> {
        for key in std::mem::take(&mut self.model.foreign).into_keys() {
            self.trial.set_foreign(key, None)?;
        }
        for (watch, address) in std::mem::take(&mut self.model.peers).into_keys() {
            self.trial.set_peer(PeerKey { watch, address }, None)?;
        }
        self.model.local.clear();
        self.model.watches.clear();
        let mut id = 5;
        for family in [FAMILY_V4, FAMILY_V6] {
            for vrid in &frames::VRIDS[..2] {
                let rules = rules::rules(rng, family == FAMILY_V6, self.model.key);
                let mut budget = || if rng.u8(0..8) == 0 { rng.u32(0..4) } else { BUDGET_BURST };
                let mut watch = Watch {
                    foreign_tokens: budget(),
                    refused_tokens: budget(),
                    local_tokens: budget(),
                    source_tokens: budget(),
                    ..Watch::new(id, rules, NEVER)
                };
                if rng.u8(0..4) > 0 {
                    watch.vouch(rules::ours(rng, family == FAMILY_V6));
                }
                self.trial.set_watch(self.trial.key(*vrid, family), watch)?;
                self.trial.set_local(id, Speaker::default())?;
                self.model.watches.insert((*vrid, family), watch);
                for (address, peer) in rules::peers(rng, family == FAMILY_V6) {
                    self.trial.set_peer(PeerKey { watch: id, address }, Some(peer))?;
                    self.model.peers.insert((id, address), peer);
                }
                id += 1;
            }
        }
        self.model.device = Device { refilled_ns: NEVER, tokens: rng.u32(0..16), ..Device::default() };
        self.trial.set_device(self.model.device)?;
        self.model.counters = self.trial.counters()?;
        Ok(())
    }

    /// Lets time pass, for all that are remembered.
    fn age(&mut self, rng: &mut Rng) -> Result<()> {
        let by = rng.u64(0..3_500_000_000);
        let older = |speaker: &mut Speaker| {
            speaker.last_seen_ns = speaker.last_seen_ns.saturating_sub(by).max(1);
            speaker.run_since_ns = speaker.run_since_ns.saturating_sub(by).max(1);
        };
        for (id, speaker) in &mut self.model.local {
            older(speaker);
            self.trial.set_local(*id, *speaker)?;
        }
        for (key, speaker) in &mut self.model.foreign {
            older(speaker);
            self.trial.set_foreign(*key, Some(*speaker))?;
        }
        Ok(())
    }

    /// One frame; whether it made a record.
    fn compare(&mut self, direction: u8, frame: &[u8], step: &Step) -> Result<bool> {
        let memory = self.model.concerns(step);
        let before = clock::now().0;
        let ran = self.trial.run(direction, frame, 1)?;
        let after = clock::now().0;
        ensure!(ran.verdict == GO_ON, "the verdict is {}", ran.verdict);
        ensure!(ran.frame == frame, "the frame was changed: {}", hex(&ran.frame));

        let records = self.trial.records(direction);
        let other = self.trial.records(INGRESS + EGRESS - direction);
        ensure!(other.is_empty(), "a record about the other direction: {other:?}");
        let pieces = self.trial.pieces();
        let remembered = self.remembered(memory)?;
        let watched = match step {
            Step::Watched { watch: (vrid, family), .. } => Some(self.trial.watch(self.trial.key(*vrid, *family))?),
            Step::Seen(_) => None,
        };
        let written = match watched {
            Some(watch) => [watch.rejected_ns, watch.resigned_ns],
            None => [self.trial.device()?.lost_ns, 0],
        };
        // The kernel's own time of this frame, wherever it wrote it.
        let told =
            records.first().filter(|record| record.kind == RECORD_FRAME).map(|record| record.speaker.last_seen_ns);
        let now = remembered
            .map(|speaker| speaker.last_seen_ns)
            .or(told)
            .or(pieces.first().map(|piece| piece.head.seen_ns))
            .or(written.into_iter().find(|at| (before..=after).contains(at)))
            .unwrap_or(before);
        let expected = self.model.take(direction, frame, step, now);
        ensure!(
            records == expected.record.as_slice(),
            "records\n     told {records:?}\n expected {:?}",
            expected.record
        );
        ensure!((before..=after).contains(&now), "seen at {now}, not within {before} and {after}");
        same_pieces(frame, &pieces, expected.piece)?;
        let expected = match memory {
            Memory::None => None,
            Memory::Local(id) => self.model.local.get(&id).copied(),
            Memory::Foreign(key) => self.model.foreign.get(&key).copied(),
        };
        ensure!(remembered == expected, "speaker\n remembered {remembered:?}\n   expected {expected:?}");
        if let (Some(watch), Step::Watched { watch: key, .. }) = (watched, step) {
            let expected = self.model.watches.get(key);
            ensure!(Some(&watch) == expected, "watch\n      has {watch:?}\n expected {expected:?}");
        }
        let counters = self.trial.counters()?;
        ensure!(
            counters == self.model.counters,
            "counters\n  counted {counters:?}\n expected {:?}",
            self.model.counters
        );
        Ok(!records.is_empty())
    }

    fn remembered(&self, memory: Memory) -> Result<Option<Speaker>> {
        Ok(match memory {
            Memory::None => None,
            Memory::Local(id) => Some(self.trial.local(id)?),
            Memory::Foreign(key) => self.trial.foreign(key)?,
        })
    }

    /// At the end of an episode: every map as a whole.
    fn all_is_known(&self) -> Result<()> {
        for ((vrid, family), expected) in &self.model.watches {
            let watch = self.trial.watch(self.trial.key(*vrid, *family))?;
            ensure!(watch == *expected, "watch of VRID {vrid}\n      has {watch:?}\n expected {expected:?}");
            let local = self.trial.local(watch.id)?;
            let expected = self.model.local.get(&watch.id).copied().unwrap_or_default();
            ensure!(local == expected, "local speaker of VRID {vrid}\n      has {local:?}\n expected {expected:?}");
        }
        let device = self.trial.device()?;
        ensure!(device == self.model.device, "the device has {device:?}, expected {:?}", self.model.device);
        let mut keys = self.trial.foreign_keys()?;
        keys.sort_unstable();
        if !keys.iter().eq(self.model.foreign.keys()) {
            bail!("foreign speakers\n      has {keys:?}\n expected {:?}", self.model.foreign.keys());
        }
        for (key, expected) in &self.model.foreign {
            let speaker = self.trial.foreign(*key)?;
            ensure!(speaker == Some(*expected), "foreign speaker {speaker:?}, expected {expected:?}");
        }
        Ok(())
    }
}

/// Compares what was handed over: all but the realm, and of the bytes those that count.
fn same_pieces(frame: &[u8], pieces: &[Piece], expected: Option<(PieceHead, usize)>) -> Result<()> {
    ensure!(pieces.len() == usize::from(expected.is_some()), "{} pieces", pieces.len());
    if let (Some(piece), Some((head, base))) = (pieces.first(), expected) {
        let told = PieceHead { realm: 0, ..piece.head };
        ensure!(told == head, "piece\n     told {told:?}\n expected {head:?}");
        let bytes = &piece.bytes[..usize::from(head.length)];
        ensure!(frame.get(base..) == Some(bytes), "piece of other bytes: {}", hex(bytes));
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
