//! Counters of the state-change socket.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::refusal::Refusal;
use crate::core::model::State;

type Labels = [(&'static str, &'static str); 1];

/// Exact, whatever the events' rate. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    // Looked up once, so that a request costs one atomic addition.
    taken: [Counter; 4],
    refused: Vec<Counter>,
    pub(super) connections: Gauge,
    pub(super) accept_errors: Counter,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let taken = Family::<Labels, Counter>::default();
        let refused = Family::<Labels, Counter>::default();
        let metrics = Self {
            taken: [State::Primary, State::Backup, State::Fault, State::Unknown]
                .map(|state| taken.get_or_create(&[("state", state.as_str())]).clone()),
            // Those with status 0 are the FIFO's and never counted here.
            refused: Refusal::ALL
                .iter()
                .map(|refusal| match refusal.status() {
                    0 => Counter::default(),
                    _ => refused.get_or_create(&[("reason", refusal.word())]).clone(),
                })
                .collect(),
            connections: Gauge::default(),
            accept_errors: Counter::default(),
        };
        registry.register("intake_reports", "Reports taken over the state-change socket, by claimed state", taken);
        registry.register("intake_refusals", "Requests refused on the state-change socket, by reason", refused);
        registry.register(
            "intake_connections",
            "Connections open on the state-change socket, waiting ones too",
            metrics.connections.clone(),
        );
        registry.register(
            "intake_accept_errors",
            "Failed attempts to accept a connection, above all for lack of file descriptors",
            metrics.accept_errors.clone(),
        );
        metrics
    }

    pub(super) fn taken(&self, state: State) -> &Counter {
        match state {
            State::Primary => &self.taken[0],
            State::Backup => &self.taken[1],
            State::Fault => &self.taken[2],
            State::Unknown => &self.taken[3],
        }
    }

    pub(super) fn refused(&self, refusal: Refusal) -> &Counter {
        &self.refused[refusal as usize]
    }
}
