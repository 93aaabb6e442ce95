use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::event::{Delivered, Event, Line};
use super::line::{json, line};
use super::*;
use crate::config::Sink;
use crate::core::evidence::{AddressEvidence, Evidence, ForeignEvidence, ReportEvidence, Tx, TxEvidence};
use crate::core::io::RejectReason;
use crate::core::model::{AnomalyKind, Basis, Channel, Link, Listener, Reporter, RouterId, State, Vip};
use crate::core::reporter::{Naming, Process, Unnamed};

const GOLDEN: &str = include_str!("golden/events.jsonl");
const TS: &str = "2026-01-02T03:04:05.678901Z";

fn router(number: u128) -> RouterId {
    RouterId(Uuid::from_u128(0x2f0c_1c52_5b1d_4f53_9f0e_0000_0000_0000 + number))
}

fn evidence() -> Evidence {
    Evidence {
        vip: Vip::Absent,
        link: Link::Up,
        tx: TxEvidence { state: Tx::Yielded, priority: Some(50), age_ms: Some(4100) },
        foreign: Some(ForeignEvidence {
            address: "169.254.192.7".parse().unwrap(),
            mac: None,
            vlan: None,
            priority: 50,
            interval_ms: 2000,
            age_ms: 120,
        }),
        report: Some(ReportEvidence { state: State::Primary, reporter: reporter(), age_ms: 251 }),
        further: None,
        listener: None,
        channels_down: vec![Channel::Wire],
    }
}

fn process() -> Naming {
    Naming::Named(Arc::new(Process {
        started: "2026-01-02T03:04:05.670Z".into(),
        start_ticks: 184_467,
        command: "curl".into(),
        cgroup: Some("/system.slice/keepalived.service".into()),
        executable: Some("/usr/bin/curl".into()),
    }))
}

fn reporter() -> Reporter {
    Reporter::Socket { uid: 42, pid: 4711, gid: Some(43), process: process() }
}

fn bare_evidence() -> Evidence {
    Evidence {
        vip: Vip::Present,
        link: Link::Up,
        tx: TxEvidence { state: Tx::Transmitting, priority: None, age_ms: None },
        foreign: None,
        report: None,
        further: None,
        listener: None,
        channels_down: vec![],
    }
}

