//! Files → lines with their places: keepalived's `read_line`, which comes before anything is understood. Comments
//! go, `@` conditions are decided, definitions are noted and replaced, included files take the place of the line that
//! names them, braces become lines of their own.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definitions::{Definitions, MAX_LINE, Replaced, beginning, continued};
use super::statements::{Statement, quoted};
use super::tokens::{Bare, decomment, first_part, words};
use super::{Effect, FileError, Files, Place, Trouble, keep};
use crate::advert_rules::Release;

/// Files within files.
const MAX_DEPTH: usize = 16;
/// Files of one configuration, each as often as it is included.
const MAX_FILES: usize = 4096;
/// Bytes of all of them.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Lines that a configuration may have when its definitions are replaced.
const MAX_LINES: usize = 400_000;
/// Bytes that the replacement of definitions may move.
const MAX_WORK: usize = 32 * 1024 * 1024;
/// keepalived's next process reads what the first one has made of a line by then.
const READ_TWICE: Release = Release::new(2, 2, 0);

/// What the files are made of.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Statement>,
    /// What cannot be known, and what keepalived warns of.
    pub(super) troubles: Vec<Trouble>,
}

/// Whether a keyword brings in files: `include`, and with a letter which errors keepalived does not forgive.
fn include_of(keyword: &str) -> Option<&str> {
    keyword.strip_prefix("include").filter(|kind| matches!(*kind, "" | "r" | "m" | "w" | "b" | "a"))
}

/// Takes apart a file and what it includes.
pub(super) fn split(path: &Path, config_id: &str, release: Release, files: &mut dyn Files) -> Lines {
    let mut splitter = Splitter {
        files,
        config_id,
        release,
        definitions: Definitions::new(config_id),
        open: Vec::new(),
        defined: VecDeque::new(),
        definition: None,
        includes: Vec::new(),
        out: Lines::default(),
        braces: Vec::new(),
        files_read: 0,
        bytes_read: 0,
        work: MAX_WORK,
        over: false,
    };
    let place = Place { file: path.display().to_string().into(), line: 1 };
    match splitter.files.text(path) {
        Ok(text) => splitter.text(path, &text, &place),
        Err(FileError::Skipped(why) | FileError::Unknown(why)) => {
            splitter.note(&place, Effect::Hides, format!("cannot read {}: {why}", path.display()));
        }
    }
    splitter.end();
    splitter.out
}

struct Splitter<'a> {
    files: &'a mut dyn Files,
    config_id: &'a str,
    release: Release,
    definitions: Definitions,
    /// The files that are being read, the innermost last.
    open: Vec<PathBuf>,
    /// Lines of a definition that are still to be read.
    defined: VecDeque<String>,
    /// A definition whose lines are being read.
    definition: Option<(String, Vec<String>)>,
    /// Files that these include, which keepalived reads after them.
    includes: Vec<(PathBuf, Place, bool)>,
    out: Lines,
    /// What the open braces belong to.
    braces: Vec<(Place, String)>,
    files_read: usize,
    bytes_read: usize,
    /// Bytes that definitions may still move.
    work: usize,
    /// A bound is reached: the rest is not read.
    over: bool,
}

