//! Lets a real keepalived and the agent read generated configurations: `cargo xtask configs`.

#[path = "../bench/marks.rs"]
mod marks;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use ha_agent_tests::configs::generate::generate;
use ha_agent_tests::configs::run::{Plan, run};
use ha_agent_tests::oracle::keepalived::Release;

/// A real keepalived reads generated configurations and prints what it runs; the agent's reading has to be the same.
#[derive(Parser)]
struct Arguments {
    /// How many configurations
    #[arg(long, default_value_t = 5_000)]
    cases: u64,
    /// The first one's seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No more of them after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// The root folder of another keepalived than this machine's
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// Put the figures between their marks in a Markdown file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Show the configuration of the seed, and nothing else
    #[arg(long)]
    show: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.show {
        say(&generate(arguments.seed));
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan {
        cases: arguments.cases,
        seed: arguments.seed,
        release: arguments.root.map_or(Release::Own, Release::In),
        within: arguments.seconds.map(Duration::from_secs),
        at_once: 4,
    };
    let figures = run(&plan)?;
    for disagreement in &figures.disagreements {
        say(&format!("{disagreement}\n"));
    }
    say(&figures.summary());
    if let Some(path) = &arguments.write {
        marks::write(path, &format!("configurations, keepalived {}", figures.version), &figures.markdown(plan.seed)?)?;
    }
    Ok(if figures.disagreed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line. A reader that went away is no error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
