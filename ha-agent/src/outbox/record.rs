//! The bytes of one entry on disk. The key is the router's 16 bytes; the value, little-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | state: 1 primary, 2 backup, 3 fault, 4 unknown |
//! | 2 | 1 | previous: the same, 0 none |
//! | 3 | 1 | basis: bit 0 report, bit 1 vip, bit 2 wire |
//! | 4 | 1 | delivered state: as previous |
//! | 5 | 3 | zero |
//! | 8 | 8 | confirmed at, Unix microseconds, signed |
//! | 16 | 8 | sequence, at least 1 |
//! | 24 | 8 | delivered, at most sequence |
//!
//! A new field means a new version; an older agent skips a record that it does not understand and
//! names it, rather than guessing.

use thiserror::Error;

use super::entry::Entry;
use crate::core::model::{Basis, RouterId, State};

#[cfg(test)]
mod tests;

/// Length of a version 1 record.
pub const LEN: usize = 32;
const VERSION: u8 = 1;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Empty, or another version: written by another release of the agent.
    #[error("version {0}, this agent reads version {VERSION}")]
    Version(u8),
    /// Not the version's length.
    #[error("{0} bytes, a record has {LEN}")]
    Length(usize),
    /// A field holds a value that none was written with.
    #[error("field `{0}` holds no known value")]
    Field(&'static str),
}

/// An entry without its router, which is the key.
pub fn encode(entry: &Entry) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[0] = VERSION;
    bytes[1] = state_code(entry.state);
    bytes[2] = entry.previous.map_or(0, state_code);
    bytes[3] = u8::from(entry.basis.report) | u8::from(entry.basis.vip) << 1 | u8::from(entry.basis.wire) << 2;
    bytes[4] = entry.delivered_state.map_or(0, state_code);
    bytes[8..16].copy_from_slice(&entry.confirmed_at_us.to_le_bytes());
    bytes[16..24].copy_from_slice(&entry.sequence.to_le_bytes());
    bytes[24..32].copy_from_slice(&entry.delivered.to_le_bytes());
    bytes
}

/// Reads any bytes; an entry comes out only if every field was written by [`encode`].
///
/// # Errors
/// [`RecordError`] names what does not fit.
pub fn decode(router: RouterId, bytes: &[u8]) -> Result<Entry, RecordError> {
    match bytes.first() {
        Some(&VERSION) => {}
        other => return Err(RecordError::Version(other.copied().unwrap_or(0))),
    }
    let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| RecordError::Length(bytes.len()))?;
    if bytes[3] > 7 {
        return Err(RecordError::Field("basis"));
    }
    if bytes[5..8] != [0; 3] {
        return Err(RecordError::Field("reserved"));
    }
    let entry = Entry {
        router,
        state: state(bytes[1]).flatten().ok_or(RecordError::Field("state"))?,
        previous: state(bytes[2]).ok_or(RecordError::Field("previous"))?,
        basis: Basis { report: bytes[3] & 1 != 0, vip: bytes[3] & 2 != 0, wire: bytes[3] & 4 != 0 },
        confirmed_at_us: i64::from_le_bytes(word(bytes, 8)),
        sequence: u64::from_le_bytes(word(bytes, 16)),
        delivered: u64::from_le_bytes(word(bytes, 24)),
        delivered_state: state(bytes[4]).ok_or(RecordError::Field("delivered_state"))?,
    };
    // A sequence near the end of its range could not rise any more; no agent ever gets there.
    if entry.sequence == 0 || entry.sequence > u64::MAX / 2 {
        return Err(RecordError::Field("sequence"));
    }
    if entry.delivered > entry.sequence || (entry.delivered == 0) != entry.delivered_state.is_none() {
        return Err(RecordError::Field("delivered"));
    }
    Ok(entry)
}

fn word(bytes: &[u8; LEN], at: usize) -> [u8; 8] {
    std::array::from_fn(|i| bytes[at + i])
}

fn state_code(state: State) -> u8 {
    match state {
        State::Primary => 1,
        State::Backup => 2,
        State::Fault => 3,
        State::Unknown => 4,
    }
}

/// The outer option: whether the code is known; the inner one: 0 is none.
fn state(code: u8) -> Option<Option<State>> {
    Some(match code {
        0 => None,
        1 => Some(State::Primary),
        2 => Some(State::Backup),
        3 => Some(State::Fault),
        4 => Some(State::Unknown),
        _ => return None,
    })
}
