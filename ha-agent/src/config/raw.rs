//! TOML text → a document in which every key is known and every value has the right shape.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{Problems, did_you_mean};
use super::keys::{self, GRANT, LIST, SECTIONS};
use super::value::{self, Value};
use crate::core::model::RouterId;

/// The file as read: the top, each section, each `[[router]]` and `[[intake.grant]]`.
#[derive(Debug, Default)]
pub(super) struct Document {
    sections: BTreeMap<&'static str, Section>,
    /// In the order of the file.
    pub(super) routers: Vec<Section>,
    /// In the order of the file.
    pub(super) grants: Vec<Section>,
}

/// The keys that a section has, with their lines.
#[derive(Debug, Default)]
pub(super) struct Section {
    name: &'static str,
    /// Where it begins.
    pub(super) line: usize,
    values: BTreeMap<String, (Value, usize)>,
}

impl Document {
    /// Reads the text; what is wrong goes to `problems`, and what is right is kept.
    pub(super) fn read(text: &str, problems: &mut Problems) -> Self {
        let lines = Lines::new(text);
        match DeTable::parse(text) {
            Ok(table) => Self::of(table.get_ref(), &lines, problems),
            Err(error) => {
                not_toml(&error, &lines, problems);
                Self::default()
            }
        }
    }

    /// The same of a text that may be no TOML: the rest of it is read all the same.
    pub(super) fn read_as_far_as_possible(text: &str, problems: &mut Problems) -> Self {
        let lines = Lines::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            not_toml(error, &lines, problems);
        }
        Self::of(table.get_ref(), &lines, problems)
    }

    fn of(table: &DeTable<'_>, lines: &Lines, problems: &mut Problems) -> Self {
        let mut document = Self::default();
        document.sections.insert("", Section::read("", 1, table, lines, problems));
        for (name, entry) in table {
            let line = lines.at(name.span().start);
            let Some(&section) = SECTIONS.iter().find(|known| *known == name.get_ref()) else {
                continue;
            };
            match (entry.get_ref(), section == LIST) {
                (DeValue::Table(table), false) => {
                    for (key, list) in table.iter().filter(|(key, _)| keys::is_list_within(section, key.get_ref())) {
                        let line = lines.at(key.span().start);
                        document.grants = tables(GRANT, line, list.get_ref(), lines, problems);
                    }
                    let read = Section::read(section, line, table, lines, problems);
                    document.sections.insert(section, read);
                }
                (_, true) => document.routers = tables(section, line, entry.get_ref(), lines, problems),
                (_, false) => problems.add(Some(line), section, format!("expected a table, written as [{section}]")),
            }
        }
        document
    }

    /// A section; an empty one where the file has none.
    pub(super) fn section(&mut self, name: &'static str) -> Section {
        self.sections.remove(name).unwrap_or(Section { name, ..Section::default() })
    }
}

fn not_toml(error: &toml::de::Error, lines: &Lines, problems: &mut Problems) {
    let line = error.span().map(|span| lines.at(span.start));
    let message = error.message().replace('\n', "; ");
    problems.add(line, "", format!("not valid TOML: {message}"));
}

impl Section {
    fn read(name: &'static str, line: usize, table: &DeTable<'_>, lines: &Lines, problems: &mut Problems) -> Self {
        let mut section = Self { name, line, values: BTreeMap::new() };
        for (key, entry) in table {
            let at = lines.at(key.span().start);
            let key = key.get_ref().as_ref();
            let Some(kind) = keys::kind(name, key) else {
                if !(name.is_empty() && SECTIONS.contains(&key) || keys::is_list_within(name, key)) {
                    problems.add(Some(at), &full(name, key), unknown(name, key));
                }
                continue;
            };
            match value::read(kind, entry.get_ref()) {
                Ok(value) => {
                    section.values.insert(key.to_owned(), (value, at));
                }
                Err(message) => problems.add(Some(at), &full(name, key), message),
            }
        }
        section
    }

    /// The key as people write it, with its section.
    pub(super) fn key(&self, name: &str) -> String {
        full(self.name, name)
    }

    /// The line that the key stands on.
    pub(super) fn line_of(&self, name: &str) -> Option<usize> {
        self.values.get(name).map(|(_, line)| *line)
    }

    /// Whether the key is there, with a right value.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn value(&self, name: &str) -> Option<Value> {
        debug_assert!(keys::kind(self.name, name).is_some(), "{name}");
        self.values.get(name).map(|(value, _)| value.clone())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        match self.value(name)? {
            Value::Path(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        match self.value(name)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// A number that its key's range makes fit `T`.
    pub(super) fn integer<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        match self.value(name)? {
            Value::Integer(number) => T::try_from(number).ok(),
            _ => None,
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(super) fn span(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Value::Span(span) => span,
            _ => None,
        }
    }

    pub(super) fn listen(&self, name: &str) -> Option<SocketAddr> {
        match self.value(name)? {
            Value::Listen(address) => Some(address),
            _ => None,
        }
    }

    pub(super) fn cidr(&self, name: &str) -> Option<(IpAddr, u8)> {
        match self.value(name)? {
            Value::Cidr(address, prefix) => Some((address, prefix)),
            _ => None,
        }
    }

    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        match self.value(name)? {
            Value::Addresses(addresses) => Some(addresses),
            _ => None,
        }
    }

    pub(super) fn id(&self, name: &str) -> Option<RouterId> {
        match self.value(name)? {
            Value::Id(id) => Some(id),
            _ => None,
        }
    }
}

/// Each table of a list of tables.
fn tables(
    section: &'static str,
    line: usize,
    list: &DeValue<'_>,
    lines: &Lines,
    problems: &mut Problems,
) -> Vec<Section> {
    let Some(list) = list.as_array() else {
        problems.add(Some(line), section, format!("expected a list of tables, written as [[{section}]]"));
        return Vec::new();
    };
    let mut read = Vec::new();
    for item in list.iter() {
        let line = lines.at(item.span().start);
        let Some(table) = item.get_ref().as_table() else {
            problems.add(Some(line), section, format!("expected a table, written as [[{section}]]"));
            continue;
        };
        for key in keys::required(section).iter().filter(|key| !table.contains_key(**key)) {
            problems.add(Some(line), &full(section, key), "is missing");
        }
        read.push(Section::read(section, line, table, lines, problems));
    }
    read
}

fn full(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn unknown(section: &str, key: &str) -> String {
    let known = keys::names(section);
    if let Some(hint) = did_you_mean(key, &known) {
        return format!("unknown key; {hint}");
    }
    match keys::sections_with(key).first() {
        Some(&"") => "unknown key here; it belongs at the top, before the first section".to_owned(),
        Some(&other) if other == LIST || other == GRANT => format!("unknown key here; it belongs to [[{other}]]"),
        Some(other) => format!("unknown key here; it belongs to [{other}]"),
        None => format!("unknown key; known here are {}", known.join(", ")),
    }
}

/// Byte offset → line number.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { starts }
    }

    fn at(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}
