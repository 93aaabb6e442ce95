//! With parts of the real Neutron: its L3 agent's server, its configurations, its monitors.
//!
//! Where a defect of Neutron's is the subject, the same test shows it there and absent here.

mod defects;
mod delivery;
mod reporters;
mod whole;
