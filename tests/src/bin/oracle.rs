//! Asks a real keepalived what frames are to it: `cargo xtask oracle`.

#[path = "../bench/marks.rs"]
mod marks;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use ha_agent_tests::oracle::agent::Agent;
use ha_agent_tests::oracle::ask::Asker;
use ha_agent_tests::oracle::configuration::{ALL, Configuration};
use ha_agent_tests::oracle::frames;
use ha_agent_tests::oracle::judge::Nobody;
use ha_agent_tests::oracle::keepalived::{Release, State};
use ha_agent_tests::oracle::run::{Plan, run};
use ha_agent_tests::oracle::scene::Scene;

/// Generated frames go to a real keepalived, which tells whether it took them and why not; the agent's
/// judgement has to be the same.
#[derive(Parser)]
struct Arguments {
    /// How many cases, over all configurations
    #[arg(long, default_value_t = 20_000)]
    frames: u64,
    /// Another seed gives other cases
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The root folder of another keepalived than this machine's
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// One configuration alone
    #[arg(long, value_name = "NAME", value_parser = named)]
    config: Option<&'static Configuration>,
    /// Put the figures between their marks in a Markdown file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Show what keepalived says of the sound advert and of each deviation alone, and nothing else
    #[arg(long)]
    show: bool,
}

fn named(name: &str) -> Result<&'static Configuration, String> {
    let names: Vec<&str> = ALL.iter().map(|one| one.name).collect();
    Configuration::named(name).ok_or_else(|| format!("there are {}", names.join(", ")))
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let release = arguments.root.clone().map_or(Release::Own, Release::In);
    if arguments.show {
        return show(&arguments, &release);
    }
    let plan = Plan { cases: arguments.frames, seed: arguments.seed, release, only: arguments.config };
    let mut agent = Agent::new(&plan.release.version()?)?;
    let figures = run(&plan, &mut agent, |name, tally| {
        say(&format!(
            "{name:20} {:>7} cases: {:>6} taken, {:>6} rejected, {:>6} unheard, {:>4} disagreed; keepalived was \
             started {} times",
            tally.cases,
            tally.taken,
            tally.all_rejected(),
            tally.unheard,
            tally.disagreed,
            tally.starts
        ));
    })?;
    for disagreement in &figures.disagreements {
        say(&format!("\n{disagreement}"));
    }
    let took = figures.took.as_secs_f64();
    say(&format!(
        "keepalived {}: {} cases of {} frames in {took:.1} s, {} judged by the agent too, {} disagreements, {} known",
        figures.version,
        figures.cases(),
        figures.frames(),
        figures.judged,
        figures.disagreements.len(),
        figures.known.values().sum::<u64>()
    ));
    if let Some(path) = &arguments.write {
        marks::write(path, &format!("oracle, keepalived {}", figures.version), &figures.markdown(arguments.seed)?)?;
    }
    Ok(if figures.disagreements.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each deviation alone.
fn show(arguments: &Arguments, release: &Release) -> Result<ExitCode> {
    let configuration = arguments.config.context("--show needs --config")?;
    let version = release.version()?;
    let mut asker = Asker::new(Scene::new(configuration, release)?, &version, &mut Nobody)?;
    let singles = frames::deviations(configuration).len() + 1;
    for state in [State::Backup, State::Master] {
        for case in frames::thorough(configuration, fastrand::Rng::with_seed(1)).take(singles) {
            say(&format!("{state:?}: {case}: {}", asker.ask(&case, state, &mut Nobody)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line. A reader that went away is no error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
