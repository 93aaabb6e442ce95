//! Text → words and braces, as keepalived 2.2 splits it (`decomment`, `alloc_strvec`): `#` and `!`
//! begin a comment anywhere outside double quotes, braces stand for themselves even in a word, a
//! backslash at the end of a line continues it.

use super::ConfError;

/// What a text is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, without its quotes.
    Word(String),
    /// `{`
    Open,
    /// `}`
    Close,
    /// The statement's line ends.
    EndOfLine,
}

/// A token and the line it stands on, counted from 1.
pub(super) type Placed = (usize, Token);

/// Splits a text.
pub(super) fn split(text: &str) -> Result<Vec<Placed>, ConfError> {
    let mut splitter = Splitter::default();
    for (index, line) in text.split('\n').enumerate() {
        splitter.line = index + 1;
        if !splitter.take(line.trim_end_matches('\r')) {
            splitter.end()?;
        }
    }
    splitter.end()?;
    Ok(splitter.tokens)
}

/// What goes on from a line to the one that continues it.
#[derive(Default)]
struct Splitter {
    tokens: Vec<Placed>,
    line: usize,
    word: Option<String>,
    quoted: bool,
}

impl Splitter {
    /// Takes a line; true when the next one continues it.
    fn take(&mut self, text: &str) -> bool {
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    self.quoted = !self.quoted;
                    self.word();
                }
                '\\' => match chars.next() {
                    Some(next @ ('#' | '!' | '"' | '\\')) => self.word().push(next),
                    Some(next) => self.word().extend([c, next]),
                    None => return true,
                },
                _ if self.quoted => self.word().push(c),
                '#' | '!' => return false,
                '$' if chars.peek() == Some(&'{') => {
                    // A variable's braces are no block's.
                    let word = self.word();
                    word.push(c);
                    for c in chars.by_ref() {
                        word.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
                '{' | '}' => {
                    self.end_word();
                    self.tokens.push((self.line, if c == '{' { Token::Open } else { Token::Close }));
                }
                _ if c.is_ascii_whitespace() => self.end_word(),
                _ => self.word().push(c),
            }
        }
        false
    }

    fn word(&mut self) -> &mut String {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        self.tokens.extend(self.word.take().map(|word| (self.line, Token::Word(word))));
    }

    fn end(&mut self) -> Result<(), ConfError> {
        if self.quoted {
            return Err(ConfError::new(self.line, "expected a closing \" before the end of the line".to_owned()));
        }
        self.end_word();
        self.tokens.push((self.line, Token::EndOfLine));
        Ok(())
    }
}