/// One of each, and a second one where fields may be absent.
fn examples() -> Vec<Event> {
    let router_id = router(1);
    let reporter = reporter();
    let text = str::to_owned;
    vec![
        Event::AgentStarted {
            version: text("0.1.0"),
            kernel: text("6.18.0"),
            mode: text("enforce"),
            channels: text("report+vip+wire"),
        },
        Event::RouterWatched {
            instance: None,
            router_id,
            source: text("ha_confs"),
            netns: text("qrouter-2f0c1c52"),
            interface: text("ha-1b2c3d4e-5f"),
            vip: text("169.254.0.1/24"),
            vrid: 1,
        },
        Event::ReportReceived { router_id, state: State::Primary, reporter: reporter.clone() },
        Event::ReportReceived { router_id, state: State::Fault, reporter: Reporter::Fifo },
        Event::ReportRefused {
            router_id: Some(router_id),
            status: 403,
            reason: text("peer_not_allowed"),
            reporter: Some(reporter.clone()),
            count: None,
        },
        Event::ReportRefused { router_id: None, status: 0, reason: text("bad_line"), reporter: None, count: None },
        Event::TransitionConfirmed {
            router_id,
            state: State::Primary,
            previous: Some(State::Backup),
            basis: Basis { report: true, vip: true, wire: true },
            latency_ms: 251.5,
            evidence: evidence(),
        },
        Event::TransitionConfirmed {
            router_id,
            state: State::Primary,
            previous: None,
            basis: Basis { report: false, vip: true, wire: true },
            latency_ms: 0.0,
            evidence: bare_evidence(),
        },
        Event::TransitionRejected {
            router_id,
            claim: State::Primary,
            reporter,
            reason: RejectReason::Contradicted,
            passed_on: false,
            evidence: evidence(),
        },
        Event::TransitionSuperseded { router_id, state: State::Primary, by: State::Backup, held_ms: 12.25 },
        Event::AnomalyRaised {
            router_id,
            kind: AnomalyKind::SplitBrain,
            detail: text("169.254.192.7 advertises too, with priority 50"),
            evidence: evidence(),
        },
        Event::AnomalyCleared { router_id, kind: AnomalyKind::SplitBrain, lasted_ms: 6805.0 },
        Event::DeliverySent {
            batch: 7,
            count: 2,
            attempt: 1,
            states: vec![
                Delivered { router_id, state: State::Primary, sequence: 3 },
                Delivered { router_id: router(2), state: State::Backup, sequence: 1 },
            ],
        },
        Event::DeliveryFailed {
            batch: 8,
            count: 1,
            attempt: 2,
            reason: text("connection refused"),
            retry_in_ms: Some(400),
        },
        Event::DeliveryFailed {
            batch: 8,
            count: 1,
            attempt: 3,
            reason: text("refused by the receiver"),
            retry_in_ms: None,
        },
        Event::DeliveryRecovered { reason: text("restarted"), count: 2 },
        Event::ChannelDegraded { channel: text("wire"), reason: text("no BPF: two channels decide"), router_id: None },
        Event::ChannelDegraded {
            channel: text("wire"),
            reason: text("attach failed on ha-1b2c3d4e-5f"),
            router_id: Some(router_id),
        },
        Event::ChannelRestored { channel: text("wire"), router_id: Some(router_id) },
        Event::RouterForgotten { router_id, reason: text("its namespace is gone") },
        Event::AgentStopped { reason: text("SIGTERM") },
        Event::RouterRegistered {
            router_id,
            netns: text("snat-2f0c1c52"),
            uid: 0,
            pid: 4711,
            gid: Some(0),
            process: process(),
        },
        Event::RouterUnregistered { router_id, uid: 0, pid: 4711 },
        Event::ActionDone { router_id, action: text("state_file"), state: State::Primary, took_ms: 0.25 },
        Event::ActionFailed {
            router_id,
            action: text("hook"),
            state: State::Backup,
            reason: text("/etc/ha-agent/on-backup: it ended with status 3"),
            exit_status: Some(3),
            took_ms: 12.5,
        },
        Event::ActionFailed {
            router_id,
            action: text("ipv6"),
            state: State::Primary,
            reason: text("network namespace /run/netns/qrouter-2f0c1c52 does not exist; it is waited for"),
            exit_status: None,
            took_ms: 0.5,
        },
        Event::ActionSkipped {
            router_id,
            action: text("hook"),
            state: State::Primary,
            reason: text("overtaken by backup before it began"),
        },
        Event::ReportRefused {
            router_id: None,
            status: 403,
            reason: text("peer_not_allowed"),
            reporter: None,
            count: Some(812),
        },
        Event::ReportReceived {
            router_id,
            state: State::Backup,
            reporter: Reporter::Socket {
                uid: 42,
                pid: 0,
                gid: Some(43),
                process: Naming::Unnamed { unnamed: Unnamed::OtherPidNamespace },
            },
        },
        Event::AnomalyRaised {
            router_id,
            kind: AnomalyKind::KeepalivedDown,
            detail: text("keepalived resigned and ended"),
            evidence: Evidence { listener: Some(Listener::Resigned), ..bare_evidence() },
        },
        Event::AnomalyRaised {
            router_id,
            kind: AnomalyKind::MissingVip,
            detail: text("1 of 50 further addresses is not set although this node is master: 10.0.0.1"),
            evidence: Evidence { further: Some(AddressEvidence { of: 50, set: 49 }), ..bare_evidence() },
        },
        Event::TransitionRejected {
            router_id,
            claim: State::Primary,
            reporter: Reporter::Fifo,
            reason: RejectReason::Contradicted,
            passed_on: true,
            evidence: bare_evidence(),
        },
    ]
}

