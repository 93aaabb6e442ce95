use std::sync::Arc;

use clap::CommandFactory;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::terminal::Terminal;
use super::*;
use crate::admin::fixture::{self, FakeBoard, IDS, id};
use crate::admin::{Admin, collector};
use crate::core::evidence::Tx;
use crate::core::model::{AnomalyKind, Channel, Reporter, State, Vip};
use crate::doctor::{Finding, Outcome};
use crate::status::{AnomalyDetail, RouterDetail};
use crate::telemetry::event::{Event, Line, SCHEMA};
use crate::telemetry::line::{self, line};
use crate::telemetry::{Events, Telemetry, metrics};

const PLAIN: Terminal = Terminal { colour: false, utf8: true };
const DUMB: Terminal = Terminal { colour: false, utf8: false };

fn now() -> Timestamp {
    "2026-01-02T03:07:17Z".parse().expect("a moment")
}

fn event(ts: &str, event: Event) -> Line {
    Line { schema: SCHEMA, ts: ts.to_owned(), seq: 1, host: "ha-x".to_owned(), event }
}

fn detail(index: usize) -> RouterDetail {
    RouterDetail {
        status: fixture::node().routers.remove(index),
        evidence: fixture::evidence(),
        details: vec![],
        recent: vec![],
    }
}

#[test]
fn the_command_line_is_consistent_and_complete() {
    let command = Cli::command();
    command.clone().debug_assert();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(names, ["run", "status", "explain", "events", "notify", "doctor", "check-config"]);
    // What keepalived appends to a generic notify script.
    let words = ["ha-agent", "notify", "--router", IDS[0], "INSTANCE", "VR_1", "MASTER", "100"];
    match Cli::try_parse_from(words).expect("parses").command {
        Command::Notify(notify) => assert_eq!(notify.words, words[4..]),
        other => panic!("{other:?}"),
    }
    let error = Cli::try_parse_from(["ha-agent", "top"]).expect_err("comes later");
    assert_eq!(error.exit_code(), i32::from(exit::USAGE));
}

#[test]
fn status_is_a_table_with_what_matters() {
    assert_eq!(
        status::render(&fixture::node(), &PLAIN, false, now()),
        "\
ha-x · ha-agent 0.1.0 · enforce · started 7m 17s ago · L3 agent answers, 1 state waits for it

ROUTER                                INTERFACE       VRID  CLAIMED  VIP      WIRE          CONFIRMED  SINCE       DELIVERED  ANOMALIES
────────────────────────────────────  ──────────────  ────  ───────  ───────  ────────────  ─────────  ──────────  ─────────  ─────────────────────
2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6e  ha-1b2c3d4e-5f  2     primary  present  transmitting  primary    3m 12s ago  backup     split_brain, flapping
c94b7720                              ha-1b2c3d4e-5f  4     –        unknown  unknown       –          –           –
2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d  ha-1b2c3d4e-5f  1     primary  present  transmitting  primary    3m 12s ago  primary
7d31e0aa                              ha-1b2c3d4e-5f  3     backup   absent   silent        backup     3m 12s ago  backup

▲ c94b7720 vip: its namespace does not exist yet
4 routers: 2 primary, 1 backup, 1 not yet confirmed; 1 with anomalies: see `ha-agent explain ROUTER`
"
    );
}

