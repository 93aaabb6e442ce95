//! What keepalived says of one case.
//!
//! A case goes between two marks: adverts of VRIDs that nobody has, of which keepalived tells
//! (`log_unknown_vrids`) without any effect on an instance. They come through the same socket behind the case,
//! so that all that it says between them is about the case. Then its counters are read.
//!
//! A backup gets a sound advert that is better than it before each case. That holds it in its state, and, from
//! 2.3 on, makes it tell again of every kind of refusal, which it does once for each master that it knows.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use ha_agent::core::model::Reason;

use super::configuration::{Host, INSTANCE};
use super::deviation::STEP;
use super::frames::Case;
use super::judge::Judge;
use super::keepalived::{Keepalived, State};
use super::scene::Scene;
use super::sketch::{Sketch, mac};
use super::statistics::Statistics;
use super::verdict::Verdict;

/// VRIDs of the marks. No case has them.
const MARKS: [u8; 2] = [201, 202];
/// How often a case is sent when an answer is not clear.
const TRIES: u32 = 3;

/// What keepalived said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In short.
    pub verdict: Verdict,
    /// The other's judgement of the same frames.
    pub judged: Option<Verdict>,
    /// The lines.
    pub lines: Vec<String>,
    /// What it counted.
    pub counted: Statistics,
    /// The frames that were sent.
    pub frames: Vec<Vec<u8>>,
}

/// What was heard of a case.
struct Heard {
    sequence: u32,
    frames: Vec<Vec<u8>>,
    judged: Option<Verdict>,
    lines: Vec<String>,
    counted: Statistics,
}

/// Asks one keepalived.
#[derive(Debug)]
pub struct Asker {
    scene: Scene,
    keepalived: Keepalived,
    counted: Statistics,
    sequence: u32,
    /// Tells of a refusal only once, and counts not all of them (2.3).
    tells_once: bool,
    /// Takes adverts with other addresses (2.3.3).
    takes_any_addresses: bool,
    /// It has told of a refusal that it does not count, and will not again as long as it is master.
    told: bool,
    /// Times that keepalived was started.
    pub starts: u32,
}

impl Asker {
    /// Starts keepalived in a scene.
    ///
    /// # Errors
    /// When it does not start.
    pub fn new(scene: Scene, version: &str, judge: &mut dyn Judge) -> Result<Self> {
        let mut keepalived = scene.start()?;
        judge.begin(&scene)?;
        let numbers: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
        let counted = keepalived.statistics()?;
        Ok(Self {
            scene,
            keepalived,
            counted,
            sequence: STEP,
            tells_once: numbers >= vec![2, 3],
            takes_any_addresses: numbers >= vec![2, 3, 3],
            told: false,
            starts: 1,
        })
    }

