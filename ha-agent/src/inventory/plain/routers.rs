//! Readings of configuration files → routers, and what cannot be said of them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::config::{Netns, Router};
use crate::core::model::RouterId;
use crate::inventory::keepalived_conf::{Instance, Reading};

/// Version 5 UUIDs of found instances are made in this namespace, so that every node that has the
/// same instance calls it the same.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6cac_80dd_b6fd_4a97_8862_7233_c983_54d1);

/// The id of an instance: version 5 UUID of `NETNS/INSTANCE` in [`NAMESPACE`]; NETNS is the name of
/// its namespace as events show it, and `self` for the agent's own.
pub fn router_id(netns: &Netns, instance: &str) -> RouterId {
    RouterId(Uuid::new_v5(&NAMESPACE, format!("{netns}/{instance}").as_bytes()))
}

/// Which router or file a trouble is about.
pub(super) type About = (Option<RouterId>, PathBuf);

/// What one file was last known to say.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where its instances live.
    netns: Option<Netns>,
    /// By id, as last understood.
    routers: BTreeMap<RouterId, Router>,
    /// What cannot be understood now.
    pub(super) troubles: BTreeMap<About, String>,
    /// Those that it had when it went.
    lost: BTreeSet<RouterId>,
}

impl Known {
    /// The file is not there; `named`: it should be.
    pub(super) fn absent(&mut self, path: &Path, named: bool) {
        let before = std::mem::take(self);
        self.lost = before.lost;
        self.lost.extend(before.routers.into_keys());
        let path_shown = path.display();
        let reason = match (self.lost.is_empty(), named) {
            (true, false) => return,
            (true, true) => format!("{path_shown} is not there, and is waited for: check keepalived.configs"),
            (false, _) => format!(
                "{path_shown} is gone; its instances are watched on for as long as keepalived runs with them. Put it back, or \
                 take it out of keepalived.configs and restart ha-agent"
            ),
        };
        self.troubles.insert((None, path.to_owned()), reason);
    }

    /// Whether an instance that is not found any more went with its file.
    pub(super) fn has_lost(&self, id: RouterId) -> bool {
        self.lost.contains(&id)
    }

    /// Takes a new reading; what it cannot tell stays as it was.
    pub(super) fn take(&mut self, path: &Path, reading: &Reading, default_netns: &Netns) {
        let whole = reading.is_whole();
        self.lost.clear();
        let said = reading.net_namespace.as_ref().map(|name| Netns::Path(Path::new("/run/netns").join(name)));
        let before = self.netns.take().filter(|_| !whole);
        let netns = said.or(before).unwrap_or_else(|| default_netns.clone());
        let broken: BTreeSet<RouterId> = reading.untold().map(|name| router_id(&netns, name)).collect();
        self.routers.retain(|id, _| !whole || broken.contains(id));
        for instance in &reading.instances {
            let router = router(&netns, instance);
            self.routers.insert(router.id, router);
        }
        self.netns = Some(netns.clone());
        self.troubles.clear();
        for trouble in &reading.troubles {
            let about = trouble.instance.as_deref().map(|name| router_id(&netns, name));
            let reason = self.troubles.entry((about, path.to_owned())).or_default();
            if !reason.is_empty() {
                reason.push_str("; ");
            }
            reason.push_str(&trouble.error.to_string());
        }
    }
}

fn router(netns: &Netns, instance: &Instance) -> Router {
    Router {
        id: router_id(netns, &instance.name),
        netns: netns.clone(),
        interface: instance.interface.clone(),
        vip: instance.vip,
        prefix: instance.prefix,
        vip_interface: instance.vip_interface.clone(),
        further: instance.further(),
        vrid: instance.vrid,
        advert_interval: instance.advert_interval,
        fifo_instance: Some(instance.name.clone()),
        password: instance.rules.password(),
        rules: instance.rules.clone(),
    }
}

/// All files together: the first one that has an instance is believed, and the others are named.
pub(super) fn together(files: &[(PathBuf, Known)]) -> (BTreeMap<RouterId, Router>, BTreeMap<About, String>) {
    let mut routers: BTreeMap<RouterId, (Router, &Path)> = BTreeMap::new();
    let mut troubles = BTreeMap::new();
    for (path, known) in files {
        troubles.extend(known.troubles.clone());
        for (id, router) in &known.routers {
            if let Some((_, first)) = routers.get(id) {
                let name = router.fifo_instance.as_deref().unwrap_or_default();
                let reason = format!(
                    "{}: vrrp_instance {name:?} in namespace {} stands in {} already; that one is watched",
                    path.display(),
                    router.netns,
                    first.display()
                );
                troubles.insert((Some(*id), path.clone()), reason);
            } else {
                routers.insert(*id, (router.clone(), path));
            }
        }
    }
    (routers.into_iter().map(|(id, (router, _))| (id, router)).collect(), troubles)
}
