//! The request that registers, and its answer. Pure.

use std::fmt::Write;

use crate::args::Monitor;

/// An answer's head and body have no more, bytes.
pub(crate) const MAX_ANSWER: usize = 4096;

/// `PUT /v1/routers/{id}`, whole, for one write. The fields are in the agent's `inventory::registration`.
pub(crate) fn registration(monitor: &Monitor, pid: u32, daemon: bool) -> String {
    let mut body = String::with_capacity(512);
    let texts = [
        ("namespace", Some(&monitor.namespace)),
        ("interface", Some(&monitor.interface)),
        ("cidr", Some(&monitor.cidr)),
        ("conf_dir", Some(&monitor.conf_dir)),
        ("user", monitor.user.as_ref()),
        ("group", monitor.group.as_ref()),
    ];
    body.push('{');
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        let _ = write!(body, "\"{name}\":\"");
        escape(&mut body, text);
        body.push_str("\",");
    }
    let _ = write!(body, "\"enable_conntrackd\":{},\"pid\":{pid},\"daemon\":{daemon}}}", monitor.conntrackd);
    format!(
        "PUT /v1/routers/{} HTTP/1.1\r\nHost: ha-agent\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        monitor.router_id,
        body.len()
    )
}

fn escape(body: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => body.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(body, "\\u{:04x}", u32::from(c));
            }
            c => body.push(c),
        }
    }
}

/// The agent's answer, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not whole yet.
    Partial,
    /// Registered for as long as the connection stays.
    Registered,
    /// The agent cannot now: try again as if it were absent.
    Busy(String),
    /// The agent does not want this one, and will not before someone changes something.
    Refused(String),
    /// No answer of the agent's.
    Strange,
}

/// Reads what came so far; `ended`: nothing more comes.
pub(crate) fn answer(bytes: &[u8], ended: bool) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return if ended || bytes.len() >= MAX_ANSWER { Answer::Strange } else { Answer::Partial };
    };
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    match status {
        Some(200u16) => Answer::Registered,
        // Its body says why; the agent closes after it.
        Some(_) if !ended && bytes.len() < MAX_ANSWER => Answer::Partial,
        Some(code @ 500..) => Answer::Busy(reason(code, body)),
        Some(code) => Answer::Refused(reason(code, body)),
        None => Answer::Strange,
    }
}

/// The sentence in `{"error":"…"}`.
fn reason(code: u16, body: &str) -> String {
    let mut said = String::new();
    let mut rest = body.split_once("\"error\":\"").map_or("", |(_, rest)| rest).chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => said.extend(rest.next()),
            c => said.push(c),
        }
    }
    if said.is_empty() { format!("status {code}") } else { said }
}

#[cfg(test)]
mod tests;
