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
    let mut tokens = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let continued = one_line(line, index + 1, &mut tokens)?;
        if !continued {
            tokens.push((index + 1, Token::EndOfLine));
        }
    }
    Ok(tokens)
}

/// Splits a line; true when the next one continues it.
fn one_line(text: &str, line: usize, tokens: &mut Vec<Placed>) -> Result<bool, ConfError> {
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = text.trim_end_matches('\r').chars().peekable();
    let mut continued = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' => match chars.next() {
                Some(next) => {
                    let word = word.get_or_insert_default();
                    if !matches!(next, '#' | '!' | '"' | '\\') {
                        word.push(c);
                    }
                    word.push(next);
                }
                None => continued = true,
            },
            _ if quoted => word.get_or_insert_default().push(c),
            '#' | '!' => break,
            '$' if chars.peek() == Some(&'{') => {
                // A variable's braces are no block's.
                let word = word.get_or_insert_default();
                word.push(c);
                for c in chars.by_ref() {
                    word.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            '{' | '}' => {
                tokens.extend(word.take().map(|word| (line, Token::Word(word))));
                tokens.push((line, if c == '{' { Token::Open } else { Token::Close }));
            }
            _ if c.is_ascii_whitespace() => tokens.extend(word.take().map(|word| (line, Token::Word(word)))),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if quoted && !continued {
        return Err(ConfError::new(line, "expected a closing \" before the end of the line".to_owned()));
    }
    tokens.extend(word.map(|word| (line, Token::Word(word))));
    Ok(continued)
}
