//! The text of a keepalived.conf → its VRRP instances. Pure; reads no file and follows no include.
//!
//! Only what the agent needs to know of an instance is read; every other keyword and block is
//! skipped. What would change that reading without being seen here (`include`, `@` conditions,
//! `$` variables in a value that is read) is an error, never a guess.

mod instance;
mod statements;
#[cfg(test)]
mod tests;
mod tokens;

pub use instance::{Authentication, Instance};

use instance::{Draft, Globals};
use statements::{Reader, Statement};

/// A text that cannot be read: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct ConfError {
    /// The file, as it was named to [`parse`].
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What was expected and what was found, without control characters.
    pub what: String,
}

impl ConfError {
    fn new(line: usize, what: String) -> Self {
        Self { file: String::new(), line, what }
    }
}

/// keepalived 2.2 and 2.3: the word, and which errors it forgives.
const INCLUDES: &[&str] = &["include", "includer", "includem", "includew", "includeb", "includea", "include_check"];

/// Reads the instances of a text, in its order; `file` is only named in the error.
///
/// # Errors
/// The first thing that is not as keepalived.conf(5) says, or that is not followed here.
pub fn parse(text: &str, file: &str) -> Result<Vec<Instance>, ConfError> {
    read(text).map_err(|error| ConfError { file: file.to_owned(), ..error })
}

fn read(text: &str) -> Result<Vec<Instance>, ConfError> {
    let mut globals = Globals::default();
    let mut drafts = Vec::new();
    Reader::new(text)?.top(|reader, statement| {
        refuse_unseen(statement)?;
        match statement.keyword() {
            "global_defs" => globals.read(reader, statement).map(|()| true),
            "vrrp_instance" => {
                drafts.push(Draft::read(reader, statement)?);
                Ok(true)
            }
            _ => Ok(false),
        }
    })?;
    // Globals hold for all instances, wherever they stand.
    drafts.into_iter().map(|draft| draft.finish(&globals)).collect()
}

/// Refuses what brings in or takes away lines.
fn refuse_unseen(statement: &Statement) -> Result<(), ConfError> {
    let keyword = statement.keyword();
    if INCLUDES.contains(&keyword) {
        return Err(statement.error(&format!(
            "expected the configuration itself, found {keyword:?}: included files are not read here"
        )));
    }
    if keyword.starts_with('@') {
        return Err(statement.error("expected a keyword, found an @ condition: conditions are not evaluated here"));
    }
    Ok(())
}