impl Splitter<'_> {
    /// Reads a file that `from` includes; `strict` ones must be there.
    fn file(&mut self, path: &Path, from: &Place, strict: bool) {
        if self.over {
            return;
        }
        if self.open.iter().any(|open| open == path) {
            let what = format!("expected another file, found {}, which includes itself", path.display());
            return self.overrun(from, what);
        }
        if self.open.len() >= MAX_DEPTH {
            return self.overrun(from, format!("expected files included at most {MAX_DEPTH} deep"));
        }
        if self.files_read >= MAX_FILES {
            return self.overrun(from, format!("expected at most {MAX_FILES} files in all"));
        }
        match self.files.text(path) {
            Ok(text) => self.text(path, &text, from),
            Err(FileError::Unknown(why)) => {
                self.note(from, Effect::Hides, format!("cannot read {}: {why}", path.display()));
            }
            Err(FileError::Skipped(why)) => self.missing(from, &format!("{}: {why}", path.display()), strict),
        }
    }

    fn missing(&mut self, from: &Place, what: &str, strict: bool) {
        if strict {
            let what = format!("cannot include {what}: keepalived ends where an include of this kind fails");
            self.note(from, Effect::Ends, what);
        } else {
            self.note(from, Effect::Assumed, format!("cannot include {what}: keepalived goes on without it"));
        }
    }

    fn text(&mut self, path: &Path, text: &str, from: &Place) {
        self.files_read += 1;
        self.bytes_read += text.len();
        if self.bytes_read > MAX_BYTES {
            return self.overrun(from, format!("expected at most {} MiB in all files", MAX_BYTES / (1024 * 1024)));
        }
        self.open.push(path.to_owned());
        self.enter();
        let file: Arc<str> = path.display().to_string().into();
        for (index, line) in text.split('\n').enumerate() {
            let place = Place { file: Arc::clone(&file), line: index + 1 };
            self.raw(line, &place);
            if self.over {
                return;
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

    /// A line as it stands in the file. keepalived has room for so many bytes: what is longer is several lines.
    fn raw(&mut self, text: &str, place: &Place) {
        if text.len() < MAX_LINE {
            return self.part(text, place);
        }
        let what = format!("expected a line of less than {MAX_LINE} bytes: keepalived takes what is behind for a line");
        self.note(place, Effect::Assumed, what);
        for part in text.as_bytes().chunks(MAX_LINE) {
            self.part(&String::from_utf8_lossy(part), place);
        }
    }

    fn part(&mut self, text: &str, place: &Place) {
        let text = text.split('\0').next().unwrap_or_default().trim_end_matches('\r');
        if text.is_empty() {
            return self.end_definition();
        }
        let mut bare = decomment(text);
        if self.release >= READ_TWICE {
            bare.text = decomment(&bare.text).text;
            // A comment is an empty line by then, which ends a definition.
            if bare.text.is_empty() {
                self.end_definition();
            }
        }
        if bare.unclosed {
            self.note(place, Effect::Assumed, "expected a closing \" before the end of the line: keepalived goes on");
        }
        self.bare(bare.text, place);
        while let Some(text) = self.defined.pop_front() {
            self.bare(text, place);
        }
        // The last one is opened first.
        for (pattern, from, strict) in std::mem::take(&mut self.includes).into_iter().rev() {
            self.include(&pattern, &from, strict);
        }
    }

    /// A line without its comment, of a definition or not.
    fn bare(&mut self, text: String, place: &Place) {
        if text.is_empty() || self.over {
            return;
        }
        let Some((_, lines)) = &mut self.definition else { return self.line(text, place) };
        let (line, goes_on) = continued(&text);
        if !line.is_empty() {
            lines.push(line.to_owned());
        }
        if !goes_on {
            self.end_definition();
        }
    }

    fn end_definition(&mut self) {
        if let Some((name, lines)) = self.definition.take() {
            self.definitions.set(name, lines);
        }
    }

    fn line(&mut self, mut text: String, place: &Place) {
        loop {
            text = match self.condition(text) {
                Some(text) => text,
                None => return,
            };
            if let Some(found) = beginning(&text) {
                if found.goes_on {
                    self.definition = Some((found.name, found.first));
                } else {
                    self.definitions.set(found.name, found.first);
                }
                return;
            }
            if text.starts_with('~') {
                let what = format!("expected a statement, found {}: sequences are not evaluated here", quoted(&text));
                return self.note(place, Effect::Hides, what);
            }
            match self.definitions.replace(&mut text, &mut self.work) {
                Replaced::Nothing => break,
                Replaced::Lines(further) => {
                    for line in further.into_iter().rev() {
                        self.defined.push_front(line);
                    }
                }
                Replaced::TooLong => {
                    let what = "expected a line of at most 1023 bytes after the replacement of its definitions: \
                                keepalived replaces no more";
                    self.note(place, Effect::Assumed, what);
                    break;
                }
                Replaced::TooMuch => {
                    let what = format!("expected definitions that move at most {} MiB", MAX_WORK / (1024 * 1024));
                    return self.overrun(place, what);
                }
            }
            let Bare { text: bare, unclosed } = decomment(&text);
            text = bare;
            if unclosed {
                self.note(
                    place,
                    Effect::Assumed,
                    "expected a closing \" before the end of the line: keepalived goes on",
                );
            }
            if !text.starts_with('@') && !text.contains('$') {
                break;
            }
        }
        if text.is_empty() {
            return;
        }
        if let Some((keyword, pattern)) = text.split_once(|c: char| c.is_ascii_whitespace())
            && let Some(kind) = include_of(keyword)
        {
            let folder = self.open.last().and_then(|path| path.parent()).unwrap_or(Path::new("/"));
            let pattern = folder.join(pattern.trim_start_matches([' ', '\t']));
            let strict = !kind.is_empty();
            if self.defined.is_empty() {
                return self.include(&pattern, place, strict);
            }
            return self.includes.push((pattern, place.clone(), strict));
        }
        let (first, rest) = first_part(&text);
        self.push(first, place);
        if let Some(rest) = rest {
            self.line(rest.to_owned(), place);
        }
    }

    /// What is left of a line with a condition; none: it is not for this node.
    fn condition(&self, text: String) -> Option<String> {
        let Some(condition) = text.strip_prefix('@') else { return Some(text) };
        let (negated, condition) = match condition.strip_prefix('^') {
            Some(condition) => (true, condition),
            None => (false, condition),
        };
        let (name, rest) = condition.split_once([' ', '\t'])?;
        ((name == self.config_id) != negated).then(|| rest.trim_start_matches([' ', '\t']).to_owned())
    }

    fn push(&mut self, text: &str, place: &Place) {
        if self.out.lines.len() >= MAX_LINES {
            return self.overrun(place, format!("expected at most {MAX_LINES} lines in all"));
        }
        let (words, unclosed) = words(text);
        if unclosed {
            self.note(place, Effect::Assumed, "expected a closing \": keepalived leaves out what follows the quote");
        }
        if words.is_empty() {
            return;
        }
        match text {
            "{" => {
                let head = self.out.lines.last().map_or("", |line| line.keyword()).to_owned();
                self.braces.push((self.out.lines.last().map_or(place, |line| &line.place).clone(), head));
            }
            "}" if self.braces.pop().is_none() => {
                self.note(
                    place,
                    Effect::Assumed,
                    "expected a keyword, found a } that closes nothing: keepalived goes on",
                );
            }
            _ => {}
        }
        self.out.lines.push(Statement { place: place.clone(), words });
    }

    /// Relative to the folder of the file that includes.
    fn include(&mut self, pattern: &Path, place: &Place, strict: bool) {
        match self.files.find(pattern) {
            Ok(paths) => {
                for path in paths {
                    self.file(&path, place, strict);
                }
            }
            Err(FileError::Skipped(why)) => {
                self.missing(place, &format!("{}: {why}", quoted(&pattern.to_string_lossy())), strict);
            }
            Err(FileError::Unknown(why)) => {
                let what = format!("cannot include {}: {why}", quoted(&pattern.to_string_lossy()));
                self.note(place, Effect::Hides, what);
            }
        }
    }

    /// What the end of the text leaves open.
    fn end(&mut self) {
        let open = self.braces.pop().filter(|_| !self.over);
        if let Some((place, head)) = open {
            let what = format!("expected a }} that closes {}, found the end of the file", quoted(&head));
            self.note(&place, Effect::Hides, what);
        }
    }

    /// A bound is reached.
    fn overrun(&mut self, place: &Place, what: String) {
        self.over = true;
        self.defined.clear();
        self.includes.clear();
        self.note(place, Effect::Hides, format!("{what}: the rest is not read"));
    }

    fn note(&mut self, place: &Place, effect: Effect, what: impl Into<String>) {
        keep(&mut self.out.troubles, Trouble { error: place.error(what), instance: None, effect });
    }
}
