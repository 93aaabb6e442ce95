//! What a frame was, in the words of the agent.

use std::fmt;

use ha_agent::core::model::Reason;

/// What a frame was to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A peer's advert.
    Taken,
    /// The instance read it and dropped it.
    Rejected(Reason),
    /// It never reached the instance.
    Unheard,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => write!(out, "taken"),
            Self::Rejected(reason) => write!(out, "rejected: {}", reason.as_str()),
            Self::Unheard => write!(out, "unheard"),
        }
    }
}
