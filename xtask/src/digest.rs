//! The digest that ties the kept eBPF object to the sources it was built from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Folders and files that decide what the object is, relative to the root of the project. Unit
/// tests (`tests.rs`) lie among them and are left out: they are not part of it.
const SOURCES: [&str; 5] = [
    "ha-agent-common/Cargo.toml",
    "ha-agent-common/src",
    "ha-agent-ebpf/Cargo.lock",
    "ha-agent-ebpf/Cargo.toml",
    "ha-agent-ebpf/src",
];

/// `ha-agent/ebpf/ha-agent.bpf.toml`: what is known of the object beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// `ha_agent_common::LAYOUT_VERSION`.
    pub(crate) layout_version: u32,
    /// Over the sources and the build flags, see [`sources`].
    pub(crate) sources_sha256: String,
    /// Over the object.
    pub(crate) object_sha256: String,
    /// What built it.
    pub(crate) toolchain: Toolchain,
}

/// The tools that decide the object's bytes, each by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Toolchain {
    /// `rustc --version`.
    pub(crate) rustc: String,
    /// LLVM of that rustc.
    pub(crate) llvm: String,
    /// `bpf-linker --version`.
    pub(crate) bpf_linker: String,
    /// `llvm-strip --version`.
    pub(crate) llvm_strip: String,
}

impl Record {
    /// The record's file.
    pub(crate) fn path(root: &Path) -> PathBuf {
        root.join("ha-agent/ebpf/ha-agent.bpf.toml")
    }

    /// Reads it.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = Self::path(root);
        let text =
            fs::read_to_string(&path).with_context(|| format!("{}: run `cargo xtask build-ebpf`", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes it.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let path = Self::path(root);
        let text = format!("# Written by `cargo xtask build-ebpf`.\n{}", toml::to_string(self)?);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

/// The object's file.
pub(crate) fn object_path(root: &Path) -> PathBuf {
    root.join("ha-agent/ebpf/ha-agent.bpf.o")
}

/// SHA-256 over `flags` and over name, length and content of every source, in the names' order.
pub(crate) fn sources(root: &Path, flags: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for flag in flags {
        hash.update(flag.as_bytes());
        hash.update([0]);
    }
    for file in files {
        let content = fs::read(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        hash.update(name.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub(crate) fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
            collect(&entry?.path(), into)?;
        }
    } else if path.file_name().is_some_and(|name| name != "tests.rs") {
        into.push(path.to_owned());
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
