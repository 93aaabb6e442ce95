//! Commands that end by themselves.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started or does not succeed; the message carries its words.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let answer = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !answer.status.success() {
        bail!(
            "{program} {}: {}: {}",
            arguments.join(" "),
            answer.status,
            String::from_utf8_lossy(&answer.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// `ip`, in a network namespace given by name.
///
/// # Errors
/// As [`run`].
pub fn ip_in(netns: &str, arguments: &[&str]) -> Result<String> {
    run("ip", &[&["-n", netns], arguments].concat())
}

/// Any program in a network namespace given by name.
///
/// # Errors
/// As [`run`].
pub fn run_in(netns: &str, command: &[&str]) -> Result<String> {
    run("ip", &[&["netns", "exec", netns], command].concat())
}