#[test]
fn those_in_trouble_come_first_then_by_name_and_each_says_where_it_is() {
    let mut node = fixture::node();
    for (index, (name, netns)) in
        [("VI_2", "blue"), ("VI_9", "blue"), ("VI_1", "green"), ("VI_1", "blue")].iter().enumerate()
    {
        node.routers[index].instance = Some((*name).to_owned());
        node.routers[index].netns = (*netns).to_owned();
    }
    // A healthy one beside one of the same name whose claim is not what is confirmed.
    node.routers[3] =
        crate::status::RouterStatus { router_id: id(3), netns: "blue".to_owned(), ..node.routers[2].clone() };
    node.routers[2].claimed = Some(State::Primary);
    let text = status::render(&node, &DUMB, false, now());
    let order: Vec<Vec<&str>> =
        text.lines().skip(4).take(4).map(|line| line.split_whitespace().skip(1).take(4).collect()).collect();
    assert_eq!(
        order,
        [
            ["VI_9", "blue", "ha-1b2c3d4e-5f", "2"],
            ["VI_1", "green", "ha-1b2c3d4e-5f", "3"],
            ["VI_1", "blue", "ha-1b2c3d4e-5f", "3"],
            ["VI_2", "blue", "ha-1b2c3d4e-5f", "1"],
        ],
        "{text}"
    );
}

#[test]
fn ids_are_as_short_as_they_may_and_ascii_where_nothing_else_shows() {
    let mut node = fixture::node();
    node.routers.remove(1);
    node.routers.truncate(2);
    node.delivery.answering = Some(false);
    node.delivery.last_error = Some("connection refused".to_owned());
    node.delivery.pending = 0;
    assert_eq!(
        status::render(&node, &DUMB, false, now()),
        "\
ha-x | ha-agent 0.1.0 | enforce | started 7m 17s ago | L3 agent does not answer: connection refused

ROUTER    INTERFACE       VRID  CLAIMED  VIP      WIRE          CONFIRMED  SINCE       DELIVERED  ANOMALIES
--------  --------------  ----  -------  -------  ------------  ---------  ----------  ---------  ---------
2f0c1c52  ha-1b2c3d4e-5f  1     primary  present  transmitting  primary    3m 12s ago  primary
7d31e0aa  ha-1b2c3d4e-5f  3     backup   absent   silent        backup     3m 12s ago  backup

2 routers: 1 primary, 1 backup; no anomalies
"
    );
    assert!(status::render(&node, &DUMB, true, now()).contains(IDS[2]));
    node.routers.clear();
    assert!(status::render(&node, &DUMB, false, now()).ends_with("No routers are watched here yet.\n"));
}

/// What a name in keepalived.conf, a process or a file can carry.
const EVIL: &str = "a\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}31m\r\nb\u{202e}c\u{7f}\u{200b}";

fn harmless(text: &str) {
    let bad: Vec<char> = text.chars().filter(|c| *c != '\n' && line::is_deceiving(*c)).collect();
    assert!(bad.is_empty(), "{bad:?} in {text:?}");
    assert!(text.contains("a\\x1b]0;x\\x07\\x1b[2J\\x9b31m\\x0d\\x0ab\\u{202e}c\\x7f\\u{200b}"), "{text:?}");
}

