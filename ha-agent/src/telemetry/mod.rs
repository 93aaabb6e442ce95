//! What the agent tells people: the event stream, metrics.
//!
//! Diagnostics (what a developer of the agent wants to know) go through `tracing` to stderr and are
//! not part of the promises; events are.

pub mod event;
mod events;
pub mod metrics;

pub use events::Events;
