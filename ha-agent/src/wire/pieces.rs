//! Frames that the program cannot judge where they stand: IPv4 fragments, IPv6 with extension headers.

use std::sync::Arc;

use ha_agent_common::{Piece, Record};

use super::maps::Shared;

/// What is being put together.
#[derive(Debug, Default)]
pub(super) struct Pieces {}

impl Pieces {
    /// Takes a piece; a record, when it completes a packet that says something new.
    pub(super) fn take(&mut self, _shared: &Arc<Shared>, _piece: &Piece) -> Option<Record> {
        None
    }
}

/// A piece out of a ring buffer's bytes.
pub(super) fn read(bytes: &[u8]) -> Option<Box<Piece>> {
    if bytes.len() != size_of::<Piece>() {
        return None;
    }
    // SAFETY: `Piece` is plain old data of this size, and the read does not ask for alignment.
    Some(Box::new(unsafe { bytes.as_ptr().cast::<Piece>().read_unaligned() }))
}
