//! How much: whatever one user does to the socket, another user's notifications are not late.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_agent_tests::abuse::{self, ABUSER, Abuser, HONEST, Latencies, STRANGER};
use ha_agent_tests::figures;
use ha_agent_tests::pair::{Pair, SLACK, Scene};

/// What an abuser may add to another user's notification.
const BOUND: Duration = Duration::from_millis(50);
/// How long each kind of abuse goes on.
const LENGTH: Duration = Duration::from_secs(4);
/// Between two notifications of the honest user: below his own rate.
const PAUSE: Duration = Duration::from_millis(8);

/// The best of so many counts.
const TRIES: usize = 4;

/// What all that may add to the agent's memory, KiB.
const MEMORY: u64 = 32 * 1024;

/// The most that a process had resident so far.
fn kibibytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    most.and_then(|number| number.trim().parse().ok()).context("VmHWM")
}

/// A pair whose agents let two more users report.
fn pair(name: &str) -> Result<Pair> {
    let mut scene = Scene::default();
    scene.agent.intake = abuse::intake();
    let pair = scene.start(name)?;
    abuse::open_way(&pair.lab, &pair.b.agent)?;
    Ok(pair)
}

fn honest(pair: &Pair, going_on: impl FnMut(usize) -> bool + Send) -> Result<Latencies> {
    let (socket, router) = (pair.b.agent.socket(), pair.router.id);
    abuse::as_user(HONEST, || abuse::notify(&socket, router, "backup", PAUSE, going_on))
}

/// What the honest user sees while another one is at work, and how often that one did what it does.
fn beside(pair: &Pair, kind: &str, uid: u32) -> Result<(Latencies, u64)> {
    let mut abuser = Abuser::start(&pair.lab, &pair.b.agent, kind, uid, pair.router.id, LENGTH)?;
    let latencies = honest(pair, |_| abuser.is_at_work())?;
    Ok((latencies, abuser.end()?))
}

fn beside_one_who_computes(pair: &Pair) -> Result<Latencies> {
    let (busy, _) = beside(pair, "spin", ABUSER)?;
    figures::tell(format_args!("{:<28} {busy}", "a user who only computes"));
    Ok(busy)
}

#[test]
#[ignore = "needs root"]
fn no_abuser_delays_another_user_s_notification() -> Result<()> {
    let _alone = crate::alone();
    let mut pair = pair("abuse")?;
    figures::tell(format_args!("{:<28} {}", "nobody else", honest(&pair, |done| done < 300)?));
    let calm = kibibytes(pair.b.agent.id()?)?;
    // Not against an idle machine: a user who only computes costs the others something, too.
    let mut busy = beside_one_who_computes(&pair)?;
    let kinds = [
        ("hold", ABUSER),
        ("churn", ABUSER),
        ("drip", ABUSER),
        ("requests", ABUSER),
        ("deaf", ABUSER),
        ("hold", STRANGER),
        ("churn", STRANGER),
        ("requests", STRANGER),
    ];
    for (kind, uid) in kinds {
        let who = if uid == STRANGER { "stranger" } else { "allowed" };
        let mut tried = 0;
        loop {
            let (abused, done) = beside(&pair, kind, uid)?;
            figures::tell(format_args!("{:<28} {abused}", format!("{kind} ({who}, {done})")));
            ensure!(done > 100, "{kind}: {done} is no abuse");
            let added = abused.per_mille(990).saturating_sub(busy.per_mille(990));
            if added <= BOUND {
                break;
            }
            // What else runs on this machine only ever adds, to both: they are measured anew, close together.
            tried += 1;
            ensure!(tried < TRIES, "{kind} ({who}): p99 is {added:?} longer than beside a user who only computes");
            busy = beside_one_who_computes(&pair)?;
        }
    }
    let most = kibibytes(pair.b.agent.id()?)?;
    figures::tell(format_args!("the agent's memory: {calm} KiB before, {most} KiB at most"));
    ensure!(most < calm + MEMORY, "from {calm} KiB to {most} KiB");
    // It takes longer than an L3 agent that has just come is told again what it may have dropped.
    pair.a.l3.expect_changes(SLACK, pair.router.id, &["primary"])?;
    pair.b.l3.expect_changes(SLACK, pair.router.id, &["backup"])
}
