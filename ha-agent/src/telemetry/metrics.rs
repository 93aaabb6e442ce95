//! Prometheus metrics.

/// All metrics of the agent.
#[derive(Debug, Default)]
pub struct Metrics {}
