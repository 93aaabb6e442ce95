//! `cargo xtask oracle`: asks a real keepalived what generated frames are to it, and holds the agent's judgement of
//! the same frames to its answers.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::other_keepalived::{self, Keepalived};
use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{cargo, root, say_error, target};

/// Where the figures stand.
const PAGE: &str = "docs/oracle.md";

/// What is asked.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many cases, over all configurations
    #[arg(long, default_value_t = 20_000)]
    frames: u64,
    /// Another seed gives other cases
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which keepalived; without it this machine's
    #[arg(long, value_enum)]
    keepalived: Option<Keepalived>,
    /// One configuration alone, such as v2-pass
    #[arg(long, value_name = "NAME")]
    config: Option<String>,
    /// Write the figures to docs/oracle.md
    #[arg(long)]
    write: bool,
    /// Show what keepalived says of each deviation alone, and nothing else; needs --config
    #[arg(long)]
    show: bool,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    privilege.prefix("cargo xtask oracle (namespaces, keepalived, eBPF)")?;
    setup::ensure(&[Group::AgentDemo])?;
    let folder = other_keepalived::root(arguments.keepalived, privilege)?;

    say_error("building the oracle");
    let status = Command::new(cargo())
        .current_dir(root())
        .args(["build", "--locked", "--quiet", "-p", "ha-agent-tests", "--bin", "ha-agent-oracle"])
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "cargo build failed ({status}): its words are above");

    let mut oracle = privilege.command(target().join("debug/ha-agent-oracle"), "the oracle")?;
    oracle.args(["--frames", &arguments.frames.to_string(), "--seed", &arguments.seed.to_string()]);
    if let Some(folder) = folder {
        oracle.arg("--root").arg(folder);
    }
    if let Some(name) = &arguments.config {
        oracle.args(["--config", name]);
    }
    if arguments.show {
        oracle.arg("--show");
    }
    if arguments.write {
        oracle.arg("--write").arg(root().join(PAGE));
    }
    let status = oracle.status().context("starting the oracle")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
