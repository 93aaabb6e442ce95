//! The figures as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::known::KNOWN;
use super::run::Figures;

impl Figures {
    /// Tables of what was asked and answered.
    ///
    /// # Errors
    /// Never: a string takes everything.
    pub fn markdown(&self, seed: u64) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        let (cases, frames) = (self.cases(), self.frames());
        writeln!(
            page,
            "keepalived {}, seed {seed}: {cases} cases of {frames} frames in {:.0} s; {} judged by the agent too, \
             {} disagreements, {} known ones.\n",
            self.version,
            self.took.as_secs_f64(),
            self.judged,
            self.disagreements.iter().map(|one| one.count).sum::<u64>(),
            self.known.values().sum::<u64>(),
        )?;
        let reasons: BTreeSet<&str> =
            self.tallies.iter().flat_map(|(_, tally)| tally.rejected.keys().copied()).collect();
        let heads: Vec<&str> = reasons.iter().copied().collect();
        writeln!(page, "| configuration | cases | to a master | taken | unheard | {} |", heads.join(" | "))?;
        writeln!(page, "|---|{}", "---|".repeat(4 + heads.len()))?;
        for (name, tally) in &self.tallies {
            let by_reason: Vec<String> =
                heads.iter().map(|reason| tally.rejected.get(reason).copied().unwrap_or(0).to_string()).collect();
            writeln!(
                page,
                "| {name} | {} | {} | {} | {} | {} |",
                tally.cases,
                tally.to_master,
                tally.taken,
                tally.unheard,
                by_reason.join(" | ")
            )?;
        }
        if !KNOWN.is_empty() {
            writeln!(page, "\n| known difference | why | effect on verdicts | cases |\n|---|---|---|---|")?;
            for known in KNOWN {
                let met = self.known.get(known.what).copied().unwrap_or(0);
                writeln!(page, "| {} | {} | {} | {met} |", known.what, known.why, known.effect)?;
            }
        }
        Ok(page.trim_end().to_owned())
    }
}
