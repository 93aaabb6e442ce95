//! Runs a command in which bpf(2) fails with EPERM, as under a container's seccomp profile.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

#[cfg(target_arch = "x86_64")]
const BPF: i64 = 321;
#[cfg(target_arch = "aarch64")]
const BPF: i64 = 280;

/// EPERM.
const NOT_PERMITTED: u32 = 1;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("usage: without-bpf PROGRAM [ARGUMENT…]")?;
    let filter: BpfProgram = SeccompFilter::new(
        [(BPF, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(NOT_PERMITTED),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?;
    apply_filter(&filter)?;
    Err(Command::new(&program).args(words).exec()).with_context(|| format!("starting {}", program.display()))
}
