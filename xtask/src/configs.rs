//! `cargo xtask configs`: lets a real keepalived and the agent read generated configurations, and holds the agent's
//! reading to what keepalived prints.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::other_keepalived::{self, Keepalived};
use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{cargo, root, say_error, target};

/// Where the figures stand.
const PAGE: &str = "docs/configurations.md";

/// What is read.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many configurations
    #[arg(long, default_value_t = 5_000)]
    cases: u64,
    /// The first one's seed: each has the next one
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// No more of them after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Which keepalived; without it this machine's
    #[arg(long, value_enum)]
    keepalived: Option<Keepalived>,
    /// Write the figures to docs/configurations.md
    #[arg(long)]
    write: bool,
    /// Show the configuration of the seed, and nothing else
    #[arg(long)]
    show: bool,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    privilege.prefix("cargo xtask configs (namespaces, keepalived)")?;
    setup::ensure(&[Group::AgentDemo])?;
    let folder = other_keepalived::root(arguments.keepalived, privilege)?;

    say_error("building what asks");
    let status = Command::new(cargo())
        .current_dir(root())
        .args(["build", "--locked", "--quiet", "-p", "ha-agent-tests", "--bin", "ha-agent-configs"])
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "cargo build failed ({status}): its words are above");

    let mut configs = privilege.command(target().join("debug/ha-agent-configs"), "the comparison")?;
    configs.args(["--cases", &arguments.cases.to_string(), "--seed", &arguments.seed.to_string()]);
    if let Some(seconds) = arguments.seconds {
        configs.args(["--seconds", &seconds.to_string()]);
    }
    if let Some(folder) = folder {
        configs.arg("--root").arg(folder);
    }
    if arguments.show {
        configs.arg("--show");
    }
    if arguments.write {
        configs.arg("--write").arg(root().join(PAGE));
    }
    let status = configs.status().context("starting the comparison")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
