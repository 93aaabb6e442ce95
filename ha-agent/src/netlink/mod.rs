//! The address and link watch: whether every router's VIP is set and its HA interface is up, as the
//! kernel says, in order.
//!
//! One multicast socket hears all namespaces (`NETLINK_LISTEN_ALL_NSID`), one request socket dumps
//! them by their nsid. Nothing here holds a namespace's file or a socket inside it, so a namespace
//! that is deleted goes away although it is watched.
//!
//! - `decode`: bytes → facts; pure.
//! - `namespace`: facts and dumps → changes; pure. `vmac`: which macvlan is an instance's; pure.
//! - `carrier`: the one thread with privileges.
//! - `socket`, `requests`, `resolve`: the two sockets, and how a file becomes an nsid.
//! - `watcher`: the task that joins them.
//!
//! When namespace files come and go is [`crate::netns::names`]'s to know; what a VIP means for a
//! router is [`crate::core`]'s.
//!
//! # When the consumer is slow
//! The task waits for room in the events channel. Notifications then wait in the kernel's socket
//! (8 MiB, some ten thousand); when that is full too, the kernel drops them and says so, which is
//! handled like every overrun: [`NetlinkEvent::Degraded`], a fresh dump of every namespace, only
//! what differs is told, [`NetlinkEvent::Restored`].

mod carrier;
pub mod decode;
mod metrics;
mod namespace;
mod requests;
mod resolve;
mod socket;
mod vmac;
mod watcher;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::registry::Registry;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::metrics::Metrics;
pub use self::vmac::Vmac;
use self::watcher::Watcher;
use crate::addresses::FurtherAddresses;
use crate::config::Netns;
use crate::core::model::{Further, Link, RouterId, Vip};
use crate::core::time::Mono;

/// What to watch for a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The router.
    pub router: RouterId,
    /// Where it lives. A file that does not exist is waited for.
    pub netns: Netns,
    /// HA interface, whose link is told.
    pub interface: String,
    /// Primary VIP.
    pub vip: IpAddr,
    /// Its prefix length. Not compared: the VIP set with another prefix is held none the less.
    pub prefix: u8,
    /// The interface that must hold the VIP.
    pub vip_interface: String,
    /// Its further addresses. Others in a watch that is replaced change nothing else of it.
    pub further: FurtherAddresses,
    /// The MAC of its VMAC, where it has one: told where that is.
    pub vmac: Option<Vmac>,
}

/// What is seen. Per router in the order in which it happened.
///
/// For a watch there comes first `NetnsMissing` or `NetnsFound`; after each `NetnsFound` one `Link`
/// and one `Vip`, then only changes. `at` is when the notification was received, or when the dump
/// was in. Events of a router may still be in the channel when [`Netlink::unwatch`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetlinkEvent {
    /// The VIP: present when the address is set on the VIP interface and IPv6 duplicate address
    /// detection has not refused it; absent also when that interface does not exist; unknown when
    /// the namespace is lost.
    Vip {
        /// Whose.
        router: RouterId,
        /// What is seen.
        vip: Vip,
        /// Since when.
        at: Mono,
    },
    /// The further addresses, some time after the VIP where there are any, and when they have changed; what
    /// changes at once is told as one.
    Further {
        /// Whose.
        router: RouterId,
        /// What is seen.
        further: Further,
        /// Since when.
        at: Mono,
    },
    /// The HA interface: up when it is so administratively, running and with carrier; unknown when
    /// the namespace is lost.
    Link {
        /// Whose.
        router: RouterId,
        /// What is seen.
        link: Link,
        /// Its index in its namespace; a device that was recreated has another one. None when it
        /// does not exist.
        ifindex: Option<u32>,
        /// Since when.
        at: Mono,
    },
    /// Its VMAC, as the kernel shows it; told when it is found, and when it is another one.
    Vmac {
        /// Whose.
        router: RouterId,
        /// Its name.
        name: String,
        /// The index of the device that its frames pass, where that is not the HA interface.
        through: Option<u32>,
    },
    /// Its namespace is not there (any more); waited for.
    NetnsMissing {
        /// Whose.
        router: RouterId,
        /// What is known of it.
        why: Missing,
    },
    /// Its namespace is there and read; also told for [`Netns::Own`].
    NetnsFound {
        /// Whose.
        router: RouterId,
    },
    /// Changes may have been missed. What was told stays until the dump says otherwise.
    Degraded {
        /// In words.
        reason: String,
    },
    /// Every namespace has been read again.
    Restored,
}

