//! Fragments and extension headers in any order: nothing panics, and no more is kept than is said.
#![no_main]

use arbitrary::Arbitrary;
use ha_agent::fuzzing::take_pieces;
use libfuzzer_sys::fuzz_target;

/// A piece. Half of the IPv4 ones get a right header checksum: none of them would come far otherwise.
#[derive(Arbitrary, Debug)]
struct Piece {
    pause: u16,
    v6: bool,
    host: u8,
    sealed: bool,
    bytes: Vec<u8>,
}

impl Piece {
    fn seal(&mut self) {
        let length = self.bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
        if self.v6 || !self.sealed || length < 20 || self.bytes.len() < length {
            return;
        }
        self.bytes[10..12].fill(0);
        let pairs = self.bytes[..length].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = pairs.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        self.bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

fuzz_target!(|pieces: Vec<Piece>| {
    let mut pieces = pieces;
    pieces.iter_mut().for_each(Piece::seal);
    let family = |v6| if v6 { ha_agent_common::FAMILY_V6 } else { ha_agent_common::FAMILY_V4 };
    take_pieces(pieces.iter().map(|piece| (piece.pause, family(piece.v6), piece.host & 3, piece.bytes.as_slice())));
});
