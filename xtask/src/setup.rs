//! `cargo xtask setup`: what a fresh Debian 12 machine with stable Rust lacks, installed and named.
//!
//! Quick when nothing is missing: one `dpkg-query`, one version question per cargo tool.

mod neutron;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::privilege::Privilege;
use crate::workspace::{cargo, on_path, say};

/// What is set up.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these groups; without any, all of them
    #[arg(value_enum)]
    groups: Vec<Group>,
}

/// A purpose and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// What the demonstration runs beside the agent: keepalived, ip, nft
    AgentDemo,
    /// What the end-to-end tests use besides: curl, conntrackd, setpriv, promtool, systemd-analyze
    Tests,
    /// systemd-analyze, which judges the service's unit
    Unit,
    /// Neutron 26.0.6, 28.0.2 and 29.0.0 in virtual environments, run by end-to-end tests
    Neutron,
    /// rustfmt, clippy, cargo-deny
    Lints,
    /// What builds the fuzz targets: a C++ compiler, for libFuzzer
    Fuzz,
    /// What makes the root folder of another Debian, for the oracle's other keepalived: mmdebstrap
    Oracle,
    /// What rebuilds the eBPF object: Debian's Rust with its BPF target, LLVM 22, bpf-linker
    Ebpf,
}

/// A Debian package and the program or file by which other systems are asked for it.
struct Package {
    name: &'static str,
    proof: &'static str,
}

/// A program installed by cargo, pinned.
struct Tool {
    name: &'static str,
    version: &'static str,
    /// Asks for its version.
    ask: &'static [&'static str],
    /// Arguments of `cargo install`.
    install: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// A folder that its build looks for programs in first.
    programs: Option<&'static str>,
    takes: &'static str,
}

const fn package(name: &'static str, proof: &'static str) -> Package {
    Package { name, proof }
}

/// Its programs; nothing of it is started.
const SYSTEMD: Package = package("systemd", "systemd-analyze");
const AGENT_DEMO: &[Package] =
    &[package("keepalived", "keepalived"), package("iproute2", "ip"), package("nftables", "nft")];
const TESTS: &[Package] = &[
    package("keepalived", "keepalived"),
    package("iproute2", "ip"),
    package("nftables", "nft"),
    package("curl", "curl"),
    package("conntrackd", "conntrackd"),
    package("util-linux", "setpriv"),
    package("prometheus", "promtool"),
    SYSTEMD,
];
const FUZZ: &[Package] = &[package("g++", "g++")];
const ORACLE: &[Package] = &[package("mmdebstrap", "mmdebstrap")];
const NEUTRON: &[Package] =
    &[package("python3", "python3"), package("python3-venv", "python3"), package("procps", "ps")];
const EBPF: &[Package] = &[
    package("rustc-web", "/usr/bin/rustc"),
    package("cargo-web", "/usr/bin/cargo"),
    package("rust-web-clippy", "/usr/bin/clippy-driver"),
    package("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none"),
    package("llvm-22", "/usr/lib/llvm-22/bin/llvm-strip"),
    package("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"),
];
const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    ask: &["cargo-deny", "--version"],
    install: &["--locked"],
    environment: &[],
    programs: None,
    takes: "a few minutes",
};
const BPF_LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.13.0",
    ask: &["bpf-linker", "--version"],
    install: &["--locked", "--no-default-features", "--features", "llvm-22"],
    environment: &[("LLVM_SYS_221_PREFIX", "/usr/lib/llvm-22"), ("LIBRARY_PATH", "/usr/lib/llvm-22/lib")],
    programs: Some("/usr/lib/llvm-22/bin"),
    takes: "about a minute",
};

impl Group {
    const ALL: [Self; 8] =
        [Self::AgentDemo, Self::Tests, Self::Neutron, Self::Unit, Self::Lints, Self::Fuzz, Self::Oracle, Self::Ebpf];

    fn packages(self) -> &'static [Package] {
        match self {
            Self::AgentDemo => AGENT_DEMO,
            Self::Tests => TESTS,
            Self::Unit => &[SYSTEMD],
            Self::Neutron => NEUTRON,
            Self::Lints => &[],
            Self::Fuzz => FUZZ,
            Self::Oracle => ORACLE,
            Self::Ebpf => EBPF,
        }
    }

    fn tools(self) -> &'static [Tool] {
        match self {
            Self::AgentDemo | Self::Tests | Self::Neutron | Self::Unit | Self::Fuzz | Self::Oracle => &[],
            Self::Lints => &[CARGO_DENY],
            Self::Ebpf => &[BPF_LINKER],
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::AgentDemo => "demonstration",
            Self::Tests => "end-to-end tests",
            Self::Unit => "unit file",
            Self::Neutron => "end-to-end tests with Neutron",
            Self::Lints => "lints",
            Self::Fuzz => "fuzzing",
            Self::Oracle => "another keepalived",
            Self::Ebpf => "eBPF rebuild",
        }
    }
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let groups = match arguments.groups.as_slice() {
        [] => Group::ALL.as_slice(),
        some => some,
    };
    ensure(groups)?;
    say("setup: everything is there");
    Ok(ExitCode::SUCCESS)
}

