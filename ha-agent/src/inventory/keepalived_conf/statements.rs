//! A line of a configuration, as keepalived's keywords get it.

use super::definitions::{RANDOM, is_random};
use super::{Effect, Place, Trouble};

/// A line's words. A brace outside of quotes is a line of its own, whatever stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// Where it stands.
    pub(super) place: Place,
    /// At least one, which may be empty.
    pub(super) words: Vec<String>,
}

impl Statement {
    /// Its first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Its first value; `what` says what is expected there.
    pub(super) fn value(&self, what: &str) -> Result<&str, Trouble> {
        match self.words.get(1).map(String::as_str) {
            Some(value) if is_random(value) => Err(self.only_keepalived_knows(what)),
            Some(value) => Ok(value),
            None => Err(self.lacks_a_value(what)),
        }
    }

    /// Its first word, where that is a value; `what` says what is expected there.
    pub(super) fn word(&self, what: &str) -> Result<&str, Trouble> {
        match self.keyword() {
            word if is_random(word) => Err(self.only_keepalived_knows(what)),
            word => Ok(word),
        }
    }

    /// keepalived ends where a value is missing.
    pub(super) fn lacks_a_value(&self, what: &str) -> Trouble {
        let what = format!("expected {what} after {}, found nothing: keepalived ends there", quoted(self.keyword()));
        self.trouble(Effect::Ends, what)
    }

    fn only_keepalived_knows(&self, what: &str) -> Trouble {
        self.trouble(Effect::Unknown, format!("expected {what}, found {RANDOM}, which only keepalived knows"))
    }

    /// Something about this line.
    pub(super) fn trouble(&self, effect: Effect, what: impl Into<String>) -> Trouble {
        Trouble { error: self.place.error(what), instance: None, effect }
    }

    /// What keepalived warns of: what is expected, what it found, and what it takes instead.
    pub(super) fn assumed(&self, expected: &str, found: &str, instead: &str) -> Trouble {
        let what = format!("expected {expected}, found {}: keepalived {instead}", quoted(found));
        self.trouble(Effect::Assumed, what)
    }
}

/// A foreign word in quotes, cut to a length that fits a message, without control characters.
pub(super) fn quoted(word: &str) -> String {
    format!("{:?}", shown(word))
}

/// A foreign word, cut to a length that fits a message.
pub(super) fn shown(word: &str) -> String {
    match word.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
