//! Which routers this node has, and how they are found.
//!
//! - [`keepalived_conf`]: the text of a keepalived.conf → instances; pure.
//! - [`HaConfs`]: the folders that Neutron's L3 agent writes them to → routers that come and go.
//! - [`Directory`]: what the intake asks about on every request.
//!
//! Which source wins, and what a router's coming or going sets off, is [`crate::agent`]'s.

mod directory;
mod ha_confs;
pub mod keepalived_conf;

pub use directory::Directory;
pub use ha_confs::{Discovery, HaConfs, InventoryError, Metrics};
