//! `cargo xtask test`: every check that CI runs, a table of them, and the count of tests.
//!
//! `steps` says what the checks are, `runner` runs one, `counts` reads what the test binaries say, `verdicts`
//! makes tables of what the end-to-end tests found.

mod counts;
mod runner;
mod steps;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::say;
use counts::Counts;
use runner::Outcome;
use steps::Step;

/// What is run.
#[derive(Args)]
#[command(after_help = "\
The last line is `N passed, M failed, K skipped`, over all test binaries. Tests that need root are \
skipped without it, and counted as skipped. A check that fails without naming a test counts as one \
failure. What each check printed is kept in target/xtask/<step>.log.")]
pub(crate) struct Arguments {
    /// Run only this step (may be repeated)
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
    /// Leave this step out (may be repeated)
    #[arg(long, value_enum, value_name = "STEP", conflicts_with = "only")]
    skip: Vec<Step>,
    /// Only tests whose names contain this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Install nothing; what is missing then fails where it is used
    #[arg(long)]
    no_setup: bool,
    /// Rounds of each scenario whose timing is left to chance
    #[arg(long, default_value_t = verdicts::ROUNDS, value_parser = clap::value_parser!(u32).range(i64::from(verdicts::ROUNDS)..))]
    rounds: u32,
    /// Rounds of each attack beside its control
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    hostile_rounds: u32,
    /// Write the verdicts of the steps e2e and matrix into this Markdown file, between its two marks
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Arguments {
    fn chosen(&self) -> Vec<Step> {
        Step::value_variants()
            .iter()
            .copied()
            .filter(|step| if self.only.is_empty() { !self.skip.contains(step) } else { self.only.contains(step) })
            .collect()
    }
}

/// A step that is over.
struct Row {
    step: Step,
    outcome: Outcome,
    took: Duration,
    note: String,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let steps = arguments.chosen();
    if steps.is_empty() {
        bail!("nothing to do: every step is left out");
    }
    let privilege = Privilege::detect();
    if !arguments.no_setup {
        let mut groups: Vec<Group> = Vec::new();
        for group in steps.iter().flat_map(|step| step.groups(privilege)) {
            if !groups.contains(group) {
                groups.push(*group);
            }
        }
        setup::ensure(&groups)?;
    }

    if arguments.write.is_some() && [Step::E2e, Step::Matrix].iter().any(|step| !steps.contains(step)) {
        bail!("--write needs the steps e2e and matrix");
    }
    let context = steps::Context {
        privilege,
        filter: arguments.filter.clone(),
        rounds: arguments.rounds,
        hostile_rounds: arguments.hostile_rounds,
    };
    let mut counts = Counts::default();
    let mut rows = Vec::new();
    let mut found = verdicts::Found::default();
    for step in steps {
        let mut done = context.run(step)?;
        if matches!(step, Step::E2e | Step::Matrix) && done.outcome != Outcome::Skipped {
            let known = found.figures().len();
            found.read(&verdicts::records(step))?;
            for figure in &found.figures()[known..] {
                say(&format!("  {figure}"));
            }
        }
        let filtered_out = arguments.filter.is_some() && !verdicts::records(step).exists();
        if step == Step::Matrix && done.outcome == Outcome::Passed && !filtered_out {
            say("");
            say(&found.table());
            for wrong in found.wrong(arguments.rounds, arguments.filter.is_some()) {
                say(&format!("✘ {wrong}"));
                done.outcome = Outcome::Failed;
            }
        }
        counts.add(step.needs_root(), &done);
        rows.push(Row { step, note: done.note(), outcome: done.outcome, took: done.took });
    }

    if let Some(path) = &arguments.write {
        found.write(path)?;
    }
    say("");
    print_table(&rows);
    say("");
    say(&counts.line());
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_table(rows: &[Row]) {
    let width = rows.iter().map(|row| row.step.name().len()).max().unwrap_or(0).max(4);
    say(&format!("{:width$}  result      time  ", "step"));
    for row in rows {
        say(format!(
            "{:width$}  {:7}  {:6.1} s  {}",
            row.step.name(),
            row.outcome.word(),
            row.took.as_secs_f64(),
            row.note
        )
        .trim_end());
    }
}