#[test]
fn no_output_carries_what_a_terminal_obeys() {
    let evil = || EVIL.to_owned();
    for terminal in [PLAIN, DUMB] {
        let mut node = fixture::node();
        node.host = evil();
        node.delivery.answering = Some(false);
        node.delivery.last_error = Some(evil());
        node.degraded.push(crate::status::Degraded { channel: evil(), reason: evil() });
        for router in &mut node.routers {
            (router.interface, router.netns, router.instance) = (evil(), evil(), Some(evil()));
            (router.since, router.vip_address, router.source) = (Some(evil()), evil(), evil());
            router.degraded.push(crate::status::Degraded { channel: evil(), reason: evil() });
        }
        let shown = client::shown(&node).expect("the same type");
        harmless(&status::render(&shown, &terminal, true, now()));
        let watched = Event::RouterWatched {
            router_id: id(0),
            source: evil(),
            netns: evil(),
            interface: evil(),
            vip: evil(),
            vrid: 1,
            instance: Some(evil()),
        };
        let detail = RouterDetail {
            status: node.routers[1].clone(),
            evidence: fixture::evidence(),
            details: vec![],
            recent: vec![event(EVIL, watched.clone())],
        };
        harmless(&explain::render(&client::shown(&detail).expect("the same type"), &terminal, now()));
        harmless(&events::render(&line("2026-01-02T03:04:05.678901Z", 1, EVIL, &watched), &terminal));
        let raw = format!("{{\"event\":\"new.kind\",\"name\":\"{EVIL}\"}}");
        harmless(&events::render(&raw, &terminal));
        let found =
            Finding { name: "x", result: Outcome::Fail, found: evil(), means: Some(evil()), remedy: Some(evil()) };
        let lines = doctor::render(&doctor::shown(vec![found]), &terminal);
        assert!(!lines.chars().any(|c| c != '\n' && line::is_deceiving(c)), "{lines:?}");
        let error = ClientError::NoRouter(evil());
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a\u{1b}[31m\u{9b}.toml");
    for text in ["mode = \"\u{9b}2J\"\n\"k\\u001b\" = 1\n", "[actions]\non_backup = [\"/a\\u001b[2J\"]\n", ""] {
        std::fs::write(&path, text).unwrap();
        for format in [Format::Table, Format::Json] {
            let (said, _) = check_config::render(Some(&path), config::load(Some(&path)), format);
            assert!(!said.chars().any(|c| c != '\n' && line::is_deceiving(c)), "{said:?}");
        }
    }
}

#[test]
fn events_say_how_far_back_the_memory_goes_and_where_the_rest_is() {
    let first = line("2026-01-02T03:04:05.678901Z", 1, "x", &Event::AgentStopped { reason: String::new() });
    let said =
        events::origin(&first, &["stdout".to_owned(), "file:/var/log/e.jsonl".to_owned(), "journald".to_owned()]);
    assert_eq!(
        said,
        "these are the last events that the agent has in memory, since 2026-01-02 03:04:05 UTC; all of them are in \
         /var/log/e.jsonl and journald"
    );
    assert!(events::origin(&first, &["stdout".to_owned()]).ends_with("no sink keeps all of them (events.sinks)"));
}

#[test]
fn some_routers_are_chosen_by_name() {
    let mut node = fixture::node();
    for index in [0, 2] {
        node.routers[index].instance = Some("VI_1".to_owned());
        node.routers[index].netns = ["blue", "", "green"][index].to_owned();
    }
    let chosen = |given: &[&str]| {
        let mut node = node.clone();
        let given: Vec<String> = given.iter().map(|given| (*given).to_owned()).collect();
        client::only(&mut node, &given).map(|()| node.routers.iter().map(|router| router.router_id).collect::<Vec<_>>())
    };
    assert_eq!(chosen(&["VI_1"]).expect("both"), [id(0), id(2)]);
    assert_eq!(chosen(&["green/VI_1", "c94b"]).expect("both"), [id(2), id(3)]);
    assert_eq!(chosen(&[]).expect("all").len(), 4);
    assert!(chosen(&["VI_1", "red/VI_1"]).is_err());
    assert_eq!(client::choose(&node, "blue/VI_1").expect("one"), id(0));
    let several = client::choose(&node, "VI_1").expect_err("two").to_string();
    let place = format!("{}: instance VI_1, namespace green, interface ha-1b2c3d4e-5f, VRID 3", id(2));
    assert!(several.contains(&place), "{several}");
}

#[test]
fn colours_do_not_move_columns() {
    let colour = Terminal { colour: true, utf8: true };
    let painted = status::render(&fixture::node(), &colour, false, now());
    assert!(painted.contains("\u{1b}[32mprimary\u{1b}[0m"), "{painted}");
    let mut bare = String::new();
    for (index, part) in painted.split("\u{1b}[").enumerate() {
        bare.push_str(if index == 0 { part } else { part.split_once('m').expect("an escape ends").1 });
    }
    assert_eq!(bare, status::render(&fixture::node(), &PLAIN, false, now()));
}

#[test]
fn explain_says_in_words_what_was_seen() {
    let mut shown = detail(0);
    shown.recent = vec![event(
        "2026-01-02T03:04:05.678901Z",
        Event::TransitionConfirmed {
            router_id: id(0),
            state: State::Primary,
            previous: Some(State::Backup),
            basis: "report+vip+wire".parse().unwrap(),
            latency_ms: 251.5,
            evidence: fixture::evidence(),
        },
    )];
    assert_eq!(
        explain::render(&shown, &PLAIN, now()),
        "\
Router 2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d
169.254.0.1/24 on ha-1b2c3d4e-5f in namespace qrouter-2f0c1c52-5b1d-4f53-9f0e-2f2f3a4b5c6d, VRID 1, known from ha_confs

Confirmed primary since 2026-01-02 03:04:05 UTC (3m 12s ago) because keepalived's side reported primary, the VIP 169.254.0.1/24 was set and adverts left on ha-1b2c3d4e-5f.
The L3 agent acknowledged primary.

What is seen now
  report  primary reported 65 s ago by uid 42, gid 42, pid 4711, curl (/usr/bin/curl) of keepalived.service, started 2026-01-02T03:03:00.120Z
  vip     169.254.0.1/24 is set
  link    ha-1b2c3d4e-5f is up
  wire    our adverts of priority 50 leave; the last one 0.4 s ago
          no other master is heard

TIME (UTC)    EVENT                 WHAT HAPPENED
────────────  ────────────────────  ──────────────────────────────────────────────────────────
03:04:05.678  transition.confirmed  backup → primary confirmed by report+vip+wire after 252 ms
"
    );
}

#[test]
fn explain_names_contradictions_and_says_what_to_check() {
    let mut shown = detail(1);
    shown.status.claimed = Some(State::Backup);
    shown.evidence.foreign = Some(fixture::foreign());
    shown.evidence.channels_down = vec![Channel::Vip];
    shown.evidence.report = None;
    let about = "this node and 169.254.192.7 both advertise; they come from MAC 02:00:00:00:00:01".to_owned();
    shown.details = vec![AnomalyDetail { kind: AnomalyKind::SplitBrain, detail: about }];
    let text = explain::render(&shown, &DUMB, now());
    for part in [
        "The last claim was backup. It is not what is confirmed, so the L3 agent is not told.",
        "The L3 agent acknowledged backup last; primary is not acknowledged yet.",
        "  report  nothing was reported\n",
        "  vip     has no vote now: the channel is down (last known: 169.254.0.2/24 is set)\n",
        "          169.254.192.7 is master too: priority 50, every 2.0 s, the last advert 0.1 s ago\n",
        "  split_brain: this node and another one advertise at the same time",
        "    Check: whether adverts (IP protocol 112) pass between the nodes both ways",
        "    Now: this node and 169.254.192.7 both advertise; they come from MAC 02:00:00:00:00:01\n",
        "  flapping: the role changes too often.\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    shown.status.observed = true;
    let text = explain::render(&shown, &DUMB, now());
    assert!(text.contains("it was passed on all the same, since the mode is observe. With enforce it would"), "{text}");
    (shown.evidence.tx.state, shown.evidence.vip) = (Tx::Silent, Vip::Absent);
    let text = explain::render(&shown, &DUMB, now());
    assert!(text.contains("169.254.192.7 is the master: priority 50"), "{text}");
    let waiting = explain::render(&detail(3), &DUMB, now());
    assert!(waiting.contains("No state is confirmed yet"), "{waiting}");
    assert!(waiting.contains("! vip: its namespace does not exist yet"), "{waiting}");
}

#[test]
fn a_backup_is_explained_by_what_is_absent() {
    let mut shown = detail(2);
    shown.evidence.vip = Vip::Absent;
    shown.evidence.tx.state = Tx::Yielded;
    let text = explain::render(&shown, &PLAIN, now());
    assert!(
        text.contains("because keepalived's side reported backup, the VIP 169.254.0.3/24 was not set and no valid adverts of ours held the VRID on ha-1b2c3d4e-5f."),
        "{text}"
    );
    assert!(text.contains("our adverts of priority 50 ended after a better one came"), "{text}");
}

#[test]
fn events_are_a_line_each_and_unknown_ones_are_harmless() {
    let rejected = line(
        "2026-01-02T03:04:05.678901Z",
        9,
        "ha-x",
        &Event::AnomalyRaised {
            router_id: id(0),
            kind: AnomalyKind::SplitBrain,
            detail: "169.254.192.7 advertises too".to_owned(),
            evidence: fixture::evidence(),
        },
    );
    assert_eq!(
        events::render(&rejected, &PLAIN),
        "03:04:05.678  error    2f0c1c52  anomaly.raised         split_brain: 169.254.192.7 advertises too"
    );
    let report = line(
        "2026-01-02T03:04:05.678901Z",
        9,
        "ha-x",
        &Event::ReportRefused {
            router_id: None,
            status: 403,
            reason: "peer_not_allowed".to_owned(),
            reporter: Some(Reporter::socket(42, 42, 7)),
            count: None,
        },
    );
    assert_eq!(
        events::render(&report, &PLAIN),
        "03:04:05.678  warning            report.refused         report refused: peer_not_allowed (403), from uid 42, gid 42, pid 7"
    );
    assert_eq!(events::render("{\"event\":\"new.kind\"\u{1b}[2J}", &PLAIN), "{\"event\":\"new.kind\"\\x1b[2J}");
}

#[test]
fn the_doctor_shows_meaning_and_remedy() {
    let findings = [
        Finding { name: "kernel", result: Outcome::Ok, found: "Linux 6.18".to_owned(), means: None, remedy: None },
        Finding {
            name: "BPF",
            result: Outcome::Fail,
            found: "refused".to_owned(),
            means: Some("no wire channel".to_owned()),
            remedy: Some("run as root".to_owned()),
        },
    ];
    assert!(doctor::fails(&findings));
    assert!(!doctor::fails(&findings[..1]));
    assert_eq!(
        doctor::render(&findings, &DUMB),
        "\
ok      kernel  Linux 6.18
FAIL    BPF     refused
                means no wire channel
                do    run as root

1 failing, 0 to look at.
"
    );
    assert_eq!(
        doctor::json(&findings),
        r#"[{"name":"kernel","result":"ok","found":"Linux 6.18"},{"name":"BPF","result":"fail","found":"refused","means":"no wire channel","remedy":"run as root"}]"#
    );
}

#[test]
fn check_config_tells_all_and_exits_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    std::fs::write(&path, "mode = \"x\"\n[admin]\nsokcet = \"a\"\n").unwrap();
    let (text, code) = check_config::render(Some(&path), config::load(Some(&path)), Format::Table);
    assert_eq!(code, exit::CONFIG);
    assert!(text.contains(":1: mode: unknown value"), "{text}");
    assert!(text.ends_with("did you mean \"socket\"?\n\n2 problems\n"), "{text}");
    let (text, _) = check_config::render(Some(&path), config::load(Some(&path)), Format::Json);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["problems"][1]["line"], 3);
    std::fs::write(&path, "[admin]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let (text, code) = check_config::render(Some(&path), config::load(Some(&path)), Format::Table);
    assert_eq!(code, 0);
    assert!(text.contains("metrics at   http://127.0.0.1:1/metrics\n"), "{text}");
    assert!(text.contains("reporters    the agent's own user; the socket has mode 0660"), "{text}");
    std::fs::write(&path, "[keepalived]\nrelease = \"2.3.3\"\n").unwrap();
    let (text, _) = check_config::render(Some(&path), config::load(Some(&path)), Format::Table);
    assert!(text.contains("keepalived   2.3.3, as keepalived.release says\n"), "{text}");
    let (text, _) = check_config::render(Some(&path), config::load(Some(&path)), Format::Json);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["keepalived"], serde_json::json!({"release": "2.3.3", "origin": "configured", "missing": []}));
    let conf = dir.path().join("k.conf");
    std::fs::write(&path, format!("[keepalived]\nconfigs = [{conf:?}]\n")).unwrap();
    let (text, code) = check_config::render(Some(&path), config::load(Some(&path)), Format::Table);
    assert_eq!(code, 0, "it is waited for");
    assert!(text.contains(&format!("names is not there: {}.", conf.display())), "{text}");
    assert!(!text.contains("is right"), "{text}");
}

#[test]
fn check_config_fails_where_the_agent_would_not_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (path, hook) = (dir.path().join("c.toml"), dir.path().join("hook"));
    std::fs::write(&hook, "").unwrap();
    std::fs::write(&path, format!("[actions]\nipv6 = true\non_backup = [{hook:?}]\n")).unwrap();
    let render = |mode, format| {
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(mode)).unwrap();
        check_config::render(Some(&path), config::load(Some(&path)), format)
    };
    let (text, code) = render(0o777, Format::Table);
    assert_eq!(code, exit::FAILURE);
    assert!(text.contains(&format!("  hooks        on_backup {}: uid ", hook.display())), "{text}");
    assert!(text.contains("  open         ") && text.contains("chmod 0755"), "{text}");
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let (text, code) = render(0o777, Format::Json);
    assert_eq!((code, read(&text)["ok"].as_bool()), (exit::FAILURE, Some(false)));
    assert_eq!(read(&text)["trust"]["openings"].as_array().map(Vec::len), Some(1), "{text}");
    let (text, code) = render(0o755, Format::Json);
    assert_eq!((code, read(&text)["ok"].as_bool()), (0, Some(true)), "{text}");
    assert_eq!(read(&text)["trust"]["hooks"][0]["file"]["mode"], "0755");
}

