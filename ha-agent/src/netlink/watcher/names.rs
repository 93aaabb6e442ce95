//! What becomes of a namespace when its file comes or goes.

use std::io;

use super::Watcher;
use super::slot::{SlotId, Step, Turn, restart};
use crate::clock;
use crate::config::Netns;
use crate::netlink::Missing;
use crate::netns::names::{NameChange, Names};

impl Watcher {
    pub(super) fn name_changed(&mut self, id: SlotId, change: NameChange) {
        match change {
            NameChange::Vanished => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.missing = Missing::Absent;
                }
                self.lose(id);
            }
            NameChange::Appeared | NameChange::Unsure => self.look(id),
        }
    }

    /// Nothing is known of the namespace any more; its file is waited for.
    pub(super) fn lose(&mut self, id: SlotId) {
        self.unbind(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            restart(slot, Step::Resolve);
            slot.attempts = 0;
        }
        self.missing(id);
        self.recovered(id);
        self.gauges();
    }

    pub(super) fn missing(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.table.missing(&mut self.changes);
            slot.vmacs.lose();
            self.told(clock::now());
        }
    }

    pub(super) fn unbind(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id)
            && let Some(bound) = slot.bound.take()
        {
            self.by_nsid.remove(&(bound.nsid, id));
        }
    }

    /// Looks at the slot's file again.
    pub(super) fn look(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.table.abort_dump(&mut self.changes);
            slot.vmacs.end(None);
            slot.attempts = 0;
            restart(slot, Step::Resolve);
            slot.turn = Turn::Queued;
            self.queue.push_back(id);
            self.told(clock::now());
        }
    }

    pub(super) fn reopen_names(&mut self, error: &io::Error) {
        tracing::warn!(error = %error, "inotify is lost; opening it again");
        match Names::new() {
            Ok(names) => self.names = names,
            Err(e) => {
                self.lost_socket(&format!("cannot watch namespace files: {e}"));
                return;
            }
        }
        let ids: Vec<SlotId> = self.slots.keys().copied().collect();
        for id in ids {
            if let Some(Netns::Path(path)) = self.slots.get(&id).map(|s| &*s.netns) {
                let _ = self.names.add(path, id);
            }
            self.look(id);
        }
    }
}
