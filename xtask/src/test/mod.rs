//! `cargo xtask test`: every check that CI runs, a table of them, and the count of tests.
//!
//! `steps` says what the checks are, `runner` runs one, `counts` reads what the test binaries say.

mod counts;
mod runner;
mod steps;

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

    let context = steps::Context { privilege, filter: arguments.filter.clone() };
    let mut counts = Counts::default();
    let mut rows = Vec::new();
    for step in steps {
        let done = context.run(step)?;
        counts.add(step.needs_root(), &done);
        rows.push(Row { step, note: done.note(), outcome: done.outcome, took: done.took });
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
