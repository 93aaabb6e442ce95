use proptest::prelude::*;

use super::*;
use crate::frame::Bytes;

/// What [`fault`] says of options as they are in a header.
fn look(options: &[u8]) -> Option<Reason> {
    let mut room = Bytes::<ROOM>::zero();
    room.0[..options.len()].copy_from_slice(options);
    let length = u32::try_from(options.len()).unwrap();
    Reason::from_code(fault(length, |walk| step(&room.0, length, walk)))
}

/// Two options behind one another.
fn both(one: &[u8], two: &[u8]) -> Vec<u8> {
    [one, two].concat()
}

const RR: [u8; 7] = [7, 7, 4, 0, 0, 0, 0];
const TS: [u8; 8] = [68, 8, 5, 0, 0, 0, 0, 0];

#[test]
fn sound_ones_are_no_fault() {
    let cases: [&[u8]; 22] = [
        &[],
        &[0],
        &[1],
        &[1; 40],
        // What is behind the end is not read.
        &[0, 7, 1, 0],
        &[1, 0, 131, 3],
        // Record route: with room, full, with a pointer beyond.
        &RR,
        &[7, 7, 8, 0, 0, 0, 0],
        &[7, 3, 4],
        &[7, 3, 255],
        // Timestamp: times only, addresses and times, full, of foreign addresses.
        &TS,
        &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        &[68, 12, 5, 3, 0, 0, 0, 0, 0, 0, 0, 0],
        &[68, 4, 5, 0],
        &[68, 4, 9, 0xe1],
        &[68, 4, 9, 0xf3],
        // A kind of timestamp that does not exist.
        &[68, 8, 5, 2, 0, 0, 0, 0],
        // Router alert, of any value.
        &[148, 4, 0, 0],
        &[148, 4, 1, 0],
        // Security, stream identifier, and a number that nobody has.
        &[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[136, 4, 0, 0],
        &[222, 2],
    ];
    for case in cases {
        assert_eq!(look(case), None, "{case:?}");
    }
}

#[test]
fn source_routes_are_told_as_such() {
    for kind in [131, 137] {
        assert_eq!(look(&[kind, 7, 4, 10, 0, 0, 1]), Some(Reason::SourceRoute));
        assert_eq!(look(&[1, kind, 3, 4]), Some(Reason::SourceRoute));
        assert_eq!(look(&both(&[kind, 3, 8], &RR)), Some(Reason::SourceRoute));
        // Malformed is malformed.
        assert_eq!(look(&[kind, 2, 0, 0]), Some(Reason::Header));
        assert_eq!(look(&[kind, 3, 3]), Some(Reason::Header));
        assert_eq!(look(&both(&[kind, 3, 4], &[131, 3, 4])), Some(Reason::Header), "only once");
        assert_eq!(look(&both(&[kind, 3, 4], &[9, 1])), Some(Reason::Header));
    }
}

#[test]
fn malformed_ones_are_a_fault() {
    let cases: [&[u8]; 22] = [
        // No room for a length, lengths 0 and 1, and beyond the end.
        &[7],
        &[222, 0],
        &[222, 1],
        &[222, 3],
        &[1, 1, 1, 148],
        // Record route: too short, its pointer in the header, and in the middle of the last address.
        &[7, 2],
        &[7, 7, 3, 0, 0, 0, 0],
        &[7, 7, 5, 0, 0, 0, 0],
        &[7, 7, 7, 0, 0, 0, 0],
        // Timestamp: too short, its pointer, too little room, all counted.
        &[68, 3, 5],
        &[68, 4, 4, 0],
        &[68, 8, 6, 0, 0, 0, 0, 0],
        &[68, 8, 5, 1, 0, 0, 0, 0],
        &[68, 8, 5, 3, 0, 0, 0, 0],
        &[68, 4, 9, 0xf0],
        &[68, 4, 9, 0xf1],
        // Router alert.
        &[148, 2],
        &[148, 3, 0],
        // Labels, without a domain for them.
        &[134, 10, 0, 0, 0, 1, 1, 4, 0, 0],
        &[134, 6, 0, 0, 0, 1],
        &[134, 2],
        &[1, 222, 40],
    ];
    for case in cases {
        assert_eq!(look(case), Some(Reason::Header), "{case:?}");
    }
    for once in [&RR[..], &TS] {
        assert_eq!(look(&both(once, once)), Some(Reason::Header), "twice {once:?}");
        assert_eq!(look(&both(once, &[148, 4, 0, 0])), None);
    }
    assert_eq!(look(&both(&[148, 4, 0, 0], &[148, 4, 0, 0])), None, "an alert may be repeated");
}

proptest! {
    #[test]
    fn any_bytes_end(options in prop::collection::vec(any::<u8>(), 0..=40)) {
        look(&options);
    }

    /// The walk is what a plain reading is.
    #[test]
    fn lengths_lead_to_the_end(options in prop::collection::vec(prop::sample::select(std::vec![0_u8, 1, 2, 3, 4, 222]), 0..=40)) {
        let mut at = 0;
        let expected = loop {
            match options.get(at) {
                None | Some(0) => break None,
                Some(1) => at += 1,
                Some(_) => match options.get(at + 1) {
                    Some(&size) if size >= 2 && at + usize::from(size) <= options.len() => at += usize::from(size),
                    _ => break Some(Reason::Header),
                },
            }
        };
        prop_assert_eq!(look(&options), expected);
    }
}
