//! `$NAME=VALUE`, and what `$NAME` and `${NAME}` stand for: keepalived.conf(5), "CONDITIONAL
//! CONFIGURATION and CONFIGURATION ID" and "PARAMETER SUBSTITUTION"; keepalived 2.2.7's
//! `check_definition`, `find_definition` and `replace_param`.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

/// The longest line that keepalived has room for (`MAXBUF` less its end).
pub(super) const MAX_LINE: usize = 1023;
/// What a replacement costs beside the bytes that it moves: one that moves next to none has an end too.
const REPLACEMENT: usize = 256;
/// Stays in the text where only keepalived knows the number.
pub(super) const RANDOM: &str = "$_RANDOM";

/// Whether that stays in a word.
pub(super) fn is_random(word: &str) -> bool {
    word.contains(RANDOM)
}

/// Definitions in force, as they change from line to line.
#[derive(Debug)]
pub(super) struct Definitions {
    /// A value of several lines has more than one.
    values: HashMap<String, Vec<String>>,
}

/// A line that begins as a definition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// Its name.
    pub(super) name: String,
    /// What stands behind `=` on this line, if anything.
    pub(super) first: Vec<String>,
    /// Lines that follow belong to it.
    pub(super) goes_on: bool,
}

impl Definitions {
    pub(super) fn new(config_id: &str) -> Self {
        let one = |text: &str| vec![text.to_owned()];
        let standard = [("_INSTANCE", config_id), ("_HASH", "#"), ("_BANG", "!"), ("_RANDOM", RANDOM)];
        Self { values: standard.into_iter().map(|(name, value)| (name.to_owned(), one(value))).collect() }
    }

    /// The folder of the file that is read.
    pub(super) fn enter(&mut self, folder: &Path) {
        self.set("_PWD".to_owned(), vec![folder.display().to_string()]);
    }

    pub(super) fn set(&mut self, name: String, lines: Vec<String>) {
        self.values.insert(name, lines);
    }

    /// Replaces what `text` holds of names, in place. `work`: bytes that may still be moved; what was moved is taken
    /// off it.
    pub(super) fn replace(&self, text: &mut String, work: &mut usize) -> Replaced {
        let mut further: Option<VecDeque<String>> = None;
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find('$')) {
            at += found;
            let Some((name, end)) = name_at(text, at) else {
                at += 1;
                continue;
            };
            let Some(lines) = self.values.get(name).filter(|lines| lines.len() < 2 || end == text.len()) else {
                at += 1;
                continue;
            };
            let value = lines.first().map_or("", String::as_str);
            // It stays, so it is none to look for again.
            let stays = name == "_RANDOM" && value == RANDOM;
            if stays && text[at..end] == *RANDOM {
                at += 1;
                continue;
            }
            let moved = REPLACEMENT + text.len() + lines.iter().map(|line| line.len() + 1).sum::<usize>();
            let Some(left) = work.checked_sub(moved) else { return Replaced::TooMuch };
            *work = left;
            if text.len() + value.len() - (end - at) > MAX_LINE {
                return Replaced::TooLong;
            }
            let further = further.get_or_insert_default();
            lines.iter().skip(1).rev().for_each(|line| further.push_front(line.clone()));
            text.replace_range(at..end, value);
            at += if stays { RANDOM.len() } else { 0 };
        }
        further.map_or(Replaced::Nothing, Replaced::Lines)
    }
}

/// What a line's definitions made of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    /// There were none.
    Nothing,
    /// These further lines, of values that end it, come next.
    Lines(VecDeque<String>),
    /// The line would be longer than keepalived has room for, which leaves it as it is by then.
    TooLong,
    /// More bytes would be moved than may be.
    TooMuch,
}

/// The name that `$` at `at` begins, and where its use ends.
fn name_at(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = &text[at + 1..];
    let braced = rest.strip_prefix('{');
    let begin = braced.unwrap_or(rest);
    let length = begin.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(begin.len());
    let (name, after) = begin.split_at(length);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    if braced.is_some() {
        // Parameters are numbers; only `_RANDOM` has any.
        let parameters = after.find(|c: char| c != ' ' && !c.is_ascii_digit()).unwrap_or(after.len());
        let fits = after[parameters..].starts_with('}') && (parameters == 0 || name == "_RANDOM");
        return fits.then_some((name, at + 2 + length + parameters + 1));
    }
    let fits = after.is_empty() || after.starts_with([' ', '\t', ',', ')']);
    fits.then_some((name, at + 1 + length))
}

/// Whether a line is a definition.
pub(super) fn beginning(text: &str) -> Option<Beginning> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !letters || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let value = value.trim_start_matches([' ', '\t']);
    let (value, goes_on) = continued(value);
    // A first line with nothing on it is none; a value of nothing at all is one.
    let first = if goes_on && value.is_empty() { Vec::new() } else { vec![value.to_owned()] };
    Some(Beginning { name: name.to_owned(), first, goes_on })
}

/// A line of a definition, and whether the next one belongs to it too.
pub(super) fn continued(text: &str) -> (&str, bool) {
    match text.strip_suffix('\\') {
        Some(text) => (text.trim_end_matches([' ', '\t']), true),
        None => (text, false),
    }
}
