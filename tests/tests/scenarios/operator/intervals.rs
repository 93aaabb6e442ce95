//! Short advert intervals on a busy machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use ha_agent_tests::keepalived::Keepalived;
use ha_agent_tests::pair::SLACK;

use super::found;

/// How long the machine is kept busy.
const BUSY: Duration = Duration::from_secs(8);

#[test]
#[ignore = "needs root"]
fn at_ten_and_fifty_milliseconds_a_busy_machine_loses_no_master() -> Result<()> {
    for (name, interval) in [("ten-ms", "0.01"), ("fifty-ms", "0.05")] {
        let mut scene = found();
        scene.keepalived.version = Some(3);
        let mut pair = scene.build(name)?;
        for node in [&mut pair.a, &mut pair.b] {
            let conf = Keepalived::configure(&node.site, &node.settings)?;
            let text = std::fs::read_to_string(&conf)?;
            std::fs::write(&conf, text.replace("advert_int 1", &format!("advert_int {interval}")))?;
            node.keepalived = Some(Keepalived::start_with(&node.site, &conf)?);
            if node.site.node == "a" {
                node.vip(SLACK, true)?;
            }
        }
        pair.watch()?;
        let over = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..8)
            .map(|_| {
                let over = Arc::clone(&over);
                std::thread::spawn(move || while !over.load(Ordering::Relaxed) {})
            })
            .collect();
        std::thread::sleep(BUSY);
        over.store(true, Ordering::Relaxed);
        for thread in busy {
            thread.join().expect("it only counts");
        }
        for node in [&mut pair.a, &mut pair.b] {
            let named = node.anomalies()?;
            // Who is put off for more than half a second is missed in truth; that is no flutter.
            let missed = named.iter().filter(|kind| *kind == "no_primary").count();
            ensure!(missed <= 1, "every {interval} s: {named:?}");
        }
    }
    Ok(())
}
