//! The compiler, run by Cargo through this program, so that no folder gets into the object's names.
//!
//! Cargo tells the compiler the absolute path of a crate outside the workspace, as a hash. It becomes part of
//! the names of functions, their names decide their order, and their order decides what is inlined: without
//! this, another folder gives other bytes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::workspace::say_error;

/// Set for Cargo's build of the object: this program is the compiler's wrapper.
const WRAPS: &str = "HA_AGENT_XTASK_WRAPS_RUSTC";
/// The crates whose hash would hold the folder.
const CRATES: [&str; 2] = ["ha_agent_common", "ha_agent"];

/// Lets Cargo run the compiler through this program.
pub(super) fn wrapped(command: &mut Command) -> Result<()> {
    let this = env::current_exe().context("where is this program?")?;
    command.env("RUSTC_WRAPPER", this).env(WRAPS, "1");
    Ok(())
}

/// Runs the compiler that Cargo names, if it is Cargo that calls; returns only when that fails.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    env::var_os(WRAPS)?;
    let mut arguments = env::args_os().skip(1);
    let compiler = arguments.next()?;
    let error = Command::new(&compiler).args(plain(arguments.collect())).exec();
    say_error(&format!("cargo xtask: cannot run the compiler {}: {error}", compiler.display()));
    Some(ExitCode::FAILURE)
}

/// The arguments, with the crate's name in the place of the hash that Cargo gives to it.
fn plain(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.iter().skip_while(|argument| *argument != "--crate-name").nth(1).cloned();
    let Some(name) = name.filter(|name| CRATES.iter().any(|known| name == known)) else {
        return arguments;
    };
    for argument in &mut arguments {
        if argument.as_encoded_bytes().starts_with(b"metadata=") {
            let mut plain = OsString::from("metadata=");
            plain.push::<&OsStr>(&name);
            *argument = plain;
        }
    }
    arguments
}

#[cfg(test)]
mod tests;
