//! End to end. Every test has a lab of its own, so they can run beside each other; all need root.
//!
//! `cargo xtask test --only e2e` builds the agent and runs them.
//!
//! Adverts go every second and all priorities are 50, so a backup waits 3.8 s for a master that fell
//! silent and 0.8 s for one that resigned. `a` is elected first.

mod actions;
mod catalogue;
mod delivery;
mod delivery_attacked;
mod drop_in;
mod drop_in_attacked;
mod failover;
mod faults;
mod harness;
mod hostile;
mod intake;
mod lacks;
mod neutron;
mod operator;
mod places;
mod plain;
mod plain_places;
mod plain_reading;
mod privileges;
mod reading;
mod registrations;
mod reports;
mod restarts;
mod told;
mod trust;
mod unit;
mod wire;

use std::time::Duration;

/// `corroboration.settle`'s default.
const SETTLE: Duration = Duration::from_millis(250);
/// The advert interval of the scenes.
const ADVERT: Duration = Duration::from_secs(1);
