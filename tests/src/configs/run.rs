//! Asks about many configurations, compares, and makes what differs small.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ha_agent::advert_rules;

use super::generate::generate;
use super::keepalived::Asker;
use super::known::KNOWN;
use super::said::{Answer, Ours, Said, ours};
use crate::oracle::keepalived::Release;

/// Disagreements that are made small and shown; more of them are counted.
const SHOWN: usize = 12;
/// Questions for making one small.
const STEPS: usize = 400;

/// What is to be asked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many configurations.
    pub cases: u64,
    /// The first one's seed.
    pub seed: u64,
    /// Which keepalived.
    pub release: Release,
    /// After this time no more of them.
    pub within: Option<Duration>,
    /// Keepalived processes at once.
    pub at_once: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Figures {
    /// keepalived's.
    pub version: String,
    /// Configurations.
    pub cases: u64,
    /// Instances that both told alike.
    pub instances: u64,
    /// Configurations that keepalived does not start with.
    pub ends: u64,
    /// Configurations of which the agent said that it does not see all.
    pub hidden: u64,
    /// Instances of which it said that it does not know them.
    pub unknown: u64,
    /// Configurations of which it warned.
    pub warned: u64,
    /// Known differences, and how often each was met.
    pub known: BTreeMap<&'static str, u64>,
    /// Configurations that both read differently.
    pub disagreed: u64,
    /// Some of these.
    pub disagreements: Vec<Disagreement>,
    /// How long it took.
    pub took: Duration,
}

/// One, made small.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Of the configuration that it was found in.
    pub seed: u64,
    /// What both read differently.
    pub text: String,
    /// keepalived's answer.
    pub theirs: Answer,
    /// The agent's.
    pub ours: Answer,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, text, theirs, ours } = self;
        writeln!(f, "seed {seed}:\n{}", text.lines().map(|line| format!("    |{line}\n")).collect::<String>())?;
        write!(f, "  keepalived:\n{theirs}\n  ha-agent:\n{ours}")
    }
}

/// What came of one comparison.
#[derive(Debug)]
enum Compared {
    Alike,
    Known(&'static str),
    Different,
}

/// Runs the plan.
///
/// # Errors
/// When keepalived cannot be asked.
pub fn run(plan: &Plan) -> Result<Figures> {
    let version = plan.release.version()?;
    let release: advert_rules::Release = version.parse().map_err(|error| anyhow!("{version}: {error}"))?;
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let work = |number: usize| -> Result<Figures> {
        let asker = Asker::new(&format!("configs{number}"), &plan.release)?;
        let mut figures = Figures::default();
        loop {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= plan.cases || plan.within.is_some_and(|within| began.elapsed() > within) {
                return Ok(figures);
            }
            figures.take(&asker, plan.seed + case, release)?;
        }
    };
    let mut all = Figures { version, ..Figures::default() };
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..plan.at_once).map(|number| scope.spawn(move || work(number))).collect();
        for worker in workers {
            all.add(worker.join().map_err(|_| anyhow!("a worker panicked"))??);
        }
        anyhow::Ok(())
    })?;
    all.took = began.elapsed();
    all.disagreements.sort_by_key(|one| one.text.len());
    Ok(all)
}

impl Figures {
    /// One more configuration.
    fn take(&mut self, asker: &Asker, seed: u64, release: advert_rules::Release) -> Result<()> {
        let text = generate(seed);
        let told = ours(&text, release);
        let theirs = asker.ask(&text).with_context(|| format!("seed {seed}:\n{text}"))?;
        self.cases += 1;
        self.ends += u64::from(matches!(theirs, Answer::Ends(_)));
        self.hidden += u64::from(told.hides);
        self.unknown += u64::try_from(told.unknown.len())?;
        self.warned += u64::from(told.warnings > 0);
        match compare(&text, &theirs, &told) {
            Compared::Alike => {
                if let Answer::Runs(all) = &theirs {
                    self.instances += u64::try_from(all.len())?;
                }
            }
            Compared::Known(what) => *self.known.entry(what).or_default() += 1,
            Compared::Different => {
                self.disagreed += 1;
                if self.disagreements.len() < SHOWN {
                    let small = shrink(asker, seed, text, &theirs, release)?;
                    if self.disagreements.iter().all(|known| known.text != small.text) {
                        self.disagreements.push(small);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.instances += other.instances;
        self.ends += other.ends;
        self.hidden += other.hidden;
        self.unknown += other.unknown;
        self.warned += other.warned;
        self.disagreed += other.disagreed;
        self.disagreements.extend(other.disagreements);
        for (what, count) in other.known {
            *self.known.entry(what).or_default() += count;
        }
    }
}

/// Holds one to the other.
fn compare(text: &str, theirs: &Answer, ours: &Ours) -> Compared {
    let alike = match (theirs, &ours.answer) {
        (Answer::Ends(_), Answer::Ends(_)) => true,
        (Answer::Runs(theirs), Answer::Runs(told)) => {
            // What the agent says that it does not know is not compared.
            let mut theirs: Vec<&Said> = theirs.iter().filter(|one| !ours.unknown.contains(&one.name)).collect();
            if ours.hides {
                theirs.retain(|one| told.iter().any(|told| told.name == one.name));
            }
            theirs.into_iter().eq(told)
        }
        _ => false,
    };
    if alike {
        return Compared::Alike;
    }
    let known = KNOWN.iter().find(|known| (known.is)(text, theirs, ours));
    known.map_or(Compared::Different, |known| Compared::Known(known.what))
}

/// Takes away lines, then words, for as long as both still differ.
fn shrink(
    asker: &Asker,
    seed: u64,
    text: String,
    first: &Answer,
    release: advert_rules::Release,
) -> Result<Disagreement> {
    let told = ours(&text, release);
    // What keepalived does not say twice cannot be made small.
    if !matches!(compare(&text, &asker.ask(&text)?, &told), Compared::Different) {
        return Ok(Disagreement { seed, theirs: first.clone(), ours: told.answer, text });
    }
    let differs = |text: &str| -> Result<bool> {
        Ok(matches!(compare(text, &asker.ask(text)?, &ours(text, release)), Compared::Different))
    };
    let mut steps = 0;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut size = lines.len().div_ceil(2);
    while size > 0 && steps < STEPS {
        let mut at = 0;
        while at < lines.len() && steps < STEPS {
            let mut fewer = lines.clone();
            fewer.drain(at..(at + size).min(lines.len()));
            steps += 1;
            if differs(&(fewer.join("\n") + "\n"))? {
                lines = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    for at in 0..lines.len() {
        while let Some((shorter, _)) = lines[at].rsplit_once(' ').filter(|_| steps < STEPS) {
            let mut fewer = lines.clone();
            fewer[at] = shorter.to_owned();
            steps += 1;
            if !differs(&(fewer.join("\n") + "\n"))? {
                break;
            }
            lines = fewer;
        }
    }
    let small = lines.join("\n") + "\n";
    // A text may differ only with the line ends that it had.
    let text = if differs(&small)? { small } else { text };
    Ok(Disagreement { seed, theirs: asker.ask(&text)?, ours: ours(&text, release).answer, text })
}
