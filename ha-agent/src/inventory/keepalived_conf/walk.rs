//! Which lines belong together: keepalived's `process_stream` and `alloc_value_block`. A block that it does not know
//! is none to it: its `{` is passed over, its lines are keywords of the block around it, and its `}` ends that.
//!
//! keepalived reads a configuration once in each of its processes, and each skips what the others understand.

use super::keywords::{Block, Keyword, Process, ROOT};
use super::statements::{Statement, quoted};
use super::{Effect, Trouble};

/// Blocks within blocks that are known: `vrrp_instance`, `authentication`.
pub(super) type Path<'a> = &'a [&'static str];

/// What is met.
pub(super) enum Met<'a> {
    /// A line that begins with a keyword, known or not.
    Keyword(&'a Statement),
    /// A line that begins with a keyword of another process.
    Passed(&'a Statement),
    /// A line in the block of a keyword that has values.
    Value { block: &'a str, line: &'a Statement },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    On,
    /// Skip the block that follows.
    Skip,
}

/// Gives what a process of keepalived meets to `each`; what it warns of on the way to `warn`.
pub(super) fn walk<'a>(
    lines: &'a [Statement],
    process: Process,
    each: &mut dyn FnMut(Path, &Met<'a>) -> Next,
    warn: &mut dyn FnMut(Trouble),
) {
    let mut walker = Walker { lines, at: 0, skip: Skip::No, path: Vec::new(), each, warn };
    while walker.root(process) {}
}

/// Whether lines are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    No,
    /// If the next line is a `{`.
    Begins,
    /// To the end of so many blocks.
    Blocks(usize),
}

struct Walker<'a, 'b> {
    lines: &'a [Statement],
    at: usize,
    skip: Skip,
    path: Vec<&'static str>,
    each: &'b mut dyn FnMut(Path, &Met<'a>) -> Next,
    warn: &'b mut dyn FnMut(Trouble),
}

impl<'a> Walker<'a, '_> {
    fn next(&mut self) -> Option<&'a Statement> {
        let line = self.lines.get(self.at);
        self.at += usize::from(line.is_some());
        line
    }

    /// Reads a line outside of blocks, with the block that it begins; false at the end.
    fn root(&mut self, process: Process) -> bool {
        let Some(line) = self.next() else { return false };
        if self.skipped(line) {
            return true;
        }
        match line.keyword() {
            "{" => self.unexpected(line),
            word => match ROOT.iter().find(|(_, keyword)| keyword.name == word) {
                Some((whose, keyword)) => self.known(keyword, line, *whose == process),
                None => self.unknown(line),
            },
        }
        true
    }

    /// Reads a block of keywords.
    fn block(&mut self, keywords: &'static [Keyword]) {
        let mut begins = true;
        while let Some(line) = self.next() {
            if self.skip == Skip::Begins {
                begins &= line.keyword() != "{";
            }
            if self.skip != Skip::No && self.skipped(line) {
                if self.skip == Skip::No && line.keyword() == "}" {
                    return;
                }
                continue;
            }
            match line.keyword() {
                "{" if std::mem::take(&mut begins) => {}
                "{" => self.unexpected(line),
                "}" => return,
                word => {
                    if std::mem::take(&mut begins) {
                        let head = self.path.last().copied().unwrap_or_default();
                        let what = format!("expected {{ after {head:?}, found {}: keepalived goes on", quoted(word));
                        (self.warn)(line.trouble(Effect::Assumed, what));
                    }
                    match keywords.iter().find(|keyword| keyword.name == word) {
                        Some(keyword) => self.known(keyword, line, true),
                        None => self.unknown(line),
                    }
                }
            }
        }
    }

    fn known(&mut self, keyword: &'static Keyword, line: &'a Statement, understood: bool) {
        if !understood {
            (self.each)(&self.path, &Met::Passed(line));
            self.skip = Skip::Begins;
            return;
        }
        if (self.each)(&self.path, &Met::Keyword(line)) == Next::Skip {
            self.skip = Skip::Begins;
        }
        match keyword.block {
            Block::None => {}
            Block::Values if self.skip == Skip::No => self.values(line),
            Block::Values => {}
            Block::Keywords(keywords) => {
                self.path.push(keyword.name);
                self.block(keywords);
                self.path.pop();
            }
        }
    }

    /// What is no keyword outside of blocks may be one of a single line.
    fn unknown(&mut self, line: &'a Statement) {
        (self.each)(&self.path, &Met::Keyword(line));
        if self.lines.get(self.at).is_some_and(|next| next.keyword() == "{") {
            let what = format!(
                "expected a keyword that begins a block, found {}: keepalived takes the lines in it for lines around it, \
                 and its }} for the end of what is around it",
                quoted(line.keyword())
            );
            (self.warn)(line.trouble(Effect::Assumed, what));
        }
    }

    fn unexpected(&mut self, line: &Statement) {
        // Behind a word that is no keyword it has been told.
        let told = self.at.checked_sub(2).and_then(|at| self.lines.get(at)).is_some_and(|line| line.keyword() != "{");
        if !told {
            (self.warn)(line.trouble(Effect::Assumed, "expected a keyword, found {: keepalived passes over it"));
        }
    }

    /// Reads a block of values: up to the first `}`, whatever stands in it.
    fn values(&mut self, head: &'a Statement) {
        let mut begins = true;
        while let Some(line) = self.next() {
            let first = std::mem::take(&mut begins);
            match line.keyword() {
                "{" if first => {}
                "}" if line.words.len() == 1 => return,
                _ => {
                    (self.each)(&self.path, &Met::Value { block: head.keyword(), line });
                }
            }
        }
    }

    /// Takes a line that is skipped; false: it is none.
    fn skipped(&mut self, line: &Statement) -> bool {
        match (self.skip, line.keyword()) {
            (Skip::No, _) => false,
            (Skip::Begins, "{") => {
                self.skip = Skip::Blocks(1);
                true
            }
            (Skip::Begins, _) => {
                self.skip = Skip::No;
                false
            }
            (Skip::Blocks(depth), word) => {
                self.skip = match word {
                    "{" => Skip::Blocks(depth + 1),
                    "}" if depth == 1 => Skip::No,
                    "}" => Skip::Blocks(depth - 1),
                    _ => Skip::Blocks(depth),
                };
                true
            }
        }
    }
}