#[test]
fn a_hook_that_is_not_there_is_named_with_its_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (path, hook) = (dir.path().join("c.toml"), dir.path().join("a hook"));
    std::fs::write(&path, format!("[actions]\non_backup = [{hook:?}]\n")).unwrap();
    let render = |format| check_config::render(Some(&path), config::load(Some(&path)), format);
    let named = format!("actions.on_backup: {}: ", hook.display());
    for what in ["does not exist", "is no file", "is not executable"] {
        match what {
            "is no file" => std::fs::create_dir(&hook).unwrap(),
            "is not executable" => {
                std::fs::remove_dir(&hook).unwrap();
                std::fs::write(&hook, "").unwrap();
            }
            _ => {}
        }
        let (text, code) = render(Format::Table);
        assert_eq!(code, exit::CONFIG, "{text}");
        assert!(text.starts_with("The agent does not start with ") && text.contains("a hook cannot be run"), "{text}");
        assert!(text.contains(&format!("  missing      {named}{what}")), "{text}");
        assert!(text.contains("  open         none\n") && !text.contains("is right"), "{text}");
        let (text, code) = render(Format::Json);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, read["ok"].as_bool()), (exit::CONFIG, Some(false)));
        assert!(read["problems"][0].as_str().is_some_and(|problem| problem.starts_with(&named)), "{text}");
    }
    let error = CliError::from(AgentError::Missing(named));
    assert_eq!(error.code(), exit::CONFIG);
    // What others could write is another matter, and the command can be pasted.
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (text, code) = render(Format::Table);
    assert_eq!(code, exit::FAILURE);
    assert!(text.contains(&format!("chmod 0755 '{}'", hook.display())), "{text}");
    assert!(text.contains("others could change what it trusts") && text.contains("  missing      none\n"), "{text}");
}

