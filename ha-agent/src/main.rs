//! The `ha-agent` command. Everything is in the library.

use std::process::ExitCode;

use ha_agent::cli::{self, Hooks};

fn main() -> ExitCode {
    cli::main(&Hooks { run: |_| not_linked(), notify: |_| not_linked(), wire_probe: None })
}

/// Until the agent's driver and the notify client are joined to the command line.
fn not_linked() -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "ha-agent: this build has no agent");
    ExitCode::from(cli::exit::FAILURE)
}
