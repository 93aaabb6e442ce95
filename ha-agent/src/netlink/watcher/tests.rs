use prometheus_client::registry::Registry;

use super::*;
use crate::core::model::Vip;
use crate::netlink::{Netlink, Watch, socket};

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_lost_request_socket_is_opened_again() {
    let (sender, mut events) = mpsc::channel(16);
    let orders = Arc::new(Orders::default());
    let tuning = Tuning { receive_buffer: socket::RECEIVE_BUFFER };
    let metrics = Metrics::register(&mut Registry::default());
    let watcher = Watcher::new(sender, metrics, Arc::clone(&orders), tuning).expect("root may open it");
    watcher.connection.abort();
    let netlink = Netlink { orders };
    let watch = Watch {
        router: RouterId(uuid::Uuid::from_u128(1)),
        netns: Netns::Own,
        interface: "lo".to_owned(),
        vip: "127.0.0.1".parse().expect("an address"),
        prefix: 8,
        vip_interface: "lo".to_owned(),
        further: crate::addresses::FurtherAddresses::default(),
        vmac: None,
    };
    netlink.watch(watch).expect("valid");
    let stop = CancellationToken::new();
    let task = tokio::spawn(watcher.run(stop.clone()));
    let mut seen = Vec::new();
    while !matches!(seen.last(), Some(NetlinkEvent::Restored)) {
        let event = tokio::time::timeout(Duration::from_secs(20), events.recv());
        seen.push(event.await.expect("goes on").expect("runs"));
    }
    let at = |wanted: fn(&NetlinkEvent) -> bool| seen.iter().position(wanted);
    let degraded = at(|event| matches!(event, NetlinkEvent::Degraded { .. }));
    let present = at(|event| matches!(event, NetlinkEvent::Vip { vip: Vip::Present, .. }));
    assert!(degraded.is_some() && degraded < present, "{seen:?}");
    stop.cancel();
    task.await.expect("it did not panic");
}
