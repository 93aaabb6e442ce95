//! An event in words, on one line: for journald's `MESSAGE` and for `ha-agent events`.

use super::event::Event;
use super::line::is_deceiving;
use crate::core::evidence::{Evidence, Tx};
use crate::core::model::{Reporter, Vip};
use crate::core::reporter::{Naming, Process, Unnamed};

/// The words; without anything that a terminal obeys.
pub fn summary(event: &Event) -> String {
    let text = words(event);
    if text.chars().any(is_deceiving) {
        text.chars().map(|c| if is_deceiving(c) { '\u{fffd}' } else { c }).collect()
    } else {
        text
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::AgentStarted { version, kernel, mode, channels } => {
            format!("ha-agent {version} started on Linux {kernel}: {mode}, channels {channels}")
        }
        Event::AgentStopped { reason } => format!("ha-agent stopped: {reason}"),
        Event::RouterWatched { source, netns, interface, vip, vrid, instance, .. } => {
            let name = instance.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
            format!("watched: {name}{vip} on {interface} in {netns}, VRID {vrid} (from {source})")
        }
        Event::RouterForgotten { reason, .. } => format!("no longer watched: {reason}"),
        Event::RouterRegistered { netns, uid, pid, gid, process, .. } => {
            let by = peer(*uid, *gid, *pid, process);
            format!("registered by {by}, in {netns}: it stands in for Neutron's monitor")
        }
        Event::RouterUnregistered { uid, pid, .. } => format!("registration of uid {uid}, pid {pid} has ended"),
        Event::ReportReceived { state, reporter, .. } => format!("{state} reported by {}", teller(reporter)),
        Event::ReportRefused { status, reason, reporter, count, .. } => {
            let by = reporter.as_ref().map_or("unknown".to_owned(), teller);
            let code = if *status == 0 { String::new() } else { format!(" ({status})") };
            match count {
                Some(count) => format!("{count} more reports refused within a second: {reason}{code}"),
                None => format!("report refused: {reason}{code}, from {by}"),
            }
        }
        Event::TransitionConfirmed { state, previous, basis, latency_ms, .. } => {
            let before = previous.map_or(String::new(), |previous| format!("{previous} → "));
            format!("{before}{state} confirmed by {basis} after {latency_ms:.0} ms")
        }
        Event::TransitionRejected { claim, reporter, reason, passed_on, evidence, .. } => format!(
            "claim {claim} rejected as {}: {}; it came from {}{}",
            reason.as_str(),
            witness(evidence),
            teller(reporter),
            if *passed_on { "; passed on all the same, in mode observe" } else { "" }
        ),
        Event::TransitionSuperseded { state, by, held_ms, .. } => {
            format!("{state} overtaken by {by} after {held_ms:.0} ms, not passed on")
        }
        Event::AnomalyRaised { kind, detail, .. } => format!("{}: {detail}", kind.as_str()),
        Event::AnomalyCleared { kind, lasted_ms, .. } => {
            format!("{} over after {:.1} s", kind.as_str(), lasted_ms / 1000.0)
        }
        Event::DeliverySent { batch, count, attempt, states } => match states.as_slice() {
            [one] => format!("{} delivered (batch {batch}, attempt {attempt})", one.state),
            _ => format!("{} delivered (batch {batch}, attempt {attempt})", states_of(*count)),
        },
        Event::DeliveryFailed { batch, count, attempt, reason, retry_in_ms } => {
            let next = retry_in_ms.map_or("not tried again".to_owned(), |ms| format!("again in {ms} ms"));
            format!("delivery of {} failed (batch {batch}, attempt {attempt}): {reason}; {next}", states_of(*count))
        }
        Event::DeliveryRecovered { reason, count } => {
            format!("delivery recovered ({reason}): {} asserted again", states_of(*count))
        }
        Event::ActionDone { action, state, took_ms, .. } => format!("{action} for {state} done in {took_ms:.0} ms"),
        Event::ActionFailed { action, state, reason, .. } => format!("{action} for {state} failed: {reason}"),
        Event::ActionSkipped { action, state, reason, .. } => format!("{action} for {state} not done: {reason}"),
        Event::ChannelDegraded { channel, reason, .. } => format!("{channel} degraded: {reason}"),
        Event::ChannelRestored { channel, .. } => format!("{channel} restored"),
    }
}

/// What the other channels say, in short: `vip absent, wire silent, 10.0.0.2 is master`.
fn witness(evidence: &Evidence) -> String {
    let master = evidence.foreign.as_ref().map_or(String::new(), |foreign| format!(", {} is master", foreign.address));
    format!("vip {}, wire {}{master}", vip(evidence.vip), wire(evidence.tx.state))
}

/// The address table, in a word.
pub fn vip(vip: Vip) -> &'static str {
    match vip {
        Vip::Present => "present",
        Vip::Absent => "absent",
        Vip::Unknown => "unknown",
    }
}

/// Our adverts, in a word.
pub fn wire(tx: Tx) -> &'static str {
    match tx {
        Tx::Transmitting => "transmitting",
        Tx::Resigned => "resigned",
        Tx::Yielded => "yielded",
        Tx::Delayed => "delayed",
        Tx::Silent => "silent",
        Tx::Unknown => "unknown",
    }
}

fn states_of(count: usize) -> String {
    format!("{count} state{}", if count == 1 { "" } else { "s" })
}

fn peer(uid: u32, gid: Option<u32>, pid: i32, process: &Naming) -> String {
    let gid = gid.map_or(String::new(), |gid| format!(", gid {gid}"));
    match process {
        Naming::Untold {} => format!("uid {uid}{gid}, pid {pid}"),
        Naming::Unnamed { unnamed } => format!("uid {uid}{gid}, {}", nameless(pid, *unnamed)),
        Naming::Named(process) => format!("uid {uid}{gid}, pid {pid}, {}", named(process)),
    }
}

/// `curl (/usr/bin/curl) of keepalived.service, started 2026-01-02T03:04:05.670Z`. What it executes, in
/// parentheses, is not always known.
fn named(process: &Process) -> String {
    let Process { started, command, .. } = process;
    let program = process.executable.as_ref().map_or(String::new(), |program| format!(" ({program})"));
    let place = process.unit().or(process.cgroup.as_deref()).filter(|place| *place != "/");
    let place = place.map_or(String::new(), |place| format!(" of {place}"));
    format!("{command}{program}{place}, started {started}")
}

fn nameless(pid: i32, why: Unnamed) -> String {
    match why {
        Unnamed::Ended => format!("pid {pid}, which had ended before it could be looked at"),
        Unnamed::OtherPidNamespace => "in another pid namespace, where its pid is not known here".to_owned(),
        Unnamed::NotReadable => format!("pid {pid}, which /proc does not show"),
    }
}

/// Who made a report, in words.
pub fn teller(reporter: &Reporter) -> String {
    match reporter {
        Reporter::Socket { uid, pid, gid, process } => peer(*uid, *gid, *pid, process),
        Reporter::Fifo => "keepalived's notify FIFO".to_owned(),
    }
}
