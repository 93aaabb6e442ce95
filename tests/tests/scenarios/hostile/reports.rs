//! One report that says something true must not make later failovers wait for reports that never come.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use ha_agent_tests::abuse::{self, HONEST};
use ha_agent_tests::pair::{Pair, Reporter, SLACK, Scene};
use ha_agent_tests::report;

use super::{in_time, witness};

/// An unreported failover and another one back are told in time.
fn there_and_back(mut pair: Pair, a: &[&str], b: &[&str]) -> Result<()> {
    let witness = witness(&pair)?;
    let since = SystemTime::now();
    pair.a.keepalived()?.stop()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pair.heard(&a[..a.len() - 1], &b[..b.len() - 1])?;
    pair.rest()?;
    pair.a.start_keepalived()?;
    pair.mark()?;
    let since = SystemTime::now();
    pair.b.keepalived()?.stop()?;
    in_time(&mut pair.a, &witness, "primary", since)?;
    in_time(&mut pair.b, &witness, "backup", since)?;
    pair.heard(a, b)
}

fn unreported(name: &str) -> Result<Pair> {
    let mut scene = Scene { reporter: Reporter::Nobody, ..Scene::default() };
    scene.agent.intake = abuse::intake();
    scene.start(name)
}

#[test]
#[ignore = "needs root"]
fn unreported_failovers_are_told_in_time() -> Result<()> {
    there_and_back(unreported("unreported")?, &["primary", "backup", "primary"], &["backup", "primary", "backup"])
}

#[test]
#[ignore = "needs root"]
fn a_user_s_reports_slow_no_later_failover() -> Result<()> {
    let mut pair = unreported("slowed")?;
    abuse::open_way(&pair.lab, &pair.b.agent)?;
    // Nothing tells a backup from one whose track script failed.
    let told = ["backup", "fault", "backup", "primary", "backup"];
    for (index, state) in ["fault", "backup"].into_iter().enumerate() {
        let (socket, router) = (pair.b.agent.socket(), pair.b.site.router.id);
        let status = abuse::as_user(HONEST, || report::claim(&socket, router, state))?;
        ensure!(status == 200, "{state}: {status}");
        pair.b.confirmed(SLACK, state)?;
        pair.b.heard(SLACK, &told[..index + 2])?;
    }
    pair.rest()?;
    pair.mark()?;
    there_and_back(pair, &["primary", "backup", "primary"], &told)
}
