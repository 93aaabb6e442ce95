//! Asks about many cases, and shrinks what is disagreed about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;

use super::ask::{Answer, Asker};
use super::configuration::{ALL, Configuration};
use super::frames::{self, Case};
use super::judge::Judge;
use super::keepalived::{Release, State};
use super::known::{KNOWN, Known};
use super::scene::Scene;
use super::verdict::Verdict;

/// Disagreements that are shrunk and shown for one configuration; more would be the same ones.
const SHOWN: usize = 25;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cases over all configurations.
    pub cases: u64,
    /// Another seed gives other cases.
    pub seed: u64,
    /// Which keepalived.
    pub release: Release,
    /// One configuration alone.
    pub only: Option<&'static Configuration>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    /// keepalived's version.
    pub version: String,
    /// By configuration, in their order.
    pub tallies: Vec<(&'static str, Tally)>,
    /// Disagreements that are not known.
    pub disagreements: Vec<Disagreement>,
    /// Known ones that were met, and how often.
    pub known: BTreeMap<&'static str, u64>,
    /// Cases that were judged by somebody besides keepalived.
    pub judged: u64,
    /// In all.
    pub took: Duration,
}

/// The answers under one configuration.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Cases.
    pub cases: u64,
    /// Ethernet frames.
    pub frames: u64,
    /// Cases that were sent to a master.
    pub to_master: u64,
    /// Cases that a master and a backup took.
    pub taken: u64,
    /// Cases that never were heard.
    pub unheard: u64,
    /// The others, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Disagreements of any kind, known ones too.
    pub disagreed: u64,
    /// Times that keepalived was started.
    pub starts: u32,
}

/// A case that the two judge differently, with nothing in it that could be left out.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Configuration.
    pub configuration: &'static str,
    /// State of the instance.
    pub state: State,
    /// The case.
    pub case: Case,
    /// What keepalived said.
    pub answer: Answer,
    /// How many cases were reduced to it, or contain it.
    pub count: u64,
}

impl Figures {
    /// All cases.
    pub fn cases(&self) -> u64 {
        self.tallies.iter().map(|(_, tally)| tally.cases).sum()
    }

    /// All frames.
    pub fn frames(&self) -> u64 {
        self.tallies.iter().map(|(_, tally)| tally.frames).sum()
    }
}

/// Asks.
///
/// # Errors
/// When keepalived cannot be run or gives no clear answer.
pub fn run(plan: &Plan, judge: &mut dyn Judge, mut progress: impl FnMut(&str, &Tally)) -> Result<Figures> {
    let began = Instant::now();
    let mut figures = Figures { version: plan.release.version()?, ..Figures::default() };
    let configurations: Vec<&'static Configuration> =
        ALL.iter().filter(|one| plan.only.is_none_or(|only| only.name == one.name)).collect();
    let (count, mut left) = (configurations.len() as u64, plan.cases);
    for (index, configuration) in configurations.into_iter().enumerate() {
        let share = left / (count - index as u64);
        left -= share;
        let mut asker = Asker::new(Scene::new(configuration, &plan.release)?, &figures.version, judge)?;
        let mut tally = Tally::default();
        // A master hears as a backup does; what it does afterwards takes longer.
        for (state, share) in [(State::Backup, share - share / 4), (State::Master, share / 4)] {
            let seed = plan.seed.wrapping_mul(1000) + index as u64 * 2 + u64::from(state == State::Master);
            part(&mut asker, judge, state, share, Rng::with_seed(seed), &mut tally, &mut figures)?;
        }
        tally.starts = asker.starts;
        progress(configuration.name, &tally);
        figures.tallies.push((configuration.name, tally));
    }
    figures.took = began.elapsed();
    Ok(figures)
}

