//! `cargo xtask bench`: builds with optimisation and lets the measurements run as root.
//!
//! The measurements themselves stand in the tests crate, on the harness of the end-to-end tests.

// The measurements' own list.
#[path = "../../tests/src/bench/what.rs"]
mod what;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{cargo, root, say_error, target};
use what::What;

/// What `storm` can be measured beside.
const NEUTRON: &str = "neutron-29.0.0";

/// What is measured, and how it is shown.
#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// Routers, each in a namespace of its own, for storm, steady and memory [default: 1000, with --against 100]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    routers: Option<u16>,
    /// Measure beside something else in the same run: `storm --against neutron-29.0.0` beside Neutron's own
    /// monitors and server, `classifier --against OBJECT` beside another eBPF object, such as an earlier commit's
    #[arg(long, value_name = "neutron-29.0.0|OBJECT")]
    against: Option<String>,
    /// How often each figure is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: u16,
    /// On standard output; progress goes to standard error
    #[arg(short, long, value_parser = ["table", "json"], default_value = "table")]
    output: String,
    /// Write the figures into this Markdown file, between its two marks
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    privilege.prefix("cargo xtask bench (namespaces, eBPF)")?;
    let groups: &[Group] = match &arguments.against {
        Some(against) if against == NEUTRON && arguments.what == [What::Storm] => &[Group::Tests, Group::Neutron],
        Some(object) if arguments.what == [What::Classifier] && Path::new(object).is_file() => &[Group::AgentDemo],
        Some(_) => bail!("expected storm --against {NEUTRON}, or classifier --against the file of an eBPF object"),
        None => &[Group::AgentDemo],
    };
    setup::ensure(groups)?;

    say_error("building the agent and the measurements, with optimisation");
    let mut build = Command::new(cargo());
    build.current_dir(root()).args(["build", "--locked", "--quiet", "--release"]);
    // What is built stays off standard output: that may be JSON.
    build.args(["-p", "ha-agent", "-p", "ha-agent-tests", "-p", "neutron-keepalived-state-change", "--bins"]);
    build.stdout(Stdio::null());
    let status = build.status().context("starting cargo build")?;
    if !status.success() {
        bail!("cargo build failed ({status}): its words are above");
    }

    let mut bench = privilege.command(target().join("release/ha-agent-bench"), "the measurements")?;
    for what in &arguments.what {
        bench.arg(what.to_possible_value().context("a name")?.get_name());
    }
    let routers = arguments.routers.unwrap_or(if arguments.against.is_some() { 100 } else { 1000 });
    bench.args(["--routers", &routers.to_string(), "--runs", &arguments.runs.to_string()]);
    bench.args(["--output", &arguments.output, "--commit", &commit()]);
    if let Some(against) = &arguments.against {
        bench.arg("--against");
        if against == NEUTRON {
            bench.arg(against);
        } else {
            bench.arg(std::path::absolute(against).context("the path of the object")?);
        }
    }
    if let Some(file) = &arguments.write {
        bench.arg("--write").arg(std::path::absolute(file).context("the path of the figures")?);
    }
    // In our place, so that on Ctrl-C the shell waits until it has cleaned up.
    let error = bench.exec();
    Err(error).context("starting the measurements")
}

/// What is measured, as git names it.
pub(crate) fn commit() -> String {
    let answer = Command::new("git").current_dir(root()).args(["describe", "--always", "--dirty"]).output();
    match answer {
        Ok(answer) if answer.status.success() => String::from_utf8_lossy(&answer.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