fn lines() -> Vec<String> {
    (1..).zip(examples()).map(|(seq, event)| line(TS, seq, "ha-x", &event)).collect()
}

#[test]
fn the_golden_file_holds_exactly_these_lines() {
    let golden: Vec<&str> = GOLDEN.lines().collect();
    let lines = lines();
    assert_eq!(lines, golden, "should be:\n{}", lines.join("\n"));
}

#[test]
fn every_event_has_an_example() {
    // serde lists every name when it meets one that it does not know.
    let all = serde_json::from_str::<Event>(r#"{"event":"?"}"#).expect_err("no such event").to_string();
    let known: BTreeSet<&str> = all.split('`').skip(3).step_by(2).collect();
    let shown: BTreeSet<&str> = examples().iter().map(Event::name).collect();
    assert_eq!(shown, known, "{all}");
}

#[test]
fn lines_read_back_as_the_event_with_unique_keys_in_order() {
    for (event, text) in examples().into_iter().zip(lines()) {
        let read: Line = serde_json::from_str(&text).expect(&text);
        assert_eq!(read.event, event);
        let keys: Vec<&str> = text
            .split('"')
            .collect::<Vec<_>>()
            .windows(2)
            .filter(|pair| pair[1].starts_with(':'))
            .map(|pair| pair[0])
            .take(6)
            .collect();
        assert_eq!(keys, ["schema", "ts", "seq", "host", "event", "severity"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let own = value.as_object().unwrap().len();
        // A duplicate key would shrink the object below the keys of the line's own level.
        let compact = serde_json::to_string(&value).unwrap();
        assert_eq!(compact.len(), text.len(), "{own} keys: {text}");
    }
}

#[test]
fn nothing_that_a_terminal_obeys_stands_in_a_line() {
    let event = Event::AgentStopped {
        reason: "a\nb\u{1b}[31m\u{7f}\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\"\\é".to_owned(),
    };
    let text = line(TS, 1, "h\u{202e}", &event);
    assert!(text.contains(r#""reason":"a\nb\u001b[31m\u007f\u0085\u2028\u2029\u202e\u2066\ufeff\"\\é""#), "{text}");
    assert!(text.contains(r#""host":"h\u202e""#), "{text}");
    let read: Line = serde_json::from_str(&text).unwrap();
    assert_eq!(read.event, event);
    assert_eq!(json("\u{1f600}"), "\"\u{1f600}\"");
    assert_eq!(
        summary::summary(&event),
        "ha-agent stopped: a\u{fffd}b\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\"\\é"
    );
}

fn stopped(reason: &str) -> Event {
    Event::AgentStopped { reason: reason.to_owned() }
}

#[tokio::test]
async fn everything_emitted_before_the_stop_is_written_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut registry = metrics::registry();
    let (events, recent, telemetry) =
        start(&[Sink::File(path.clone())], "ha-x", &mut registry, CancellationToken::new());
    for event in examples() {
        events.emit(event);
    }
    telemetry.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let read: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = read.iter().map(|line| line.seq).collect();
    assert_eq!(seqs, (1..=examples().len() as u64).collect::<Vec<_>>());
    assert!(read.into_iter().map(|line| line.event).eq(examples()), "{text}");
    // The router was forgotten, so its ring is gone; the node's ring has all.
    assert!(recent.of(router(1)).is_empty());
    let (last, _) = recent.follow();
    assert_eq!(last.len(), examples().len());
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    assert!(metrics.contains("ha_agent_events_total{event=\"report.received\"} 3"), "{metrics}");
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_counted_and_told() {
    let mut registry = metrics::registry();
    let (events, recent, telemetry) = start(&[], "ha-x", &mut registry, CancellationToken::new());
    // The writer cannot run before this task yields.
    for number in 0..QUEUE + 5 {
        events.emit(stopped(&number.to_string()));
    }
    telemetry.stop().await;
    let (last, _) = recent.follow();
    let tail: Vec<&str> = last[last.len() - 3..].iter().map(|record| &*record.line).collect();
    assert!(tail[0].contains("8191"), "{tail:?}");
    assert!(
        tail[1].contains(
            r#""event":"channel.degraded","severity":"warning","channel":"events","reason":"5 events were lost: "#
        ),
        "{tail:?}"
    );
    assert!(tail[2].contains(r#""event":"channel.restored""#), "{tail:?}");
}

#[tokio::test]
async fn a_ring_opens_only_for_watched_routers_and_stays_small() {
    let mut registry = metrics::registry();
    let (events, recent, telemetry) = start(&[], "ha-x", &mut registry, CancellationToken::new());
    let report = |id| Event::ReportReceived { router_id: id, state: State::Primary, reporter: Reporter::Fifo };
    events.emit(report(router(9)));
    events.emit(examples().remove(1));
    for _ in 0..40 {
        events.emit(report(router(1)));
    }
    telemetry.stop().await;
    assert!(recent.of(router(9)).is_empty());
    let kept = recent.of(router(1));
    assert_eq!(kept.len(), 12);
    assert!(kept.iter().map(|record| record.line.len()).sum::<usize>() <= 3072);
}

#[tokio::test]
async fn followers_get_the_last_events_then_the_live_ones() {
    let mut registry = metrics::registry();
    let (events, recent, telemetry) = start(&[], "ha-x", &mut registry, CancellationToken::new());
    let (before, mut live) = recent.follow();
    assert!(before.is_empty());
    events.emit(stopped("a"));
    let record = tokio::time::timeout(Duration::from_secs(5), live.recv()).await.expect("in time").expect("a record");
    assert_eq!(record.name, "agent.stopped");
    assert_eq!(recent.follow().0.len(), 1);
    telemetry.stop().await;
}

#[test]
fn summaries_hold_what_an_operator_asks_for() {
    let summaries: Vec<String> = examples().iter().map(summary::summary).collect();
    for wanted in [
        "claim primary rejected as contradicted: vip absent, wire yielded, 169.254.192.7 is master; it came from uid 42, gid 43, pid 4711, curl (/usr/bin/curl) of keepalived.service, started 2026-01-02T03:04:05.670Z",
        "backup → primary confirmed by report+vip+wire after 252 ms",
        "delivery of 1 state failed (batch 8, attempt 2): connection refused; again in 400 ms",
        "2 states delivered (batch 7, attempt 1)",
        "split_brain over after 6.8 s",
    ] {
        assert!(summaries.iter().any(|found| found == wanted), "{wanted}: {summaries:#?}");
    }
    assert!(summaries.iter().all(|text| !text.contains('\n')));
}

#[tokio::test]
async fn a_sink_in_trouble_is_told_through_the_others_and_to_the_board() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("later");
    let path = folder.join("events.jsonl");
    let mut registry = metrics::registry();
    let (events, recent, telemetry) =
        start(&[Sink::File(path.clone())], "ha-x", &mut registry, CancellationToken::new());
    let (_, mut live) = recent.follow();
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(10), live.recv()).await.expect("in time").expect("a record");
    assert_eq!(telemetry.sinks().degraded(), []);
    events.emit(stopped("a"));
    assert_eq!(next().await.name, "agent.stopped");
    let told = next().await;
    assert_eq!(told.name, "channel.degraded");
    let name = format!("sink file:{}: ", path.display());
    assert!(told.line.contains(&name), "{}", told.line);
    assert!(telemetry.sinks().degraded()[0].reason.starts_with(&name));
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(next().await.name, "channel.restored");
    assert_eq!(telemetry.sinks().degraded(), []);
    telemetry.stop().await;
    // Nothing was lost: the failing sink kept its lines.
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
}
