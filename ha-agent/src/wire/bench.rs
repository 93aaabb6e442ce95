//! What a frame costs the classifier, by `BPF_PROG_TEST_RUN`. For `cargo xtask bench`.

use std::path::PathBuf;

use ha_agent_common::build::Advert;
use ha_agent_common::{EGRESS, FAMILY_V4, INGRESS, Rules, Watch};
use serde::Serialize;

use super::WireError;
use super::trial::Trial;
use crate::clock;

/// Nanoseconds per frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// A TCP segment: what almost every frame is.
    pub other_ns: u64,
    /// A VRRPv2 advert of a VRID that nobody watches.
    pub unknown_vrid_ns: u64,
    /// A repeated VRRPv2 advert that leaves.
    pub egress_ns: u64,
    /// A repeated VRRPv2 advert that arrives.
    pub ingress_ns: u64,
    /// How often each was run.
    pub repeat: u32,
}

/// Measures over `repeat` runs of each kind of frame. Needs the right to load programs.
///
/// # Errors
/// As [`super::Wire::start`].
pub fn bench_classifier(object: Option<&PathBuf>, repeat: u32) -> Result<Cost, WireError> {
    let mut trial = Trial::load(object)?;
    trial.set_watch(trial.key(1, FAMILY_V4), Watch::new(0, Rules::default(), clock::now().0))?;
    let run = |direction: u8, frame: &[u8]| -> Result<u64, WireError> {
        let took = trial.run(direction, frame, repeat)?.took;
        Ok(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))
    };
    let advert = Advert::v2();
    let stranger = Advert { vrid: 2, ..Advert::v2() };
    let mut other = advert.frame();
    // Protocol 6.
    if let Some(protocol) = other.get_mut(23) {
        *protocol = 6;
    }
    Ok(Cost {
        other_ns: run(INGRESS, &other)?,
        unknown_vrid_ns: run(INGRESS, &stranger.frame())?,
        egress_ns: run(EGRESS, &advert.frame())?,
        ingress_ns: run(INGRESS, &advert.frame())?,
        repeat,
    })
}
