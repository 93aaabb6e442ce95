//! What the pieces for a watch turned out to be: the program does not count them.

use ha_agent_common::judge::Judgement;
use ha_agent_common::{Class, Watch};

/// Counts of whole packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) struct Tally {
    /// Taken by keepalived as a peer's.
    pub(in crate::wire) peers: u64,
    /// Read by it and dropped.
    pub(in crate::wire) rejected: u64,
    /// Never delivered to it.
    pub(in crate::wire) unheard: u64,
    /// The newest one that was read and dropped; 0: none.
    pub(in crate::wire) rejected_ns: u64,
    reason: u8,
    /// What the program had refused when `reason` was found.
    refused: u64,
}

impl Tally {
    /// Counts a packet that was judged when the program's own counts were those of `watch`.
    pub(in crate::wire) fn count(&mut self, watch: &Watch, judgement: Judgement, now_ns: u64) {
        match judgement.class {
            Class::Peer => self.peers += 1,
            Class::Rejected => {
                self.rejected += 1;
                self.rejected_ns = self.rejected_ns.max(now_ns);
            }
            Class::Unheard | Class::Ours => self.unheard += 1,
        }
        if judgement.reason != 0 {
            self.reason = judgement.reason;
            self.refused = refused(watch);
        }
    }

    /// The reason of the newest frame that was refused, here or by the program.
    pub(in crate::wire) fn reason(&self, watch: &Watch) -> u8 {
        if self.reason != 0 && refused(watch) == self.refused { self.reason } else { watch.reason }
    }
}

fn refused(watch: &Watch) -> u64 {
    watch.rejected.wrapping_add(watch.unheard)
}

#[cfg(test)]
mod tests;
