//! What is wanted: watches come and go, and with them the namespaces.

use std::sync::Arc;

use tokio::time::Instant;

use super::Watcher;
use super::slot::{Slot, SlotId, Step, Turn};
use crate::clock;
use crate::config::Netns;
use crate::core::model::RouterId;
use crate::netlink::decode::IfName;
use crate::netlink::namespace::{Interest, Namespace};
use crate::netlink::vmac::Vmacs;
use crate::netlink::{Missing, Order, Watch};

impl Watcher {
    pub(super) fn take_orders(&mut self) {
        for (router, order) in self.orders.take() {
            match order {
                Order::Unwatch => self.unwatch(router),
                Order::Watch { watch, anew } => {
                    if anew {
                        self.unwatch(router);
                    }
                    self.watch(watch);
                }
            }
        }
    }

    fn watch(&mut self, watch: Watch) {
        let (Some(interface), Some(vip_interface)) = (IfName::new(&watch.interface), IfName::new(&watch.vip_interface))
        else {
            return;
        };
        let interest = Interest { router: watch.router, interface, vip: watch.vip, vip_interface };
        let known = self.by_netns.get(&watch.netns).copied();
        let before = self.by_router.get(&watch.router).copied();
        if before.is_some() && before != known {
            self.unwatch(watch.router);
        }
        let id = known.unwrap_or_else(|| self.add_slot(watch.netns.clone()));
        self.by_router.insert(watch.router, id);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.table.watch(interest, watch.further);
        self.further.insert(watch.router, clock::now());
        match watch.vmac {
            Some(vmac) => slot.vmacs.watch(watch.router, interface, vmac),
            None => slot.vmacs.unwatch(watch.router),
        }
        if slot.bound.is_none() && matches!(slot.turn, Turn::Idle | Turn::Waiting) {
            // Known to be missing: the file's appearance is what is waited for.
            self.missing(id);
        } else {
            self.enqueue(id);
        }
    }

    fn add_slot(&mut self, netns: Netns) -> SlotId {
        let id = self.next_slot;
        self.next_slot += 1;
        let netns = Arc::new(netns);
        match &*netns {
            // Before the first look at the file, so that no change is missed.
            Netns::Path(path) => {
                if let Err(e) = self.names.add(path, id) {
                    tracing::warn!(path = %path.display(), error = %e,
                        "cannot watch the folder of a network namespace; it is not noticed when it \
                         is deleted or made again");
                }
            }
            Netns::Own => self.own_due = Some(Instant::now()),
        }
        self.by_netns.insert(Arc::clone(&netns), id);
        let slot = Slot {
            netns,
            table: Namespace::default(),
            vmacs: Vmacs::default(),
            bound: None,
            missing: Missing::Absent,
            step: Step::Resolve,
            epoch: 0,
            attempts: 0,
            turn: Turn::Queued,
            stale: false,
        };
        self.slots.insert(id, slot);
        self.queue.push_back(id);
        self.gauges();
        id
    }

    fn unwatch(&mut self, router: RouterId) {
        let Some(id) = self.by_router.remove(&router) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.table.unwatch(router);
        slot.vmacs.unwatch(router);
        if !slot.table.is_empty() {
            return;
        }
        self.unbind(id);
        if let Some(slot) = self.slots.remove(&id) {
            self.by_netns.remove(&slot.netns);
            if let Netns::Path(path) = &*slot.netns {
                self.names.remove(path);
            }
        }
        self.recovered(id);
        self.gauges();
    }
}
