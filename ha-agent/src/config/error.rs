//! What is wrong with a configuration file: every problem found, each with its place.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A configuration that cannot be used. `Display` writes one line per problem, by line number:
/// `/etc/ha-agent/ha-agent.toml:7: intake.sokcet: unknown key; did you mean "socket"?`
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1; none when the file as a whole is meant.
    pub line: Option<usize>,
    /// The key with its section (`intake.socket`); empty when no key is meant.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ConfigError {
    /// All problems, by line.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Collects problems while the file is read, so that all of them are told at once.
#[derive(Debug)]
pub(super) struct Problems {
    file: PathBuf,
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    pub(super) fn add(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.found.push(Problem { file: self.file.clone(), line, key: key.to_owned(), message: message.into() });
    }

    /// Drops what concerns one section.
    pub(super) fn forget_section(&mut self, section: &str) {
        self.found.retain(|problem| problem.key.split('.').next() != Some(section));
    }

    /// `value` when nothing was wrong, else everything that was.
    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort();
        self.found.dedup();
        Err(ConfigError { problems: self.found })
    }
}

/// ` did you mean "…"?`, or nothing when no candidate is near enough to be meant.
pub(super) fn did_you_mean(given: &str, known: &[&str]) -> Option<String> {
    let given = given.to_lowercase();
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&given, word), word))
        .filter(|(distance, word)| *distance <= word.len().max(given.len()).max(6) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| format!("did you mean {word:?}?"))
}
