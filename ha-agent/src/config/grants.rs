//! Who may report which routers.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::path::PathBuf;

use crate::core::model::RouterId;

/// `[[intake.grant]]`: binds a user, or a FIFO, to routers. Several grants of one user add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub to: Grantee,
    /// What.
    pub routers: Granted,
}

/// See [`Grant`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// A peer's uid.
    User(u32),
    /// One of `intake.notify_fifos`: who writes into a FIFO cannot be told.
    Fifo(PathBuf),
}

/// The routers that somebody may report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// `"*"`.
    All,
    /// These.
    These(BTreeSet<RouterId>),
}

impl Granted {
    /// Whether the router is among them.
    pub fn covers(&self, router: RouterId) -> bool {
        match self {
            Self::All => true,
            Self::These(routers) => routers.contains(&router),
        }
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut these), Self::These(those)) => {
                these.extend(those);
                Self::These(these)
            }
            _ => Self::All,
        }
    }
}

impl Grant {
    /// What each grantee that `key` picks may report, its grants added up.
    pub fn by<K: Eq + Hash>(grants: &[Self], key: impl Fn(&Grantee) -> Option<K>) -> HashMap<K, Granted> {
        let mut all: HashMap<K, Granted> = HashMap::new();
        for grant in grants {
            let Some(key) = key(&grant.to) else { continue };
            let before = all.remove(&key);
            let routers = grant.routers.clone();
            all.insert(key, before.map_or(routers.clone(), |before| before.and(routers)));
        }
        all
    }
}
