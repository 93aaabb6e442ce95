//! Records of the outbox: what is read is what would be written, byte for byte.
#![no_main]

use ha_agent::core::model::RouterId;
use ha_agent::outbox::record::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let router: RouterId = "8f3c1d2e-4b5a-4c6d-9e7f-0123456789ab".parse().expect("a UUID");
    match decode(router, bytes) {
        Ok(entry) => {
            assert_eq!(entry.router, router);
            assert_eq!(encode(&entry), *bytes);
            assert!(entry.delivered <= entry.sequence && entry.sequence > 0);
            // It can go on.
            assert!(entry.sequence.checked_add(1).is_some());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
