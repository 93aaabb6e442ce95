//! For the fuzz targets: pieces as they may come, with nothing around them.

use ha_agent_common::{NO_VLAN, Piece, PieceHead, Rules, Watch};

use super::Opened;
use super::assembly::{Assembly, BYTES, PACKETS};

/// Takes pieces, each with the milliseconds that went by before it, its `FAMILY_…` and its `HOST_…`, puts them
/// together, and judges what is whole. Returns how many packets that were.
///
/// # Panics
/// When more is kept than is said, or a packet has not the length that it says: a mistake here.
pub fn take<'a>(pieces: impl IntoIterator<Item = (u16, u8, u8, &'a [u8])>) -> usize {
    let mut assembly = Assembly::default();
    let mut now = 1_000_000_000_000;
    let mut whole = 0;
    for (pause, family, host, bytes) in pieces {
        now += u64::from(pause) * 1_000_000;
        let bytes = bytes.get(..size_of::<Piece>() - size_of::<PieceHead>()).unwrap_or(bytes);
        let head = PieceHead {
            realm: 1,
            seen_ns: now,
            ifindex: 2,
            length: 0,
            vlan: NO_VLAN,
            mac: [0; 6],
            family,
            host,
            to: [0; 6],
            pad: [0; 2],
        };
        if let Some(packet) = assembly.take(&head, bytes, || 0) {
            whole += 1;
            if let Some(opened) = Opened::new(&packet, [1, 2]) {
                let _judged = opened.judge(&mut Watch::new(1, Rules::default(), 0), |_| None);
            }
        }
        let (packets, kept) = assembly.size();
        assert!(packets <= PACKETS && kept <= BYTES, "{packets} packets, {kept} bytes");
    }
    whole
}
