//! The two text formats of metrics: OpenMetrics for who asks for it, the older one for others.

use std::fmt::Write;

pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// OpenMetrics text as Prometheus text 0.0.4: a counter's metadata names its `_total` sample, and
/// there is neither `# UNIT` nor `# EOF`.
pub(super) fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let (help, kind) = (line.strip_prefix("# HELP "), line.strip_prefix("# TYPE "));
        let counter = match (help, kind) {
            (Some(_), _) => lines.peek().is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter")),
            (_, Some(kind)) => kind.ends_with(" counter"),
            _ => false,
        };
        match help.or(kind).and_then(|rest| rest.split_once(' ')) {
            Some((name, rest)) if counter => {
                let _ = writeln!(out, "{} {name}_total {rest}", &line[..6]);
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}
