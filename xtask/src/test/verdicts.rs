//! What the end-to-end tests found: the confusion matrix of claims, the catalogue of disagreements with
//! what was measured, and figures.
//!
//! The tests write one JSON object per line (`tests/src/record.rs`); here they become tables.

mod attacks;
mod page;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::steps::Step;
use crate::workspace::target;
use attacks::Attack;

/// Rounds that a scenario must have whose timing is left to chance.
pub(super) const ROUNDS: u32 = 20;

/// A line.
#[derive(Debug, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
enum Record {
    Scenario { scenario: String, timed: bool },
    Round { scenario: String },
    Claim(Claim),
    Case(Case),
    Attack(Attack),
    Figure { line: String },
}

#[derive(Debug, Deserialize)]
struct Claim {
    scenario: String,
    reporter: String,
    claim: String,
    truth: bool,
    verdict: String,
    took_ms: f64,
}

/// A case of the catalogue.
#[derive(Debug, Deserialize)]
struct Case {
    case: String,
    measured: Vec<Measured>,
    told: std::collections::BTreeMap<String, Vec<String>>,
    clears: String,
}

#[derive(Debug, Deserialize)]
struct Measured {
    what: String,
    least_ms: f64,
    most_ms: f64,
    why: String,
    took_ms: f64,
}

/// One scenario's row of the matrix.
#[derive(Debug, Default)]
struct Row {
    scenario: String,
    timed: bool,
    rounds: u32,
    claims: Vec<Claim>,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    rows: Vec<Row>,
    cases: Vec<Case>,
    attacks: Vec<Attack>,
    figures: Vec<String>,
}

/// Where a step's tests write.
pub(super) fn records(step: Step) -> PathBuf {
    target().join("xtask").join(format!("{}.records", step.name()))
}

impl Found {
    /// Takes in what a step's tests wrote; nothing, if they wrote nothing.
    pub(super) fn read(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        self.take(&text).with_context(|| format!("reading {}", path.display()))
    }

    fn take(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            match serde_json::from_str(line).with_context(|| line.to_owned())? {
                Record::Scenario { scenario, timed } => self.row(&scenario).timed |= timed,
                Record::Round { scenario } => self.row(&scenario).rounds += 1,
                Record::Claim(claim) => self.row(&claim.scenario.clone()).claims.push(claim),
                Record::Case(case) => self.cases.push(case),
                Record::Attack(attack) => self.attacks.push(attack),
                Record::Figure { line } => self.figures.push(line),
            }
        }
        // Tests beside each other end in any order.
        self.rows.sort_by(|a, b| (a.timed, &a.scenario).cmp(&(b.timed, &b.scenario)));
        self.cases.sort_by(|a, b| a.case.cmp(&b.case));
        Ok(())
    }

    fn row(&mut self, scenario: &str) -> &mut Row {
        let index = self.rows.iter().position(|row| row.scenario == scenario).unwrap_or_else(|| {
            self.rows.push(Row { scenario: scenario.to_owned(), ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    /// What tests measured beside verdicts, a line each, in the order in which it was found.
    pub(super) fn figures(&self) -> &[String] {
        &self.figures
    }

    /// What must not be: a false verdict, too few rounds, a scenario without a claim; and, where no test was
    /// `filtered` out, no scenario or no attack at all.
    pub(super) fn wrong(&self, rounds: u32, filtered: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        if !filtered && !self.rows.iter().any(|row| row.timed) {
            wrong.push("no scenario was played in rounds".to_owned());
        }
        if !filtered && self.attacks.is_empty() {
            wrong.push("no attack was played".to_owned());
        }
        for row in &self.rows {
            let name = &row.scenario;
            if row.claims.is_empty() {
                wrong.push(format!("{name}: nothing was claimed"));
            }
            if row.timed && row.rounds < rounds {
                wrong.push(format!("{name}: {} rounds of {rounds}", row.rounds));
            }
            for claim in row.claims.iter().filter(|claim| claim.is_misjudged()) {
                let truth = if claim.truth { "true" } else { "false" };
                wrong.push(format!("{name}: {} was {truth} and {} ({})", claim.claim, claim.verdict, claim.reporter));
            }
        }
        wrong.extend(self.attacks.iter().filter_map(Attack::wrong));
        wrong
    }

    /// The matrix, for the terminal.
    pub(super) fn table(&self) -> String {
        let tables = [self.matrix(), attacks::table(&self.attacks)];
        tables.iter().filter(|rows| !rows.is_empty()).map(|rows| aligned(rows)).collect::<Vec<_>>().join("\n\n")
    }

    /// Writes matrix and catalogue into a Markdown file.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        page::write(path, self)
    }

    /// Heading, a row per scenario, the sum.
    fn matrix(&self) -> Vec<Vec<String>> {
        let mut rows = vec![page::HEADING.map(str::to_owned).to_vec()];
        rows.extend(self.rows.iter().map(|row| {
            let claims: Vec<&Claim> = row.claims.iter().collect();
            cells(&row.scenario, &row.rounds.max(1).to_string(), &claims)
        }));
        for reporter in ["socket", "fifo", "notify"] {
            let of: Vec<&Claim> = self.claims().filter(|claim| claim.reporter == reporter).collect();
            rows.push(cells(&format!("all by {reporter}"), "", &of));
        }
        rows.push(cells("all", "", &self.claims().collect::<Vec<_>>()));
        rows
    }

    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.rows.iter().flat_map(|row| &row.claims)
    }
}

impl Claim {
    fn is_misjudged(&self) -> bool {
        self.verdict != if self.truth { "confirmed" } else { "rejected" }
    }
}

/// A table for the terminal.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cells(name: &str, rounds: &str, claims: &[&Claim]) -> Vec<String> {
    let of = |truth: bool| claims.iter().filter(move |claim| claim.truth == truth);
    let count = |truth: bool, misjudged: bool| of(truth).filter(|claim| claim.is_misjudged() == misjudged).count();
    let times = |truth: bool| {
        let mut times: Vec<f64> = of(truth).map(|claim| claim.took_ms).collect();
        times.sort_by(f64::total_cmp);
        match (times.get(times.len() / 2), times.last()) {
            (Some(median), Some(most)) => format!("{median:.0} / {most:.0}"),
            _ => "–".to_owned(),
        }
    };
    vec![
        name.to_owned(),
        rounds.to_owned(),
        count(true, false).to_string(),
        count(true, true).to_string(),
        count(false, false).to_string(),
        count(false, true).to_string(),
        times(true),
        times(false),
    ]
}

#[cfg(test)]
mod tests;
