//! Words and braces → statements and blocks.

use super::ConfError;
use super::tokens::{Placed, Token, split};

/// A line: a keyword, its values, and whether a block follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// Counted from 1.
    pub(super) line: usize,
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
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.error(&format!("expected {what} after {:?}, found nothing", shown(self.keyword())))),
        }
    }

    /// An error on its line.
    pub(super) fn error(&self, what: &str) -> ConfError {
        ConfError::new(self.line, what.to_owned())
    }
}

enum Item {
    Statement(Statement),
    Close(usize),
    End,
}

/// Gives a text's statements, block by block.
pub(super) struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Placed>>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Result<Self, ConfError> {
        Ok(Self { tokens: split(text)?.into_iter().peekable() })
    }

    /// Gives each statement outside of blocks to `each`, which says whether it has read the block
    /// that follows; it is skipped otherwise.
    pub(super) fn top(
        &mut self,
        mut each: impl FnMut(&mut Self, &Statement) -> Result<bool, ConfError>,
    ) -> Result<(), ConfError> {
        loop {
            match self.next() {
                Item::End => return Ok(()),
                Item::Close(line) => {
                    return Err(ConfError::new(line, "expected a keyword, found a } that closes nothing".to_owned()));
                }
                Item::Statement(statement) => self.hand(&statement, &mut each)?,
            }
        }
    }

    /// The same for the block of `head`.
    pub(super) fn block(
        &mut self,
        head: &Statement,
        mut each: impl FnMut(&mut Self, &Statement) -> Result<bool, ConfError>,
    ) -> Result<(), ConfError> {
        if !head.opens {
            return Err(head.error(&format!("expected {{ after {:?}", shown(head.keyword()))));
        }
        loop {
            match self.next() {
                Item::End => return Err(unclosed(head)),
                Item::Close(_) => return Ok(()),
                Item::Statement(statement) => self.hand(&statement, &mut each)?,
            }
        }
    }

    fn hand(
        &mut self,
        statement: &Statement,
        each: &mut impl FnMut(&mut Self, &Statement) -> Result<bool, ConfError>,
    ) -> Result<(), ConfError> {
        if !each(self, statement)? && statement.opens {
            self.skip(statement)?;
        }
        Ok(())
    }

    fn skip(&mut self, head: &Statement) -> Result<(), ConfError> {
        let mut depth = 1_usize;
        for (_, token) in self.tokens.by_ref() {
            match token {
                Token::Open => depth += 1,
                Token::Close => depth -= 1,
                Token::Word(_) | Token::EndOfLine => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(unclosed(head))
    }

    fn next(&mut self) -> Item {
        self.blank();
        let line = match self.tokens.peek() {
            None => return Item::End,
            Some((line, Token::Close)) => {
                let line = *line;
                self.tokens.next();
                return Item::Close(line);
            }
            Some((line, _)) => *line,
        };
        let mut words = Vec::new();
        while let Some((_, Token::Word(word))) = self.tokens.next_if(|(_, token)| matches!(token, Token::Word(_))) {
            words.push(word);
        }
        self.blank();
        let opens = self.tokens.next_if(|(_, token)| *token == Token::Open).is_some();
        Item::Statement(Statement { line, words, opens })
    }

    fn blank(&mut self) {
        while self.tokens.next_if(|(_, token)| *token == Token::EndOfLine).is_some() {}
    }
}

fn unclosed(head: &Statement) -> ConfError {
    head.error(&format!("expected a }} that closes {:?}, found the end of the file", shown(head.keyword())))
}

/// A foreign word, cut to a length that fits a message.
pub(super) fn shown(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
