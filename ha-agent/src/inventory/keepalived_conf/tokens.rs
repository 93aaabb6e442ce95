//! A line → words and braces, as keepalived 2.2.7 splits it (`decomment`, `read_line`,
//! `alloc_strvec`): `#` and `!` begin a comment anywhere outside double quotes, braces stand for
//! themselves even in a word.

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
    /// What stands here cannot be known, in words.
    Trouble(String),
}

/// A quote that is not closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed;

/// Takes comments away, and the space around the rest. A backslash outside quotes keeps `#` and `!`
/// from beginning a comment; one at the end stays (it continues a definition).
pub(super) fn decomment(text: &str) -> Result<String, Unclosed> {
    let mut out = String::with_capacity(text.len());
    let mut quoted = false;
    let mut chars = text.trim_start_matches([' ', '\t']).chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                out.push(c);
            }
            '\\' => match chars.next() {
                Some(next @ ('#' | '!')) if !quoted => out.push(next),
                Some(next) => out.extend([c, next]),
                None => {
                    let end = out.trim_end_matches([' ', '\t']).len();
                    out.truncate(end);
                    out.push(c);
                    return if quoted { Err(Unclosed) } else { Ok(out) };
                }
            },
            '#' | '!' if !quoted => {
                // keepalived looks for a backslash at the end of the comment too.
                let goes_on = chars.as_str().ends_with('\\');
                let end = out.trim_end_matches([' ', '\t']).len();
                out.truncate(end);
                if goes_on {
                    out.push('\\');
                }
                return Ok(out);
            }
            _ => out.push(c),
        }
    }
    if quoted {
        return Err(Unclosed);
    }
    let end = out.trim_end_matches([' ', '\t']).len();
    out.truncate(end);
    Ok(out)
}

/// Splits a line without comments. What follows a quote that is not closed is dropped, as
/// keepalived does: there a backslash keeps no quote from ending.
pub(super) fn split(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                tokens.extend(word.take().map(Token::Word));
                let Some((quoted, after)) = rest.as_str().split_once('"') else { break };
                tokens.push(Token::Word(quoted.to_owned()));
                rest = after.chars();
            }
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            _ if c.is_ascii_whitespace() => tokens.extend(word.take().map(Token::Word)),
            _ => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.take().map(Token::Word));
    tokens
}
