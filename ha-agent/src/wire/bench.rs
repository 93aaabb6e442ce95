//! What a frame costs the classifier, by `BPF_PROG_TEST_RUN`. For `cargo xtask bench`.

use std::path::PathBuf;

use aya::maps::HashMap as BpfHashMap;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use ha_agent_common::build::Advert;
use ha_agent_common::{FAMILY_V4, Watch, WatchKey};
use serde::Serialize;

use super::object::{self, EGRESS_PROGRAM, INGRESS_PROGRAM};
use super::{Identity, WireError};
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
    let object::Loaded { mut ebpf, identity } = object::load(object, false)?;
    let map = ebpf.take_map("WATCHES").ok_or(WireError::LayoutMismatch)?;
    let mut watches: BpfHashMap<_, WatchKey, Watch> =
        BpfHashMap::try_from(map).map_err(|_| WireError::LayoutMismatch)?;
    let key = WatchKey {
        realm: match identity {
            Identity::Cookie => super::attach::cookie().unwrap_or_default(),
            Identity::ClassId => 0,
        },
        // A test run's frame is on the loopback interface.
        ifindex: 1,
        vrid: 1,
        family: FAMILY_V4,
        pad: [0; 2],
    };
    watches
        .insert(key, Watch::new(0, clock::now().0), 0)
        .map_err(|error| WireError::Map { map: "WATCHES", reason: error.to_string() })?;
    let run = |program: &str, frame: &[u8]| -> Result<u64, WireError> {
        let program: &SchedClassifier =
            ebpf.program(program).ok_or(WireError::LayoutMismatch)?.try_into().map_err(object::program_error)?;
        let result = program
            .test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() })
            .map_err(object::program_error)?;
        Ok(u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX))
    };
    let advert = Advert::v2();
    let stranger = Advert { vrid: 2, ..Advert::v2() };
    let mut other = advert.frame();
    // Protocol 6.
    if let Some(protocol) = other.get_mut(23) {
        *protocol = 6;
    }
    Ok(Cost {
        other_ns: run(INGRESS_PROGRAM, &other)?,
        unknown_vrid_ns: run(INGRESS_PROGRAM, &stranger.frame())?,
        egress_ns: run(EGRESS_PROGRAM, &advert.frame())?,
        ingress_ns: run(INGRESS_PROGRAM, &advert.frame())?,
        repeat,
    })
}
