//! More foreign speakers than are kept.
#![expect(clippy::print_stdout, reason = "a test that measures tells what")]

use std::net::Ipv4Addr;

use ha_agent_common::{FAMILY_V4, ForeignKey, MAX_FOREIGN, NO_VLAN, Speaker};
use rustix::time::{ClockId, clock_gettime};

use super::*;

/// The address of the `n`-th of many.
fn stranger(n: u16) -> Ipv4Addr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(10, 66, high, low)
}

/// Sound adverts of many, one of each.
fn frames(strangers: std::ops::Range<u16>, priority: u8) -> Vec<Vec<u8>> {
    let frame = |n| Frame { source: stranger(n).into(), priority, ..Frame::v2() };
    strangers.map(|n| frame(n).frame()).collect()
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap()
}

/// How long a local record waits while records are lost and the kernel remembers all that it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_a_full_map_keeps_no_local_record_waiting() {
    const WATCHES: u8 = 16;
    let pair = Pair::new("full");
    let mut rig = Rig::new(WireOptions::default());
    for vrid in 1..=WATCHES {
        rig.wire.attach(pair.target(0, vrid)).await.unwrap();
    }
    let now = clock::now().0;
    for n in 0..u16::try_from(MAX_FOREIGN).unwrap() {
        let mut src = [0; 16];
        src[..4].copy_from_slice(&stranger(n).octets());
        let watch = u32::from(n) % u32::from(WATCHES);
        // Live for minutes, and no two alike.
        let speaker = Speaker {
            run_since_ns: now + u64::from(n),
            last_seen_ns: now,
            adverts: 1,
            run_adverts: 1,
            src,
            interval_cs: 25_500,
            priority: 1 + (n / 300) as u8,
            version: 2,
            vip_count: 1,
            vlan: NO_VLAN,
            ..Speaker::default()
        };
        let key =
            ForeignKey { watch, family: FAMILY_V4.into(), vlan: NO_VLAN, src, content: 0, mac: [0; 6], pad: [0; 2] };
        rig.wire.shared.remember(&key, &speaker).unwrap();
    }
    let socket = rig.vrrp_socket(pair.netns(0), "ha0", 112).await;
    let (begun, processor) = (std::time::Instant::now(), processor_time());
    let mut waits = Vec::new();
    for round in 0..75_u16 {
        let flood = frames(20_000 + round * 100..20_100 + round * 100, 10);
        rig.netns.run_in(pair.netns(1), move || send_raw("ha0", &flood)).await.unwrap().unwrap();
        let priority = 100 + (round % 2) as u8;
        let own = Frame { source: "169.254.192.1".parse().unwrap(), priority, ..Frame::v2() };
        socket.send(&own);
        let told = rig.advert(|_, advert| advert.side == Side::Local && advert.priority == priority).await;
        let waited = clock::now().since(told.at);
        waits.push(waited);
        // Within the budget of local records, so that each of them is told.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let share = (processor_time() - processor).as_secs_f64() / begun.elapsed().as_secs_f64();
    waits.sort();
    let longest = waits[waits.len() - 1];
    println!(
        "local records waited {:?} in the median, {longest:?} at most; {:.0} % of a core",
        waits[37],
        share * 100.0
    );
    assert!(rig.wire.stats().withheld > 5_000, "{:?}", rig.wire.stats());
    assert!(longest < Duration::from_millis(200), "a local record waited {longest:?}");
    rig.stop().await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn privileged_a_better_master_is_kept_among_many_that_go_on() {
    let pair = Pair::new("many");
    let mut rig = Rig::new(WireOptions::default());
    rig.wire.attach(pair.target(0, 1)).await.unwrap();
    let own = Frame { source: "169.254.192.1".parse().unwrap(), priority: 50, ..Frame::v2() };
    rig.vrrp_socket(pair.netns(0), "ha0", 112).await.send(&own);
    rig.advert(|_, advert| advert.side == Side::Local).await;
    // As many as the agent keeps, each of them twice: a run.
    for _ in 0..2 {
        let strangers = frames(0..64, 10);
        rig.netns.run_in(pair.netns(1), move || send_raw("ha0", &strangers)).await.unwrap().unwrap();
    }
    rig.advert(|_, advert| advert.source == stranger(63)).await;
    let better = Frame { source: "169.254.192.2".parse().unwrap(), priority: 60, ..Frame::v2() };
    // The first ones took all the budget: it is remembered once a token has grown.
    let heard = loop {
        rig.send(pair.netns(1), better.frame()).await;
        if let Ok(Some(WireEvent::Advert { advert, .. })) =
            tokio::time::timeout(Duration::from_millis(50), rig.events.recv()).await
        {
            break advert;
        }
    };
    assert_eq!(heard.priority, 60);
    let reading = rig.wire.read(router(0, 1)).unwrap();
    assert!(reading.speakers.iter().any(|advert| advert.priority == 60), "{reading:?}");
    rig.stop().await;
}
