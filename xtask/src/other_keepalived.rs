//! Another keepalived than this machine's: in a root folder of its Debian release, under target/oracle.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::privilege::Privilege;
use crate::setup::{self, Group};
use crate::workspace::{say, target};

/// A release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keepalived {
    /// Debian 11's
    #[value(name = "2.1.5")]
    Bullseye,
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
            Self::Bullseye => "2.1.5",
            Self::Bookworm => "2.2.7",
            Self::Trixie => "2.3.3",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// The root folder of a release, made if it is not there; none where this machine's is the one.
pub(crate) fn root(release: Option<Keepalived>, privilege: Privilege) -> Result<Option<PathBuf>> {
    match release {
        Some(release) if version(privilege, None)? != release.version() => root_of(release, privilege).map(Some),
        _ => Ok(None),
    }
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
