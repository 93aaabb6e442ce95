use super::*;
use crate::frame::read_sum;

#[test]
fn nothing_is_read_beyond_the_end() {
    let packet = Slice::new(&[1, 2, 3, 4, 5, 6], [0; 2]);
    let mut four = Bytes::<4>::zero();
    assert!(packet.load(2, &mut four));
    assert_eq!(four.0, [3, 4, 5, 6]);
    for at in [3, 6, 7, u32::MAX] {
        assert!(!packet.load(at, &mut four), "{at}");
        assert!(!packet.tail(at, 4, &mut Bytes::zero()), "{at}");
    }
    assert!(!packet.tail(0, 65, &mut Bytes::zero()));
    assert_eq!(packet.len(), 6);
}

#[test]
fn a_tail_is_the_begin_of_a_block_and_summed_with_zeros() {
    let bytes: [u8; 70] = core::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
    let packet = Slice::new(&bytes, [0; 2]);
    let mut block = Bytes::<64>::zero();
    assert!(packet.tail(64, 6, &mut block));
    assert_eq!(block.0[..8], [64, 65, 66, 67, 68, 69, 0, 0]);
    assert!(read_sum(&packet, 0, 70).is_some());
    assert_eq!(read_sum(&packet, 0, 71), None);
}
