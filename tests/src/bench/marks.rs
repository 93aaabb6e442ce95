//! What a command measured, between two marks of a Markdown file; the rest of the file stays. `cargo xtask
//! test` writes so too and compiles this file.

use std::path::Path;

use anyhow::{Context, Result};

const END: &str = "<!-- measured: end -->";

/// Puts what was measured between the command's marks; a file without them gets them at its end.
pub(crate) fn write(path: &Path, command: &str, measured: &str) -> Result<()> {
    let before = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, merge(&before, command, measured)).with_context(|| format!("writing {}", path.display()))
}

fn begin(command: &str) -> String {
    format!("<!-- measured: begin ({command}) -->")
}

fn merge(before: &str, command: &str, measured: &str) -> String {
    let begin = begin(command);
    let block = format!("{begin}\n{measured}\n{END}");
    let parts = before.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
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
        let first = merge("# Figures\n", "bench", "one");
        assert_eq!(first, format!("# Figures\n\n{}\none\n{END}\n", begin("bench")));
        let with_tail = format!("{first}\nwords\n");
        assert_eq!(merge(&with_tail, "bench", "two"), with_tail.replace("one", "two"));
    }
}
