//! The text of a keepalived.conf → its VRRP instances, as the installed release of keepalived reads it. Pure: files come
//! from a [`Files`].
//!
//! - `lines`: files → lines: comments, `@` conditions, `$` definitions, includes.
//! - `definitions`: `$NAME=…` and what `$NAME` stands for.
//! - `tokens`: a line's comment, braces and words; `statements`: a line.
//! - `keywords`: those that begin a block; `walk`: which lines belong together.
//! - `numbers`: numbers, and what keepalived makes of those that are none.
//! - `instance`: a block → an [`Instance`]; `vmac`: names of the interfaces that keepalived makes.
//! - `addresses`: addresses and where they live; `rules`: what is sent, and taken as a peer's advert.
//!
//! Where keepalived warns and takes something else, the same is taken here, and a [`Trouble`] says so. What would
//! change the reading without being seen here (`~SEQ`, `$_RANDOM`, a file that cannot be read) is one too, never a
//! guess. A trouble in one instance stops no other.

mod addresses;
mod definitions;
mod gateway;
mod instance;
mod keywords;
mod lines;
mod numbers;
mod rules;
mod statements;
#[cfg(test)]
mod tests;
mod tokens;
mod vmac;
mod walk;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use addresses::Held;
pub use gateway::{Gateway, gateways};
pub use instance::Instance;

use crate::advert_rules::{Mode, Release};
use instance::{Draft, Globals};
use keywords::{AUTHENTICATION, INSTANCE, Process};
use lines::Lines;
use statements::{Statement, quoted};
use walk::{Met, Next, walk};

/// Troubles of a kind that are kept; there may be one a line.
const MOST_TROUBLES: usize = 64;
/// A longer name of an instance is none that a FIFO line could hold.
const LONGEST_NAME: usize = 255;

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
        let mut what = what.into();
        // What is shown of a path or of an answer of the system is not ours.
        if what.contains(char::is_control) {
            what = what.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        }
        ConfError { file: Arc::clone(&self.file), line: self.line, what }
    }
}

/// Where texts come from.
pub trait Files {
    /// The files that an absolute path, which may hold wildcards, stands for, in their order; none
    /// where none matches.
    ///
    /// # Errors
    /// Why that cannot be said.
    fn find(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, FileError>;

    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn text(&mut self, path: &Path) -> Result<String, FileError>;
}

/// A file that is not read. In words, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// keepalived passes over it too: it is not there, or is executable.
    Skipped(String),
    /// keepalived may read it.
    Unknown(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Skipped(why) | Self::Unknown(why)) = self;
        f.write_str(why)
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Where and what.
    pub error: ConfError,
    /// The instance that it is about, if it is about one.
    pub instance: Option<String>,
    /// What follows from it.
    pub effect: Effect,
}

/// What follows from a [`Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// keepalived warns, or not even that, and goes on with something else; so does this reading.
    Assumed,
    /// keepalived does not start with it, and ends when it is told to load it.
    Ends,
    /// The instance cannot be known here, or not be watched.
    Unknown,
    /// There may be instances that are not seen here.
    Hides,
}

/// What a file and its includes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The instances, in their order.
    pub instances: Vec<Instance>,
    /// `net_namespace`: where keepalived puts itself, and so all of them.
    pub net_namespace: Option<String>,
    /// What is not as it should be, in order.
    pub troubles: Vec<Trouble>,
}

impl Reading {
    /// Whether an instance that is not in this reading is not in the files either.
    pub fn is_whole(&self) -> bool {
        self.troubles.iter().all(|trouble| trouble.effect != Effect::Hides)
    }

    /// The instances that this reading does not tell, although they stand in the files.
    pub fn untold(&self) -> impl Iterator<Item = &str> {
        let unknown = |trouble: &&Trouble| matches!(trouble.effect, Effect::Unknown | Effect::Ends);
        self.troubles.iter().filter(unknown).filter_map(|trouble| trouble.instance.as_deref())
    }

