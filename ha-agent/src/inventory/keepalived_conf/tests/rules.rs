//! What an instance's keepalived takes as a peer's advert.
//!
//! Each of these texts was given to keepalived 2.2.7, and what it printed of it with `--dump-conf` is
//! what is expected here, for later releases what their source says.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::advert_rules::{Checksum, UnicastPeer};

const NEW: Release = Release::new(2, 3, 3);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The rules of the first instance of this text.
fn of(text: &str, release: Release) -> AdvertRules {
    parse(text, "k.conf", release).expect("it parses").remove(0).rules
}

/// Of an instance with these lines, and with these in `global_defs`, which stands behind it.
fn rules(lines: &str, globals: &str, release: Release) -> AdvertRules {
    of(&format!("{}\nglobal_defs {{\n{globals}\n}}", with(lines)), release)
}

fn plain(lines: &str) -> AdvertRules {
    rules(lines, "", Release::default())
}

fn with_addresses(lines: &str, release: Release) -> Option<Vec<IpAddr>> {
    of(&with("").replace("10.0.0.1/24", lines), release).addresses
}

fn group(rules: &AdvertRules) -> Option<IpAddr> {
    match rules.mode {
        Some(Mode::Multicast { group }) => group,
        _ => panic!("expected multicast: {rules:?}"),
    }
}

fn peers(rules: &AdvertRules) -> (Vec<UnicastPeer>, bool) {
    match &rules.mode {
        Some(Mode::Unicast { peers, check_source }) => (peers.clone(), *check_source),
        _ => panic!("expected unicast: {rules:?}"),
    }
}

#[test]
fn every_address_that_is_sent_is_there_in_order_and_as_often() {
    let given = "192.0.2.1/24\n192.0.2.1/24\nfe80::1\n192.0.2.300\n192.0.2.3/99\n192.0.2.4 label\n\
                 192.0.2.5 label aaaaaaaaaaaaaaaaaaa\n192.0.2.6 brd x\n192.0.2.7 dev a dev b\n192.0.2.8 mystery brd +";
    let sent = ["192.0.2.1", "192.0.2.1", "192.0.2.3", "192.0.2.8"].map(ip);
    assert_eq!(with_addresses(given, Release::default()), Some(sent.to_vec()));
    assert_eq!(with_addresses(given, NEW), Some(sent[1..].to_vec()), "later releases drop what is there twice");
    // The first one decides the family, and is another where keepalived drops it.
    assert_eq!(
        with_addresses("fe80::7/64 brd +\nfe80::8/64\n192.0.2.1\nfe80::9", Release::default()),
        Some(vec![ip("fe80::8"), ip("fe80::9")])
    );
    let text = with("virtual_ipaddress_excluded {\n 10.0.0.9\n}");
    assert_eq!(of(&text, Release::default()).addresses, Some(vec![ip("10.0.0.1")]));
}

#[test]
fn only_as_many_addresses_as_an_advert_holds() {
    let four: Vec<String> = (0..300).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect();
    let sent = with_addresses(&four.join("\n"), Release::default()).expect("known");
    assert_eq!((sent.len(), sent[254]), (255, ip("10.0.0.254")));
    let six: Vec<String> = (0..77).map(|n| format!("fe80::1:{n:x}")).collect();
    assert_eq!(with_addresses(&six[..76].join("\n"), Release::default()).map(|sent| sent.len()), Some(76));
    assert_eq!(with_addresses(&six.join("\n"), Release::default()), None, "the MTU decides how many are sent");
}

#[test]
fn the_first_address_of_any_kind_decides_the_family() {
    for lines in
        ["mcast_src_ip 192.0.2.50", "mcast_dst_ip 224.0.0.20", "unicast_peer {\n 192.0.2.9\n }", "use_ipvlan 192.0.2.5"]
    {
        let text = with(lines).replace("10.0.0.1/24", "fe80::1\n192.0.2.2/24");
        assert_eq!(of(&text, Release::default()).addresses, Some(vec![ip("192.0.2.2")]), "{lines}");
    }
    // Behind the addresses they are passed over where they are of another one.
    let text = "vrrp_instance A {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 192.0.2.1\n }\n\
                mcast_src_ip fe80::2\n mcast_dst_ip ff02::20\n unicast_peer {\n fe80::3\n }\n}";
    let rules = of(text, Release::default());
    assert_eq!((rules.source, group(&rules)), (None, Some(ip("224.0.0.18"))));
}

