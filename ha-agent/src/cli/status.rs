//! `status`: every router in a row.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::terminal::{Cell, Terminal, Tone};
use super::time::ago;
use crate::config::Mode;
use crate::core::model::State;
use crate::status::{NodeStatus, RouterStatus};
use crate::telemetry::summary::{vip, wire};

const HEAD: &[&str] = &[
    "ROUTER",
    "INSTANCE",
    "NETNS",
    "INTERFACE",
    "VRID",
    "CLAIMED",
    "VIP",
    "WIRE",
    "CONFIRMED",
    "SINCE",
    "DELIVERED",
    "ANOMALIES",
];
/// Where in [`HEAD`] the instance's name is, and its namespace.
const INSTANCE: usize = 1;
const NETNS: usize = 2;
/// Shortest form of an id.
const SHORT: usize = 8;

pub(super) fn render(node: &NodeStatus, terminal: &Terminal, full: bool, now: Timestamp) -> String {
    let mut routers: Vec<&RouterStatus> = node.routers.iter().collect();
    routers.sort_by_cached_key(|router| (trouble(router), router.instance.clone(), router.router_id));
    let ids: Vec<String> = routers.iter().map(|router| router.router_id.to_string()).collect();
    let shown: Vec<&str> = if full { ids.iter().map(String::as_str).collect() } else { shorten(&ids) };
    let mut out = heading(node, terminal, now);
    for degraded in &node.degraded {
        out.push_str(&note(terminal, &degraded.channel, &degraded.reason));
    }
    out.push('\n');
    if routers.is_empty() {
        out.push_str("No routers are watched here yet.\n");
        return out;
    }
    let mut rows: Vec<Vec<Cell>> =
        routers.iter().zip(&shown).map(|(router, id)| row(router, id, terminal, now)).collect();
    let mut head = HEAD.to_vec();
    let mut leave_out = |column: usize| {
        head.remove(column);
        for row in &mut rows {
            row.remove(column);
        }
    };
    // Neutron's are in a namespace that has their id.
    let has_own = |router: &&RouterStatus| router.netns.ends_with(&router.router_id.to_string());
    let first = routers.first().map(|router| &router.netns);
    if routers.iter().all(has_own) || routers.iter().all(|router| Some(&router.netns) == first) {
        leave_out(NETNS);
    }
    if routers.iter().all(|router| router.instance.is_none()) {
        leave_out(INSTANCE);
    }
    out.push_str(&terminal.table(&head, &rows));
    out.push('\n');
    for (router, id) in routers.iter().zip(&shown) {
        for degraded in &router.degraded {
            let what = format!("{id} {}", degraded.channel);
            out.push_str(&note(terminal, &what, &degraded.reason));
        }
    }
    out.push_str(&count(&node.routers));
    out
}

/// What wants attention comes first: anomalies, what cannot be watched, what is not as it was claimed or told.
fn trouble(router: &RouterStatus) -> usize {
    let signs = [
        !router.anomalies.is_empty(),
        router.confirmed == Some(State::Fault),
        !router.degraded.is_empty(),
        router.confirmed.is_none(),
        router.claimed.is_some() && router.claimed != router.confirmed,
        router.delivered.is_some() && router.delivered != router.confirmed,
    ];
    signs.iter().position(|sign| *sign).unwrap_or(signs.len())
}

fn heading(node: &NodeStatus, terminal: &Terminal, now: Timestamp) -> String {
    let dot = terminal.glyph(" · ", " | ");
    let mode = match node.mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe (reports are passed on unjudged)",
    };
    let l3 = match (&node.delivery.answering, &node.delivery.last_error) {
        (None, _) => "L3 agent not yet spoken to".to_owned(),
        (Some(true), _) => terminal.paint("L3 agent answers", Tone::Good),
        (Some(false), Some(error)) => terminal.paint(&format!("L3 agent does not answer: {error}"), Tone::Bad),
        (Some(false), None) => terminal.paint("L3 agent does not answer", Tone::Bad),
    };
    let pending = match node.delivery.pending {
        0 => String::new(),
        1 => ", 1 state waits for it".to_owned(),
        more => format!(", {more} states wait for it"),
    };
    format!(
        "{}{dot}ha-agent {}{dot}{mode}{dot}started {}{dot}{l3}{pending}\n",
        terminal.paint(&node.host, Tone::Strong),
        node.version,
        ago(&node.started_at, now)
    )
}

pub(super) fn note(terminal: &Terminal, what: &str, why: &str) -> String {
    let mark = terminal.paint(terminal.glyph("▲", "!"), Tone::Warn);
    format!("{mark} {what}: {why}\n")
}

fn row(router: &RouterStatus, id: &str, terminal: &Terminal, now: Timestamp) -> Vec<Cell> {
    let state = |state: Option<State>| match state {
        Some(state) => Cell::new(state.as_str(), tone(state)),
        None => terminal.none(),
    };
    // A claim or a delivered state that differs from the confirmed one is what to look at.
    let against = |other: Option<State>| match other {
        Some(other) if router.confirmed != Some(other) => Cell::new(other.as_str(), Tone::Warn),
        other => state(other),
    };
    let anomalies: Vec<&str> = router.anomalies.iter().map(|kind| kind.as_str()).collect();
    vec![
        Cell::new(id, Tone::Strong),
        router.instance.as_ref().map_or_else(|| terminal.none(), |name| Cell::new(name.clone(), Tone::Plain)),
        Cell::new(router.netns.clone(), Tone::Plain),
        Cell::new(router.interface.clone(), Tone::Plain),
        Cell::new(router.vrid.to_string(), Tone::Plain),
        against(router.claimed),
        Cell::new(vip(router.vip), Tone::Plain),
        Cell::new(wire(router.wire), Tone::Plain),
        state(router.confirmed),
        match &router.since {
            Some(since) => Cell::new(ago(since, now), Tone::Plain),
            None => terminal.none(),
        },
        against(router.delivered),
        Cell::new(anomalies.join(", "), Tone::Bad),
    ]
}

pub(super) fn tone(state: State) -> Tone {
    match state {
        State::Primary => Tone::Good,
        State::Backup => Tone::Plain,
        State::Fault => Tone::Bad,
        State::Unknown => Tone::Warn,
    }
}

fn count(routers: &[RouterStatus]) -> String {
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    for state in routers.iter().filter_map(|router| router.confirmed) {
        *states.entry(state).or_default() += 1;
    }
    let mut parts: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let open = routers.iter().filter(|router| router.confirmed.is_none()).count();
    if open > 0 {
        parts.push(format!("{open} not yet confirmed"));
    }
    let odd = routers.iter().filter(|router| !router.anomalies.is_empty()).count();
    let odd = match odd {
        0 => "no anomalies".to_owned(),
        odd => format!("{odd} with anomalies: see `ha-agent explain ROUTER`"),
    };
    let noun = if routers.len() == 1 { "router" } else { "routers" };
    format!("{} {noun}: {}; {odd}\n", routers.len(), parts.join(", "))
}

/// Each id cut to what tells it from all others, from eight characters on.
fn shorten(ids: &[String]) -> Vec<&str> {
    let mut sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let same = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    ids.iter()
        .map(|id| {
            let at = sorted.partition_point(|other| *other < id.as_str());
            let before = at.checked_sub(1).map_or(0, |before| same(sorted[before], id));
            let after = sorted.get(at + 1).map_or(0, |after| same(after, id));
            &id[..(before.max(after) + 1).clamp(SHORT, id.len())]
        })
        .collect()
}
