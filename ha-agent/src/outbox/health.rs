//! Whether entries reach the disk.

/// Told by [`super::Outbox::health`] and by the events `channel.degraded` and `channel.restored`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Every entry is on disk before it is sent.
    Healthy,
    /// Entries are kept in memory only: a crash of the agent now loses what is not delivered.
    MemoryOnly {
        /// What happened and what it means.
        reason: String,
    },
}