#[test]
fn groups_are_an_instances_own_or_that_of_all() {
    assert_eq!(group(&plain("")), Some(ip("224.0.0.18")));
    assert_eq!(group(&plain("mcast_dst_ip 224.0.0.20")), Some(ip("224.0.0.20")));
    assert_eq!(group(&plain("mcast_dst_ip 192.0.2.20")), Some(ip("224.0.0.18")));
    let globals = "vrrp_mcast_group4 224.0.0.99\nvrrp_mcast_group6 ff02::99\nvrrp_mcast_group4 192.0.2.1";
    let all = rules("mcast_src_ip 192.0.2.50", globals, Release::default());
    assert_eq!((group(&all), all.source), (Some(ip("224.0.0.99")), Some(ip("192.0.2.50"))));
    let own = rules("mcast_dst_ip 224.0.0.20", globals, Release::default());
    assert_eq!(group(&own), Some(ip("224.0.0.20")));
    assert_eq!(own.old_checksum_group.map(IpAddr::V4), Some(ip("224.0.0.99")), "of all, whatever its own is");
    let six = |lines: &str| {
        let text = format!("{}\nglobal_defs {{\n{globals}\n}}", with(lines).replace("10.0.0.1/24", "fe80::1"));
        group(&of(&text, Release::default()))
    };
    assert_eq!(six(""), Some(ip("ff02::99")));
    assert_eq!(six("mcast_dst_ip ff02::20"), Some(ip("ff02::20")));
    assert_eq!(six("mcast_dst_ip ff05::20"), Some(ip("ff02::99")), "only of the link's scope");
}

#[test]
fn unicast_has_peers_and_says_how_far_they_may_be() {
    let unicast = plain(
        "unicast_src_ip 192.0.2.100\nunicast_ttl 5\nunicast_peer {\n 192.0.2.77 min_ttl 3\n 192.0.2.78 max_ttl 300\n fe80::1\n\
         nonsense\n 192.0.2.79/24 foo 7 min_ttl 9\n 192.0.2.79\n 192.0.2.80 min_ttl 2 max_ttl 4\n 192.0.2.81 min_ttl\n}",
    );
    let peer = |address, min_ttl, max_ttl| UnicastPeer { address: ip(address), min_ttl, max_ttl };
    let twice = [
        peer("192.0.2.77", 3, 255),
        peer("192.0.2.78", 0, 255),
        peer("192.0.2.79", 0, 255),
        peer("192.0.2.79", 0, 255),
        peer("192.0.2.80", 2, 4),
        peer("192.0.2.81", 0, 255),
    ];
    assert_eq!(peers(&unicast), (twice.to_vec(), true), "a TTL for one of them looks at all");
    assert_eq!((unicast.source, unicast.ttl), (Some(ip("192.0.2.100")), Some(5)));

    let bare = "unicast_peer {\n 192.0.2.77\n 192.0.2.77\n}\n mcast_dst_ip 224.0.0.20";
    assert_eq!(peers(&plain(bare)), (vec![peer("192.0.2.77", 0, 255); 2], false));
    assert_eq!(peers(&rules(bare, "", NEW)).0.len(), 1);
    assert!(peers(&plain(&format!("check_unicast_src\n{bare}"))).1);
    // Whatever follows the keyword.
    assert!(peers(&rules(bare, "vrrp_check_unicast_src no", Release::default())).1);
}

#[test]
fn without_a_peer_it_is_multicast_with_the_ttl_that_keepalived_then_sends() {
    assert_eq!(plain("").ttl, Some(255));
    assert_eq!(plain("unicast_src_ip 192.0.2.100\nunicast_peer {\n nonsense\n}\ncheck_unicast_src").ttl, Some(255));
    assert_eq!(plain("unicast_ttl 5").ttl, Some(0), "and so nobody takes it");
    let six = |lines: &str| of(&with(lines).replace("10.0.0.1/24", "fe80::1"), Release::default()).ttl;
    assert_eq!(six(""), Some(255));
    assert_eq!(six("unicast_peer {\n fe80::2\n}"), None, "the kernel's default");
    assert_eq!(six("unicast_peer {\n fe80::2\n}\nunicast_ttl 3"), Some(3));
}