/// So many cases for an instance in one state.
fn part(
    asker: &mut Asker,
    judge: &mut dyn Judge,
    state: State,
    share: u64,
    rng: Rng,
    tally: &mut Tally,
    figures: &mut Figures,
) -> Result<()> {
    let configuration = asker.scene().configuration;
    let few = share < 2 * frames::deviations(configuration).len() as u64;
    let cases: Box<dyn Iterator<Item = Case>> =
        if few { Box::new(frames::mixed(configuration, rng)) } else { Box::new(frames::thorough(configuration, rng)) };
    for case in cases.take(usize::try_from(share)?) {
        let answer = asker.ask(&case, state, judge)?;
        tally.add(&answer, state);
        let Some(judged) = answer.judged else { continue };
        figures.judged += 1;
        if judged == answer.verdict {
            continue;
        }
        tally.disagreed += 1;
        let is = |known: &&Known| (known.is)(configuration, state, &case, answer.verdict, judged);
        if let Some(known) = KNOWN.iter().find(is).filter(|_| judged != Verdict::Taken) {
            *figures.known.entry(known.what).or_default() += 1;
            continue;
        }
        figures.note(asker, judge, state, case, answer)?;
    }
    Ok(())
}

impl Figures {
    /// Counts a disagreement under one that it contains, or reduces it.
    fn note(
        &mut self,
        asker: &mut Asker,
        judge: &mut dyn Judge,
        state: State,
        case: Case,
        answer: Answer,
    ) -> Result<()> {
        let configuration = asker.scene().configuration.name;
        let here = |one: &&mut Disagreement| one.configuration == configuration && one.state == state;
        let contains = |one: &Disagreement| {
            let same = (one.answer.verdict, one.answer.judged) == (answer.verdict, answer.judged);
            same && one.case.deviations.iter().all(|part| case.deviations.contains(part))
        };
        if let Some(one) = self.disagreements.iter_mut().filter(here).find(|one| contains(one)) {
            one.count += 1;
            return Ok(());
        }
        if self.disagreements.iter_mut().filter(here).count() >= SHOWN {
            return Ok(());
        }
        let (case, answer) = shrink(asker, judge, state, case, answer)?;
        let same = |one: &&mut Disagreement| one.case == case;
        match self.disagreements.iter_mut().filter(here).find(same) {
            Some(one) => one.count += 1,
            None => self.disagreements.push(Disagreement { configuration, state, case, answer, count: 1 }),
        }
        Ok(())
    }
}

/// Leaves out whatever can be left out so that the two still disagree.
fn shrink(
    asker: &mut Asker,
    judge: &mut dyn Judge,
    state: State,
    mut case: Case,
    mut answer: Answer,
) -> Result<(Case, Answer)> {
    let mut tried: BTreeSet<String> = BTreeSet::new();
    'again: loop {
        for index in 0..case.deviations.len() {
            let mut less = case.clone();
            less.deviations.remove(index);
            if !tried.insert(less.to_string()) {
                continue;
            }
            let said = asker.ask(&less, state, judge)?;
            if said.judged.is_some_and(|judged| judged != said.verdict) {
                (case, answer) = (less, said);
                continue 'again;
            }
        }
        return Ok((case, answer));
    }
}

impl Tally {
    fn add(&mut self, answer: &Answer, state: State) {
        self.cases += 1;
        self.frames += answer.frames.len() as u64;
        self.to_master += u64::from(state == State::Master);
        match answer.verdict {
            Verdict::Taken => self.taken += 1,
            Verdict::Unheard => self.unheard += 1,
            Verdict::Rejected(reason) => *self.rejected.entry(reason.as_str()).or_default() += 1,
        }
    }

    /// All that were rejected.
    pub fn all_rejected(&self) -> u64 {
        self.rejected.values().sum()
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judged = self.answer.judged.map_or_else(|| "nothing".to_owned(), |judged| judged.to_string());
        writeln!(out, "{}, {:?}: {} ({} cases)", self.configuration, self.state, self.case, self.count)?;
        writeln!(out, "  keepalived: {}", self.answer)?;
        writeln!(out, "  judged:     {judged}")?;
        for frame in &self.answer.frames {
            let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "  {hex}")?;
        }
        Ok(())
    }
}
