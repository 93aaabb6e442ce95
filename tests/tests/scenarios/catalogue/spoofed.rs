//! Reports that are not true: a notification over the socket, a line in the FIFO.

use std::io::Write;

use anyhow::Result;
use ha_agent_tests::pair::{Node, Pair, SLACK, Scene};
use ha_agent_tests::record::{Claim, Scenario};
use serde_json::{Value, json};

use super::{Bound, Case, SETTLE, TURN};

/// Nothing bears the claim out.
const BOUNDS: &[Bound] =
    &[Bound { what: "rejected", least: SETTLE, most: SETTLE + TURN, why: "no channel bears it out: settle" }];

/// The claim is refused, and there is no anomaly: the channels that are no claims agree.
fn refused(
    case: &mut Case,
    name: &'static str,
    node: &mut Node,
    reporter: &'static str,
    state: &'static str,
) -> Result<Value> {
    let scenario = Scenario::begin(name, false)?;
    let rejected = node.event(SLACK, "transition.rejected", json!({"claim": state}))?;
    let took = case.came("rejected", &rejected)?;
    scenario.claim(&Claim { reporter, state, truth: false, verdict: "rejected", took })?;
    assert_eq!(rejected["reason"], "contradicted");
    assert_eq!(rejected["severity"], "warning");
    assert_eq!(node.anomalies()?, [""; 0]);
    node.never("transition.confirmed", json!({}))?;
    let words = format!("claim {state} rejected as contradicted");
    node.explains(&[&words, &format!("The last claim was {state}. It is not what is confirmed")])?;
    Ok(rejected)
}

/// A real change after the refused claim: if anything false had been passed on, it would have been
/// heard before this.
fn then_a_real_failover(case: Case, mut pair: Pair) -> Result<()> {
    pair.mark()?;
    pair.a.keepalived()?.stop()?;
    let primary = pair.b.confirmed(SLACK, "primary")?;
    assert_eq!(primary["basis"], "report+vip+wire");
    pair.a.confirmed(SLACK, "backup")?;
    case.told(
        &mut pair,
        &["primary", "backup"],
        &["backup", "primary"],
        "nothing to clear; told: a real failover after it",
    )
}

#[test]
#[ignore = "needs root"]
fn primary_over_the_socket() -> Result<()> {
    let mut pair = Scene::default().start("spoof-p")?;
    let mut case = Case::now("forged notification: primary", BOUNDS);
    assert_eq!(pair.b.claim("primary")?, 200);
    let rejected = refused(&mut case, "forged notification: primary", &mut pair.b, "socket", "primary")?;
    assert_eq!(rejected["reporter"]["via"], "socket");
    assert_eq!(rejected["reporter"]["pid"], std::process::id());
    assert_eq!(rejected["evidence"]["vip"], "absent");
    assert_eq!(rejected["evidence"]["tx"]["state"], "silent");
    assert_eq!(rejected["evidence"]["foreign"]["address"], pair.a.site.ip().to_string());
    let status = pair.b.agent.status(&pair.b.site)?;
    assert_eq!((&status["claimed"], &status["confirmed"]), (&json!("primary"), &json!("backup")));
    assert_eq!(status["delivered"], "backup");
    then_a_real_failover(case, pair)
}

#[test]
#[ignore = "needs root"]
fn backup_over_the_socket() -> Result<()> {
    let mut pair = Scene::default().start("spoof-b")?;
    let mut case = Case::now("forged notification: backup", BOUNDS);
    assert_eq!(pair.a.claim("backup")?, 200);
    let rejected = refused(&mut case, "forged notification: backup", &mut pair.a, "socket", "backup")?;
    assert_eq!(rejected["evidence"]["vip"], "present");
    assert_eq!(rejected["evidence"]["tx"]["state"], "transmitting");
    assert_eq!(rejected["evidence"]["tx"]["priority"], 50);
    assert_eq!(pair.a.agent.status(&pair.a.site)?["confirmed"], "primary");
    then_a_real_failover(case, pair)
}

#[test]
#[ignore = "needs root"]
fn primary_in_the_fifo() -> Result<()> {
    let mut pair = Scene::default().start("fifo")?;
    let mut fifo = std::fs::File::options().write(true).open(pair.b.agent.fifo())?;
    let mut case = Case::now("forged FIFO line: primary", BOUNDS);
    fifo.write_all(b"INSTANCE \"VR_11\" MASTER 50\n")?;
    let rejected = refused(&mut case, "forged FIFO line: primary", &mut pair.b, "fifo", "primary")?;
    assert_eq!(rejected["reporter"], json!({"via": "fifo"}));

    let longest = [&[b'x'; 70_000][..], b"\n"].concat();
    for garbage in [b"\x00\xff\x1b[31m\n".as_slice(), b"INSTANCE \"VR_11\" BANANA 50\n", b"\n\n\n", &longest] {
        fifo.write_all(garbage)?;
    }
    drop(fifo);
    pair.b.agent.events.expect(SLACK, &json!({"event": "report.refused", "status": 0}))?;
    pair.b.never("transition.confirmed", json!({}))?;
    // The FIFO is still read.
    then_a_real_failover(case, pair)
}

#[test]
#[ignore = "needs root"]
fn backup_in_the_fifo() -> Result<()> {
    let mut pair = Scene::default().start("fifo-b")?;
    let mut fifo = std::fs::File::options().write(true).open(pair.a.agent.fifo())?;
    let mut case = Case::now("forged FIFO line: backup", BOUNDS);
    fifo.write_all(b"INSTANCE \"VR_11\" BACKUP 50\n")?;
    let rejected = refused(&mut case, "forged FIFO line: backup", &mut pair.a, "fifo", "backup")?;
    drop(fifo);
    assert_eq!(rejected["reporter"], json!({"via": "fifo"}));
    assert_eq!(rejected["evidence"]["vip"], "present");
    assert_eq!(pair.a.agent.status(&pair.a.site)?["confirmed"], "primary");
    then_a_real_failover(case, pair)
}
