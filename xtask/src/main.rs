//! The project's own commands: `cargo xtask …`, one file or folder per command.

mod bench;
mod build_ebpf;
mod configs;
mod demo;
mod digest;
#[cfg(test)]
mod documents;
mod fuzz;
mod oracle;
mod other_keepalived;
mod privilege;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "What this project can do with itself",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what is missing, build, and show the main job live (about a minute, as root)
    Demo(demo::Arguments),
    /// Set up what is missing and run every check that CI runs
    Test(test::Arguments),
    /// Measure the performance figures and set them beside their goals (as root)
    Bench(bench::Arguments),
    /// Look for inputs that break a reader or an invariant, and for frames that are judged wrongly
    Fuzz(fuzz::Arguments),
    /// Ask a real keepalived what generated frames are to it, and hold the agent to its answers (as root)
    Oracle(oracle::Arguments),
    /// Let a real keepalived and the agent read generated configurations, and hold one to the other (as root)
    Configs(configs::Arguments),
    /// Rebuild the kernel side's object from source, reproducibly, and keep it in the tree
    BuildEbpf(build_ebpf::Arguments),
    /// Install what is missing, say what, and do nothing else
    Setup(setup::Arguments),
}

fn main() -> ExitCode {
    if let Some(code) = build_ebpf::rustc::run_if_asked() {
        return code;
    }
    let done = match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Oracle(arguments) => oracle::run(&arguments),
        Command::Configs(arguments) => configs::run(&arguments),
        Command::BuildEbpf(arguments) => build_ebpf::main(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
    };
    done.unwrap_or_else(|error| {
        workspace::say_error(&format!("cargo xtask: {error:#}"));
        ExitCode::FAILURE
    })
}