#[test]
fn authentication_is_what_is_left_of_it() {
    let read = |lines: &str, around: &str| plain(&format!("authentication {{\n {lines}\n}}\n{around}")).authentication;
    let (word, long) = (Password::new("secret"), Password::new("secret-l"));
    for (lines, expected) in [
        ("auth_type PASS\n auth_pass secret", Authentication::Pass(word)),
        ("auth_pass secret-long-one\n auth_type AH", Authentication::Ah(long)),
        ("auth_type PASS\n auth_type nonsense\n auth_pass secret", Authentication::Pass(word)),
        ("auth_type PASS", Authentication::None),
        ("auth_pass secret", Authentication::None),
        ("auth_type PASS\n auth_pass \"x y\"", Authentication::PassUnknown),
        ("auth_type AH\n auth_pass \"secret{1}\"", Authentication::AhUnknown),
    ] {
        assert_eq!(read(lines, ""), Some(expected), "{lines}");
    }
    let pass = "auth_type PASS\n auth_pass secret";
    assert_eq!(read(pass, "version 3"), Some(Authentication::None));
    assert_eq!(read(pass, "strict_mode"), Some(Authentication::None));
    assert_eq!(read(pass, "strict_mode off"), Some(Authentication::Pass(word)));
}

#[test]
fn intervals_and_versions_are_those_of_the_adverts() {
    let said = |lines: &str| (plain(lines).version, plain(lines).interval);
    assert_eq!(said("advert_int 0.4"), (Some(2), Some(Duration::from_secs(1))));
    assert_eq!(said("advert_int 2.5"), (Some(2), Some(Duration::from_secs(3))));
    assert_eq!(said("version 3\nadvert_int 0.014"), (Some(3), Some(Duration::from_millis(10))));
    // VRRPv2 over IPv6 is VRRPv3 where keepalived is strict.
    let text = with("version 2\nstrict_mode").replace("10.0.0.1/24", "fe80::1");
    assert_eq!(of(&text, Release::default()).version, Some(3));
}

#[test]
fn strictness_is_an_instances_own_or_that_of_all() {
    let pass = "authentication {\n auth_type PASS\n auth_pass secret\n}";
    let strict = |lines: &str, globals: &str, release| {
        let rules = rules(&format!("{pass}\n{lines}"), globals, release);
        assert_eq!(rules.authentication == Some(Authentication::None), rules.lower_priority_unanswered);
        rules.lower_priority_unanswered
    };
    let old = Release::default();
    assert!(strict("strict_mode", "", old));
    assert!(strict("", "vrrp_strict", old));
    assert!(!strict("strict_mode false", "vrrp_strict", old));
    assert!(strict("strict_mode nonsense", "vrrp_strict", old));
    assert!(strict("", "vrrp_strict no", old), "whatever follows it");
    assert!(!strict("", "vrrp_strict no", Release::new(2, 3, 0)));
}

#[test]
fn the_list_of_addresses_may_be_no_reason() {
    let checks = |lines: &str, globals: &str, release| rules(lines, globals, release).check_addresses;
    let old = Release::default();
    assert!(checks("", "", old));
    assert!(!checks("skip_check_adv_addr", "", old));
    assert!(!checks("skip_check_adv_addr no", "", old), "keepalived takes any of its words for yes");
    assert!(!checks("skip_check_adv_addr no", "", NEW));
    assert!(checks("skip_check_adv_addr nonsense", "", old));
    assert!(!checks("", "vrrp_skip_check_adv_addr", old));
    assert!(!checks("", "vrrp_skip_check_adv_addr no", old), "whatever follows it");
    assert!(checks("", "vrrp_skip_check_adv_addr no", NEW));
}