/// Why a namespace is not to be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// No file has its name.
    #[default]
    Absent,
    /// A file has its name that is no network namespace.
    NotANamespace,
    /// It may well be there, but its file cannot be opened: why, and what to do.
    Closed(String),
}

/// Why watching is not possible.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A socket or inotify is refused.
    #[error("cannot open the {what}: {source}; the agent needs CAP_NET_ADMIN and CAP_NET_BROADCAST")]
    Open {
        /// Which one.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An interface name that Linux does not allow.
    #[error("{name:?} cannot be the name of an interface: give 1 to 15 bytes without blank, slash or colon")]
    InterfaceName {
        /// As given.
        name: String,
    },
    /// A namespace path that is not absolute.
    #[error("{path:?} is not the absolute path of a namespace file")]
    NetnsPath {
        /// As given.
        path: std::path::PathBuf,
    },
    /// The task has ended.
    #[error("the netlink watch has been stopped")]
    Stopped,
}

/// Handle to the watch; clones refer to the same.
#[derive(Clone, Debug)]
pub struct Netlink {
    orders: Arc<Orders>,
}

/// What is wanted, by router: the last word counts, so it is bounded by the routers there are and
/// giving an order never waits for the task (which may be waiting for the one who gives it).
#[derive(Debug, Default)]
struct Orders {
    pending: Mutex<HashMap<RouterId, Order>>,
    given: Notify,
    ended: CancellationToken,
}

#[derive(Debug)]
enum Order {
    Watch {
        watch: Watch,
        /// An unwatch was overtaken: what was told is to be told again.
        anew: bool,
    },
    Unwatch,
}

impl Orders {
    fn give(&self, router: RouterId, order: impl FnOnce(Option<Order>) -> Order) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let order = order(pending.remove(&router));
        pending.insert(router, order);
        drop(pending);
        self.given.notify_one();
    }

    fn take(&self) -> HashMap<RouterId, Order> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Numbers that only tests change.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    receive_buffer: usize,
}

impl Netlink {
    /// Opens the sockets and starts the task, which ends when `stop` is cancelled or the receiver of
    /// `events` is dropped. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn start(
        events: mpsc::Sender<NetlinkEvent>,
        registry: &mut Registry,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), NetlinkError> {
        let tuning = Tuning { receive_buffer: socket::RECEIVE_BUFFER };
        Self::start_tuned(events, registry, stop, tuning)
    }

    fn start_tuned(
        events: mpsc::Sender<NetlinkEvent>,
        registry: &mut Registry,
        stop: CancellationToken,
        tuning: Tuning,
    ) -> Result<(Self, JoinHandle<()>), NetlinkError> {
        let orders = Arc::new(Orders::default());
        let metrics = Metrics::register(registry);
        let watcher = Watcher::new(events, metrics, Arc::clone(&orders), tuning)?;
        let ended = orders.ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _ended = ended;
            let thread = watcher.run(stop).await;
            let _ = thread.await;
        });
        Ok((Self { orders }, task))
    }

    /// Watches a router, or replaces what is watched for it (told anew then). The same watch again
    /// changes nothing. Does not wait for the state, which comes as events.
    ///
    /// # Errors
    /// When a name or the path cannot exist, or the task has ended.
    pub fn watch(&self, watch: Watch) -> Result<(), NetlinkError> {
        for name in [&watch.interface, &watch.vip_interface] {
            if decode::IfName::new(name).is_none() {
                return Err(NetlinkError::InterfaceName { name: name.clone() });
            }
        }
        if let Netns::Path(path) = &watch.netns
            && (!path.is_absolute() || path.file_name().is_none())
        {
            return Err(NetlinkError::NetnsPath { path: path.clone() });
        }
        if self.orders.ended.is_cancelled() {
            return Err(NetlinkError::Stopped);
        }
        self.orders.give(watch.router, |before| Order::Watch {
            anew: matches!(before, Some(Order::Unwatch | Order::Watch { anew: true, .. })),
            watch,
        });
        Ok(())
    }

    /// No longer watches a router.
    pub fn unwatch(&self, router: RouterId) {
        self.orders.give(router, |_| Order::Unwatch);
    }
}

#[cfg(test)]
mod tests;
