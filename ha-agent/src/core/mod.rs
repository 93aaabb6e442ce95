//! The verdict: what is claimed against what is true (DESIGN section 7).
//!
//! Pure: it takes `(input, now)` and gives outputs and its next deadline. No I/O, no clock, no
//! async, no randomness, and nothing imported from its neighbours. The same inputs give the same
//! outputs, always.

pub mod evidence;
pub mod io;
pub mod model;
pub mod time;
