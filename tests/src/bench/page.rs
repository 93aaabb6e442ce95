//! How figures are shown: on the terminal, and in a Markdown file.

use crate::figure::Figure;
use crate::machine::Machine;

const HEADING: [&str; 6] = ["figure", "median", "spread", "runs", "goal", ""];

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

/// As a table of Markdown, with where it was measured.
pub(crate) fn markdown(machine: &Machine, figures: &[Figure]) -> String {
    let mut lines = vec![
        format!("Measured on {}.", machine.line()),
        String::new(),
        format!("| {} |", HEADING.join(" | ")),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(figures.iter().map(|figure| format!("| {} |", figure.row().join(" | "))));
    lines.join("\n")
}
