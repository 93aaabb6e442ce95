//! Sequences of things that happen to a router, against the core's invariants.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use ha_agent::core::model::{Link, Reason, Side, State, Vip};
use ha_agent::fuzzing::{Op, Setting, always, converges, refused_frames_move_nothing};
use libfuzzer_sys::fuzz_target;

/// Longer sequences say nothing new and take their time.
const MOST: usize = 150;

#[derive(Debug)]
struct Input {
    setting: Setting,
    wire: bool,
    primary: bool,
    ops: Vec<Op>,
}

impl Arbitrary<'_> for Input {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let restored = if bytes.arbitrary()? { Some(state(bytes)?) } else { None };
        let setting =
            Setting { restored, expected: bytes.arbitrary()?, observe: bytes.arbitrary()?, heal: bytes.arbitrary()? };
        let (wire, primary) = (bytes.arbitrary()?, bytes.arbitrary()?);
        let mut ops = Vec::new();
        while !bytes.is_empty() && ops.len() < MOST {
            ops.push(op(bytes)?);
        }
        Ok(Self { setting, wire, primary, ops })
    }
}

fn state(bytes: &mut Unstructured<'_>) -> Result<State> {
    bytes.choose(&[State::Primary, State::Backup, State::Fault, State::Unknown]).copied()
}

fn op(bytes: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match bytes.int_in_range(0..=15_u8)? {
        // Around the borders: settle, 1.5 intervals, the readings' grid.
        0 => Op::Wait(*bytes.choose(&[1, 249, 250, 251, 499, 500, 999, 1000, 1499, 1500, 1501, 5000])?),
        1 => Op::Wait(bytes.int_in_range(1..=12_000)?),
        2 => Op::Vip(*bytes.choose(&[Vip::Present, Vip::Absent])?),
        3 => Op::Link(*bytes.choose(&[Link::Up, Link::Down, Link::Gone])?),
        4 | 5 => Op::Advert(Side::Local, *bytes.choose(&[0, 1, 50, 60, 255])?),
        6 => Op::Advert(Side::Foreign, *bytes.choose(&[0, 1, 50, 60, 255])?),
        7 => Op::Report(state(bytes)?),
        8 => Op::Claim(state(bytes)?),
        9 => Op::Wire(bytes.arbitrary()?),
        10 => Op::Table(bytes.arbitrary()?),
        11 => Op::Check(state(bytes)?),
        12 => {
            if bytes.arbitrary()? {
                Op::Reading
            } else {
                Op::Invalid
            }
        }
        13 | 14 => Op::Refused {
            // 2 is the peer's own address.
            last: bytes.int_in_range(2..=7)?,
            reason: *bytes.choose(&[Reason::Interval, Reason::Addresses, Reason::Password, Reason::Ttl])?,
            priority: bytes.arbitrary()?,
            interval_cs: bytes.int_in_range(0..=4095)?,
        },
        _ => Op::Stranger {
            last: bytes.int_in_range(0..=7)?,
            priority: bytes.arbitrary()?,
            interval_cs: bytes.int_in_range(0..=4095)?,
            content: bytes.int_in_range(6..=8)?,
        },
    })
}

fuzz_target!(|input: Input| {
    let Input { setting, wire, primary, ops } = input;
    if let Err(error) = always(&ops, setting) {
        panic!("{error}");
    }
    if let Err(error) = refused_frames_move_nothing(&ops, setting) {
        panic!("{error}");
    }
    // Who knows what a stranger said lasts; and in `observe` reports are passed on as they are.
    let honest: Vec<Op> = ops.into_iter().filter(|op| !matches!(op, Op::Stranger { .. })).collect();
    let enforced = Setting { observe: false, heal: true, ..setting };
    if let Err(error) = converges(&honest, enforced, wire, primary) {
        panic!("{error}");
    }
});