    /// The place.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Sends a case to an instance in a state, and tells what it says.
    ///
    /// # Errors
    /// When no clear answer is to be had.
    pub fn ask(&mut self, case: &Case, state: State, judge: &mut dyn Judge) -> Result<Answer> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.try_once(case, state, judge) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(error) => {
                    last = Some(error);
                    self.renew(judge)?;
                }
            }
        }
        let error = last.unwrap_or_else(|| anyhow::anyhow!("no clear answer"));
        Err(error.context(format!("{}, {state:?}: {case}", self.scene.configuration.name)))
    }

    /// None when it has to be asked again.
    fn try_once(&mut self, case: &Case, state: State, judge: &mut dyn Judge) -> Result<Option<Answer>> {
        self.settle(state)?;
        let Heard { sequence, frames, judged, lines, counted } = self.put(case, judge)?;
        let verdict = self.read(&lines, &counted, state);
        let jumped = lines.iter().any(|line| learned(line, sequence));
        if jumped {
            // For good: another keepalived has not heard it.
            self.renew(judge)?;
        }
        if verdict.as_ref().is_ok_and(|verdict| *verdict == Verdict::Rejected(Reason::Sequence)) && jumped {
            return Ok(None);
        }
        let verdict = verdict.with_context(|| format!("{case}: {lines:#?} {counted:?}"))?;
        if verdict == Verdict::Unheard && state == State::Master && self.tells_once && self.told {
            // Perhaps a refusal of which it has told before: as a new master it tells again.
            self.step_down()?;
            return Ok(None);
        }
        if state == State::Master && uncounted(verdict) {
            self.told = true;
        }
        Ok(Some(Answer { verdict, judged, lines, counted, frames }))
    }

    /// Sends a case to a backup as it is now, whatever it has learned, and lets it learn from this one, too.
    ///
    /// # Errors
    /// When no clear answer is to be had.
    pub fn go_on(&mut self, case: &Case, judge: &mut dyn Judge) -> Result<Answer> {
        let Heard { frames, judged, lines, counted, .. } = self.put(case, judge)?;
        let verdict = self.read(&lines, &counted, State::Backup)?;
        Ok(Answer { verdict, judged, lines, counted, frames })
    }

    /// Sends a case and hears what is said of it.
    fn put(&mut self, case: &Case, judge: &mut dyn Judge) -> Result<Heard> {
        judge.before()?;
        let before = self.counted;
        let sequence = self.next();
        let sketch = case.sketch(self.scene.configuration, sequence);
        let frames = sketch.frames();
        for frame in &frames {
            self.scene.send(frame)?;
        }
        let lines = self.mark(MARKS[1])?;
        let judged = judge.after(sketch.source)?;
        self.counted = self.keepalived.statistics()?;
        let counted = self.counted.since(&before)?;
        Ok(Heard { sequence, frames, judged, lines, counted })
    }

    /// Brings the instance into the state that is wanted, with nothing left to be read.
    fn settle(&mut self, state: State) -> Result<()> {
        match state {
            State::Backup => self.step_down(),
            State::Master => {
                if self.keepalived.state() != Some(State::Master) {
                    self.step_up()?;
                }
                // What its last sound advert was is the same before each case.
                self.greet(1, State::Master)
            }
        }
    }

    fn step_down(&mut self) -> Result<()> {
        self.greet(255, State::Backup)
    }

    /// Sends a sound advert of the keeper, after which the instance is in a state.
    fn greet(&mut self, priority: u8, state: State) -> Result<()> {
        self.say(priority)?;
        let lines = self.mark(MARKS[0])?;
        ensure!(self.keepalived.state() == Some(state), "it is no {state:?}: {lines:#?}");
        let refused = lines.iter().find(|line| self.refusal(line).is_some());
        ensure!(refused.is_none(), "it refuses a sound advert: {lines:#?}");
        self.counted.received += 1;
        Ok(())
    }

    /// A backup becomes master a few milliseconds after its master resigned.
    fn step_up(&mut self) -> Result<()> {
        self.step_down()?;
        self.say(0)?;
        self.counted.received += 1;
        self.counted.resigned += 1;
        let mut lines = Vec::new();
        self.keepalived.until(&mut lines, |line| line.contains("Entering MASTER STATE"))?;
        self.told = false;
        // What it does as a new master is done when it reads again.
        self.mark(MARKS[0])?;
        ensure!(self.keepalived.state() == Some(State::Master), "it is no master");
        Ok(())
    }

    /// Sends a sound advert of the keeper.
    fn say(&mut self, priority: u8) -> Result<()> {
        let mut sketch = self.keeper();
        sketch.packet.priority = priority;
        self.send(&sketch)
    }

    /// Sends a mark and reads up to what keepalived says of it.
    fn mark(&mut self, vrid: u8) -> Result<Vec<String>> {
        let mut sketch = self.keeper();
        sketch.packet.vrid = vrid;
        self.send(&sketch)?;
        let words = format!("Unknown VRID({vrid})");
        let mut lines = Vec::new();
        self.keepalived.until(&mut lines, |line| line.starts_with(&words))?;
        lines.pop();
        // It tells of each time that it writes its statistics.
        lines.retain(|line| !line.starts_with("Printing VRRP stats "));
        Ok(lines)
    }

    fn send(&self, sketch: &Sketch) -> Result<()> {
        sketch.frames().iter().try_for_each(|frame| self.scene.send(frame))
    }

    fn keeper(&mut self) -> Sketch {
        let sequence = self.next();
        let mut sketch = Sketch::sound(self.scene.configuration, Host::Keeper, sequence);
        // A macvlan takes the frames of its own MAC address past those of others, which wait for a worker.
        sketch.from = mac(Host::Keeper);
        sketch
    }

    fn next(&mut self) -> u32 {
        self.sequence += STEP;
        self.sequence
    }

    /// Another keepalived instead.
    fn renew(&mut self, judge: &mut dyn Judge) -> Result<()> {
        self.keepalived.kill()?;
        self.scene.tidy();
        self.keepalived = self.scene.start()?;
        self.counted = self.keepalived.statistics()?;
        self.told = false;
        self.starts += 1;
        judge.begin(&self.scene)
    }

    /// Makes a verdict of what it said and counted.
    fn read(&self, lines: &[String], counted: &Statistics, state: State) -> Result<Verdict> {
        ensure!(counted.received <= 1, "more than one packet was taken");
        let name = format!("({INSTANCE})");
        let own = |line: &&String| line.starts_with(&name) || line.starts_with("IPSEC AH : ");
        let refusals: Vec<Reason> = lines.iter().filter(own).filter_map(|line| self.refusal(line)).collect();
        if lines.iter().any(|line| says_taken(line)) {
            ensure!(counted.received == 1 && refusals.is_empty(), "taken, and refused or not counted");
            return Ok(Verdict::Taken);
        }
        let by_counter = self.by_counter(counted, state);
        match refusals[..] {
            [] => Ok(by_counter),
            [reason] => {
                let counts = matches!(by_counter, Verdict::Unheard) && uncounted(Verdict::Rejected(reason));
                let same = match by_counter {
                    Verdict::Rejected(other) => other == reason || kin(other, reason),
                    Verdict::Taken => reason == Reason::PeerSource,
                    Verdict::Unheard => counts,
                };
                ensure!(same, "it says {reason:?} and counts {by_counter}");
                Ok(Verdict::Rejected(reason))
            }
            _ => bail!("refused more than once: {refusals:?}"),
        }
    }

    /// What the counters alone tell.
    fn by_counter(&self, counted: &Statistics, state: State) -> Verdict {
        let found = [
            (counted.length, Reason::Length),
            (counted.ttl, if counted.received > 0 { Reason::PeerTtl } else { Reason::Ttl }),
            (counted.kind, Reason::Type),
            (counted.interval, Reason::Interval),
            (counted.auth_unknown, Reason::Auth),
            (counted.auth_other, Reason::Auth),
            (counted.auth_failure, self.failure()),
        ];
        if let Some((_, reason)) = found.iter().find(|(count, _)| *count > 0) {
            return Verdict::Rejected(*reason);
        }
        match (counted.received, counted.addresses) {
            (0, 0) => Verdict::Unheard,
            // Before it counts it as received it may only complain of the mode, or (2.2) of the count.
            (0, _) if self.takes_any_addresses => Verdict::Rejected(Reason::Mode),
            (0, _) => Verdict::Rejected(Reason::Addresses),
            (_, 0) => self.received(state),
            (..) if self.takes_any_addresses => self.received(state),
            (..) => Verdict::Rejected(Reason::Addresses),
        }
    }

    /// It was counted and no other counter moved: a master would have said so if it took it.
    fn received(&self, state: State) -> Verdict {
        if state == State::Master { Verdict::Rejected(Reason::PeerSource) } else { Verdict::Taken }
    }

    fn failure(&self) -> Reason {
        match self.scene.configuration.auth {
            super::configuration::Auth::Ah => Reason::Icv,
            _ => Reason::Password,
        }
    }

    /// A line that tells of a refusal.
    fn refusal(&self, line: &str) -> Option<Reason> {
        let says = |words: &str| line.contains(words);
        let found = [
            (says("Received AH header") || says("No AH header"), Reason::Auth),
            (says(" vrrp packet ") && says(" too "), Reason::Length),
            (says("ip_tot_len mismatch"), Reason::Length),
            (says("invalid TTL/HL"), Reason::Ttl),
            (says("wrong version") || says("wrong VRRP version"), Reason::Version),
            (says("Invalid auth type"), Reason::Auth),
            (says(" auth") && says("received a ") && says("expecting"), Reason::Auth),
            (says("invalid passwd"), Reason::Password),
            (says("invalid IPSEC HMAC-MD5") || says("invalid IPSEC SPI"), Reason::Icv),
            (says("already processed"), Reason::Sequence),
            // In VRRPv3 it is told and does no harm.
            (says("interval mismatch") && self.scene.configuration.version == 2, Reason::Interval),
            (says("Invalid packet type"), Reason::Type),
            (says("Invalid VRRPv") && says(" checksum"), Reason::Checksum),
            (says("cast packet but received ") || says("discarding "), Reason::Mode),
            (says("not a unicast peer"), Reason::PeerSource),
            (says("TTL/HL ") && says("not in range"), Reason::PeerTtl),
        ];
        if let Some((_, reason)) = found.iter().find(|(is, _)| *is) {
            // "discarding" also ends the line about a worse advert that was taken.
            return (!says_taken(line)).then_some(*reason);
        }
        let addresses =
            says("unexpected ip number count") || says(" VIPs but received ") || says("ip address associated");
        (addresses && !self.takes_any_addresses).then_some(Reason::Addresses)
    }
}

