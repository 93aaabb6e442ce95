//! Files → tokens with their places: what keepalived 2.2.7's `read_line` does before anything is
//! understood. Comments go, `@` conditions are decided, definitions are noted and replaced, included
//! files take the place of the line that names them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definitions::{Definitions, MAX_LINE, beginning, continued};
use super::statements::shown;
use super::tokens::{Token, decomment, split as split_line};
use super::{Files, Place};

/// Files within files.
const MAX_DEPTH: usize = 16;
/// Files of one configuration, each as often as it is included.
const MAX_FILES: usize = 256;
/// Bytes of all of them.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Lines that definitions bring in.
const MAX_DEFINED: usize = 20_000;

/// A token and where it stands.
pub(super) type Placed = (Place, Token);

/// Whether a keyword brings in files: `include`, and with a letter which errors keepalived forgives.
pub(super) fn is_include(keyword: &str) -> bool {
    keyword.strip_prefix("include").is_some_and(|kind| matches!(kind, "" | "r" | "m" | "w" | "b" | "a"))
}

/// Splits a file and what it includes.
pub(super) fn split(path: &Path, config_id: &str, files: &mut dyn Files) -> Vec<Placed> {
    let mut splitter = Splitter {
        files,
        config_id,
        definitions: Definitions::new(config_id),
        open: Vec::new(),
        defined: VecDeque::new(),
        definition: None,
        out: Vec::new(),
        files_read: 0,
        bytes_read: 0,
        lines_defined: 0,
    };
    let place = Place { file: path.display().to_string().into(), line: 1 };
    splitter.file(path, &place);
    splitter.out
}

struct Splitter<'a> {
    files: &'a mut dyn Files,
    config_id: &'a str,
    definitions: Definitions,
    /// The files that are being read, the innermost last.
    open: Vec<PathBuf>,
    /// Lines of a definition that are still to be read.
    defined: VecDeque<String>,
    /// A definition whose lines are being read.
    definition: Option<(String, Vec<String>)>,
    out: Vec<Placed>,
    files_read: usize,
    bytes_read: usize,
    lines_defined: usize,
}

impl Splitter<'_> {
    /// Reads a file that `from` asks for.
    fn file(&mut self, path: &Path, from: &Place) {
        if self.open.iter().any(|open| open == path) {
            return self
                .trouble(from, format!("expected another file, found {}, which includes itself", path.display()));
        }
        if self.open.len() >= MAX_DEPTH {
            return self.trouble(from, format!("expected files included at most {MAX_DEPTH} deep"));
        }
        if self.files_read >= MAX_FILES {
            return self.trouble(from, format!("expected at most {MAX_FILES} files in all"));
        }
        let text = match self.files.text(path) {
            Ok(text) => text,
            Err(why) => return self.trouble(from, format!("cannot read {}: {why}", path.display())),
        };
        self.files_read += 1;
        self.bytes_read += text.len();
        if self.bytes_read > MAX_BYTES {
            return self.trouble(from, format!("expected at most {} MiB in all files", MAX_BYTES / (1024 * 1024)));
        }
        self.open.push(path.to_owned());
        self.enter();
        let file: Arc<str> = path.display().to_string().into();
        for (index, line) in text.split('\n').enumerate() {
            let place = Place { file: Arc::clone(&file), line: index + 1 };
            self.raw(line.trim_end_matches('\r'), &place);
            while let Some(line) = self.defined.pop_front() {
                self.line(line, &place);
            }
        }
        self.open.pop();
        self.enter();
    }

    fn enter(&mut self) {
        if let Some(folder) = self.open.last().and_then(|path| path.parent()) {
            self.definitions.enter(folder);
        }
    }

    /// A line as it stands in the file.
    fn raw(&mut self, text: &str, place: &Place) {
        if text.is_empty() {
            return self.end_definition();
        }
        if text.len() >= MAX_LINE {
            return self
                .trouble(place, format!("expected a line of less than {MAX_LINE} bytes: keepalived cuts it there"));
        }
        match decomment(text) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => match &mut self.definition {
                Some((_, lines)) => {
                    let (line, goes_on) = continued(&text);
                    if !line.is_empty() {
                        lines.push(line.to_owned());
                    }
                    if !goes_on {
                        self.end_definition();
                    }
                }
                None => self.line(text, place),
            },
            Err(_) => self.trouble(place, "expected a closing \" before the end of the line".to_owned()),
        }
    }

    fn end_definition(&mut self) {
        if let Some((name, lines)) = self.definition.take() {
            self.definitions.set(name, lines);
        }
    }

    /// A line without comments.
    fn line(&mut self, mut text: String, place: &Place) {
        loop {
            if let Some(condition) = text.strip_prefix('@') {
                let (negated, condition) = match condition.strip_prefix('^') {
                    Some(condition) => (true, condition),
                    None => (false, condition),
                };
                let Some((name, rest)) = condition.split_once([' ', '\t']) else { return };
                if (name == self.config_id) == negated {
                    return;
                }
                text = rest.trim_start_matches([' ', '\t']).to_owned();
            }
            if let Some(found) = beginning(&text) {
                if found.goes_on && self.defined.is_empty() {
                    self.definition = Some((found.name, found.first));
                } else {
                    self.definitions.set(found.name, found.first);
                }
                return;
            }
            if text.starts_with('~') {
                let what = format!("expected a statement, found {:?}: sequences are not evaluated here", shown(&text));
                return self.trouble(place, what);
            }
            let further = match self.definitions.replace(&mut text) {
                Ok(None) => break,
                Ok(Some(further)) => further,
                Err(why) => return self.trouble(place, why.to_owned()),
            };
            self.lines_defined += further.len();
            if self.lines_defined > MAX_DEFINED {
                return self.trouble(place, format!("expected definitions of at most {MAX_DEFINED} lines in all"));
            }
            for line in further.into_iter().rev() {
                self.defined.push_front(line);
            }
            text = match decomment(&text) {
                Ok(text) => text,
                Err(_) => return self.trouble(place, "expected a closing \" before the end of the line".to_owned()),
            };
            if !text.starts_with('@') && !text.starts_with('$') {
                break;
            }
        }
        match text.split_once(char::is_whitespace) {
            Some((keyword, pattern)) if is_include(keyword) => self.include(pattern.trim_start(), place),
            _ if text.is_empty() => {}
            _ => {
                let tokens = split_line(&text).into_iter().chain([Token::EndOfLine]);
                self.out.extend(tokens.map(|token| (place.clone(), token)));
            }
        }
    }

    /// Relative to the folder of the file that includes.
    fn include(&mut self, pattern: &str, place: &Place) {
        let folder = self.open.last().and_then(|path| path.parent()).unwrap_or(Path::new("/"));
        let pattern = folder.join(pattern);
        match self.files.find(&pattern) {
            Ok(paths) => {
                // What follows of a definition is read after the files that it includes.
                let defined = std::mem::take(&mut self.defined);
                for path in paths {
                    self.file(&path, place);
                }
                self.defined = defined;
            }
            Err(why) => self.trouble(place, format!("cannot include {:?}: {why}", shown(&pattern.to_string_lossy()))),
        }
    }

    fn trouble(&mut self, place: &Place, what: String) {
        // What is shown of a path or of an answer of the system is not ours.
        let what = what.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        self.out.push((place.clone(), Token::Trouble(what)));
    }
}
