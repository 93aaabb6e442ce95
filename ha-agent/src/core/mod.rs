//! The verdict: what is claimed against what is true (DESIGN section 7).
//!
//! Pure: it takes `(input, now)` and gives outputs and its next deadline. No I/O, no clock, no
//! async, no randomness, and nothing imported from its neighbours. The same inputs give the same
//! outputs, always.
//!
//! - [`model`], [`reporter`], [`evidence`], [`io`], [`time`]: the vocabulary, and all that crosses the border.
//! - [`speakers`]: what the wire said of us and of peers; [`senders`]: by which sockets; [`refused`]: whom keepalived
//!   rejects; [`crowd`]: whom to give up of too many; [`succession`]: whether a peer succeeded us.
//! - [`seen`]: the table from address table and wire to a role.
//! - [`machine`]: one router's verdicts. [`anomalies`]: the disagreements. [`policy`]: durations.
//! - [`node`]: all routers and their deadlines.

#![deny(clippy::disallowed_methods, reason = "the core is given the time")]

pub mod anomalies;
pub mod crowd;
pub mod evidence;
pub mod io;
pub mod machine;
pub mod model;
pub mod node;
pub mod policy;
pub mod refused;
pub mod reporter;
pub mod seen;
pub mod senders;
pub mod speakers;
pub mod succession;
pub mod time;

#[cfg(test)]
mod catalogue_tests;
#[cfg(test)]
mod crowd_tests;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "`crate::fuzzing` shows it"))]
pub(crate) mod invariants;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenario_tests;
#[cfg(test)]
mod seen_tests;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), expect(dead_code, reason = "the scenarios of the tests use more of it than the invariants"))]
mod simulation;
