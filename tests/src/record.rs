//! What a scenario found, for the tables that `cargo xtask test` makes: one JSON object per line in
//! the file that `HA_AGENT_RECORDS` names. Without it nothing is written.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Names the file.
const FILE: &str = "HA_AGENT_RECORDS";

/// A scenario that makes claims.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    name: &'static str,
}

/// A claim, what was true, and what the agent made of it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// How it was made: `socket`, `fifo`, `notify`.
    pub reporter: &'static str,
    /// What was claimed.
    pub state: &'static str,
    /// Whether it was true, by what the scenario did and what was witnessed.
    pub truth: bool,
    /// `confirmed` or `rejected`.
    pub verdict: &'static str,
    /// From the claim, or from the change that it tells of, to the verdict.
    pub took: Duration,
}

impl Scenario {
    /// Begins one; `timed`: chance decides when things happen in it, so it is played in rounds.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(name: &'static str, timed: bool) -> Result<Self> {
        write(&json!({"record": "scenario", "scenario": name, "timed": timed}))?;
        Ok(Self { name })
    }

    /// Notes that a round is over.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn round(&self) -> Result<()> {
        write(&json!({"record": "round", "scenario": self.name}))
    }

    /// Notes a claim.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn claim(&self, claim: &Claim) -> Result<()> {
        write(&json!({
            "record": "claim", "scenario": self.name, "reporter": claim.reporter, "claim": claim.state,
            "truth": claim.truth, "verdict": claim.verdict, "took_ms": milliseconds(claim.took),
        }))
    }
}

/// Notes a case of the catalogue.
///
/// # Errors
/// When the file cannot be written.
pub fn case(case: &Value) -> Result<()> {
    write(case)
}

/// Notes what an attack did in one column of the hostile matrix: how often it was played, how many verdicts were
/// false, and how much later than without it one came at most.
///
/// # Errors
/// When the file cannot be written.
pub fn attack(attack: &str, column: &str, rounds: u32, wrong: u32, late: Duration) -> Result<()> {
    write(&json!({
        "record": "attack", "attack": attack, "column": column, "rounds": rounds, "false": wrong,
        "late_ms": milliseconds(late),
    }))
}

/// Notes a figure, for `cargo xtask test` to print.
///
/// # Errors
/// When the file cannot be written.
pub fn figure(line: &str) -> Result<()> {
    write(&json!({"record": "figure", "line": line}))
}

/// Milliseconds with three places.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn write(record: &Value) -> Result<()> {
    let Some(path) = std::env::var_os(FILE) else {
        return Ok(());
    };
    // One write per line, so that tests beside each other do not mix theirs.
    let mut file = File::options().create(true).append(true).open(&path);
    let file = file.as_mut().map_err(|error| anyhow::anyhow!("opening {}: {error}", path.display()))?;
    file.write_all(format!("{record}\n").as_bytes()).with_context(|| format!("writing {}", path.display()))
}
