//! The classifier, run by the kernel on frames that are handed to it (`BPF_PROG_TEST_RUN`). Nothing
//! is attached. For the object's tests, the differential test and `cargo xtask bench`.

use std::path::PathBuf;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap as BpfHashMap, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use ha_agent_common::judge::{Peer, PeerKey};
use ha_agent_common::{Device, DeviceKey, ForeignKey, INGRESS, Piece, Record, Speaker, Watch, WatchKey, counter};

use super::maps::{failed, taken};
use super::object::{self, EGRESS_PROGRAM, INGRESS_PROGRAM};
use super::{Identity, WireError, pieces};

/// A test run's frame is on the loopback interface of the caller's namespace.
const IFINDEX: u32 = 1;
/// `TC_ACT_UNSPEC`: what the classifier always returns.
pub const GO_ON: u32 = u32::MAX;

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The program's own answer; [`GO_ON`].
    pub verdict: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Per repetition.
    pub took: Duration,
}

/// A loaded classifier with its maps.
pub struct Trial {
    ebpf: Ebpf,
    watches: BpfHashMap<MapData, WatchKey, Watch>,
    local: Array<MapData, Speaker>,
    foreign: BpfHashMap<MapData, ForeignKey, Speaker>,
    peers: BpfHashMap<MapData, PeerKey, Peer>,
    devices: BpfHashMap<MapData, DeviceKey, Device>,
    local_events: RingBuf<MapData>,
    foreign_events: RingBuf<MapData>,
    pieces: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    realm: u64,
    /// `ha_agent_common::global::DIGEST_KEY`.
    pub key: [u64; 2],
}

impl Trial {
    /// Loads the embedded object, or the one at a path. Needs the right to load programs.
    ///
    /// # Errors
    /// As [`super::Wire::start`].
    pub fn load(object: Option<&PathBuf>) -> Result<Self, WireError> {
        let choice = object::Choice { path: object, any_sender: true, ..object::Choice::default() };
        let object::Loaded { mut ebpf, identity, key } = object::load(choice)?;
        let realm = match identity {
            Identity::Cookie => super::attach::cookie().unwrap_or_default(),
            Identity::ClassId => 0,
        };
        Ok(Self {
            watches: taken(&mut ebpf, "WATCHES")?,
            local: taken(&mut ebpf, "LOCAL")?,
            foreign: taken(&mut ebpf, "FOREIGN")?,
            peers: taken(&mut ebpf, "PEERS")?,
            devices: taken(&mut ebpf, "DEVICES")?,
            local_events: taken(&mut ebpf, "LOCAL_EVENTS")?,
            foreign_events: taken(&mut ebpf, "FOREIGN_EVENTS")?,
            pieces: taken(&mut ebpf, "PIECES")?,
            counters: taken(&mut ebpf, "COUNTERS")?,
            ebpf,
            realm,
            key,
        })
    }

    /// Where the frames of a trial are seen.
    pub fn key(&self, vrid: u8, family: u8) -> WatchKey {
        WatchKey { realm: self.realm, ifindex: IFINDEX, vrid, family, pad: [0; 2] }
    }

    /// Begins a watch, or gives one other counts and budgets.
    ///
    /// # Errors
    /// [`WireError::Map`], as all that follow.
    pub fn set_watch(&mut self, key: WatchKey, watch: Watch) -> Result<(), WireError> {
        self.watches.insert(key, watch, 0).map_err(|error| failed("WATCHES", &error))
    }

    /// A watch as it stands.
    ///
    /// # Errors
    /// [`WireError::Map`], also where there is none.
    pub fn watch(&self, key: WatchKey) -> Result<Watch, WireError> {
        self.watches.get(&key, 0).map_err(|error| failed("WATCHES", &error))
    }

