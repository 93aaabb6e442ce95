//! What the test binaries say of themselves, added up.

use super::runner::{Done, Outcome};

/// One or more `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Results {
    /// Adds up every `test result:` line of an output.
    pub(crate) fn parse(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines().filter_map(|line| line.strip_prefix("test result:")) {
            // ` ok. 3 passed; 0 failed; 1 ignored; …`
            let after = line.split_once(". ").map_or(line, |(_, counts)| counts);
            for part in after.split(';') {
                let Some((number, word)) = part.trim().split_once(' ') else {
                    continue;
                };
                let number: usize = number.parse().unwrap_or(0);
                match word {
                    "passed" => sum.passed += number,
                    "failed" => sum.failed += number,
                    "ignored" => sum.ignored += number,
                    _ => {}
                }
            }
        }
        sum
    }
}

/// The last line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Tests that the plain run left for the steps with root.
    ignored: usize,
    /// Of those, how many were run there.
    run_with_root: usize,
    /// Tests of steps that could not be run, where no plain run counted them.
    unrun: usize,
}

impl Counts {
    /// Takes a step's results in.
    pub(crate) fn add(&mut self, with_root: bool, done: &Done) {
        let results = done.results.unwrap_or_default();
        if done.outcome == Outcome::Skipped {
            self.unrun += results.ignored;
            return;
        }
        self.passed += results.passed;
        self.failed += results.failed;
        if with_root {
            self.run_with_root += results.passed + results.failed;
        } else {
            self.ignored += results.ignored;
        }
        if done.outcome == Outcome::Failed && results.failed == 0 {
            self.failed += 1;
        }
    }

    /// Tests that exist and were not run.
    pub(crate) fn skipped(&self) -> usize {
        self.ignored.saturating_sub(self.run_with_root).max(self.unrun)
    }

    /// `N passed, M failed, K skipped`.
    pub(crate) fn line(&self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped())
    }
}

#[cfg(test)]
mod tests;
