//! What a test measured, told to whoever reads its output, also when it passes.

use std::fmt::Display;
use std::io::Write;

use crate::record;

/// Writes a line past the test harness, which keeps what passing tests print, and for `cargo xtask test` to repeat.
pub fn tell(line: impl Display) {
    let line = line.to_string();
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "  {line}");
    if let Err(error) = record::figure(&line) {
        let _ = writeln!(std::io::stderr(), "  not noted: {error:#}");
    }
}