#[test]
fn checksums_are_the_instances_and_later_releases() {
    let sum = |lines: &str, globals: &str, release| rules(lines, globals, release).checksum;
    let old = Release::default();
    assert_eq!(sum("", "", old), Checksum::Default);
    assert_eq!(sum("old_unicast_checksum", "", old), Checksum::Old);
    assert_eq!(sum("old_unicast_checksum never", "", old), Checksum::Never);
    assert_eq!(sum("old_unicast_checksum nonsense", "", old), Checksum::Default);
    assert_eq!(sum("v3_checksum_as_v2", "v3_checksum_as_v2", old), Checksum::Default, "it does not know it");
    let newer = Release::new(2, 2, 8);
    assert_eq!(sum("v3_checksum_as_v2\nold_unicast_checksum", "", newer), Checksum::PlainV3);
    assert_eq!(sum("", "v3_checksum_as_v2", newer), Checksum::PlainV3);
    assert_eq!(sum("v3_checksum_as_v2 no", "v3_checksum_as_v2", newer), Checksum::Default);
}

#[test]
fn lower_priorities_may_be_left_unanswered_and_owners_may_listen_to_nobody() {
    let unanswered = |lines: &str, globals: &str| rules(lines, globals, Release::default()).lower_priority_unanswered;
    assert!(!unanswered("", ""));
    assert!(unanswered("lower_prio_no_advert", ""));
    assert!(unanswered("", "vrrp_lower_prio_no_advert on"));
    assert!(!unanswered("lower_prio_no_advert no", "vrrp_lower_prio_no_advert"));
    assert!(unanswered("lower_prio_no_advert no\nstrict_mode", ""));

    let none = |lines: &str, globals: &str, release| rules(lines, globals, release).takes_none;
    assert!(none("priority 255\nowner_ignore_adverts", "", NEW));
    assert!(none("state MASTER", "vrrp_owner_ignore_adverts", NEW), "whose priority is 255 by default");
    assert!(none("priority 255\nstrict_mode", "", NEW));
    assert!(none("priority 255\nowner_ignore_adverts no", "", NEW), "it says that strictness wants it");
    assert!(!none("priority 255", "", NEW));
    assert!(!none("priority 254\nowner_ignore_adverts", "vrrp_owner_ignore_adverts", NEW));
    assert!(!none("priority 255\nowner_ignore_adverts", "", Release::new(2, 3, 2)), "it does not know it");
}

#[test]
fn the_socket_is_bound_to_the_device_that_keepalived_makes() {
    let device = |lines: &str| plain(lines).receive_interface;
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(device(""), None);
    assert_eq!(device("use_vmac"), named("vrrp.7"));
    assert_eq!(device("use_vmac out0"), named("out0"));
    assert_eq!(device("use_vmac\nvmac_xmit_base"), None);
    assert_eq!(device("use_vmac\nvmac_xmit_base\nstrict_mode"), named("vrrp.7"));
    // Any keyword of unicast mode, with a peer or without.
    for lines in
        ["unicast_peer {\n 192.0.2.9\n}", "unicast_src_ip 192.0.2.9", "check_unicast_src", "old_unicast_checksum"]
    {
        assert_eq!(device(&format!("use_vmac\n{lines}")), None, "{lines}");
    }
    assert_eq!(device("use_ipvlan"), named("vrrp.7"));
    assert_eq!(device("use_ipvlan ipv0 bridge 192.0.2.5/24\nvmac_xmit_base"), named("ipv0"));
    assert_eq!(plain("use_ipvlan ipv0 bridge 192.0.2.5/24").source, Some(ip("192.0.2.5")));
}

#[test]
fn what_only_keepalived_knows_is_no_rule() {
    for lines in [
        "unicast_peer {\n $_RANDOM\n}",
        "mcast_src_ip $_RANDOM",
        "mcast_dst_ip 224.0.0.${_RANDOM 1 9}",
        "unicast_ttl $_RANDOM",
    ] {
        assert!(told(&with(lines)).contains("$_RANDOM, which only keepalived knows"), "{lines}");
    }
    let text = with("").replace("10.0.0.1/24", "10.0.0.1/24\n10.0.0.$_RANDOM");
    assert!(
        told(&text).contains("expected an address such as 169.254.0.1/24, found \"10.0.0.$_RANDOM\""),
        "{}",
        told(&text)
    );
}
