//! What a command line claims.

use crate::core::model::State;
use crate::intake::fifo;

/// `None`: not understood. `Some(None)`: understood, and no change of state.
pub(super) fn claim(words: &[String]) -> Option<Option<State>> {
    let word = match words {
        [state] => state,
        [kind, _name, state, priority] => {
            fifo::Kind::from_word(&kind.to_ascii_uppercase())?;
            priority.parse::<u8>().ok()?;
            state
        }
        _ => return None,
    };
    // The FIFO's words first: there `STOP` is a claim of backup for reasons given there.
    fifo::claim(&word.to_ascii_uppercase()).or_else(|| State::from_word(&word.to_ascii_lowercase()).map(Some))
}

/// The instance that keepalived names; a group's name is none.
pub(super) fn instance(words: &[String]) -> Option<&str> {
    match words {
        [kind, name, ..] if kind.eq_ignore_ascii_case("INSTANCE") => Some(name),
        _ => None,
    }
}
