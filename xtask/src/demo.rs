//! `cargo xtask demo`: sets up what the demonstration needs, builds, and lets it run as root.
//!
//! The demonstration itself stands in the tests crate, on the harness of the end-to-end tests.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{cargo, root, say, target};

/// How it is shown.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Build with optimisation (slower to start, as in production)
    #[arg(long)]
    release: bool,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    privilege.prefix("cargo xtask demo (namespaces, keepalived, eBPF)")?;
    setup::ensure(&[Group::AgentDemo])?;

    say("building the agent and the demonstration");
    let mut build = Command::new(cargo());
    build.current_dir(root()).args([
        "build",
        "--locked",
        "--quiet",
        "-p",
        "ha-agent",
        "-p",
        "ha-agent-tests",
        "--bins",
    ]);
    if arguments.release {
        build.arg("--release");
    }
    let status = build.status().context("starting cargo build")?;
    if !status.success() {
        bail!("cargo build failed ({status}): its words are above");
    }

    let folder = target().join(if arguments.release { "release" } else { "debug" });
    let mut demo = privilege.command("env", "the demonstration")?;
    if let Some(value) = std::env::var_os("NO_COLOR") {
        let mut setting = std::ffi::OsString::from("NO_COLOR=");
        setting.push(value);
        demo.arg(setting);
    }
    // In our place, so that on Ctrl-C the shell waits until it has cleaned up.
    let error = demo.arg(folder.join("ha-agent-demo")).exec();
    Err(error).context("starting the demonstration")
}
