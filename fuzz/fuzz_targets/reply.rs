//! What an L3 agent answers, in both protocols.
#![no_main]

use ha_agent::delivery::{json, neutron};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|reply: &[u8]| {
    let status = neutron::status(reply);
    if let Some(status) = status {
        assert!((100..600).contains(&status));
        // It is what the first line says, and only the first line.
        let end = reply.iter().position(|b| *b == b'\n').expect("a whole line");
        assert_eq!(neutron::status(&reply[..=end]), Some(status));
        let line = String::from_utf8_lossy(&reply[..end]);
        assert_eq!(line.trim_end_matches('\r').split(' ').nth(1), Some(status.to_string().as_str()), "{line:?}");
    }
    let refused = json::refused(reply);
    // Each needs its UUID.
    assert!(refused.len() <= reply.len() / 32);
});
