//! The text of a keepalived.conf → its VRRP instances, as keepalived 2.2.7 reads it. Pure: files come
//! from a [`Files`].
//!
//! - `lines`: files → lines: comments, `@` conditions, `$` definitions, includes.
//! - `definitions`: `$NAME=…` and what `$NAME` stands for.
//! - `tokens`: a line → words and braces; `statements`: those → statements and blocks.
//! - `instance`: a block → an [`Instance`]; `vmac`: names of the interfaces that keepalived makes.
//! - `addresses`: `virtual_ipaddress`; `rules`: what is sent, and taken as a peer's advert.
//!
//! Only what the agent needs to know of an instance is read; every other keyword and block is
//! skipped. What would change that reading without being seen here (`~SEQ`, `$_RANDOM`, a file that
//! cannot be read) is a [`Trouble`], never a guess. A trouble in one instance stops no other.

mod addresses;
mod definitions;
mod gateway;
mod instance;
mod lines;
mod rules;
mod statements;
#[cfg(test)]
mod tests;
mod tokens;
mod vmac;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use gateway::{Gateway, gateways};
pub use instance::Instance;

use crate::advert_rules::Release;
use instance::{Draft, Globals};
use statements::{Reader, Statement};

/// A text that cannot be read: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct ConfError {
    /// The file.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
    /// What was expected and what was found, without control characters.
    pub what: String,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    file: Arc<str>,
    /// Counted from 1.
    line: usize,
}

impl Place {
    fn error(&self, what: impl Into<String>) -> ConfError {
        ConfError { file: Arc::clone(&self.file), line: self.line, what: what.into() }
    }
}

/// Where texts come from.
pub trait Files {
    /// The files that an absolute path, which may hold wildcards, stands for, in their order; none
    /// where none matches.
    ///
    /// # Errors
    /// In words, why that cannot be said.
    fn find(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String>;

    /// The text of a file.
    ///
    /// # Errors
    /// In words, why it cannot be read.
    fn text(&mut self, path: &Path) -> Result<String, String>;
}

/// Something that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where and what.
    pub error: ConfError,
    /// The instance that cannot be known for it; none: no telling which ones.
    pub instance: Option<String>,
}

/// What a file and its includes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The instances, in their order.
    pub instances: Vec<Instance>,
    /// `net_namespace`: where keepalived puts itself, and so all of them.
    pub net_namespace: Option<String>,
    /// What could not be understood, in order.
    pub troubles: Vec<Trouble>,
}

impl Reading {
    /// Whether an instance that is not in this reading is not in the files either.
    pub fn is_whole(&self) -> bool {
        self.troubles.iter().all(|trouble| trouble.instance.is_some())
    }
}

/// The name by which `@NAME` lines are chosen: `keepalived --config-id`, by default the host's name
/// up to its first dot.
pub fn default_config_id() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().split('.').next().unwrap_or_default().to_owned()
}

/// Reads a file and what it includes, as this release does.
pub fn read(path: &Path, config_id: &str, release: Release, files: &mut dyn Files) -> Reading {
    let tokens = lines::split(path, config_id, files);
    let mut reader = Reader::new(tokens);
    let mut globals = Globals::default();
    let mut drafts: Vec<Draft> = Vec::new();
    let mut names = HashSet::new();
    let mut net_namespace = None;
    let mut troubles = Vec::new();
    reader.top(|reader, statement| {
        let taken = refuse_unseen(statement).and_then(|()| match statement.keyword() {
            "global_defs" => globals.read(reader, statement),
            "net_namespace" => {
                net_namespace = Some(statement.value("a name")?.to_owned());
                Ok(())
            }
            "vrrp_instance" => {
                let draft = Draft::read(reader, statement)?;
                if names.insert(draft.name.clone()) {
                    drafts.push(draft);
                    return Ok(());
                }
                let what = format!("expected another name, found a second vrrp_instance {:?}", draft.name);
                let instance = Some(draft.name);
                troubles.push(Trouble { error: statement.error(&what), instance });
                Ok(())
            }
            _ => Ok(()),
        });
        taken.unwrap_or_else(|error| troubles.push(Trouble { error, instance: None }));
    });
    troubles.extend(reader.faults().into_iter().map(|error| Trouble { error, instance: None }));
    // Globals hold for all instances, wherever they stand.
    let mut vmacs = vmac::Names::new(&globals, &drafts);
    let mut instances = Vec::new();
    for draft in drafts {
        let name = draft.name.clone();
        match draft.finish(&globals, release, &mut vmacs) {
            Ok(instance) => instances.push(instance),
            // What makes the whole doubtful has been told.
            Err(error) if troubles.iter().any(|trouble| trouble.error == error) => {}
            Err(error) => troubles.push(Trouble { error, instance: Some(name) }),
        }
    }
    Reading { instances, net_namespace, troubles }
}

/// Reads the instances of one text, in its order, as this release does; `file` is only named in the
/// error. Includes are not followed.
///
/// # Errors
/// The first thing that is not as keepalived.conf(5) says, or that is not followed here.
pub fn parse(text: &str, file: &str, release: Release) -> Result<Vec<Instance>, ConfError> {
    let reading = read(Path::new(file), &default_config_id(), release, &mut OneText(text));
    let first = reading.troubles.into_iter().min_by_key(|trouble| trouble.error.line);
    first.map_or(Ok(reading.instances), |trouble| Err(trouble.error))
}

struct OneText<'a>(&'a str);

impl Files for OneText<'_> {
    fn find(&mut self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Err("included files are not read here".to_owned())
    }

    fn text(&mut self, _: &Path) -> Result<String, String> {
        Ok(self.0.to_owned())
    }
}

/// Refuses what brings in or takes away lines, in a place where only keepalived sees it: behind a
/// brace.
fn refuse_unseen(statement: &Statement) -> Result<(), ConfError> {
    let keyword = statement.keyword();
    if lines::is_include(keyword) {
        return Err(statement.error(&format!("expected {keyword:?} at the beginning of a line")));
    }
    if keyword.starts_with(['@', '~']) {
        return Err(statement.error("expected a condition or a sequence at the beginning of a line"));
    }
    Ok(())
}
