//! `events`: one event per line, in words.

use super::terminal::{Terminal, Tone};
use super::time::clock;
use crate::telemetry::event::{Event, Line, Severity};
use crate::telemetry::line::is_deceiving;
use crate::telemetry::summary::summary;

/// `03:04:05.678  notice   2f0c1c52  transition.confirmed  backup → primary …`
pub(super) fn render(line: &str, terminal: &Terminal) -> String {
    let Ok(read) = serde_json::from_str::<Line>(line) else {
        // An event of a newer agent: as it is, without what a terminal would obey.
        return line.chars().filter(|c| !is_deceiving(*c)).collect();
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
