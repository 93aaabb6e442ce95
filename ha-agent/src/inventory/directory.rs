//! The index of known routers that the intake reads on every request.

use std::collections::{HashMap, HashSet};

use arc_swap::ArcSwap;

use crate::config::Router;
use crate::core::model::RouterId;

/// Read without a lock, replaced as a whole by the agent's driver when a router comes or goes.
#[derive(Debug, Default)]
pub struct Directory {
    index: ArcSwap<Index>,
}

#[derive(Debug, Default)]
struct Index {
    ids: HashSet<RouterId>,
    fifo_instances: HashMap<String, RouterId>,
}

impl Directory {
    /// Whether the router is watched here.
    pub fn knows(&self, id: RouterId) -> bool {
        self.index.load().ids.contains(&id)
    }

    /// The router whose keepalived instance writes `name` in notify FIFO lines.
    pub fn by_fifo_instance(&self, name: &str) -> Option<RouterId> {
        self.index.load().fifo_instances.get(name).copied()
    }

    /// Replaces the index.
    pub fn replace<'a>(&self, routers: impl IntoIterator<Item = &'a Router>) {
        let mut index = Index::default();
        for router in routers {
            index.ids.insert(router.id);
            if let Some(name) = &router.fifo_instance {
                index.fifo_instances.insert(name.clone(), router.id);
            }
        }
        self.index.store(index.into());
    }
}
