//! The notify FIFO: bytes cut into lines wherever the reads fall, and the lines' grammar.
#![no_main]

use arbitrary::Arbitrary;
use ha_agent::fuzzing::fifo_lines;
use ha_agent::intake::fifo::{Kind, MAX_LINE, claim, parse_line};
use ha_agent_fuzz::{is_plain, pieces};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Vec<u16>,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let (lines, begun) = fifo_lines(&pieces(input.bytes, &input.cuts));
    // Where the reads end changes nothing.
    let mut plain: Vec<&[u8]> = input.bytes.split(|b| *b == b'\n').collect();
    let rest = plain.pop().unwrap_or_default();
    assert_eq!(begun, !rest.is_empty());
    assert_eq!(lines.len(), plain.len());
    for (line, plain) in lines.iter().zip(plain) {
        assert_eq!(line.as_deref(), (plain.len() <= MAX_LINE).then_some(plain));
        if let Some(line) = line {
            judge(line);
        }
    }
});

/// A line that is taken says what it is made of; an error says nothing of the line.
fn judge(bytes: &[u8]) {
    match parse_line(bytes) {
        Ok(line) => {
            assert!(!line.name.is_empty() && is_plain(line.name) && !line.name.contains(['"', '\n']));
            let kind = if line.kind == Kind::Instance { "INSTANCE" } else { "GROUP" };
            let text = std::str::from_utf8(bytes).expect("a line that is taken is UTF-8");
            let rest = text.strip_prefix(&format!("{kind} \"{}\" ", line.name)).expect("kind and name as read");
            let (word, priority) = rest.split_once(' ').expect("state and priority");
            assert_eq!(claim(word), Some(line.claim));
            assert_eq!(priority.trim_start_matches('0').parse().unwrap_or(0), line.priority);
        }
        Err(error) => assert!(error.to_string().len() < 64),
    }
}
