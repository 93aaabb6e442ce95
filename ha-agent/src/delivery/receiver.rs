//! Which receiver answers at the socket's path.

use rustix::fs::Stat;

/// Changes when the L3 agent unlinks and binds its socket anew. The inode number alone may come
/// again; its change time does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or_default()),
        }
    }
}

/// Notices another receiver.
#[derive(Debug, Default)]
pub(super) struct Watch {
    known: Option<Identity>,
}

impl Watch {
    pub(super) fn look(&mut self, seen: Option<Identity>) -> Sight {
        match (seen, &mut self.known) {
            (None, _) => Sight::Nothing,
            (Some(now), Some(known)) if *known == now => Sight::Same,
            (Some(now), Some(known)) => {
                *known = now;
                Sight::Other
            }
            (Some(now), known @ None) => {
                *known = Some(now);
                Sight::First
            }
        }
    }
}

/// What lies at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing.
    Nothing,
    /// A socket, for the first time.
    First,
    /// The same as at the last sight of one.
    Same,
    /// Another one.
    Other,
}
