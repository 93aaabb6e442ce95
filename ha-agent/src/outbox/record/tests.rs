use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Primary), Just(State::Backup), Just(State::Fault), Just(State::Unknown)]
}

prop_compose! {
    fn any_entry()(
        id in any::<u128>(),
        state in any_state(),
        previous in proptest::option::of(any_state()),
        basis in any::<(bool, bool, bool)>(),
        confirmed_at_us in any::<i64>(),
        sequence in 1..=u64::MAX / 2,
        delivered in proptest::option::of((any::<u64>(), any_state())),
    ) -> Entry {
        Entry {
            router: RouterId(Uuid::from_u128(id)),
            state,
            previous,
            basis: Basis { report: basis.0, vip: basis.1, wire: basis.2 },
            confirmed_at_us,
            sequence,
            delivered: delivered.map_or(0, |(n, _)| n % sequence + 1),
            delivered_state: delivered.map(|(_, state)| state),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(entry in any_entry()) {
        prop_assert_eq!(decode(entry.router, &encode(&entry)), Ok(entry));
    }

    #[test]
    fn any_bytes_are_refused_or_are_a_record(mut bytes in proptest::collection::vec(any::<u8>(), 0..48), fix in any::<bool>()) {
        if fix && let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let router = RouterId(Uuid::nil());
        if let Ok(entry) = decode(router, &bytes) {
            prop_assert_eq!(&encode(&entry)[..], &bytes[..]);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_entry(entry in any_entry(), at in 0..LEN, flip in 1..=255_u8) {
        let mut bytes = encode(&entry);
        bytes[at] ^= flip;
        prop_assert_ne!(decode(entry.router, &bytes), Ok(entry));
    }
}

#[test]
fn each_defect_is_named() {
    let router = RouterId(Uuid::nil());
    let good = encode(&Entry {
        router,
        state: State::Primary,
        previous: None,
        basis: Basis::default(),
        confirmed_at_us: 0,
        sequence: 3,
        delivered: 2,
        delivered_state: Some(State::Backup),
    });
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        decode(router, &bytes).unwrap_err()
    };
    assert_eq!(decode(router, &[]), Err(RecordError::Version(0)));
    assert_eq!(with(0, 2), RecordError::Version(2));
    assert_eq!(decode(router, &good[..31]), Err(RecordError::Length(31)));
    assert_eq!(with(1, 0), RecordError::Field("state"));
    assert_eq!(with(2, 9), RecordError::Field("previous"));
    assert_eq!(with(3, 8), RecordError::Field("basis"));
    assert_eq!(with(4, 9), RecordError::Field("delivered_state"));
    assert_eq!(with(4, 0), RecordError::Field("delivered"));
    assert_eq!(with(6, 1), RecordError::Field("reserved"));
    assert_eq!(with(16, 0), RecordError::Field("sequence"));
    assert_eq!(with(24, 4), RecordError::Field("delivered"));
    assert_eq!(with(23, 0xff), RecordError::Field("sequence"));
}
