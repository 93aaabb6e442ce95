//! `cargo xtask oracle`: asks a real keepalived what generated frames are to it, and holds the agent's judgement of
//! the same frames to its answers. Another keepalived than this machine's comes with a root folder of its Debian
//! release.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{cargo, root, say, say_error, target};

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

/// A release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Keepalived {
    /// Debian 12's
    #[value(name = "2.2.7")]
    Bookworm,
    /// Debian 13's
    #[value(name = "2.3.3")]
    Trixie,
}

impl Keepalived {
    fn version(self) -> &'static str {
        match self {
            Self::Bookworm => "2.2.7",
            Self::Trixie => "2.3.3",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    privilege.prefix("cargo xtask oracle (namespaces, keepalived, eBPF)")?;
    setup::ensure(&[Group::AgentDemo])?;
    let folder = match arguments.keepalived {
        Some(release) if version(privilege, None)? != release.version() => Some(root_of(release, privilege)?),
        _ => None,
    };

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

/// A root folder with the release's keepalived, made if it is not there.
fn root_of(release: Keepalived, privilege: Privilege) -> Result<PathBuf> {
    let folder = target().join("oracle").join(release.suite());
    if !folder.exists() {
        setup::ensure(&[Group::Oracle])?;
        say(&format!("setup: a root folder of Debian {} with keepalived (about a minute)", release.suite()));
        let begun = folder.with_extension("begun");
        let parent = folder.parent().context("a folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        // `mmdebstrap` removes what it does not finish; only what is whole gets the name.
        let script = r#"rm -rf "$2"; mmdebstrap --quiet --variant=apt --include=keepalived "$1" "$2"; mv "$2" "$3""#;
        let status = privilege
            .command("sh", "a root folder of another Debian")?
            .args(["-euc", script, "sh", release.suite()])
            .args([&begun, &folder])
            .status()
            .context("starting mmdebstrap")?;
        if !status.success() {
            bail!("no root folder of Debian {} ({status}): mmdebstrap's words are above", release.suite());
        }
    }
    let there = version(privilege, Some(&folder))?;
    if there != release.version() {
        say(&format!("Debian {} has keepalived {there}, not {}", release.suite(), release.version()));
    }
    Ok(folder)
}

/// What a keepalived calls itself.
fn version(privilege: Privilege, folder: Option<&PathBuf>) -> Result<String> {
    let mut command = match folder {
        None => Command::new("keepalived"),
        Some(folder) => {
            let mut command = privilege.command("chroot", "keepalived's version")?;
            command.arg(folder).arg("/usr/sbin/keepalived");
            command
        }
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let answer = command
        .arg("--version")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .context("asking keepalived for its version")?;
    let text = String::from_utf8_lossy(&answer.stderr);
    let version = text.split_once("Keepalived v").and_then(|(_, rest)| rest.split_whitespace().next());
    version.map(str::to_owned).with_context(|| format!("no version in what keepalived says: {text}"))
}
