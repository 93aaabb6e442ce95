//! Many elements of `FOREIGN` by one call, from wherever the last one ended: aya has no word for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::Map;
use ha_agent_common::{ForeignKey, Speaker};

use super::WireError;

/// `BPF_MAP_LOOKUP_BATCH` of linux/bpf.h (5.6).
const LOOKUP_BATCH: libc::c_int = 24;
/// Elements by one call.
const AT_ONCE: usize = 64;

/// `union bpf_attr`, member `batch`.
#[repr(C)]
struct Attributes {
    from: u64,
    next: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Where to go on: a bucket, so that it stays good whoever is forgotten meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor(u32);

/// What one call found.
pub(super) struct Batch {
    /// A value may be half of one advert and half of the next: the program does not wait.
    pub(super) found: Vec<(ForeignKey, Speaker)>,
    /// None: that was the last.
    pub(super) next: Option<Cursor>,
}

/// The map, by its descriptor.
pub(super) struct Batches(OwnedFd);

impl Batches {
    pub(super) fn of(map: &Map) -> Result<Self, WireError> {
        let Map::LruHashMap(data) = map else {
            return Err(WireError::LayoutMismatch);
        };
        data.fd().as_fd().try_clone_to_owned().map(Self).map_err(|error| failed(&error))
    }

    /// The elements from a place on, or from the begin.
    pub(super) fn read(&self, from: Option<Cursor>) -> Result<Batch, WireError> {
        let none = ForeignKey { watch: 0, family: 0, vlan: 0, src: [0; 16], content: 0, mac: [0; 6], pad: [0; 2] };
        let (mut keys, mut values) = (vec![none; AT_ONCE], vec![Speaker::default(); AT_ONCE]);
        let (from, mut next) = (from.map(|Cursor(bucket)| bucket), 0_u32);
        let mut attributes = Attributes {
            from: from.as_ref().map_or(0, |bucket| std::ptr::from_ref(bucket).addr() as u64),
            next: (&raw mut next).addr() as u64,
            keys: keys.as_mut_ptr().addr() as u64,
            values: values.as_mut_ptr().addr() as u64,
            count: AT_ONCE as u32,
            map: self.0.as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: the addresses are those of two words and of `AT_ONCE` keys and values each, of the sizes
        // that the map has; all outlive the call, and any bytes are values of theirs.
        let done = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attributes, size_of::<Attributes>()) };
        let ended = done != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT);
        if done != 0 && !ended {
            return Err(failed(&io::Error::last_os_error()));
        }
        let found = keys.into_iter().zip(values).take(attributes.count as usize).collect();
        Ok(Batch { found, next: (!ended).then_some(Cursor(next)) })
    }
}

fn failed(error: &io::Error) -> WireError {
    WireError::Map { map: "FOREIGN", reason: error.to_string() }
}
