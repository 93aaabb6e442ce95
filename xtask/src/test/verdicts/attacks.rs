//! The hostile matrix: what each attack did in each column, beside its control.

use serde::Deserialize;

/// What an attack may delay a verdict by, in milliseconds.
const LATE_MS: f64 = 100.0;
/// The name of the control.
const CONTROL: &str = "none";

/// A cell.
#[derive(Debug, Deserialize)]
pub(super) struct Attack {
    attack: String,
    column: String,
    rounds: u32,
    #[serde(rename = "false")]
    wrong: u32,
    late_ms: f64,
}

impl Attack {
    /// What must not be: a false verdict, or a late one.
    pub(super) fn wrong(&self) -> Option<String> {
        let cell = format!("{} × {}", self.attack, self.column);
        if self.wrong > 0 {
            return Some(format!("{cell}: {} false", self.wrong));
        }
        (self.late_ms > LATE_MS).then(|| format!("{cell}: {:.0} ms later than without the attack", self.late_ms))
    }

    fn cell(&self) -> String {
        let late = if self.attack == CONTROL { String::new() } else { format!(", {:.0} ms", self.late_ms) };
        format!("{} of {} false{late}", self.wrong, self.rounds.max(self.wrong))
    }
}

/// Heading and a row per attack, in the order in which they came; nothing when there was none.
pub(super) fn table(cells: &[Attack]) -> Vec<Vec<String>> {
    let distinct = |name: fn(&Attack) -> &String| {
        let mut names: Vec<&String> = Vec::new();
        for cell in cells.iter().map(name) {
            if !names.contains(&cell) {
                names.push(cell);
            }
        }
        names
    };
    let (attacks, columns) = (distinct(|cell| &cell.attack), distinct(|cell| &cell.column));
    if attacks.is_empty() {
        return Vec::new();
    }
    let mut rows =
        vec![std::iter::once("attack").chain(columns.iter().map(|name| name.as_str())).map(str::to_owned).collect()];
    rows.extend(attacks.iter().map(|attack| {
        let cell = |column: &&String| {
            let found = cells.iter().find(|cell| cell.attack == **attack && cell.column == **column);
            found.map_or_else(|| "–".to_owned(), Attack::cell)
        };
        std::iter::once((*attack).clone()).chain(columns.iter().map(cell)).collect()
    }));
    rows
}
