//! How figures are shown: on the terminal, and in a Markdown file between two marks.

use std::path::Path;

use anyhow::{Context, Result};

use crate::figure::Figure;
use crate::machine::Machine;

const HEADING: [&str; 6] = ["figure", "median", "spread", "runs", "goal", ""];
const BEGIN: &str = "<!-- measured: begin (cargo xtask bench --write) -->";
const END: &str = "<!-- measured: end -->";

/// Columns as wide as they need to be.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEADING.map(str::to_owned).to_vec()];
    rows.extend(figures.iter().map(Figure::row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADING.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Puts the figures between the marks of a file and leaves the rest as it is; a file without marks
/// gets them at its end.
pub(crate) fn write(path: &Path, machine: &Machine, figures: &[Figure]) -> Result<()> {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let after = merge(&before, &markdown(machine, figures));
    std::fs::write(path, after).with_context(|| format!("writing {}", path.display()))
}

fn markdown(machine: &Machine, figures: &[Figure]) -> String {
    let mut lines = vec![
        format!("Measured on {}.", machine.line()),
        String::new(),
        format!("| {} |", HEADING.join(" | ")),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(figures.iter().map(|figure| format!("| {} |", figure.row().join(" | "))));
    lines.join("\n")
}

fn merge(before: &str, measured: &str) -> String {
    let block = format!("{BEGIN}\n{measured}\n{END}");
    let parts = before.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    match parts {
        Some((head, tail)) => format!("{head}{block}{tail}"),
        None if before.is_empty() => format!("{block}\n"),
        None => format!("{}\n\n{block}\n", before.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let first = merge("# Figures\n", "one");
        assert_eq!(first, format!("# Figures\n\n{BEGIN}\none\n{END}\n"));
        let with_tail = format!("{first}\nwords\n");
        assert_eq!(merge(&with_tail, "two"), with_tail.replace("one", "two"));
    }
}
