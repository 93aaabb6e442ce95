//! The table: which thread may do what. ARCHITECTURE.md gives the reasons; a test holds both together.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use super::calls::{Forbidden, Sockets};
use crate::config::{Config, Sink};

/// A kind of thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The first thread: starts and ends everything; in between it waits for signals and reads the
    /// configuration again.
    Main,
    /// tokio's threads, the blocking ones too: everything that parses what others wrote.
    Worker,
    /// Takes connections to the state-change socket and turns away what is too much; reads nothing.
    Intake,
    /// Enters namespaces and attaches there.
    Netns,
    /// Opens the netlink sockets and namespace files, and carries requests to the kernel and back.
    Netlink,
    /// Watches and opens Neutron's files; their text is read by a worker.
    Inventory,
    /// Watches and reads a plain keepalived's own files, which keepalived reads as root, whosever they are.
    Keepalived,
    /// Does what a confirmed transition sets off: its children inherit what it has.
    Actions,
    /// Connects to the L3 agent's socket; what it answers is read by a worker.
    Delivery,
    /// Keeps the outbox on disk.
    Outbox,
    /// Writes events to a file.
    EventsFile,
    /// Writes events to journald or standard output.
    EventsSink,
}

/// What a role has.
pub(super) struct Needs {
    capabilities: CapabilitySet,
    /// Whether it reads the classifier's maps, which takes CAP_BPF on older kernels.
    reads_maps: bool,
    /// System calls that fail with `EPERM`.
    pub(super) forbidden: &'static [Forbidden],
    /// Families of sockets that it may make.
    pub(super) sockets: Sockets,
    files: Files,
}

/// Which part of the file system is open to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// To read: everything. To remove: the agent's sockets.
    Configuration,
    /// The FIFOs, the agent's sockets to remove, its own figures.
    Reports,
    /// To read: everything. A namespace's file may be anywhere, and a reload may name another one; so may an
    /// included file.
    All,
    /// To read: `ha_confs` and its parent.
    HaConfs,
    /// The state directory.
    State,
    /// The folders of the event files.
    Logs,
    /// Nothing.
    None,
}

/// A part of the file system and what may be done below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A directory, or a file.
    pub(super) path: PathBuf,
    /// What may be done.
    pub(super) use_: Use,
}

/// What may be done in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Files read, directories listed.
    Read,
    /// Files made, written, truncated, renamed and removed.
    Keep,
    /// FIFOs made and read.
    Fifo,
    /// Names removed.
    Remove,
}

/// The agent's own figures; how many processors there may be, by which the classifier counts.
const FIGURES: [&str; 2] = ["/proc", "/sys/devices/system/cpu"];

use Forbidden::{Attributes, Bpf, BpfBeyondElements, Connect, EnterNamespace, Never, Processes};

impl Role {
    /// Every role.
    pub const ALL: [Self; 12] = [
        Self::Main,
        Self::Worker,
        Self::Intake,
        Self::Netns,
        Self::Netlink,
        Self::Inventory,
        Self::Keepalived,
        Self::Actions,
        Self::Delivery,
        Self::Outbox,
        Self::EventsFile,
        Self::EventsSink,
    ];

