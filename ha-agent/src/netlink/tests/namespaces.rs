//! Namespaces come, go and are many.

use std::collections::HashSet;
use std::time::Instant;

use super::*;

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_namespace_is_waited_for_let_go_and_found_again() {
    let mut lab = Lab::new();
    let (a, b) = (lab.name("a"), lab.add("b"));
    let mut agent = Agent::start();
    agent.netlink.watch(watch(1, named(&a))).expect("valid");
    agent.expect([Told::Missing]).await;
    for _ in 0..2 {
        ip(&format!("netns add {a}"));
        agent.expect([Told::Found, Told::Link(Link::Gone, None), Told::Vip(Vip::Absent)]).await;
        ip(&format!("-n {a} link add ha-0 type veth peer name peer netns {b}"));
        let Told::Link(Link::Down, Some(_)) = agent.told().await else {
            panic!("the device was made");
        };
        ip(&format!("-n {a} addr add {VIP} dev ha-0"));
        agent.expect([Told::Vip(Vip::Present)]).await;
        // The peer's end is seen by a second agent: only if nothing pins the namespace, it goes.
        let mut witness = Agent::start();
        let peer = Watch { interface: "peer".to_owned(), vip_interface: "peer".to_owned(), ..watch(2, named(&b)) };
        let (_, link, _) = witness.watched(peer).await;
        assert_eq!(link, Link::Down);
        ip(&format!("netns del {a}"));
        agent.expect([Told::Missing]).await;
        assert_eq!(
            [agent.told().await, agent.told().await],
            [Told::Vip(Vip::Unknown), Told::Link(Link::Unknown, None)]
        );
        witness.expect([Told::Link(Link::Gone, None)]).await;
        witness.end().await;
    }
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_the_same_name_at_once_again_is_a_new_namespace() {
    let mut lab = Lab::new();
    let (a, _b) = lab.pair("a");
    ip(&format!("-n {a} addr add {VIP} dev ha-0"));
    let mut agent = Agent::start();
    agent.watched(watch(1, named(&a))).await;
    ip_batch(None, &format!("netns del {a}\nnetns add {a}\n"));
    // Whatever is told of the old one's end, the last word is about the new one.
    let mut seen = Vec::new();
    while seen.last() != Some(&Told::Vip(Vip::Absent)) || !seen.contains(&Told::Found) {
        seen.push(agent.told().await);
    }
    assert!(seen.contains(&Told::Missing), "{seen:?}");
    let end = &seen[seen.len() - 3..];
    assert_eq!(end, [Told::Found, Told::Link(Link::Gone, None), Told::Vip(Vip::Absent)]);
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_namespace_that_dies_under_its_name_is_noticed() {
    let mut lab = Lab::new();
    let a = lab.add("a");
    let path = format!("/run/netns/{a}");
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).status();
        assert!(status.expect("util-linux is installed").success());
    };
    let mut agent = Agent::start();
    agent.watched(watch(1, named(&a))).await;
    // The file stays, so only the end of the nsid tells it.
    run("umount", &[&path]);
    agent.expect([Told::Missing, Told::Vip(Vip::Unknown), Told::Link(Link::Unknown, None)]).await;
    // A mount is not told by inotify: the file is looked at again and again.
    run("unshare", &[&format!("--net={path}"), "true"]);
    agent.expect([Told::Found, Told::Link(Link::Gone, None), Told::Vip(Vip::Absent)]).await;
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_the_own_namespace_also_by_its_path() {
    let mut agent = Agent::start();
    for (n, netns) in [(1, Netns::Own), (2, Netns::Path("/proc/self/ns/net".into()))] {
        let lo = Watch {
            interface: "lo".to_owned(),
            vip: "127.0.0.1".parse().expect("an address"),
            prefix: 8,
            vip_interface: "lo".to_owned(),
            ..watch(n, netns)
        };
        let first = agent.watched(lo).await;
        assert_eq!(first, (Vip::Present, Link::Up, Some(1)));
    }
    agent.end().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_two_hundred_namespaces_at_once() {
    const COUNT: u128 = 200;
    let mut lab = Lab::new();
    let names: Vec<String> = (0..COUNT).map(|n| lab.name(&n.to_string())).collect();
    let lines = |format: &dyn Fn(&str) -> String| -> String { names.iter().map(|name| format(name) + "\n").collect() };
    ip_batch(None, &lines(&|name| format!("netns add {name}")));
    let mut agent = Agent::start();
    let loopback = |n: u128, name: &str| Watch {
        interface: "lo".to_owned(),
        vip_interface: "lo".to_owned(),
        ..watch(n, named(name))
    };
    for (n, name) in (0..).zip(&names) {
        agent.netlink.watch(loopback(n, name)).expect("valid");
    }
    for _ in 0..COUNT * 3 {
        let told = agent.told().await;
        let first = [Told::Found, Told::Link(Link::Down, Some(1)), Told::Vip(Vip::Absent)];
        assert!(first.contains(&told), "{told:?}");
    }
    for (verb, expected) in [("add", Vip::Present), ("del", Vip::Absent)] {
        let begin = Instant::now();
        let change = std::thread::spawn({
            let names = names.clone();
            move || {
                for name in names {
                    ip(&format!("-n {name} addr {verb} {VIP} dev lo"));
                }
            }
        });
        let mut left: HashSet<RouterId> = (0..COUNT).map(router).collect();
        while !left.is_empty() {
            let NetlinkEvent::Vip { router, vip, .. } = agent.next().await else {
                panic!("only VIPs change");
            };
            assert_eq!(vip, expected);
            assert!(left.remove(&router), "told twice");
        }
        change.join().expect("no command failed");
        assert!(begin.elapsed() < Duration::from_secs(60));
    }
    agent.end().await;
}
