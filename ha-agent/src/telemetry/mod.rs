//! What the agent tells people: the event stream and metrics.
//!
//! Diagnostics (what a developer of the agent wants to know) go through `tracing` and [`diagnostics`] to stderr and
//! are not part of the promises; events are. The way of an event:
//!
//! ```text
//! emit ──8192──▶ writer: ts, seq, host ─┬─▶ recent: rings for explain and events, live followers
//!                                       └──4096──▶ one thread per sink: stdout, file, journald
//! ```
//!
//! What one user, one peer or one file can have written without end is limited there (`limit`).
//!
//! A sink that stands still fills its own queue only. What is lost is counted and is itself an
//! event, `channel.degraded` with channel `events`. A new event kind is a variant in `event` and a
//! line in `golden/events.jsonl`; a new sink is a file in `sink`.

pub mod diagnostics;
pub mod event;
mod events;
mod limit;
pub mod line;
pub mod metrics;
mod recent;
mod sink;
pub mod summary;
#[cfg(test)]
mod tests;
mod writer;

pub use events::{Events, QUEUE};
pub use recent::{Recent, Record};
pub use writer::{Sinks, Telemetry, start};
