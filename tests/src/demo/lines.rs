//! An event as a person likes to read it.

use serde_json::Value;

use crate::terminal::Look;

/// How an event's line looks.
pub(crate) fn look(event: &Value) -> Look {
    match (event["event"].as_str(), event["severity"].as_str()) {
        (Some("transition.confirmed" | "anomaly.cleared"), _) => Look::Good,
        (Some("transition.rejected"), _) | (_, Some("error")) => Look::Bad,
        _ => Look::Dim,
    }
}

/// What to say about an event; nothing about most of them. The first line stands beside the time.
pub(crate) fn describe(event: &Value) -> Vec<String> {
    let word = |key: &str| event[key].as_str().unwrap_or("?");
    let number = |key: &str| event[key].as_f64().unwrap_or(0.0);
    match word("event") {
        "transition.confirmed" => {
            let previous = event["previous"].as_str().map_or_else(String::new, |state| format!("{state} → "));
            let (state, basis, latency) = (word("state"), word("basis"), number("latency_ms"));
            vec![format!("confirmed {previous}{state} by {basis}, {latency:.0} ms after the first sign")]
        }
        "transition.rejected" => {
            let who = &event["reporter"];
            let who = match who["via"].as_str() {
                Some("socket") => {
                    let command = who["command"].as_str().map_or(String::new(), |command| format!(", {command}"));
                    format!("over the socket by uid {}, pid {}{command}", who["uid"], who["pid"])
                }
                Some(via) => format!("by {via}"),
                None => "by someone".to_owned(),
            };
            vec![
                format!("REFUSED {} claimed {who}: {}", word("claim"), word("reason").replace('_', " ")),
                format!("evidence: {}", evidence(&event["evidence"])),
            ]
        }
        "transition.superseded" => vec![format!("{} did not last: {}", word("state"), word("by"))],
        "anomaly.raised" => vec![format!("{}: {}", word("kind"), word("detail"))],
        "anomaly.cleared" => {
            vec![format!("{} is over after {:.1} s", word("kind"), number("lasted_ms") / 1000.0)]
        }
        "channel.degraded" => vec![format!("channel {} is degraded: {}", word("channel"), word("reason"))],
        "channel.restored" => vec![format!("channel {} is whole again", word("channel"))],
        "delivery.failed" => vec![format!("not delivered: {}", word("reason"))],
        _ => Vec::new(),
    }
}

/// What was seen, in one line.
fn evidence(evidence: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let mut parts =
        vec![format!("VIP {}", word(&evidence["vip"])), format!("own adverts {}", word(&evidence["tx"]["state"]))];
    if let Some(age) = evidence["tx"]["age_ms"].as_u64() {
        parts.push(format!("the last one {age} ms ago"));
    }
    let foreign = &evidence["foreign"];
    if foreign.is_object() {
        parts.push(format!(
            "master on the wire {}, priority {}, {} ms ago",
            word(&foreign["address"]),
            foreign["priority"],
            foreign["age_ms"]
        ));
    }
    parts.join("; ")
}
