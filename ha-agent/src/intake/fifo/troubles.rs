//! Which FIFOs say nothing, and why: for `status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::status::Degraded;

/// The channel that events and `status` name.
pub(super) const CHANNEL: &str = "report";

/// Cheap to clone; every clone shows the same.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<PathBuf, String>>>);

impl Troubles {
    /// All of them.
    pub fn degraded(&self) -> Vec<Degraded> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.values().map(|reason| Degraded { channel: CHANNEL.to_owned(), reason: reason.clone() }).collect()
    }

    /// What is wrong with this one now; gives what was before.
    pub(super) fn set(&self, path: &Path, reason: Option<String>) -> Option<String> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => table.insert(path.to_owned(), reason),
            None => table.remove(path),
        }
    }
}