#[test]
fn ages_and_moments_read_well() {
    for (seconds, text) in [(0, "0s"), (59, "59s"), (192, "3m 12s"), (3_700, "1h 1m"), (200_000, "2d 7h")] {
        assert_eq!(time::span(seconds), text);
    }
    for (millis, text) in [(412, "0.4 s"), (2_000, "2.0 s"), (65_000, "65 s"), (180_000, "3m 0s")] {
        assert_eq!(time::millis(millis), text);
    }
    assert_eq!(time::ago("nonsense", now()), "nonsense");
    // A clock set back makes no negative age.
    assert_eq!(time::ago("2027-01-01T00:00:00Z", now()), "0s ago");
}

fn serve(dir: &Path) -> (Admin, Events, Telemetry, PathBuf) {
    let mut registry = metrics::registry();
    let (events, recent, telemetry) = crate::telemetry::start(&[], "ha-x", &mut registry, CancellationToken::new());
    let board = Arc::new(FakeBoard::default());
    collector::register(&mut registry, board.clone());
    let socket = dir.join("admin.sock");
    let config = config::Admin { socket: socket.clone(), listen: None };
    let admin = Admin::start(&config, board, recent, Arc::new(registry), CancellationToken::new()).expect("starts");
    (admin, events, telemetry, socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_resolves_reads_and_follows() {
    let dir = tempfile::tempdir().unwrap();
    let (admin, events, telemetry, socket) = serve(dir.path());
    let forgotten = Event::RouterForgotten { router_id: id(2), reason: "test".to_owned() };
    let emitted = forgotten.clone();
    let follower = socket.clone();
    let seen = tokio::task::spawn_blocking(move || {
        assert_eq!(client::resolve(&socket, "7D31").expect("one"), id(2));
        let error = client::resolve(&socket, "2f0c").expect_err("two");
        assert!(error.to_string().contains(IDS[0]) && error.to_string().contains("VRID 2"), "{error}");
        let error = client::resolve(&socket, "ffff").expect_err("none");
        assert!(error.to_string().contains("\"ffff\""), "{error}");
        let answer = client::get(&socket, &format!("/v1/routers/{}", IDS[0])).expect("a router");
        let read: RouterDetail = client::read(&answer).expect("its detail");
        assert_eq!(read.status.router_id, id(0));
        let error = client::get(&socket, "/v1/nothing").expect_err("404");
        assert_eq!(error.to_string(), "the agent refused: no such path here");
        // Emitted before or after the stream begins: it comes either way, once.
        events.emit(emitted);
        let mut seen = Vec::new();
        client::events(&follower, true, Some(id(2)), |line| {
            seen.push(line.to_owned());
            false
        })
        .expect("follows");
        seen
    })
    .await
    .expect("no panic");
    assert_eq!(seen.len(), 1);
    let read: Line = serde_json::from_str(&seen[0]).unwrap();
    assert_eq!(read.event, forgotten);
    admin.stop().await;
    telemetry.stop().await;
}

#[test]
fn without_an_agent_the_error_names_the_socket_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let error = CliError::from(client::get(&socket, "/v1/routers").expect_err("nobody"));
    assert_eq!(error.code(), exit::FAILURE);
    let text = error.to_string();
    assert!(text.starts_with(&format!("no agent answers at {}: ", socket.display())), "{text}");
    assert!(text.contains("ha-agent run"), "{text}");
    let error = CliError::from(ClientError::Denied { socket });
    assert_eq!(error.code(), exit::NO_PERMISSION);
}

#[test]
fn a_router_is_found_by_the_name_of_its_instance() {
    let mut node = fixture::node();
    node.routers[0].instance = Some("VI_1".to_owned());
    // Another's id begins so, but a whole name counts more.
    node.routers[1].instance = Some(node.routers[0].router_id.to_string()[..4].to_owned());
    let found = |given: &str| client::choose(&node, given).map_err(|error| error.to_string());
    assert_eq!(found("VI_1"), Ok(id(0)));
    assert_eq!(found(&id(0).to_string()[..4]), Ok(id(1)));
    assert!(found("VI_2").is_err_and(|error| error.contains("instance of that name")));
    node.routers[2].instance = Some("VI_1".to_owned());
    let both = client::choose(&node, "VI_1").expect_err("two").to_string();
    assert!(both.contains(&id(0).to_string()) && both.contains(&id(2).to_string()), "{both}");
}
