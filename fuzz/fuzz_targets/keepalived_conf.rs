//! keepalived.conf. Whatever the text: instances within their ranges, or an error that names a line
//! of it and can be shown to a person.
#![no_main]

use ha_agent::advert_rules::Release;
use ha_agent::inventory::keepalived_conf::parse;
use ha_agent_fuzz::is_plain;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count().max(1);
    match parse(text, "keepalived.conf", Release::default()) {
        Ok(instances) => {
            for instance in instances {
                assert!((1..=lines).contains(&instance.line));
                assert!(instance.vrid > 0 && instance.priority > 0);
                assert!(matches!(instance.version, 2 | 3));
                // One with excluded addresses only may hold either family.
                let excluded = instance.addresses.first().is_some_and(|held| held.excluded);
                assert!(instance.version == 3 || instance.vip.is_ipv4() || excluded);
                assert!(instance.prefix <= if instance.vip.is_ipv4() { 32 } else { 128 });
                assert!((10..=255_000).contains(&instance.advert_interval.as_millis()));
                assert!(!instance.interface.is_empty() && instance.interface.len() <= 15);
                assert!(!instance.vip_interface.is_empty());
                let rules = instance.rules;
                assert_eq!((rules.version, rules.interval), (Some(instance.version), Some(instance.advert_interval)));
                let addresses = rules.addresses.unwrap_or_default();
                assert!(addresses.len() <= 255);
                assert!(addresses.iter().all(|address| address.is_ipv4() == instance.vip.is_ipv4()));
                assert!(addresses.first().is_none_or(|first| *first == instance.vip));
            }
        }
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "line {} of {lines}", error.line);
            assert!(is_plain(&error.what) && !error.what.contains('\n'), "{:?}", error.what);
            assert!(error.what.len() < 1024, "{} bytes", error.what.len());
        }
    }
});