/// A line that is only said of an advert that was taken.
fn says_taken(line: &str) -> bool {
    line.starts_with(&format!("({INSTANCE})"))
        && [
            "received lower priority (",
            "Received advert from ",
            "Master received advert from ",
            "Master received priority 0 message",
            "Backup received priority 0 advertisement",
            "equal priority advert received from remote host with our IP address",
        ]
        .iter()
        .any(|words| line.contains(words))
}

/// Whether it has learned something that changes its later answers: the old form of checksum; or, as a master that
/// looks for the sequence number in an IPv4 header's options, a number that no sound advert reaches.
fn learned(line: &str, sequence: u32) -> bool {
    let number = line.split_once("Local(").and_then(|(_, rest)| rest.split(')').next()?.parse::<u32>().ok());
    line.contains("checksum to old version") || number.is_some_and(|number| number > sequence)
}

/// Whether keepalived counts no such refusal.
fn uncounted(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Rejected(Reason::Version | Reason::Interval | Reason::Checksum | Reason::PeerSource))
}

/// Refusals with one counter.
fn kin(counter: Reason, line: Reason) -> bool {
    matches!(
        (counter, line),
        (Reason::Icv, Reason::Sequence) | (Reason::Addresses, Reason::Mode) | (Reason::Mode, Reason::Addresses)
    )
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.verdict)?;
        for line in &self.lines {
            write!(out, "\n    {line}")?;
        }
        Ok(())
    }
}
