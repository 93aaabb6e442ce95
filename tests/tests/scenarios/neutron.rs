//! With parts of the real Neutron: its L3 agent's server, its configurations, its monitors.
//!
//! Where a defect of Neutron's is the subject, the same test shows it there and absent here.

mod crowd;
mod defects;
mod delivery;
mod reporters;
mod whole;

use std::io::Write;

/// A figure, for who reads the log.
fn tell(figure: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{figure}");
}
