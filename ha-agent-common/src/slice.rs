//! A packet in a slice of bytes: what the program reads from the kernel's buffer, user space reads from this.

use crate::frame::{Bytes, Packet};
use crate::list::{self, List};

/// A packet, beginning with its IP header.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    bytes: &'a [u8],
    key: [u64; 2],
}

impl<'a> Slice<'a> {
    /// Of these bytes; lists of addresses are digested under `key`.
    pub const fn new(bytes: &'a [u8], key: [u64; 2]) -> Self {
        Self { bytes, key }
    }

    fn copy(&self, offset: u32, into: &mut [u8]) -> bool {
        let start = offset as usize;
        match self.bytes.get(start..start + into.len()) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

impl Packet for Slice<'_> {
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        self.copy(offset, &mut into.0)
    }

    fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn list(&self, at: u32, count: u32, v4: bool, into: &mut List) -> bool {
        list::read(self, self.key, at, count, v4, into)
    }

    fn tail(&self, at: u32, length: u32, into: &mut Bytes<64>) -> bool {
        into.0.get_mut(..length as usize).is_some_and(|into| self.copy(at, into))
    }
}
