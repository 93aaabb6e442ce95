//! rtnetlink's datagrams.
#![no_main]

use ha_agent::netlink::decode::{Message, message, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = message(bytes);
    // Each message has a header of 16 bytes, so there are no more than this.
    let most = bytes.len() / 16 + 1;
    let mut count = 0;
    for result in messages(bytes) {
        count += 1;
        assert!(count <= most, "more messages than there is room for");
        match result {
            Ok(Message::Link { name, .. }) => {
                let text = name.to_text();
                assert!(!text.is_empty() && !text.contains('\0'));
            }
            Ok(Message::AddressSet(address) | Message::AddressGone(address)) => {
                assert_eq!(address.local.is_ipv4(), address.peer.is_ipv4(), "{address:?}");
            }
            Ok(Message::NamespaceNamed { nsid } | Message::NamespaceGone { nsid }) => assert!(nsid >= 0),
            Ok(Message::LinkGone { .. }) | Err(_) => {}
        }
    }
});
