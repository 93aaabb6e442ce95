//! A packet in memory: what user space judges by the code of the kernel program.

use crate::frame::{Bytes, Packet};
use crate::list::{self, List};

/// A packet, beginning with its IP header.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    bytes: &'a [u8],
    key: [u64; 2],
}

impl<'a> Slice<'a> {
    /// `key`: the secret of [`crate::list`].
    pub const fn new(bytes: &'a [u8], key: [u64; 2]) -> Self {
        Self { bytes, key }
    }

    fn part(&self, at: u32, length: usize) -> Option<&'a [u8]> {
        let begin = usize::try_from(at).ok()?;
        self.bytes.get(begin..begin.checked_add(length)?)
    }
}

impl Packet for Slice<'_> {
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        match self.part(offset, N) {
            Some(part) => {
                into.0.copy_from_slice(part);
                true
            }
            None => false,
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn list(&self, at: u32, count: u32, v4: bool, into: &mut List) -> bool {
        list::read(self, self.key, at, count, v4, into)
    }

    fn tail(&self, at: u32, length: u32, into: &mut Bytes<64>) -> bool {
        let length = length as usize;
        match (self.part(at, length), into.0.get_mut(..length)) {
            (Some(part), Some(room)) => {
                room.copy_from_slice(part);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
