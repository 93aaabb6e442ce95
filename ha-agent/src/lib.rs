//! `ha-agent`: knows for every HA router of a node what is claimed and what is true, and tells the
//! L3 agent only what is true.
//!
//! Data flows one way:
//!
//! ```text
//! reporters ──unix HTTP, FIFO──▶ intake ──┐
//! address/link events ──rtnetlink──▶ netlink ─┼─▶ core (pure) ─▶ outbox (durable) ─▶ delivery ─▶ L3 agent
//! VRRP frames ──eBPF──▶ wire ─────────────┘      ├─▶ telemetry: events, metrics
//! routers ──▶ inventory                          └─▶ admin: status API ─▶ cli
//! ```
//!
//! [`core`] decides and does no I/O; every other module translates and decides nothing.

pub mod actions;
pub mod addresses;
pub mod admin;
pub mod advert_rules;
pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod core;
pub mod delivery;
pub mod doctor;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod intake;
pub mod inventory;
pub mod netlink;
pub mod netns;
pub mod notify;
pub mod outbox;
pub mod paths;
pub mod peer;
pub mod privilege;
pub mod status;
pub mod telemetry;
pub mod trust;
pub mod wire;
