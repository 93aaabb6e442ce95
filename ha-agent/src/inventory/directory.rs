//! The index of known routers that the intake reads on every request.

use std::collections::{HashMap, HashSet};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::config::Router;
use crate::core::model::RouterId;

/// Read without a lock, replaced as a whole by the agent's driver when a router comes or goes.
#[derive(Debug, Default)]
pub struct Directory {
    index: ArcSwap<Index>,
    complete: CancellationToken,
}

#[derive(Debug, Default)]
struct Index {
    ids: HashSet<RouterId>,
    /// None: several have this name.
    fifo_instances: HashMap<String, Option<RouterId>>,
}

/// Who is meant by a name in a notify FIFO line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// This router.
    One(RouterId),
    /// Nobody can say which: instances in several namespaces or files have this name.
    Several,
    /// None that is watched.
    Nobody,
}

impl Directory {
    /// Whether the router is watched here.
    pub fn knows(&self, id: RouterId) -> bool {
        self.index.load().ids.contains(&id)
    }

    /// The router whose keepalived instance writes `name` in notify FIFO lines.
    pub fn by_fifo_instance(&self, name: &str) -> Named {
        match self.index.load().fifo_instances.get(name) {
            Some(Some(id)) => Named::One(*id),
            Some(None) => Named::Several,
            None => Named::Nobody,
        }
    }

    /// All instances that were there at the start are in it from now on.
    pub fn completed(&self) {
        self.complete.cancel();
    }

    /// Waits until that is so.
    pub async fn complete(&self) {
        self.complete.cancelled().await;
    }

    /// Replaces the index.
    pub fn replace<'a>(&self, routers: impl IntoIterator<Item = &'a Router>) {
        let mut index = Index::default();
        for router in routers {
            index.ids.insert(router.id);
            if let Some(name) = &router.fifo_instance {
                index.fifo_instances.entry(name.clone()).and_modify(|known| *known = None).or_insert(Some(router.id));
            }
        }
        self.index.store(index.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert_rules::AdvertRules;
    use crate::config::Netns;
    use crate::inventory::plain::router_id;

    #[test]
    fn a_name_that_several_have_is_nobodys() {
        let router = |netns: &str, name: &str| {
            let netns = Netns::Path(netns.into());
            Router {
                id: router_id(&netns, name),
                netns,
                interface: "eth0".to_owned(),
                vip: "192.0.2.1".parse().expect("an address"),
                prefix: 24,
                vip_interface: "eth0".to_owned(),
                further: crate::addresses::FurtherAddresses::default(),
                vrid: 1,
                advert_interval: std::time::Duration::from_secs(1),
                fifo_instance: Some(name.to_owned()),
                password: None,
                rules: AdvertRules::default(),
            }
        };
        let (blue, green, other) = (router("/blue", "VI_1"), router("/green", "VI_1"), router("/blue", "VI_2"));
        let directory = Directory::default();
        directory.replace([&blue, &green, &other]);
        assert_eq!(directory.by_fifo_instance("VI_1"), Named::Several);
        assert_eq!(directory.by_fifo_instance("VI_2"), Named::One(other.id));
        assert_eq!(directory.by_fifo_instance("VI_3"), Named::Nobody);
        assert!(directory.knows(blue.id) && directory.knows(green.id));
        directory.replace([&green, &other]);
        assert_eq!(directory.by_fifo_instance("VI_1"), Named::One(green.id));
    }
}
