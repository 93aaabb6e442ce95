//! Where the agent is known to judge otherwise than keepalived.

use super::configuration::Configuration;
use super::frames::Case;
use super::keepalived::State;
use super::verdict::Verdict;

/// A known difference.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// In a few words.
    pub what: &'static str,
    /// Why it is so.
    pub why: &'static str,
    /// What it does to the agent's verdicts.
    pub effect: &'static str,
    /// Whether a disagreement is this one: keepalived's verdict and the agent's.
    pub is: fn(&Configuration, State, &Case, Verdict, Verdict) -> bool,
}

/// All of them.
pub const KNOWN: &[Known] = &[];
