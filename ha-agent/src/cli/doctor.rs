//! `doctor`: what the examination found.

use std::fmt::Write;

use super::terminal::{Terminal, Tone};
use crate::doctor::{Finding, Outcome};
use crate::telemetry::line::escape_lines;

pub(super) fn json(findings: &[Finding]) -> String {
    crate::telemetry::line::json(findings)
}

pub(super) fn fails(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.result == Outcome::Fail)
}

/// For a terminal: with nothing in it that one obeys.
pub(super) fn shown(mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        let texts = [Some(&mut finding.found), finding.means.as_mut(), finding.remedy.as_mut()];
        for text in texts.into_iter().flatten() {
            *text = escape_lines(text).into_owned();
        }
    }
    findings
}

pub(super) fn render(findings: &[Finding], terminal: &Terminal) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let indent = " ".repeat(width + 8);
    let mut out = String::new();
    for finding in findings {
        let (mark, tone) = match finding.result {
            Outcome::Ok => (terminal.glyph("✓ ok  ", "ok    "), Tone::Good),
            Outcome::Warn => (terminal.glyph("▲ warn", "warn  "), Tone::Warn),
            Outcome::Fail => (terminal.glyph("✗ fail", "FAIL  "), Tone::Bad),
        };
        let _ = writeln!(
            out,
            "{}  {}  {}",
            terminal.paint(mark, tone),
            terminal.paint(&format!("{:<width$}", finding.name), Tone::Strong),
            finding.found.replace('\n', &format!("\n{indent}  "))
        );
        for (label, text) in [("means", &finding.means), ("do", &finding.remedy)] {
            if let Some(text) = text {
                let label = terminal.paint(&format!("{label:<5}"), Tone::Quiet);
                let _ = writeln!(out, "{indent}  {label} {text}");
            }
        }
    }
    let count = |wanted| findings.iter().filter(|finding| finding.result == wanted).count();
    let (warn, fail) = (count(Outcome::Warn), count(Outcome::Fail));
    let _ = writeln!(
        out,
        "\n{}",
        match (fail, warn) {
            (0, 0) => "Nothing is missing.".to_owned(),
            (0, warn) => format!("Nothing fails; {warn} to look at."),
            (fail, warn) => format!("{fail} failing, {warn} to look at."),
        }
    );
    out
}
