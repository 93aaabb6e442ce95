//! The registrations that live: each for as long as its connection, at most 4096.
//!
//! Two of one router count (an old and a new process overlap when the L3 agent starts it again); the
//! newest is believed. The driver takes the newest word per router, so nobody waits for it, and
//! nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Registration;
use crate::core::model::RouterId;
use crate::peer::{Caller, Peer};
use crate::telemetry::Events;
use crate::telemetry::event::Event;

/// Registrations at once.
const MOST: usize = 4096;

/// The table, shared by the status API and the driver.
#[derive(Debug)]
pub struct Registrations {
    table: Mutex<Table>,
    wake: Notify,
    events: Events,
}

#[derive(Debug, Default)]
struct Table {
    held: BTreeMap<RouterId, Vec<(u64, Arc<Registration>)>>,
    count: usize,
    last: u64,
    changed: BTreeSet<RouterId>,
}

/// A registration that lives until this is dropped.
#[derive(Debug)]
pub struct Held {
    registrations: Arc<Registrations>,
    router: RouterId,
    number: u64,
    uid: u32,
    pid: i32,
}

/// There are as many as there may be already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} routers are registered here already; ha-agent takes no more")]
pub struct Full;

impl Registrations {
    /// None yet.
    pub fn new(events: Events) -> Self {
        Self { table: Mutex::default(), wake: Notify::new(), events }
    }

    /// Takes one of a caller.
    ///
    /// # Errors
    /// [`Full`].
    pub fn hold(self: &Arc<Self>, registration: Registration, caller: &Caller) -> Result<Held, Full> {
        let router = registration.router;
        let netns = registration.namespace.clone();
        let number = {
            let mut table = self.lock();
            if table.count >= MOST {
                return Err(Full);
            }
            table.count += 1;
            table.last += 1;
            let number = table.last;
            table.held.entry(router).or_default().push((number, Arc::new(registration)));
            table.changed.insert(router);
            number
        };
        let Peer { uid, gid, pid } = caller.peer;
        let process = caller.process.clone();
        self.events.emit(Event::RouterRegistered { router_id: router, netns, uid, pid, gid: Some(gid), process });
        self.wake.notify_one();
        Ok(Held { registrations: Arc::clone(self), router, number, uid, pid })
    }

    /// The routers whose registrations changed since the last call, each with the newest that lives.
    /// Waits for one. For one caller only; nothing is lost when it is cancelled.
    pub async fn changed(&self) -> Vec<(RouterId, Option<Arc<Registration>>)> {
        loop {
            {
                let mut table = self.lock();
                let changed = std::mem::take(&mut table.changed);
                if !changed.is_empty() {
                    let newest = |id| table.held.get(&id).and_then(|held| Some(Arc::clone(&held.last()?.1)));
                    return changed.into_iter().map(|id| (id, newest(id))).collect();
                }
            }
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Self { registrations, router, number, uid, pid } = self;
        {
            let mut table = registrations.lock();
            if let Some(held) = table.held.get_mut(router) {
                held.retain(|(other, _)| other != number);
                if held.is_empty() {
                    table.held.remove(router);
                }
            }
            table.count -= 1;
            table.changed.insert(*router);
        }
        registrations.events.emit(Event::RouterUnregistered { router_id: *router, uid: *uid, pid: *pid });
        registrations.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use std::path::Path;

    use super::*;
    use crate::core::reporter::Naming;

    fn registration(router: u128, namespace: &str) -> Registration {
        let router = RouterId(uuid::Uuid::from_u128(router));
        let conf_dir = format!("/ha_confs/{router}");
        let body = json!({"namespace": namespace, "interface": "ha-1", "cidr": "169.254.0.1/24", "conf_dir": conf_dir});
        Registration::parse(router, body.to_string().as_bytes(), Path::new("/ha_confs")).expect("valid")
    }

    fn caller(pid: i32) -> Caller {
        Caller { peer: Peer { uid: 0, gid: 0, pid }, process: Naming::Untold {} }
    }

    async fn changed(registrations: &Registrations) -> Vec<Option<String>> {
        let changed = registrations.changed().await;
        changed.into_iter().map(|(_, newest)| newest.map(|newest| newest.namespace.clone())).collect()
    }

    #[tokio::test]
    async fn the_newest_that_lives_is_believed() {
        let (events, mut told, _) = Events::channel(16);
        let registrations = Arc::new(Registrations::new(events));
        let old = registrations.hold(registration(1, "old"), &caller(11)).expect("room");
        assert_eq!(changed(&registrations).await, [Some("old".to_owned())]);
        let new = registrations.hold(registration(1, "new"), &caller(12)).expect("room");
        drop(old);
        assert_eq!(changed(&registrations).await, [Some("new".to_owned())]);
        let newest = registrations.hold(registration(1, "newest"), &caller(13)).expect("room");
        drop(newest);
        assert_eq!(changed(&registrations).await, [Some("new".to_owned())]);
        drop(new);
        assert_eq!(changed(&registrations).await, [None]);
        let mut names = Vec::new();
        while let Ok(event) = told.try_recv() {
            names.push(event.name());
        }
        let (on, off) = ("router.registered", "router.unregistered");
        assert_eq!(names, [on, on, off, on, off, off]);
    }

    #[tokio::test]
    async fn there_is_an_end_to_them() {
        let (events, _told, _) = Events::channel(1);
        let registrations = Arc::new(Registrations::new(events));
        let take = |number: usize| registrations.hold(registration(1 + number as u128, "n"), &caller(1));
        let mut held: Vec<Held> = (0..MOST).map(|number| take(number).expect("room")).collect();
        assert_eq!(take(MOST).err(), Some(Full));
        held.pop();
        held.push(take(MOST).expect("room again"));
        assert_eq!(registrations.changed().await.len(), MOST + 1);
    }
}