    /// The thread's name, as /proc shows it: at most 15 bytes.
    pub fn thread_name(self) -> &'static str {
        match self {
            Self::Main => "ha-agent",
            Self::Worker => "worker",
            Self::Intake => "intake",
            Self::Netns => "netns",
            Self::Netlink => "netlink",
            Self::Inventory => "inventory",
            Self::Keepalived => "keepalived",
            Self::Actions => "actions",
            Self::Delivery => "delivery",
            Self::Outbox => "outbox",
            Self::EventsFile => "events-file",
            Self::EventsSink => "events-sink",
        }
    }

    pub(super) fn needs(self) -> Needs {
        let none = CapabilitySet::empty();
        let all = &[Never, Processes, EnterNamespace, Bpf, Attributes, Connect];
        let (capabilities, forbidden, sockets, files): (_, &'static [Forbidden], _, _) = match self {
            Self::Main => (none, &[Never, Processes, EnterNamespace, Bpf], Sockets::UNIX, Files::Configuration),
            Self::Worker => (
                none,
                &[Never, Processes, EnterNamespace, BpfBeyondElements, Attributes, Connect],
                // What listens was bound before this role was taken; what is accepted is handed over.
                Sockets::NONE,
                Files::Reports,
            ),
            Self::Intake => (none, all, Sockets::NONE, Files::Reports),
            Self::Netns => (
                CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::BPF,
                &[Never, Processes, Attributes, Connect],
                Sockets::UNIX.and(Sockets::INET).and(Sockets::NETLINK),
                Files::All,
            ),
            Self::Netlink => {
                (CapabilitySet::NET_ADMIN | CapabilitySet::NET_BROADCAST, all, Sockets::NETLINK, Files::All)
            }
            Self::Inventory => (CapabilitySet::DAC_READ_SEARCH, all, Sockets::NONE, Files::HaConfs),
            Self::Keepalived => (CapabilitySet::DAC_READ_SEARCH, all, Sockets::NONE, Files::All),
            Self::Actions => (CapabilitySet::all(), &[], Sockets::NONE, Files::All),
            Self::Delivery => (
                CapabilitySet::DAC_OVERRIDE,
                &[Never, Processes, EnterNamespace, Bpf, Attributes],
                Sockets::UNIX,
                Files::None,
            ),
            Self::Outbox => (none, all, Sockets::NONE, Files::State),
            Self::EventsFile => (CapabilitySet::DAC_OVERRIDE, all, Sockets::NONE, Files::Logs),
            Self::EventsSink => (none, all, Sockets::UNIX, Files::None),
        };
        Needs { capabilities, reads_maps: self == Self::Worker, forbidden, sockets, files }
    }
}

impl Needs {
    /// Whether nothing is taken away.
    pub(super) fn keeps_everything(&self) -> bool {
        self.capabilities == CapabilitySet::all()
    }

    /// The capabilities, on a kernel that lets or does not let everyone read open maps.
    pub(super) fn capabilities(&self, map_reads_need_bpf: bool) -> CapabilitySet {
        if self.reads_maps && map_reads_need_bpf { self.capabilities | CapabilitySet::BPF } else { self.capabilities }
    }

    /// The places, by what the configuration says.
    pub(super) fn files(&self, config: &Config) -> Vec<Place> {
        let place = |path: &Path, use_| Place { path: path.to_owned(), use_ };
        let whole = || place(Path::new("/"), Use::Read);
        let folders = |paths: &mut dyn Iterator<Item = &PathBuf>, use_| -> Vec<Place> {
            paths.filter_map(|path| path.parent()).map(|folder| place(folder, use_)).collect()
        };
        let sockets = || folders(&mut [&config.intake.socket, &config.admin.socket].into_iter(), Use::Remove);
        match self.files {
            Files::Configuration => [vec![whole()], sockets()].concat(),
            Files::Reports => [
                sockets(),
                folders(&mut config.intake.notify_fifos.iter(), Use::Fifo),
                FIGURES.iter().map(|path| place(Path::new(path), Use::Read)).collect(),
            ]
            .concat(),
            Files::All => vec![whole()],
            Files::HaConfs => folders(&mut [&config.neutron.ha_confs_path].into_iter(), Use::Read),
            Files::State => vec![place(&config.state_dir, Use::Keep)],
            Files::Logs => {
                let files = config.sinks.iter().filter_map(|sink| match sink {
                    Sink::File(path) => Some(path),
                    _ => None,
                });
                folders(&mut files.into_iter(), Use::Keep)
            }
            Files::None => Vec::new(),
        }
    }
}
