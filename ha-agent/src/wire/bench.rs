//! What a frame costs the classifier, by `BPF_PROG_TEST_RUN`. For `cargo xtask bench`.

use std::path::PathBuf;
use std::time::Duration;

use ha_agent_common::build::Advert;
use ha_agent_common::{EGRESS, FAMILY_V4, INGRESS, Watch};
use serde::Serialize;

use super::rules::kernel_rules;
use super::trial::Trial;
use super::{Family, WireError};
use crate::advert_rules::{AdvertRules, Authentication, Mode};
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
    let advert = Advert::v2();
    let configured = AdvertRules {
        version: Some(advert.version),
        mode: Some(Mode::Multicast { group: None }),
        authentication: Some(Authentication::None),
        interval: Some(Duration::from_millis(u64::from(advert.interval_cs) * 10)),
        addresses: Some(advert.addresses.clone()),
        ..AdvertRules::default()
    };
    let (rules, _) = kernel_rules(&configured, Family::V4, None, trial.key);
    trial.set_watch(trial.key(1, FAMILY_V4), Watch::new(0, rules, clock::now().0))?;
    let run = |direction: u8, frame: &[u8]| -> Result<u64, WireError> {
        let took = trial.run(direction, frame, repeat)?.took;
        Ok(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))
    };
    let stranger = Advert { vrid: 2, ..Advert::v2() };
    let mut other = advert.frame();
    // Protocol 6.
    if let Some(protocol) = other.get_mut(23) {
        *protocol = 6;
    }
    let cost = Cost {
        other_ns: run(INGRESS, &other)?,
        unknown_vrid_ns: run(INGRESS, &stranger.frame())?,
        egress_ns: run(EGRESS, &advert.frame())?,
        ingress_ns: run(INGRESS, &advert.frame())?,
        repeat,
    };
    // What keepalived would drop costs something else.
    let watch = trial.watch(trial.key(1, FAMILY_V4))?;
    let sound = u64::from(repeat);
    if (watch.ours, watch.peers, watch.rejected, watch.unheard) != (sound, sound, 0, 0) {
        return Err(WireError::NoBpf(format!("the measured adverts are not taken: {watch:?}")));
    }
    Ok(cost)
}
