//! What the documents name is there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

/// All sources as one text each, and what they are called without `.rs`.
fn sources(folder: &Path, texts: &mut Vec<String>, modules: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() {
            modules.insert(name.replace('-', "_"));
            sources(&path, texts, modules)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            modules.insert(name);
            texts.push(std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// `a::b` in backticks, all of small letters: a test, or the module of some.
fn named(document: &str) -> impl Iterator<Item = Vec<&str>> {
    let spans = document.split('`').skip(1).step_by(2);
    spans.map(|span| span.split("::").collect::<Vec<_>>()).filter(|path| {
        let is_name = |name: &&str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_…".contains(c))
        };
        path.len() > 1 && path.iter().all(is_name)
    })
}

#[test]
fn each_test_that_a_document_names_is_there() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let (mut texts, mut modules) = (Vec::new(), BTreeSet::new());
    for folder in ["ha-agent", "ha-agent-common/src", "neutron-keepalived-state-change", "tests", "xtask"] {
        modules.insert(folder.replace('-', "_"));
        sources(&root.join(folder), &mut texts, &mut modules)?;
    }
    let mut documents = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    for entry in std::fs::read_dir(root.join("docs"))? {
        documents.push(entry?.path());
    }
    let (mut seen, mut missing) = (0, Vec::new());
    for document in documents {
        let text = std::fs::read_to_string(&document)?;
        for path in named(&text) {
            seen += 1;
            let Some((name, parents)) = path.split_last() else { continue };
            let start = match name.strip_suffix('…') {
                Some(start) => format!("fn {start}"),
                None => format!("fn {name}("),
            };
            let is_there = modules.contains(*name) || texts.iter().any(|text| text.contains(&start));
            if !is_there || !parents.iter().all(|parent| modules.contains(*parent)) {
                missing.push(format!("{}: {}", document.display(), path.join("::")));
            }
        }
    }
    assert!(seen > 30, "{seen} names are too few to be all");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}
