//! The index of known routers that the intake reads on every request.

use std::collections::HashMap;

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
    routers: HashMap<RouterId, Place>,
    /// By the instance's name, and by `NETNS/INSTANCE`.
    names: HashMap<String, Vec<RouterId>>,
}

/// Where a router is: what tells instances of one name apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of its `vrrp_instance`, where it is known.
    pub instance: Option<String>,
    /// Namespace, `self` for the agent's own.
    pub netns: String,
    /// HA interface.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { netns, interface, vrid, .. } = self;
        write!(f, "namespace {netns}, interface {interface}, VRID {vrid}")
    }
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
        self.index.load().routers.contains_key(&id)
    }

    /// Where the router is.
    pub fn place(&self, id: RouterId) -> Option<Place> {
        self.index.load().routers.get(&id).cloned()
    }

    /// The routers with an instance of this name, which may be written `NETNS/INSTANCE`.
    pub fn named(&self, name: &str) -> Vec<RouterId> {
        self.index.load().names.get(name).cloned().unwrap_or_default()
    }

    /// The router whose keepalived instance writes `name` in notify FIFO lines.
    pub fn by_fifo_instance(&self, name: &str) -> Named {
        let index = self.index.load();
        // A name may have a slash itself: then it is that one's, whatever namespace stands before it.
        let of_instance =
            |id: &&RouterId| index.routers.get(*id).is_some_and(|place| place.instance.as_deref() == Some(name));
        let mut ids = index.names.get(name).into_iter().flatten().filter(of_instance);
        match (ids.next(), ids.next()) {
            (Some(id), None) => Named::One(*id),
            (Some(_), Some(_)) => Named::Several,
            (None, _) => Named::Nobody,
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
            let netns = router.netns.to_string();
            if let Some(name) = &router.fifo_instance {
                for name in [name.clone(), format!("{netns}/{name}")] {
                    index.names.entry(name).or_default().push(router.id);
                }
            }
            let (instance, interface) = (router.fifo_instance.clone(), router.interface.clone());
            index.routers.insert(router.id, Place { instance, netns, interface, vrid: router.vrid });
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
        assert_eq!(directory.named("VI_1"), [blue.id, green.id]);
        assert_eq!(directory.named("/blue/VI_1"), [blue.id]);
        assert_eq!(directory.by_fifo_instance("/blue/VI_1"), Named::Nobody);
        let place = directory.place(green.id).expect("known").to_string();
        assert_eq!(place, "namespace /green, interface eth0, VRID 1");
        directory.replace([&green, &other]);
        assert_eq!(directory.by_fifo_instance("VI_1"), Named::One(green.id));
    }
}
