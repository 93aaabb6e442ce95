//! Why the wire cannot be seen.

use std::path::PathBuf;

use crate::config::Netns;
use crate::core::model::RouterId;
use crate::netns::NetnsError;

/// Why the wire cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A capability is missing.
    #[error("not permitted to load or attach the classifier; the agent needs {capability}")]
    NotPermitted {
        /// Which.
        capability: &'static str,
    },
    /// The kernel does not take the classifier.
    #[error("this kernel does not take the classifier: {0}")]
    NoBpf(String),
    /// The object was built with other records than the agent.
    #[error("the eBPF object has another layout than this agent; rebuild it: cargo xtask build-ebpf")]
    LayoutMismatch,
    /// The object given by path cannot be read.
    #[error("cannot read eBPF object {path}: {reason}")]
    Object {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The interface does not exist (yet, or any more).
    #[error("interface {interface} does not exist in network namespace {netns}; it is waited for")]
    NoInterface {
        /// Its name.
        interface: String,
        /// Where it was looked for.
        netns: Netns,
    },
    /// The namespace cannot be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Attaching failed otherwise.
    #[error("cannot attach to {interface}: {reason}")]
    AttachFailed {
        /// The interface.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
    /// The classifier does not know what a frame of this device begins with.
    #[error(
        "the classifier knows no frames of the kind that {interface} carries: it knows Ethernet, and links without a header (tun, WireGuard, GRE)"
    )]
    UnknownLink {
        /// The interface.
        interface: String,
    },
    /// Unicast adverts reach an address of ours, and there is none.
    #[error("{interface} has no address that unicast adverts could be sent to; set unicast_src_ip, or give it one")]
    NoAddress {
        /// The interface.
        interface: String,
    },
    /// Another router has this VRID on this interface.
    #[error("VRID {vrid} on {interface} is already watched for router {other}; one of the two is configured wrongly")]
    Taken {
        /// The VRID.
        vrid: u8,
        /// The interface.
        interface: String,
        /// Who has it.
        other: RouterId,
    },
    /// More routers than the maps hold.
    #[error("{} routers are watched already, the most this agent can", ha_agent_common::MAX_WATCHES)]
    Full,
    /// The router is not attached.
    #[error("router {0} is not watched on the wire")]
    NotAttached(RouterId),
    /// A map could not be read or written.
    #[error("eBPF map {map}: {reason}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
}
