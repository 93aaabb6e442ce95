//! What the driver and the status API share: the core's node, and where each router lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Corroboration, Mode, Router};
use crate::core::model::{Basis, RouterId, State};
use crate::core::node::Node;
use crate::core::policy::Policy;
use crate::inventory::Registration;
use crate::outbox::Entry;
use crate::status::Degraded;

/// Held for the length of one input or one look-up, never across an await.
#[derive(Debug, Default)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
}

/// See [`Shared`].
#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Every router's verdict.
    pub(super) node: Node,
    /// Every watched router.
    pub(super) routers: BTreeMap<RouterId, Watched>,
    /// Channels of the whole node without their full strength.
    pub(super) degraded: Vec<Degraded>,
}

/// How a router became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `[[router]]`.
    Config,
    /// Neutron's files.
    HaConfs,
    /// Neutron's files, and who stands in for its monitor.
    HaConfsAndRegistration,
    /// Who stands in for its monitor, as Neutron's files are gone.
    Registration,
    /// A plain keepalived's files.
    Keepalived,
}

impl Source {
    /// The word in events and in `status`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::HaConfs => "ha_confs",
            Self::HaConfsAndRegistration => "ha_confs+registration",
            Self::Registration => "registration",
            Self::Keepalived => "keepalived",
        }
    }
}

/// A watched router, beside its verdict.
#[derive(Debug)]
pub(super) struct Watched {
    /// Where it lives.
    pub(super) router: Router,
    /// How it became known.
    pub(super) source: Source,
    /// Index of the HA interface that the classifier is to be attached to.
    pub(super) ifindex: Option<u32>,
    /// The attachment that is wanted; outcomes of others no longer count.
    pub(super) generation: Option<u64>,
    /// Its namespace is not there.
    pub(super) missing: bool,
    /// Its VMAC, as the kernel shows it.
    pub(super) vmac: Option<VmacPlace>,
    /// What keeps it from being fully watched.
    pub(super) degraded: Vec<Degraded>,
    /// Whether there was a verdict in this run.
    pub(super) decided: bool,
    /// Wall clock of the last confirmed state, microseconds since 1970.
    pub(super) confirmed_at_us: Option<i64>,
    /// Who stands in for its monitor: what that monitor did is ours to do.
    pub(super) registered: Option<Arc<Registration>>,
}

/// Where a VMAC is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VmacPlace {
    /// Its name.
    pub(super) name: String,
    /// The index of the device that its frames pass, where that is not the HA interface.
    pub(super) through: Option<u32>,
}

/// What was confirmed before a restart, or before the router's settings changed.
#[derive(Clone, Debug)]
pub(super) struct Restored {
    /// The state.
    pub(super) state: State,
    /// On whose word.
    pub(super) basis: Basis,
    /// Since when, microseconds since 1970.
    pub(super) confirmed_at_us: i64,
}

impl From<&Entry> for Restored {
    fn from(entry: &Entry) -> Self {
        Self { state: entry.state, basis: entry.basis, confirmed_at_us: entry.confirmed_at_us }
    }
}

impl Watched {
    /// The router with its VMAC as the kernel shows it, where the files only suggest a name.
    pub(super) fn as_found(&self) -> Router {
        let mut router = self.router.clone();
        if let Some(vmac) = &self.vmac {
            if router.rules.vip_on_vmac {
                router.vip_interface.clone_from(&vmac.name);
            }
            if let Some(receives) = &mut router.rules.receive_interface {
                receives.clone_from(&vmac.name);
            }
        }
        router
    }

    /// Notes a channel's weakness; true when that is news.
    pub(super) fn degrade(&mut self, channel: &str, reason: &str) -> bool {
        let known = self.degraded.iter().any(|d| d.channel == channel && d.reason == reason);
        if !known {
            self.degraded.retain(|d| d.channel != channel);
            self.degraded.push(Degraded { channel: channel.to_owned(), reason: reason.to_owned() });
        }
        !known
    }

    /// Notes that a channel is whole again; true when that is news.
    pub(super) fn restore(&mut self, channel: &str) -> bool {
        let before = self.degraded.len();
        self.degraded.retain(|d| d.channel != channel);
        before != self.degraded.len()
    }
}

impl Shared {
    /// Locks. A panic while it was held has already ended the agent; the data is whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A router's settings for the core. Without `fifos` nobody can report by an instance's name;
/// `stand_in`: its own monitor is replaced by a registration.
pub(super) fn policy(
    mode: Mode,
    corroboration: &Corroboration,
    fifos: bool,
    router: &Router,
    stand_in: bool,
) -> Policy {
    Policy {
        observe: mode == Mode::Observe,
        settle: corroboration.settle,
        report_grace: corroboration.report_grace,
        heal_unreported: corroboration.heal_unreported,
        advert_interval: router.advert_interval,
        reporter_expected: fifos && router.fifo_instance.is_some(),
        stand_in,
    }
}
