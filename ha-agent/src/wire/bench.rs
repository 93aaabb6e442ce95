//! What a frame costs the classifier, by `BPF_PROG_TEST_RUN`. For `cargo xtask bench`.
//!
//! The maps are written as bytes, so that an object of an earlier layout can be measured beside this one:
//! keys are the same since the first, and a watch begins with its number, three budgets and a time.

use std::path::Path;

use aya::maps::{HashMap, Map};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use ha_agent_common::build::Advert;
use ha_agent_common::{BUDGET_BURST, EGRESS, FAMILY_V4, INGRESS, Watch, WatchKey, global};
use serde::Serialize;

use super::btf::{self, Offsets};
use super::object::{self, EGRESS_PROGRAM, INGRESS_PROGRAM};
use super::{WireError, attach};
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

/// A loaded classifier whose frames are timed.
pub struct Timed {
    ebpf: Ebpf,
}

impl Timed {
    /// Loads the embedded object, or one at a path, also of an earlier layout, and has it watch VRID 1.
    ///
    /// # Errors
    /// [`WireError::Object`], [`WireError::NoBpf`], [`WireError::LayoutMismatch`], [`WireError::Map`].
    pub fn load(path: Option<&Path>) -> Result<Self, WireError> {
        let bytes = object::bytes(path)?;
        let offsets = Offsets::read(Path::new(btf::VMLINUX));
        let realm = if offsets.has_cookie() { attach::cookie().unwrap_or_default() } else { 0 };
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global(global::NETNS_OFFSETS, &offsets.netns, true)
            .override_global(global::SOCKET_OFFSETS, &offsets.socket, false)
            .override_global(global::DIGEST_KEY, &[1_u64, 2], false)
            .override_global(global::ANY_SENDER, &1_u32, false)
            .load(&bytes)
            .map_err(|error| WireError::NoBpf(error.to_string()))?;
        for name in [INGRESS_PROGRAM, EGRESS_PROGRAM] {
            program(&mut ebpf, name)?.load().map_err(object::program_error)?;
        }
        watch(&mut ebpf, realm)?;
        Ok(Self { ebpf })
    }

    /// Instructions that the verifier looked at to accept a program, the larger of the two; none before Linux 5.16.
    ///
    /// # Errors
    /// [`WireError::Object`], and [`WireError::NoBpf`] when the kernel does not tell.
    pub fn verified(&mut self) -> Result<Option<u32>, WireError> {
        let mut most = None;
        for name in [INGRESS_PROGRAM, EGRESS_PROGRAM] {
            let info = program(&mut self.ebpf, name)?.info().map_err(object::program_error)?;
            most = most.max(info.verified_instruction_count());
        }
        Ok(most)
    }

    /// Measures over `repeat` runs of each kind of frame.
    ///
    /// # Errors
    /// As [`Timed::load`].
    pub fn cost(&mut self, repeat: u32) -> Result<Cost, WireError> {
        let advert = Advert::v2();
        let stranger = Advert { vrid: 2, ..Advert::v2() };
        let mut other = advert.frame();
        // Protocol 6.
        if let Some(protocol) = other.get_mut(23) {
            *protocol = 6;
        }
        // Our own advert first: it shows the rules by which others' are judged.
        let egress_ns = self.run(EGRESS, &advert.frame(), repeat)?;
        Ok(Cost {
            other_ns: self.run(INGRESS, &other, repeat)?,
            unknown_vrid_ns: self.run(INGRESS, &stranger.frame(), repeat)?,
            egress_ns,
            ingress_ns: self.run(INGRESS, &advert.frame(), repeat)?,
            repeat,
        })
    }

    fn run(&mut self, direction: u8, frame: &[u8], repeat: u32) -> Result<u64, WireError> {
        let name = if direction == INGRESS { INGRESS_PROGRAM } else { EGRESS_PROGRAM };
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        let result = program(&mut self.ebpf, name)?.test_run(options).map_err(object::program_error)?;
        Ok(u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, WireError> {
    ebpf.program_mut(name).ok_or(WireError::LayoutMismatch)?.try_into().map_err(object::program_error)
}

/// Watches VRID 1 under number 0, with full budgets.
fn watch(ebpf: &mut Ebpf, realm: u64) -> Result<(), WireError> {
    /// Number, three budgets, time: how a watch begins in every layout.
    const HEAD: usize = 24;
    let key = WatchKey { realm, ifindex: LOOPBACK, vrid: 1, family: FAMILY_V4, pad: [0; 2] };
    let mut head = [0; HEAD];
    for budget in [4, 8, 12] {
        head[budget..budget + 4].copy_from_slice(&BUDGET_BURST.to_ne_bytes());
    }
    head[16..].copy_from_slice(&clock::now().0.to_ne_bytes());
    let map = ebpf.map_mut("WATCHES").ok_or(WireError::LayoutMismatch)?;
    match value_size(map) {
        Some(size) if size as usize == size_of::<Watch>() => insert::<{ size_of::<Watch>() }>(map, key, &head),
        // Layout 2.
        Some(192) => insert::<192>(map, key, &head),
        // Layout 1.
        Some(56) => insert::<56>(map, key, &head),
        _ => Err(WireError::LayoutMismatch),
    }
}

/// The interface of a test run.
const LOOPBACK: u32 = 1;

fn value_size(map: &Map) -> Option<u32> {
    match map {
        Map::HashMap(data) => data.info().ok().map(|info| info.value_size()),
        _ => None,
    }
}

fn insert<const N: usize>(map: &mut Map, key: WatchKey, head: &[u8]) -> Result<(), WireError> {
    let mut value = [0_u8; N];
    value[..head.len()].copy_from_slice(head);
    let mut map: HashMap<_, WatchKey, [u8; N]> = HashMap::try_from(map).map_err(|_| WireError::LayoutMismatch)?;
    map.insert(key, value, 0).map_err(|error| super::maps::failed("WATCHES", &error))
}
