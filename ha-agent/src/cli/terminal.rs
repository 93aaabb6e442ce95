//! What the terminal can show, and tables for it.

use std::env;
use std::io::{IsTerminal, stdout};

use unicode_width::UnicodeWidthStr;

/// What stdout can show.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terminal {
    pub(super) colour: bool,
    pub(super) utf8: bool,
}

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Quiet,
    Warn,
    Bad,
    Strong,
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl Terminal {
    /// UTF-8 and colour only on a terminal; `NO_COLOR` and `TERM=dumb` are respected.
    pub(super) fn detect() -> Self {
        let tty = stdout().is_terminal();
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let locale =
            set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default().to_lowercase();
        let plain = set("NO_COLOR").is_some() || set("TERM").is_none_or(|term| term == "dumb");
        Self { colour: tty && !plain, utf8: tty && (locale.contains("utf-8") || locale.contains("utf8")) }
    }

    pub(super) fn paint(&self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Quiet => "2",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Strong => "1",
        };
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// `utf8` where it can be shown, else `ascii`.
    pub(super) fn glyph<'a>(&self, utf8: &'a str, ascii: &'a str) -> &'a str {
        if self.utf8 { utf8 } else { ascii }
    }

    pub(super) fn none(&self) -> Cell {
        Cell::new(self.glyph("–", "-"), Tone::Quiet)
    }

    /// Columns as wide as they need, two spaces apart, the head underlined.
    pub(super) fn table(&self, head: &[&str], rows: &[Vec<Cell>]) -> String {
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.text.width())
                    .chain([head[column].width()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let head: Vec<Cell> = head.iter().map(|text| Cell::new(*text, Tone::Strong)).collect();
        let rule: Vec<Cell> =
            widths.iter().map(|width| Cell::new(self.glyph("─", "-").repeat(*width), Tone::Quiet)).collect();
        let mut out = String::new();
        for row in [&head, &rule].into_iter().chain(rows) {
            let mut line = String::new();
            let mut owed = 0;
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&" ".repeat(owed));
                line.push_str(&self.paint(&cell.text, cell.tone));
                owed = width.saturating_sub(cell.text.width()) + 2;
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}
