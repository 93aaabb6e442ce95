//! The tables in a Markdown file, between two marks; the rest of the file stays.

// As the measurements write theirs.
#[path = "../../../../tests/src/bench/marks.rs"]
mod marks;

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::{Case, Found};
use crate::bench::commit;

/// Columns of the matrix.
pub(super) const HEADING: [&str; 8] = [
    "scenario",
    "rounds",
    "true, confirmed",
    "true, rejected",
    "false, rejected",
    "false, confirmed",
    "true: ms, median / most",
    "false: ms, median / most",
];

pub(super) fn write(path: &Path, found: &Found) -> Result<()> {
    marks::write(path, "cargo xtask test --write", &markdown(found))
}

fn markdown(found: &Found) -> String {
    let mut text = format!("Measured on {}.\n\n### Claims\n\n", machine());
    table(&mut text, found.matrix());
    let attacks = super::attacks::table(&found.attacks);
    if !attacks.is_empty() {
        text.push_str(
            "\n### Attacks\n\nFalse verdicts, and how much later than without the attack one came at most.\n\n",
        );
        table(&mut text, attacks);
    }
    text.push_str("\n### Catalogue\n\n| case | what | within ms | because | measured ms |\n|---|---|---|---|---|\n");
    for case in &found.cases {
        for (index, measured) in case.measured.iter().enumerate() {
            let name = if index == 0 { case.case.as_str() } else { "" };
            let (least, most, took) = (measured.least_ms, measured.most_ms, measured.took_ms);
            let _ = writeln!(
                text,
                "| {name} | {} | {least:.0} … {most:.0} | {} | {took:.0} |",
                measured.what, measured.why
            );
        }
    }
    text.push_str("\n| case | what the L3 agents hear | over when |\n|---|---|---|\n");
    for case in &found.cases {
        let _ = writeln!(text, "| {} | {} | {} |", case.case, told(case), case.clears);
    }
    text.trim_end().to_owned()
}

/// A heading and rows, in Markdown.
fn table(text: &mut String, rows: Vec<Vec<String>>) {
    for (index, row) in rows.into_iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "| {} |", vec!["---"; row.len()].join(" | "));
        }
    }
}

fn told(case: &Case) -> String {
    let nodes = case.told.iter().map(|(node, states)| format!("{node}: {}", states.join(" → ")));
    nodes.collect::<Vec<_>>().join("; ")
}

fn machine() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = file("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = file("/proc/sys/kernel/osrelease");
    let load = file("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} × {model}, Linux {}, commit {}; load average afterwards {load}", kernel.trim(), commit())
}
