//! Which routers this node has, and how they are found.
//!
//! - [`keepalived_conf`]: the text of a keepalived.conf → instances; pure.
//! - [`HaConfs`]: the folders that Neutron's L3 agent writes them to → routers that come and go.
//! - [`Plain`]: a plain keepalived's own files → the same.
//! - [`keepalived_release`]: which release of keepalived is installed.
//! - [`registration`]: what the stand-in for Neutron's monitor says of its router; pure.
//! - [`Registrations`]: those that live.
//! - [`Directory`]: what the intake asks about on every request.
//!
//! Which source wins, and what a router's coming or going sets off, is [`crate::agent`]'s.

/// Routers that are watched at most: as many as the kernel's maps hold. The first ones live on.
pub const MOST_ROUTERS: usize = 8192;

mod directory;
mod ha_confs;
pub mod keepalived_conf;
pub mod keepalived_release;
pub mod plain;
pub mod registration;
mod registrations;

pub use directory::{Directory, Named};
pub use ha_confs::{Discovery, HaConfs, InventoryError, Metrics, Search, Unread, fetch, gateways};
pub use plain::Plain;
pub use registration::{Registration, RegistrationError};
pub use registrations::{Full, Held, Registrations};
