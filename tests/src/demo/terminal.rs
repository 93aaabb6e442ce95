//! What goes to the terminal, in colour where that is wanted.

use std::io::{IsTerminal, Write};

/// The looks that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Title,
    Good,
    Bad,
    Dim,
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    coloured: bool,
}

impl Terminal {
    /// Coloured on a terminal, unless `NO_COLOR` is set (and not empty).
    pub(crate) fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: !refused && std::io::stdout().is_terminal() }
    }

    /// A line. A reader that went away is not an error.
    pub(crate) fn say(self, line: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", line.trim_end()).and_then(|()| out.flush());
    }

    /// Text with a look.
    pub(crate) fn paint(self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Title => "1",
            Look::Good => "32",
            Look::Bad => "31;1",
            Look::Dim => "2",
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A title and what is going to happen.
    pub(crate) fn step(self, title: &str, what: &str) {
        self.say("");
        self.say(&self.paint(Look::Title, title));
        if !what.is_empty() {
            self.say(&self.paint(Look::Dim, what));
        }
    }

    /// Rows below a heading, columns as wide as they need to be.
    pub(crate) fn table(self, heading: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([heading[column].len()]).max().unwrap_or(0)
        };
        let line = |cells: &[String], look: &dyn Fn(&str, String) -> String| {
            let padded = cells.iter().enumerate().map(|(column, cell)| {
                let width = width(column);
                look(cell, format!("{cell:width$}"))
            });
            padded.collect::<Vec<_>>().join("  ")
        };
        let heading: Vec<String> = heading.iter().map(|&word| word.to_owned()).collect();
        self.say(&format!("  {}", line(&heading, &|_, text| self.paint(Look::Dim, &text))));
        for row in rows {
            let look = |cell: &str, text: String| match cell {
                "primary" => self.paint(Look::Good, &text),
                "silent_primary" | "orphan_vip" | "split_brain" | "no_primary" => self.paint(Look::Bad, &text),
                _ => text,
            };
            self.say(&format!("  {}", line(row, &look)));
        }
    }
}
