//! The table of DESIGN section 7, cell by cell.

use super::evidence::Tx;
use super::model::{Link, State, Vip};
use super::seen::{Seen, Votes, seen};

const BOTH: Votes = Votes { vip: true, wire: true };
const VIP: Votes = Votes { vip: true, wire: false };
const WIRE: Votes = Votes { vip: false, wire: true };
const NONE: Votes = Votes { vip: false, wire: false };
const PRIMARY: Seen = Seen::Role(State::Primary);
const BACKUP: Seen = Seen::Role(State::Backup);
const FAULT: Seen = Seen::Role(State::Fault);

#[test]
fn every_cell() {
    use Link::{Down, Gone, Up};
    use Seen::{MissingVip, SilentPrimary, Unsettled};
    use Tx::{Resigned, Silent, Transmitting, Yielded};
    use Vip::{Absent, Present};
    let rows = [
        (BOTH, Up, Present, Transmitting, false, PRIMARY),
        (BOTH, Up, Absent, Silent, false, BACKUP),
        (BOTH, Up, Absent, Resigned, false, BACKUP),
        (BOTH, Up, Absent, Yielded, true, BACKUP),
        (BOTH, Up, Present, Silent, false, SilentPrimary),
        (BOTH, Up, Present, Silent, true, BACKUP),
        (BOTH, Up, Absent, Transmitting, false, MissingVip),
        (BOTH, Up, Present, Yielded, true, Unsettled),
        (BOTH, Up, Present, Resigned, false, Unsettled),
        (BOTH, Up, Absent, Tx::Unknown, false, Unsettled),
        (BOTH, Up, Vip::Unknown, Transmitting, false, Unsettled),
        (BOTH, Down, Absent, Transmitting, false, FAULT),
        (BOTH, Gone, Absent, Tx::Unknown, false, FAULT),
        (BOTH, Down, Present, Transmitting, false, PRIMARY),
        (BOTH, Down, Present, Silent, false, SilentPrimary),
        (BOTH, Down, Present, Yielded, true, BACKUP),
        (BOTH, Gone, Present, Transmitting, false, SilentPrimary),
        (BOTH, Gone, Present, Transmitting, true, BACKUP),
        (VIP, Up, Present, Tx::Unknown, false, PRIMARY),
        (VIP, Up, Absent, Tx::Unknown, false, BACKUP),
        (VIP, Gone, Absent, Tx::Unknown, false, FAULT),
        (VIP, Up, Vip::Unknown, Tx::Unknown, false, Unsettled),
        (WIRE, Up, Vip::Unknown, Transmitting, false, PRIMARY),
        (WIRE, Up, Vip::Unknown, Yielded, false, BACKUP),
        (WIRE, Up, Vip::Unknown, Silent, true, BACKUP),
        (WIRE, Down, Vip::Unknown, Transmitting, false, PRIMARY),
        (WIRE, Down, Vip::Unknown, Silent, false, FAULT),
        (WIRE, Gone, Vip::Unknown, Transmitting, false, FAULT),
        (WIRE, Up, Vip::Unknown, Tx::Unknown, false, Unsettled),
        (NONE, Up, Present, Transmitting, false, Unsettled),
    ];
    for (votes, link, vip, tx, established, expected) in rows {
        assert_eq!(
            seen(votes, link, vip, tx, established),
            expected,
            "{votes:?} {link:?} {vip:?} {tx:?} {established}"
        );
    }
}

#[test]
fn delayed_adverts_confirm_nothing_where_the_vip_is_set_and_are_none_where_it_is_not() {
    for (votes, vip, expected) in [
        (BOTH, Vip::Present, Seen::Unsettled),
        (BOTH, Vip::Absent, BACKUP),
        (VIP, Vip::Present, PRIMARY),
        (WIRE, Vip::Unknown, Seen::Unsettled),
    ] {
        for established in [false, true] {
            assert_eq!(seen(votes, Link::Up, vip, Tx::Delayed, established), expected, "{votes:?} {vip:?}");
        }
    }
    assert_eq!(seen(BOTH, Link::Down, Vip::Present, Tx::Delayed, false), Seen::SilentPrimary);
}
