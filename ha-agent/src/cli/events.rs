//! `events`: one event per line, in words.

use serde_json::Value;

use super::client::escape_all;
use super::terminal::{Terminal, Tone};
use super::time::{clock, moment};
use crate::telemetry::event::{Event, Line, Severity};
use crate::telemetry::line::escape;
use crate::telemetry::summary::summary;

/// How far back the agent's memory goes, by the first line, and where the rest is.
pub(super) fn origin(first: &str, sinks: &[String]) -> String {
    let first: Value = serde_json::from_str(first).unwrap_or_default();
    let since = first["ts"].as_str().map(moment).unwrap_or_default();
    let files = sinks.iter().filter(|sink| *sink != "stdout");
    let files = files.map(|sink| sink.strip_prefix("file:").unwrap_or(sink)).collect::<Vec<_>>().join(" and ");
    let rest = match files.as_str() {
        "" => "no sink keeps all of them (events.sinks)".to_owned(),
        files => format!("all of them are in {files}"),
    };
    format!("these are the last events that the agent has in memory, since {since}; {rest}")
}

/// `03:04:05.678  notice   2f0c1c52  transition.confirmed  backup → primary …`
pub(super) fn render(line: &str, terminal: &Terminal) -> String {
    let mut value: Value = serde_json::from_str(line).unwrap_or_default();
    escape_all(&mut value);
    let Ok(read) = serde_json::from_value::<Line>(value) else {
        // An event of a newer agent: as it is, without what a terminal would obey.
        return escape(line).into_owned();
    };
    let router = match &read.event {
        Event::DeliverySent { states, .. } if states.len() == 1 => Some(states[0].router_id),
        event => event.router(),
    };
    let router = router.map_or_else(|| " ".repeat(8), |id| id.to_string()[..8].to_owned());
    let (word, tone) = match read.event.severity() {
        Severity::Info => ("info   ", Tone::Quiet),
        Severity::Notice => ("notice ", Tone::Plain),
        Severity::Warning => ("warning", Tone::Warn),
        Severity::Error => ("error  ", Tone::Bad),
    };
    let mut words = summary(&read.event);
    if !terminal.utf8 {
        words = words.replace('→', "->");
    }
    format!(
        "{}  {}  {}  {:<21}  {words}",
        terminal.paint(&clock(&read.ts), Tone::Quiet),
        terminal.paint(word, tone),
        terminal.paint(&router, Tone::Strong),
        read.event.name(),
    )
}