    /// The first reason for which something is not known; none where keepalived runs what is told here.
    pub fn failure(&self) -> Option<&ConfError> {
        let failures = self.troubles.iter().filter(|trouble| trouble.effect != Effect::Assumed);
        failures.map(|trouble| &trouble.error).min_by_key(|error| error.line)
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
    let Lines { lines, troubles: mut told } = lines::split(path, config_id, release, files);
    let mut troubles = Vec::new();
    let First { globals, net_namespace, runs_vrrp } = globals(&lines, release, &mut troubles);
    // Its first process starts no other where it sees no instance: inside of a block that is not closed.
    let mut drafts = if runs_vrrp { drafts(&lines, release, &mut troubles) } else { Vec::new() };
    let mut taken = HashSet::new();
    drafts.iter_mut().for_each(|draft| draft.settle_vmac(&mut taken));
    let mut vmacs = vmac::Names::new(&globals, &drafts);
    let mut instances = Vec::new();
    for mut draft in drafts {
        let instance = Some(draft.name.clone());
        let about = |trouble| Trouble { instance: instance.clone(), ..trouble };
        let mut warnings = std::mem::take(&mut draft.warnings);
        let wrong = draft.finish(&globals, release, &mut vmacs).map(|instance| instances.push(instance)).err();
        // A line is told of once.
        warnings.retain(|warning| wrong.as_ref().is_none_or(|wrong| wrong.error.line != warning.error.line));
        warnings.into_iter().for_each(|trouble| keep(&mut troubles, about(trouble)));
        // Not bounded: each of them keeps an instance.
        troubles.extend(wrong.map(about));
    }
    troubles.extend(conflict(&instances));
    told.extend(troubles);
    Reading { instances, net_namespace, troubles: told }
}

/// Two instances of one VRID on one interface, of one family and with one group: keepalived's `check_vrid_conflicts`.
/// Those with peers may share a VRID.
fn conflict(instances: &[Instance]) -> Option<Trouble> {
    let mut known = HashMap::new();
    for instance in instances {
        let Some(Mode::Multicast { group }) = instance.rules.mode else { continue };
        let v6 = instance.rules.addresses.as_ref().and_then(|all| all.first()).is_some_and(IpAddr::is_ipv6);
        let rfc =
            if v6 { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into() } else { Ipv4Addr::new(224, 0, 0, 18).into() };
        let key = (instance.vrid, &instance.interface, v6, group.unwrap_or(rfc));
        if let Some(first) = known.insert(key, &instance.name) {
            let what = format!(
                "expected another virtual_router_id than that of vrrp_instance {} in vrrp_instance {}: keepalived ends \
                 with such a configuration",
                quoted(first),
                quoted(&instance.name)
            );
            let place = Place { file: Arc::clone(&instance.file), line: instance.line };
            return Some(Trouble { error: place.error(what), instance: None, effect: Effect::Ends });
        }
    }
    None
}

/// What keepalived's first process sees.
#[derive(Default)]
struct First {
    /// What holds for all instances, wherever it stands.
    globals: Globals,
    net_namespace: Option<String>,
    /// There is an instance, so that it starts the process that runs them.
    runs_vrrp: bool,
}

/// Reads what keepalived's first process reads.
fn globals(lines: &[Statement], release: Release, troubles: &mut Vec<Trouble>) -> First {
    let First { mut globals, mut net_namespace, mut runs_vrrp } = First::default();
    let mut wrong = Vec::new();
    let each = &mut |path: &[&'static str], met: &Met<'_>| {
        if let Met::Passed(line) = met {
            runs_vrrp |= path.is_empty() && keywords::START_VRRP.contains(&line.keyword());
        }
        let Met::Keyword(line) = met else { return Next::On };
        match (path, line.keyword()) {
            (["global_defs"], _) => {
                let mut warnings = Vec::new();
                let taken = globals.take(line, release, &mut warnings);
                warnings.into_iter().chain(taken.err()).for_each(|trouble| keep(&mut wrong, trouble));
            }
            // One without a name is passed over; so is a second one.
            ([], "net_namespace") => match line.words.get(1) {
                Some(name) if is_name(name) => net_namespace = net_namespace.take().or(Some(name.clone())),
                Some(name) => {
                    let what = format!("expected the name of a namespace, found {}", quoted(name));
                    keep(&mut wrong, line.trouble(Effect::Hides, what));
                }
                None => {}
            },
            _ => {}
        }
        Next::On
    };
    // The other process warns of the same lines.
    walk(lines, Process::Parent, each, &mut |_| {});
    wrong.into_iter().for_each(|trouble| keep(troubles, trouble));
    First { globals, net_namespace, runs_vrrp }
}

/// The instances, while they are read.
fn drafts(lines: &[Statement], release: Release, troubles: &mut Vec<Trouble>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    // The last one is not meant.
    let mut passed = false;
    let mut names = HashSet::new();
    let (mut wrong, mut warnings) = (Vec::new(), Vec::new());
    let each = &mut |path: &[&'static str], met: &Met<'_>| {
        match (path, met) {
            ([], Met::Keyword(line)) if line.keyword() == INSTANCE => match instance_name(line) {
                Ok(name) if names.insert(name.to_owned()) => {
                    passed = false;
                    drafts.push(Draft::new(line, name));
                }
                Ok(name) => {
                    let what = format!(
                        "expected another name, found a second vrrp_instance {}: keepalived passes over it",
                        quoted(name)
                    );
                    keep(&mut wrong, line.trouble(Effect::Assumed, what));
                    passed = release.forgets_what_it_passes_over();
                    return Next::Skip;
                }
                Err(trouble) => {
                    keep(&mut wrong, trouble);
                    passed = release.forgets_what_it_passes_over();
                    return Next::Skip;
                }
            },
            ([INSTANCE, ..], _) if passed => {}
            ([], Met::Keyword(line)) if keywords::NEED_A_NAME.contains(&line.keyword()) && line.words.len() < 2 => {
                keep(&mut wrong, line.lacks_a_value("a name"));
            }
            (["vrrp_script"], Met::Keyword(line))
                if keywords::NEED_A_VALUE.contains(&line.keyword()) && line.words.len() < 2 =>
            {
                keep(&mut wrong, line.lacks_a_value("a value"));
            }
            ([INSTANCE], Met::Keyword(line)) => {
                drafts.last_mut().into_iter().for_each(|draft| draft.keyword(line, release));
            }
            ([INSTANCE], Met::Value { block, line }) => {
                drafts.last_mut().into_iter().for_each(|draft| draft.value(block, line, release));
            }
            ([INSTANCE, AUTHENTICATION], Met::Keyword(line)) => {
                drafts.last_mut().into_iter().for_each(|draft| draft.authentication(line));
            }
            _ => {}
        }
        Next::On
    };
    walk(lines, Process::Vrrp, each, &mut |trouble| keep(&mut warnings, trouble));
    wrong.into_iter().chain(warnings).for_each(|trouble| keep(troubles, trouble));
    drafts
}

/// The name of an instance that a line begins.
fn instance_name(line: &Statement) -> Result<&str, Trouble> {
    let [_, name] = line.words.as_slice() else {
        let found = line.words.len() - 1;
        let what =
            format!("expected one word behind vrrp_instance, found {found}: keepalived passes over the instance");
        return Err(line.trouble(Effect::Assumed, what));
    };
    let random = definitions::is_random(name);
    if random || !is_name(name) {
        let what = format!("expected a name that can be shown behind vrrp_instance, found {}", quoted(name));
        // Which one it is cannot be known.
        return Err(line.trouble(if random { Effect::Hides } else { Effect::Unknown }, what));
    }
    Ok(name)
}

/// Whether a terminal can show a name, and a FIFO line hold it.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(char::is_control)
}

/// Keeps a trouble, unless there are many of its kind.
fn keep(troubles: &mut Vec<Trouble>, trouble: Trouble) {
    if troubles.iter().filter(|known| known.effect == trouble.effect).count() < MOST_TROUBLES {
        troubles.push(trouble);
    }
}

/// Reads one text, as this release does; `file` is only named. Includes are not followed.
pub fn read_text(text: &str, file: &str, release: Release) -> Reading {
    read(Path::new(file), &default_config_id(), release, &mut OneText(text))
}

/// Reads the instances of one text, in its order, as this release does; `file` is only named in the
/// error. Includes are not followed.
///
/// # Errors
/// The first thing for which an instance is not known.
pub fn parse(text: &str, file: &str, release: Release) -> Result<Vec<Instance>, ConfError> {
    let reading = read_text(text, file, release);
    match reading.failure() {
        Some(error) => Err(error.clone()),
        None => Ok(reading.instances),
    }
}

struct OneText<'a>(&'a str);

impl Files for OneText<'_> {
    fn find(&mut self, _: &Path) -> Result<Vec<PathBuf>, FileError> {
        Err(FileError::Unknown("included files are not read here".to_owned()))
    }

    fn text(&mut self, _: &Path) -> Result<String, FileError> {
        Ok(self.0.to_owned())
    }
}