/// Installs what these groups lack; says what before it does.
///
/// # Errors
/// When something is missing and cannot be installed: no root, not a Debian, no network.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    install_packages(groups)?;
    if groups.contains(&Group::Lints) {
        install_components()?;
    }
    if groups.contains(&Group::Neutron) {
        neutron::ensure()?;
    }
    for tool in groups.iter().flat_map(|group| group.tools()) {
        install_tool(tool)?;
    }
    Ok(())
}

fn install_packages(groups: &[Group]) -> Result<()> {
    let missing = missing_packages(groups)?;
    if missing.is_empty() {
        return Ok(());
    }
    let purposes: Vec<&str> = groups
        .iter()
        .filter(|group| group.packages().iter().any(|package| missing.contains(package.name)))
        .map(|group| group.purpose())
        .collect();
    let mut names: Vec<&str> = missing.into_iter().collect();
    names.sort_unstable();
    let what = format!("installing {}", names.join(" "));
    if !on_path("apt-get") {
        bail!(
            "missing for {}: {}. This machine has no apt-get: install what corresponds to these \
             Debian packages, then start again",
            purposes.join(", "),
            names.join(" ")
        );
    }
    say(&format!("setup: {what} (Debian packages, for: {})", purposes.join(", ")));
    if names.contains(&"keepalived") {
        say("setup: the keepalived package's service is not started");
    }
    let status = Privilege::detect()
        .command("sh", &what)?
        .args(["-eu", "-c", APT_INSTALL, "apt-install"])
        .args(&names)
        .stdin(Stdio::null())
        .status()
        .context("starting sh")?;
    if !status.success() {
        bail!("apt-get could not install {} ({status}): its words are above", names.join(" "));
    }
    Ok(())
}

/// Fresh package lists, then the packages given as arguments. While that runs, policy-rc.d keeps
/// packages from starting services; a policy that is already there is left alone.
const APT_INSTALL: &str = r#"
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
apt-get update -qq
apt-get install -qq -y --no-install-recommends "$@" > /dev/null
"#;

/// Names of the packages that are not installed. Where dpkg does not rule, the programs decide.
fn missing_packages(groups: &[Group]) -> Result<HashSet<&'static str>> {
    let packages = groups.iter().flat_map(|group| group.packages());
    if !on_path("dpkg-query") {
        return Ok(packages.filter(|package| !proven(package.proof)).map(|package| package.name).collect());
    }
    let names: HashSet<&'static str> = packages.map(|package| package.name).collect();
    // Exits 1 when it does not know a name: what it prints decides.
    let answer = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(&names)
        .stderr(Stdio::null())
        .output()
        .context("asking dpkg-query")?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let installed: HashSet<&str> = text.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(names.into_iter().filter(|name| !installed.contains(name)).collect())
}

fn proven(proof: &str) -> bool {
    if proof.starts_with('/') { Path::new(proof).exists() } else { on_path(proof) }
}

/// rustfmt and clippy, which rustup's minimal profile leaves out.
fn install_components() -> Result<()> {
    let missing: Vec<&str> = [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")]
        .into_iter()
        .filter(|(_, program)| !answers(&[program, "--version"], ""))
        .map(|(component, _)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !on_path("rustup") {
        bail!(
            "missing for lints: {}. They belong to the Rust toolchain: install them the way it \
             was installed",
            missing.join(" ")
        );
    }
    say(&format!("setup: adding {} to the Rust toolchain (for: lints)", missing.join(" ")));
    let status =
        Command::new("rustup").args(["component", "add"]).args(&missing).status().context("starting rustup")?;
    if !status.success() {
        bail!("rustup could not add {} ({status}): its words are above", missing.join(" "));
    }
    Ok(())
}

fn install_tool(tool: &Tool) -> Result<()> {
    if answers(tool.ask, tool.version) {
        return Ok(());
    }
    say(&format!("setup: building {} {} with cargo install ({})", tool.name, tool.version, tool.takes));
    let status = Command::new(cargo())
        .args(["install", "--quiet", "--force", tool.name, "--version", tool.version])
        .args(tool.install)
        .envs(tool.environment.iter().copied())
        .env("PATH", path_with(tool.programs)?)
        .status()
        .context("starting cargo install")?;
    if !status.success() {
        bail!("cargo install {} {} failed ({status}): its words are above", tool.name, tool.version);
    }
    Ok(())
}

/// PATH with a folder before it.
fn path_with(first: Option<&str>) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = first.map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a PATH without odd characters")
}

/// Whether a program, from PATH or where cargo installs, runs and says `version`.
fn answers(command: &[&str], version: &str) -> bool {
    let [program, arguments @ ..] = command else {
        return false;
    };
    let installed = cargo_bin().join(program);
    let program = if installed.is_file() { installed.as_path() } else { Path::new(program) };
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|answer| answer.status.success() && String::from_utf8_lossy(&answer.stdout).contains(version))
}

/// Where `cargo install` puts programs.
pub(crate) fn cargo_bin() -> PathBuf {
    let home = std::env::var_os("CARGO_INSTALL_ROOT")
        .or_else(|| std::env::var_os("CARGO_HOME"))
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.unwrap_or_else(|| PathBuf::from("/root/.cargo")).join("bin")
}
