//! What the fuzz targets in `fuzz/` reach beyond the public interface. Exists with the feature
//! `fuzzing` only, which nothing but they turn on; promises nothing.

pub use crate::core::invariants::{Op, Setting, always, converges, refused_frames_move_nothing};
pub use crate::intake::trial::{Exchange, Trial};
pub use crate::wire::take_pieces;

use crate::intake::fifo::{Cut, Lines};

/// The lines that pieces of a FIFO's bytes are cut into, none for one that is too long; and whether
/// a line is left begun.
pub fn fifo_lines(pieces: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, bool) {
    let mut lines = Lines::default();
    let cuts = pieces.iter().flat_map(|piece| lines.push(piece)).collect::<Vec<_>>();
    let whole = |cut| match cut {
        Cut::Line(line) => Some(line),
        Cut::TooLong => None,
    };
    (cuts.into_iter().map(whole).collect(), lines.abandon())
}
