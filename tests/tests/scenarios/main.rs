//! End to end. Every test has a lab of its own, so they can run beside each other; all need root.
//!
//! `cargo xtask test --only e2e` builds the agent and runs them.

mod harness;