    /// Remembers a peer of a watch, or with none forgets it.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn set_peer(&mut self, key: PeerKey, peer: Option<Peer>) -> Result<(), WireError> {
        match peer {
            Some(peer) => self.peers.insert(key, peer, 0),
            None => self.peers.remove(&key),
        }
        .map_err(|error| failed("PEERS", &error))
    }

    /// Says that the program is attached where the frames of a trial are seen.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn set_device(&mut self, device: Device) -> Result<(), WireError> {
        let key = self.device_key();
        self.devices.insert(key, device, 0).map_err(|error| failed("DEVICES", &error))
    }

    /// The budget of that place.
    ///
    /// # Errors
    /// [`WireError::Map`], also where there is none.
    pub fn device(&self) -> Result<Device, WireError> {
        self.devices.get(&self.device_key(), 0).map_err(|error| failed("DEVICES", &error))
    }

    fn device_key(&self) -> DeviceKey {
        DeviceKey { realm: self.realm, ifindex: IFINDEX, pad: 0 }
    }

    /// The speaker on this host, by [`Watch::id`].
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn local(&self, watch: u32) -> Result<Speaker, WireError> {
        self.local.get(&watch, 0).map_err(|error| failed("LOCAL", &error))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn set_local(&mut self, watch: u32, speaker: Speaker) -> Result<(), WireError> {
        self.local.set(watch, speaker, 0).map_err(|error| failed("LOCAL", &error))
    }

    /// A speaker elsewhere; none: not remembered.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn foreign(&self, key: ForeignKey) -> Result<Option<Speaker>, WireError> {
        match self.foreign.get(&key, 0) {
            Ok(speaker) => Ok(Some(speaker)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(failed("FOREIGN", &error)),
        }
    }

    /// Remembers a speaker, or with none forgets it.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn set_foreign(&mut self, key: ForeignKey, speaker: Option<Speaker>) -> Result<(), WireError> {
        match speaker {
            Some(speaker) => self.foreign.insert(key, speaker, 0),
            None => self.foreign.remove(&key),
        }
        .map_err(|error| failed("FOREIGN", &error))
    }

    /// All that are remembered.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn foreign_keys(&self) -> Result<Vec<ForeignKey>, WireError> {
        self.foreign.keys().collect::<Result<_, _>>().map_err(|error| failed("FOREIGN", &error))
    }

    /// `ha_agent_common::counter`, summed over the processors.
    ///
    /// # Errors
    /// [`WireError::Map`].
    pub fn counters(&self) -> Result<[u64; counter::COUNT as usize], WireError> {
        let mut sums = [0; counter::COUNT as usize];
        for (index, sum) in (0..).zip(&mut sums) {
            let values = self.counters.get(&index, 0).map_err(|error| failed("COUNTERS", &error))?;
            *sum = values.iter().sum();
        }
        Ok(sums)
    }

    /// Lets the program look at a frame, Ethernet header first, `repeat` times.
    ///
    /// # Errors
    /// When the kernel does not take the frame: longer than a page, or shorter than the headers that it
    /// names (6.18: 15 bytes, with IPv4 34, with IPv6 54).
    pub fn run(&self, direction: u8, frame: &[u8], repeat: u32) -> Result<Ran, WireError> {
        let name = if direction == INGRESS { INGRESS_PROGRAM } else { EGRESS_PROGRAM };
        let program: &SchedClassifier =
            self.ebpf.program(name).ok_or(WireError::LayoutMismatch)?.try_into().map_err(object::program_error)?;
        let mut out = vec![0; frame.len() + 64];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                repeat,
                ..TestRunOptions::default()
            })
            .map_err(object::program_error)?;
        out.truncate(usize::try_from(result.data_size_out).unwrap_or(usize::MAX));
        Ok(Ran { verdict: result.return_value, frame: out, took: result.duration })
    }

    /// Takes the records about frames of one direction out of their ring buffer.
    pub fn records(&mut self, direction: u8) -> Vec<Record> {
        let ring = if direction == INGRESS { &mut self.foreign_events } else { &mut self.local_events };
        let mut records = Vec::new();
        while let Some(item) = ring.next() {
            assert_eq!(item.len(), size_of::<Record>(), "a record's size");
            // SAFETY: plain old data of this size, read without asking for alignment.
            records.push(unsafe { item.as_ptr().cast::<Record>().read_unaligned() });
        }
        records
    }

    /// Takes out what was handed over to be put together.
    pub fn pieces(&mut self) -> Vec<Piece> {
        let mut all = Vec::new();
        while let Some(item) = self.pieces.next() {
            all.extend(pieces::read(&item).map(|piece| *piece));
        }
        all
    }
}
