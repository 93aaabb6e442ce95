//! The ground that the end-to-end tests and the demonstration stand on: real network namespaces, a
//! real keepalived, the real agent, and a receiver that speaks like Neutron's L3 agent.
//!
//! Nothing of the agent's own code is used here (`ha-agent-bench` uses two of its measuring
//! functions, [`differential`] its test runs of the classifier): what it promises to the outside is
//! looked at from the outside. Whatever a [`lab::Lab`] made is gone when it ends, however it ends.

pub mod abuse;
pub mod agent;
pub mod bed;
pub mod command;
pub mod configs;
pub mod differential;
pub mod drop_in;
pub mod figures;
pub mod forge;
pub mod frames;
pub mod guardian;
pub mod hearing;
pub mod holdings;
pub mod hostile;
pub mod keepalived;
pub mod l3_agent;
pub mod lab;
pub mod liar;
pub mod neutron;
pub mod oracle;
pub mod pair;
pub mod place;
pub mod process;
pub mod record;
pub mod report;
pub mod timeline;
pub mod tunnel;
pub mod wait;
pub mod witness;
