//! The figures as text and as Markdown.

use std::fmt::Write;

use super::known::KNOWN;
use super::run::Figures;

impl Figures {
    /// In one line.
    pub fn summary(&self) -> String {
        format!(
            "keepalived {}: {} configurations in {:.1} s, {} instances told alike; {} do not start, {} hide something, \
             {} instances unknown, {} warned of; {} disagreements, {} known",
            self.version,
            self.cases,
            self.took.as_secs_f64(),
            self.instances,
            self.ends,
            self.hidden,
            self.unknown,
            self.warned,
            self.disagreed,
            self.known.values().sum::<u64>()
        )
    }

    /// What was asked and answered.
    ///
    /// # Errors
    /// Never: a string takes everything.
    pub fn markdown(&self, seed: u64) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        writeln!(
            page,
            "keepalived {}, from seed {seed} on, {:.0} s:\n\n| what | how many |\n|---|---|",
            self.version,
            self.took.as_secs_f64()
        )?;
        for (what, count) in [
            ("configurations", self.cases),
            ("instances that both tell alike", self.instances),
            ("configurations with which keepalived does not start", self.ends),
            ("configurations of which the agent warns", self.warned),
            ("configurations of which the agent says that it does not see all", self.hidden),
            ("instances of which it says that it does not know them", self.unknown),
            ("**disagreements**", self.disagreed),
        ] {
            writeln!(page, "| {what} | {count} |")?;
        }
        writeln!(page, "\n| known difference | why, and what follows | configurations |\n|---|---|---|")?;
        for known in KNOWN {
            let met = self.known.get(known.what).copied().unwrap_or(0);
            writeln!(page, "| {} | {} | {met} |", known.what, known.why)?;
        }
        Ok(page.trim_end().to_owned())
    }
}
