//! The kernel is asked in a namespace of its own.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::process::Command;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Netns;
use crate::netns::NetnsThread;
use crate::wire::attach::index_of;

/// A namespace with `ha0` (a veth, 169.254.192.1/18, fe80::1) and `other` (10.7.0.1/24); gone with the test.
struct Place {
    name: String,
}

fn run(args: &[&str]) {
    let done = Command::new("ip").args(args).output().unwrap();
    assert!(done.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Place {
    fn new(tag: &str) -> Self {
        let place = Self { name: format!("has-{tag}-{}", std::process::id()) };
        run(&["netns", "add", &place.name]);
        place.ip(&["link", "add", "ha0", "type", "veth", "peer", "name", "far"]);
        place.ip(&["link", "add", "other", "type", "veth", "peer", "name", "beyond"]);
        place.ip(&["addr", "add", "169.254.192.1/18", "dev", "ha0"]);
        place.ip(&["addr", "add", "10.7.0.1/24", "dev", "other"]);
        place.ip(&["addr", "add", "fe80::1/64", "dev", "ha0", "nodad"]);
        for device in ["lo", "ha0", "far", "other", "beyond"] {
            place.ip(&["link", "set", device, "up"]);
        }
        place.filter(0);
        place
    }

    fn ip(&self, args: &[&str]) {
        run(&[&["-n", &self.name], args].concat());
    }

    /// Sets `rp_filter` of `ha0`.
    fn filter(&self, value: u8) {
        self.set("all/rp_filter", 0);
        self.set("ha0/rp_filter", value);
    }

    fn set(&self, name: &str, value: u8) {
        let file = format!("/proc/sys/net/ipv4/conf/{name}");
        run(&["netns", "exec", &self.name, "sh", "-c", &format!("echo {value} > {file}")]);
    }

    /// Asks about `ha0`.
    async fn ask(&self, thread: &NetnsThread, source: &str, question: Question) -> Option<bool> {
        let source = source.parse().unwrap();
        let netns = Netns::Path(PathBuf::from("/run/netns").join(&self.name));
        thread.run_in(netns, move || ask(index_of("ha0").unwrap(), source, question)).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

const TO_GROUP: Question = Question::Arrives(None);
const TO_US: Question = Question::Arrives(Some(Ipv4Addr::new(169, 254, 192, 1)));

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_sources_are_taken_as_the_reverse_path_filter_says() {
    let place = Place::new("rpf");
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    // Where it comes from, and whether it is taken with rp_filter 0, 1 (strict) and 2 (loose).
    let cases = [
        ("169.254.192.2", [true, true, true]),
        ("10.7.0.9", [true, false, true]),
        ("192.0.2.1", [true, false, false]),
        ("127.0.0.1", [false; 3]),
        ("169.254.192.1", [false; 3]),
        ("10.7.0.1", [false; 3]),
        ("255.255.255.255", [false; 3]),
        ("224.0.0.18", [false; 3]),
    ];
    for filter in 0..3 {
        place.filter(filter);
        for (source, taken) in cases {
            for question in [TO_GROUP, TO_US] {
                let answer = place.ask(&thread, source, question).await;
                assert_eq!(answer, Some(taken[usize::from(filter)]), "{source}, rp_filter {filter}, {question:?}");
            }
        }
    }
    // The group takes the unspecified source, too (`ip_mc_validate_source`); a single address does not.
    assert_eq!(place.ask(&thread, "0.0.0.0", TO_GROUP).await, Some(true));
    thread.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_policy_routes_and_sysctls_count() {
    let place = Place::new("rule");
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    place.filter(1);
    assert_eq!(place.ask(&thread, "192.0.2.1", TO_GROUP).await, Some(false));
    place.ip(&["route", "add", "192.0.2.0/24", "dev", "ha0", "table", "77"]);
    assert_eq!(place.ask(&thread, "192.0.2.1", TO_GROUP).await, Some(false));
    place.ip(&["rule", "add", "to", "192.0.2.0/24", "lookup", "77"]);
    assert_eq!(place.ask(&thread, "192.0.2.1", TO_GROUP).await, Some(true));
    place.ip(&["rule", "add", "to", "192.0.2.1", "unreachable", "pref", "1"]);
    assert_eq!(place.ask(&thread, "192.0.2.1", TO_GROUP).await, Some(false));
    assert_eq!(place.ask(&thread, "192.0.2.2", TO_GROUP).await, Some(true));
    place.set("ha0/accept_local", 1);
    assert_eq!(place.ask(&thread, "169.254.192.1", TO_GROUP).await, Some(true));
    place.set("ha0/route_localnet", 1);
    place.filter(0);
    assert_eq!(place.ask(&thread, "127.0.0.1", TO_GROUP).await, Some(true));
    thread.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_what_would_be_forwarded_is_not_delivered() {
    let place = Place::new("fwd");
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    run(&["netns", "exec", &place.name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    let gone = Question::Arrives(Some(Ipv4Addr::new(10, 7, 0, 9)));
    assert_eq!(place.ask(&thread, "169.254.192.2", TO_US).await, Some(true));
    assert_eq!(place.ask(&thread, "169.254.192.2", gone).await, Some(false));
    thread.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_own_addresses_are_known() {
    let place = Place::new("own");
    let thread = NetnsThread::spawn(CancellationToken::new()).unwrap();
    let own = Question::IsLocal;
    for (source, local) in [
        ("169.254.192.1", true),
        ("10.7.0.1", true),
        ("169.254.192.2", false),
        ("192.0.2.1", false),
        ("fe80::1", true),
        ("fe80::2", false),
    ] {
        assert_eq!(place.ask(&thread, source, own).await, Some(local), "{source}");
    }
    // IPv6 has no reverse path filter.
    for source in ["fe80::2", "2001:db8::1"] {
        assert_eq!(place.ask(&thread, source, TO_GROUP).await, Some(true));
    }
    let netns = Netns::Path(PathBuf::from("/run/netns").join(&place.name));
    let of = |family| thread.run_in(netns.clone(), move || addresses(index_of("ha0").unwrap(), family).unwrap());
    assert_eq!(of(AddressFamily::Inet).await.unwrap(), [IpAddr::from([169, 254, 192, 1])]);
    let all = of(AddressFamily::Inet6).await.unwrap();
    assert!(all.contains(&Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into()), "{all:?}");
    thread.stop().await;
}
