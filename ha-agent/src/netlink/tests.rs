//! With real namespaces where named `privileged_…`: those need root.

mod namespaces;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

/// Namespaces of one test; removed with it, also when it fails.
struct Lab {
    prefix: String,
    names: Vec<String>,
}

impl Lab {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { prefix: format!("ha-nl-{}-{n}", std::process::id()), names: Vec::new() }
    }

    /// The full name of a namespace of this test, to be removed at the end.
    fn name(&mut self, short: &str) -> String {
        let name = format!("{}-{short}", self.prefix);
        if !self.names.contains(&name) {
            self.names.push(name.clone());
        }
        name
    }

    fn add(&mut self, short: &str) -> String {
        let name = self.name(short);
        ip(&format!("netns add {name}"));
        name
    }

    /// A namespace with a veth `ha-0`, whose other end `peer` is in a second namespace; both up.
    fn pair(&mut self, short: &str) -> (String, String) {
        let (a, b) = (self.add(short), self.add(&format!("{short}-peer")));
        ip(&format!("-n {a} link add ha-0 type veth peer name peer netns {b}"));
        ip(&format!("-n {b} link set peer up"));
        ip(&format!("-n {a} link set ha-0 up"));
        (a, b)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

/// Many commands of one process.
fn ip_batch(netns: Option<&str>, lines: &str) {
    let mut command = Command::new("ip");
    if let Some(netns) = netns {
        command.args(["-n", netns]);
    }
    let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2 is installed");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "{lines}");
}

struct Agent {
    netlink: Netlink,
    events: mpsc::Receiver<NetlinkEvent>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Agent {
    fn start() -> Self {
        Self::tuned(socket::RECEIVE_BUFFER, 1024)
    }

    fn tuned(receive_buffer: usize, channel: usize) -> Self {
        let (sender, events) = mpsc::channel(channel);
        let stop = CancellationToken::new();
        let tuning = Tuning { receive_buffer };
        let (netlink, task) = Netlink::start_tuned(sender, &mut Registry::default(), stop.clone(), tuning)
            .expect("root may open the sockets");
        Self { netlink, events, stop, task }
    }

    async fn next(&mut self) -> NetlinkEvent {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv())
            .await
            .expect("an event was expected")
            .expect("the task runs")
    }

    /// The next event, without its time.
    async fn told(&mut self) -> Told {
        Told::from(self.next().await)
    }

    async fn expect(&mut self, expected: impl IntoIterator<Item = Told>) {
        for told in expected {
            assert_eq!(self.told().await, told);
        }
    }

    /// Watches and takes the first state.
    async fn watched(&mut self, watch: Watch) -> (Vip, Link, Option<u32>) {
        self.netlink.watch(watch).expect("valid");
        assert_eq!(self.told().await, Told::Found);
        let Told::Link(link, ifindex) = self.told().await else {
            panic!("the link comes first");
        };
        let Told::Vip(vip) = self.told().await else {
            panic!("then the VIP");
        };
        (vip, link, ifindex)
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task).await.expect("it stops").expect("it did not panic");
        let after = self.netlink.watch(watch(9, Netns::Own));
        assert!(matches!(after, Err(NetlinkError::Stopped)));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Vip(Vip),
    Link(Link, Option<u32>),
    /// How many are set, of how many.
    Further(usize, usize),
    Missing,
    Found,
    Degraded,
    Restored,
}

impl From<NetlinkEvent> for Told {
    fn from(event: NetlinkEvent) -> Self {
        match event {
            NetlinkEvent::Vip { vip, .. } => Self::Vip(vip),
            NetlinkEvent::Link { link, ifindex, .. } => Self::Link(link, ifindex),
            NetlinkEvent::Further { further, .. } => Self::Further(further.set, further.of),
            NetlinkEvent::NetnsMissing { .. } => Self::Missing,
            NetlinkEvent::NetnsFound { .. } => Self::Found,
            NetlinkEvent::Vmac { .. } => panic!("no VMAC is watched"),
            NetlinkEvent::Degraded { .. } => Self::Degraded,
            NetlinkEvent::Restored => Self::Restored,
        }
    }
}

fn router(n: u128) -> RouterId {
    RouterId(uuid::Uuid::from_u128(n))
}

fn named(name: &str) -> Netns {
    Netns::Path(std::path::Path::new("/run/netns").join(name))
}

fn watch(n: u128, netns: Netns) -> Watch {
    Watch {
        router: router(n),
        netns,
        interface: "ha-0".to_owned(),
        vip: "169.254.0.1".parse().expect("an address"),
        prefix: 24,
        vip_interface: "ha-0".to_owned(),
        further: FurtherAddresses::default(),
        vmac: None,
    }
}

const VIP: &str = "169.254.0.1/24";

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_what_cannot_exist_is_refused_at_once() {
    let agent = Agent::start();
    let bad_name = Watch { vip_interface: "sixteen-letters-".to_owned(), ..watch(1, Netns::Own) };
    let refused = agent.netlink.watch(bad_name);
    assert!(matches!(refused, Err(NetlinkError::InterfaceName { .. })));
    let bad_path = watch(1, Netns::Path("qrouter-1".into()));
    let refused = agent.netlink.watch(bad_path);
    assert!(matches!(refused, Err(NetlinkError::NetnsPath { .. })));
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_vip_set_before_the_start_is_in_the_first_state() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    ip(&format!("-n {a} addr add {VIP} dev ha-0"));
    let mut agent = Agent::start();
    let (vip, link, ifindex) = agent.watched(watch(1, named(&a))).await;
    assert_eq!((vip, link), (Vip::Present, Link::Up));
    assert!(ifindex.is_some());
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_vip_is_seen_within_milliseconds() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    let mut agent = Agent::start();
    let (vip, ..) = agent.watched(watch(1, named(&a))).await;
    assert_eq!(vip, Vip::Absent);
    let mut slowest = Duration::ZERO;
    for (verb, expected) in [("add", Vip::Present), ("del", Vip::Absent)].repeat(10) {
        ip(&format!("-n {a} addr {verb} {VIP} dev ha-0"));
        // It is set by now, or was before that.
        let done = crate::clock::now();
        let NetlinkEvent::Vip { vip, at, .. } = agent.next().await else {
            panic!("only the VIP changes");
        };
        assert_eq!(vip, expected);
        slowest = slowest.max(at.since(done));
    }
    // On a busy machine.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_another_address_or_interface_is_not_the_vip() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    let mut agent = Agent::start();
    agent.watched(watch(1, named(&a))).await;
    ip(&format!("-n {a} addr add 169.254.0.2/24 dev ha-0"));
    ip(&format!("-n {a} addr add {VIP} dev lo"));
    ip(&format!("-n {a} addr add 169.254.0.1/16 dev ha-0"));
    agent.expect([Told::Vip(Vip::Present)]).await;
    ip(&format!("-n {a} addr add {VIP} dev ha-0"));
    ip(&format!("-n {a} addr del 169.254.0.1/16 dev ha-0"));
    // Still held with the other prefix: the next thing to tell is its end.
    ip(&format!("-n {a} addr del {VIP} dev ha-0"));
    agent.expect([Told::Vip(Vip::Absent)]).await;
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_links_go_down_lose_carrier_and_are_recreated() {
    let mut lab = Lab::new();
    let (a, b) = lab.pair("a");
    ip(&format!("-n {a} addr add {VIP} dev ha-0"));
    let mut agent = Agent::start();
    let (_, link, first) = agent.watched(watch(1, named(&a))).await;
    assert_eq!(link, Link::Up);
    ip(&format!("-n {a} link set ha-0 down"));
    agent.expect([Told::Link(Link::Down, first)]).await;
    ip(&format!("-n {a} link set ha-0 up"));
    agent.expect([Told::Link(Link::Up, first)]).await;
    ip(&format!("-n {b} link set peer down"));
    agent.expect([Told::Link(Link::Down, first)]).await;
    ip(&format!("-n {b} link set peer up"));
    agent.expect([Told::Link(Link::Up, first)]).await;
    ip(&format!("-n {a} link del ha-0"));
    let mut gone = [agent.told().await, agent.told().await, agent.told().await];
    if gone[0] != Told::Link(Link::Down, first) {
        gone.rotate_left(1);
    }
    assert_eq!(gone, [Told::Link(Link::Down, first), Told::Vip(Vip::Absent), Told::Link(Link::Gone, None)]);
    ip(&format!("-n {a} link add ha-0 type veth peer name peer netns {b}"));
    let Told::Link(Link::Down, Some(second)) = agent.told().await else {
        panic!("a new device is down");
    };
    assert_ne!(Some(second), first);
    ip(&format!("-n {a} addr add {VIP} dev ha-0"));
    agent.expect([Told::Vip(Vip::Present)]).await;
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_bridge_and_its_port() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    ip(&format!("-n {a} link add br0 type bridge"));
    ip(&format!("-n {a} link set ha-0 master br0"));
    ip(&format!("-n {a} link set br0 up"));
    let mut agent = Agent::start();
    let on_bridge = Watch { interface: "br0".to_owned(), vip_interface: "br0".to_owned(), ..watch(1, named(&a)) };
    let (_, link, bridge) = agent.watched(on_bridge).await;
    if link == Link::Down {
        // The kernel's link watch comes a moment later.
        agent.expect([Told::Link(Link::Up, bridge)]).await;
    }
    let (_, link, port) = agent.watched(watch(2, named(&a))).await;
    assert_eq!(link, Link::Up);
    // Leaving the bridge is told as the end of a link, of the bridge's family: not of the device.
    ip(&format!("-n {a} link set ha-0 nomaster"));
    agent.expect([Told::Link(Link::Down, bridge)]).await;
    ip(&format!("-n {a} link set ha-0 down"));
    agent.expect([Told::Link(Link::Down, port)]).await;
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_with_use_vmac_the_vip_is_on_the_macvlan() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    let mut agent = Agent::start();
    let vmac = Watch { vip_interface: "vrrp.7".to_owned(), ..watch(1, named(&a)) };
    let (vip, link, _) = agent.watched(vmac).await;
    assert_eq!((vip, link), (Vip::Absent, Link::Up));
    ip(&format!("-n {a} link add vrrp.7 link ha-0 type macvlan mode private"));
    ip(&format!("-n {a} link set vrrp.7 up"));
    ip(&format!("-n {a} addr add {VIP} dev vrrp.7"));
    agent.expect([Told::Vip(Vip::Present)]).await;
    ip(&format!("-n {a} link del vrrp.7"));
    agent.expect([Told::Vip(Vip::Absent)]).await;
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_an_ipv6_vip_and_one_that_is_a_duplicate() {
    let mut lab = Lab::new();
    let (a, b) = lab.pair("a");
    let mut agent = Agent::start();
    let v6 = Watch { vip: "2001:db8::7".parse().expect("an address"), prefix: 64, ..watch(1, named(&a)) };
    agent.watched(v6).await;
    ip(&format!("-n {a} addr add 2001:db8::7/64 dev ha-0 nodad"));
    agent.expect([Told::Vip(Vip::Present)]).await;
    ip(&format!("-n {a} addr del 2001:db8::7/64 dev ha-0"));
    agent.expect([Told::Vip(Vip::Absent)]).await;
    ip(&format!("-n {b} addr add 2001:db8::7/64 dev peer nodad"));
    ip(&format!("-n {a} addr add 2001:db8::7/64 dev ha-0"));
    // Tentative; then the peer defends it.
    agent.expect([Told::Vip(Vip::Present), Told::Vip(Vip::Absent)]).await;
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_watching_again_replacing_and_forgetting() {
    let mut lab = Lab::new();
    let (a, b) = lab.pair("a");
    ip(&format!("-n {a} addr add {VIP} dev ha-0"));
    let mut agent = Agent::start();
    agent.watched(watch(1, named(&a))).await;
    // The same again tells nothing; another router there is told for itself only.
    agent.netlink.watch(watch(1, named(&a))).expect("valid");
    let (vip, ..) = agent.watched(watch(2, named(&a))).await;
    assert_eq!(vip, Vip::Present);
    // Moved to another namespace.
    let moved = Watch { interface: "peer".to_owned(), vip_interface: "peer".to_owned(), ..watch(2, named(&b)) };
    let (vip, link, _) = agent.watched(moved).await;
    assert_eq!((vip, link), (Vip::Absent, Link::Up));
    agent.netlink.unwatch(router(1));
    let (vip, ..) = agent.watched(watch(1, named(&a))).await;
    assert_eq!(vip, Vip::Present, "told anew");
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_an_overrun_ends_in_the_right_state() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    let (c, _d) = lab.pair("c");
    // A small buffer, and a consumer that does not read: the kernel must drop.
    let mut agent = Agent::tuned(32 << 10, 1);
    for (n, netns) in [(1, &a), (2, &c)] {
        agent.netlink.watch(watch(n, named(netns))).expect("valid");
        // What other tests do may already be too much.
        while agent.told().await != Told::Vip(Vip::Absent) {}
    }
    let mut burst = String::new();
    for _ in 0..300 {
        burst += &format!("addr add {VIP} dev ha-0\naddr del {VIP} dev ha-0\n");
    }
    burst += &format!("addr add {VIP} dev ha-0\n");
    ip_batch(Some(&a), &burst);
    ip(&format!("-n {c} addr add {VIP} dev ha-0"));
    ip(&format!("-n {c} link set ha-0 down"));
    let expected = [Some(Told::Vip(Vip::Present)), Some(Told::Vip(Vip::Present)), Some(Told::Link(Link::Down, None))];
    let mut last = [None; 3];
    let (mut degraded, mut restored, mut vip_events) = (0, 0, 0);
    while last != expected || restored != degraded || degraded == 0 {
        match agent.next().await {
            NetlinkEvent::Vip { router: of, vip, .. } => {
                vip_events += 1;
                let place = &mut last[usize::from(of == router(2))];
                assert_ne!(place.replace(Told::Vip(vip)), Some(Told::Vip(vip)));
            }
            NetlinkEvent::Link { router: of, link, .. } => {
                assert_eq!(of, router(2));
                last[2] = Some(Told::Link(link, None));
            }
            NetlinkEvent::Degraded { reason } => {
                assert!(reason.contains("overrun"), "{reason}");
                degraded += 1;
            }
            NetlinkEvent::Restored => restored += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(vip_events < 600, "nothing was dropped: {vip_events}");
    // And it goes on.
    ip(&format!("-n {a} addr del {VIP} dev ha-0"));
    while agent.told().await != Told::Vip(Vip::Absent) {}
    agent.end().await;
}

#[test]
fn of_several_orders_the_last_word_counts() {
    let orders = Orders::default();
    let netlink = Netlink { orders: Arc::new(orders) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        netlink.watch(watch(1, Netns::Own)).expect("valid");
        netlink.unwatch(router(1));
        netlink.watch(watch(1, named("x"))).expect("valid");
        netlink.watch(watch(1, named("y"))).expect("valid");
        netlink.watch(watch(2, Netns::Own)).expect("valid");
        netlink.unwatch(router(3));
    });
    let taken = netlink.orders.take();
    assert_eq!(taken.len(), 3);
    let Some(Order::Watch { watch, anew: true }) = taken.get(&router(1)) else {
        panic!("{taken:?}");
    };
    assert_eq!(watch.netns, named("y"));
    assert!(matches!(taken.get(&router(2)), Some(Order::Watch { anew: false, .. })));
    assert!(matches!(taken.get(&router(3)), Some(Order::Unwatch)));
    assert!(netlink.orders.take().is_empty());
}
