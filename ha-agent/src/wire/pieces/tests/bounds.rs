//! How much is kept, for how long, and what is not judged for want of knowledge.

use ha_agent_common::frame::be16;
use proptest::prelude::*;

use super::*;
use crate::wire::pieces::assembly::{BYTES, DEVICE_BYTES, PACKETS, PER_DEVICE};

/// The two halves of an advert's packet under an identification.
fn halves(priority: u8, id: u16) -> [Vec<u8>; 2] {
    let whole = packet(&Advert { priority, ..Advert::v2() });
    [(20..28, 0x2000_u16), (28..whole.len(), 1)].map(|(range, place)| {
        let mut piece = whole[..20].to_vec();
        piece.extend(&whole[range]);
        let total = u16::try_from(piece.len()).unwrap();
        piece[2..4].copy_from_slice(&total.to_be_bytes());
        piece[4..6].copy_from_slice(&id.to_be_bytes());
        piece[6..8].copy_from_slice(&place.to_be_bytes());
        seal(&mut piece);
        piece
    })
}

fn take(assembly: &mut Assembly, piece: &[u8], at: u64) -> Option<Whole> {
    assembly.take(&head(FAMILY_V4, at), piece, || 0)
}

#[test]
fn the_kernel_waits_for_half_a_minute() {
    let [a, b] = halves(50, 1);
    for (wait, complete) in [(29, true), (30, false), (36, false), (38, false)] {
        let mut assembly = Assembly::default();
        assert_eq!(take(&mut assembly, &a, START), None);
        assert_eq!(take(&mut assembly, &b, START + wait * SECOND).is_some(), complete, "{wait} s");
    }
}

#[test]
fn around_the_end_of_that_nothing_is_judged() {
    let ([a, b], [other, _]) = (halves(50, 1), halves(200, 1));
    let mut assembly = Assembly::default();
    assert_eq!(take(&mut assembly, &a, START), None);
    // The kernel may still have the first one, and pass over this one.
    assert_eq!(take(&mut assembly, &other, START + 31 * SECOND), None);
    assert_eq!(take(&mut assembly, &b, START + 32 * SECOND), None);
    // Long after that it has neither.
    assert_eq!(take(&mut assembly, &a, START + 80 * SECOND), None);
    assert!(take(&mut assembly, &b, START + 81 * SECOND).is_some());
}

#[test]
fn after_a_loss_nothing_is_judged_until_the_kernel_has_given_up() {
    let [a, b] = halves(50, 1);
    for (lost, judged) in
        [(0, true), (START - 38 * SECOND, true), (START - 37 * SECOND, false), (START, false), (u64::MAX, false)]
    {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(&head(FAMILY_V4, START), &a, || lost), None);
        assert_eq!(assembly.take(&head(FAMILY_V4, START), &b, || lost).is_some(), judged, "{lost}");
    }
}

#[test]
fn the_oldest_go_and_that_is_a_loss() {
    let mut assembly = Assembly::default();
    let [first, _] = halves(1, 0);
    assert_eq!(take(&mut assembly, &first, START), None);
    for id in 1..=PER_DEVICE as u16 {
        assert_eq!(take(&mut assembly, &halves(50, id)[0], START + u64::from(id)), None);
    }
    assert_eq!(assembly.size().0, PER_DEVICE);
    // The kernel still has the first half with priority 1.
    let [other, rest] = halves(200, 0);
    assert_eq!(take(&mut assembly, &other, START + SECOND), None);
    assert_eq!(take(&mut assembly, &rest, START + SECOND), None);
    // Elsewhere nothing was lost.
    let elsewhere = PieceHead { ifindex: 3, ..head(FAMILY_V4, START + SECOND) };
    assert_eq!(assembly.take(&elsewhere, &other, || 0), None);
    assert!(assembly.take(&elsewhere, &rest, || 0).is_some());
}

#[test]
fn too_many_others_between_two_fragments_begin_it_anew() {
    for (between, complete) in [(63, true), (64, false)] {
        let mut assembly = Assembly::default();
        let [a, b] = halves(50, 1);
        let [_, other] = halves(50, 2);
        assert_eq!(take(&mut assembly, &a, START), None);
        for _ in 0..between {
            assert_eq!(take(&mut assembly, &other, START), None);
        }
        assert_eq!(take(&mut assembly, &b, START).is_some(), complete, "{between}");
    }
}

#[test]
fn all_devices_together_have_a_bound() {
    let mut assembly = Assembly::default();
    for device in 0..PACKETS as u32 {
        for id in 0..3 {
            let head = PieceHead { ifindex: device, ..head(FAMILY_V4, START + u64::from(device)) };
            assert_eq!(assembly.take(&head, &halves(50, id)[0], || 0), None);
        }
    }
    assert_eq!(assembly.size().0, PACKETS);
}

proptest! {
    #[test]
    fn no_more_is_kept_than_is_said(
        pieces in prop::collection::vec((0_u16..40, 0_u16..8190, 1_usize..1400, any::<bool>(), 0_u32..4), 0..600),
    ) {
        let mut assembly = Assembly::default();
        let template = packet(&Advert::v2());
        for (index, (id, at, length, more, device)) in pieces.into_iter().enumerate() {
            let mut piece = template[..20].to_vec();
            piece.resize(20 + length, 0);
            let total = u16::try_from(piece.len()).unwrap();
            piece[2..4].copy_from_slice(&total.to_be_bytes());
            piece[4..6].copy_from_slice(&id.to_be_bytes());
            piece[6..8].copy_from_slice(&(at | if more { 0x2000 } else { 0 }).to_be_bytes());
            seal(&mut piece);
            let head = PieceHead { ifindex: device, ..head(FAMILY_V4, START + index as u64 * SECOND / 32) };
            if let Some(whole) = assembly.take(&head, &piece, || 0) {
                prop_assert_eq!(usize::from(be16(whole.bytes[2], whole.bytes[3])), whole.bytes.len());
            }
            let (count, bytes) = assembly.size();
            prop_assert!(count <= 4 * PER_DEVICE && bytes <= 4 * DEVICE_BYTES && bytes <= BYTES);
        }
    }
}
