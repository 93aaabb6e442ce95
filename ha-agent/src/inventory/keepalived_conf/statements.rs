//! Words and braces → statements and blocks.

use super::definitions::{RANDOM, is_random};
use super::lines::Placed;
use super::tokens::Token;
use super::{ConfError, Place};

/// A line: a keyword, its values, and whether a block follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// Where it stands.
    pub(super) place: Place,
    /// Empty only before a block that has no name.
    pub(super) words: Vec<String>,
    /// `{` follows, here or on the next line.
    pub(super) opens: bool,
}

impl Statement {
    /// Its first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Its first value; `what` says what is expected there.
    pub(super) fn value(&self, what: &str) -> Result<&str, ConfError> {
        match self.words.get(1).map(String::as_str) {
            Some(value) if is_random(value) => {
                Err(self.error(&format!("expected {what}, found {RANDOM}, which only keepalived knows")))
            }
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.error(&format!("expected {what} after {:?}, found nothing", shown(self.keyword())))),
        }
    }

    /// Its first word, where that is a value; `what` says what is expected there.
    pub(super) fn word(&self, what: &str) -> Result<&str, ConfError> {
        match self.keyword() {
            word if is_random(word) => {
                Err(self.error(&format!("expected {what}, found {RANDOM}, which only keepalived knows")))
            }
            word => Ok(word),
        }
    }

    /// An error on its line.
    pub(super) fn error(&self, what: &str) -> ConfError {
        self.place.error(what)
    }
}

enum Item {
    Statement(Statement),
    Close(Place),
    Trouble(ConfError),
    End,
}

/// Gives a configuration's statements, block by block.
pub(super) struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Placed>>,
    /// Blocks that are open.
    depth: usize,
    /// What makes it doubtful which statements belong together.
    faults: Vec<ConfError>,
}

impl Reader {
    pub(super) fn new(tokens: Vec<Placed>) -> Self {
        Self { tokens: tokens.into_iter().peekable(), depth: 0, faults: Vec::new() }
    }

    /// What makes it doubtful which statements belong together, in order.
    pub(super) fn faults(self) -> Vec<ConfError> {
        self.faults
    }

    /// Notes such a fault.
    pub(super) fn fault(&mut self, error: ConfError) {
        self.faults.push(error);
    }

    /// Gives each statement outside of blocks to `each`; a block that follows and is not read there
    /// is skipped.
    pub(super) fn top(&mut self, mut each: impl FnMut(&mut Self, &Statement)) {
        loop {
            match self.next() {
                Item::End => return,
                Item::Close(place) => self.fault(place.error("expected a keyword, found a } that closes nothing")),
                Item::Trouble(error) => self.fault(error),
                Item::Statement(statement) => {
                    each(self, &statement);
                    self.skip_to(0, &statement);
                }
            }
        }
    }

    /// The same for the block of `head`, which is read to its end in any case.
    ///
    /// # Errors
    /// The first one of `each`, or that of the block itself.
    pub(super) fn block(
        &mut self,
        head: &Statement,
        mut each: impl FnMut(&mut Self, &Statement) -> Result<(), ConfError>,
    ) -> Result<(), ConfError> {
        if !head.opens {
            return Err(head.error(&format!("expected {{ after {:?}", shown(head.keyword()))));
        }
        let depth = self.depth;
        let mut first = Ok(());
        loop {
            let result = match self.next() {
                Item::End => return first.and(Err(self.unclosed(head))),
                Item::Close(_) => return first,
                Item::Trouble(error) => Err(error),
                Item::Statement(statement) => {
                    let result = each(self, &statement);
                    self.skip_to(depth, &statement);
                    result
                }
            };
            first = first.and(result);
        }
    }

    /// Skips what `head` has opened and nobody has read.
    fn skip_to(&mut self, depth: usize, head: &Statement) {
        while self.depth > depth {
            match self.tokens.next() {
                Some((_, Token::Open)) => self.depth += 1,
                Some((_, Token::Close)) => self.depth -= 1,
                Some(_) => {}
                None => {
                    self.unclosed(head);
                    return;
                }
            }
        }
    }

    fn next(&mut self) -> Item {
        self.blank();
        let place = match self.tokens.peek() {
            None => return Item::End,
            Some((place, Token::Close)) => {
                let place = place.clone();
                self.tokens.next();
                self.depth = self.depth.saturating_sub(1);
                return Item::Close(place);
            }
            Some((place, Token::Trouble(what))) => {
                let error = place.error(what.clone());
                self.tokens.next();
                return Item::Trouble(error);
            }
            Some((place, _)) => place.clone(),
        };
        let mut words = Vec::new();
        while let Some((_, Token::Word(word))) = self.tokens.next_if(|(_, token)| matches!(token, Token::Word(_))) {
            words.push(word);
        }
        self.blank();
        let opens = self.tokens.next_if(|(_, token)| *token == Token::Open).is_some();
        self.depth += usize::from(opens);
        Item::Statement(Statement { place, words, opens })
    }

    fn blank(&mut self) {
        while self.tokens.next_if(|(_, token)| *token == Token::EndOfLine).is_some() {}
    }

    /// The text ends within a block: a fault, and the same one for the blocks around it.
    fn unclosed(&mut self, head: &Statement) -> ConfError {
        let depth = std::mem::take(&mut self.depth);
        match self.faults.last().filter(|_| depth == 0) {
            Some(fault) => fault.clone(),
            None => {
                let what = format!("expected a }} that closes {:?}, found the end of the file", shown(head.keyword()));
                let fault = head.error(&what);
                self.fault(fault.clone());
                fault
            }
        }
    }
}

/// A foreign word, cut to a length that fits a message.
pub(super) fn shown(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
