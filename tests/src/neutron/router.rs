//! A router as Neutron's own code puts it on a node.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use uuid::Uuid;

use super::Release;
use crate::lab::Site;

/// What Neutron's server would have told the L3 agent of a router.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The router's id.
    pub id: Uuid,
    /// Virtual router identifier.
    pub vrid: u8,
    /// The HA interface.
    pub interface: String,
    /// The HA interface's own address.
    pub address: String,
}

impl From<&Site> for Wanted {
    fn from(site: &Site) -> Self {
        let address = site.address.split('/').next().unwrap_or_default().to_owned();
        Self { id: site.router.id, vrid: site.router.vrid, interface: site.interface.clone(), address }
    }
}

/// What the configuration carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The HA interface and the primary VIP: enough for keepalived to run with.
    Bare,
    /// Also addresses and routes, IPv4 and IPv6, on interfaces that are not there, and conntrackd.
    Whole,
}

/// What was written, and how the release would start its monitor.
#[derive(Clone, Debug)]
pub struct Written {
    /// The router.
    pub id: Uuid,
    /// keepalived.conf.
    pub conf: PathBuf,
    /// The primary VIP with its prefix length.
    pub vip: String,
    /// The router's namespace.
    pub namespace: String,
    /// The monitor's command line.
    pub command: Vec<String>,
    /// Where the liveness check looks for the monitor's pid.
    pub pid_file: PathBuf,
}

impl Written {
    /// The same for another router with the same HA interface and VRID, whose folder is made, in a
    /// namespace of any name.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn like(&self, id: Uuid, namespace: &str) -> Result<Self> {
        let (own, its) = (self.id.to_string(), id.to_string());
        let other = |text: &str| text.replace(&self.namespace, namespace).replace(&own, &its);
        let path = |path: &Path| PathBuf::from(other(&path.to_string_lossy()));
        let conf = path(&self.conf);
        let folder = conf.parent().context("a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Self {
            id,
            conf,
            vip: self.vip.clone(),
            namespace: namespace.to_owned(),
            command: self.command.iter().map(|word| other(word)).collect(),
            pid_file: path(&self.pid_file),
        })
    }
}

/// Writes a router's configuration below `state_path/ha_confs`.
///
/// # Errors
/// When the release is not installed, or its code raises.
pub fn write(release: Release, state_path: &Path, router: &Wanted, content: Content) -> Result<Written> {
    let wanted = json!({
        "state_path": state_path, "router_id": router.id, "vrid": router.vrid,
        "interface": router.interface, "address": router.address,
        "whole": content == Content::Whole,
    });
    let mut command = release.script("router.py")?;
    command.arg(wanted.to_string());
    if content == Content::Whole {
        command.arg("conntrackd");
    }
    let answer = command.output().context("starting Neutron's Python")?;
    if !answer.status.success() {
        bail!("Neutron {release} could not write a router:\n{}", String::from_utf8_lossy(&answer.stderr));
    }
    let told: Value = serde_json::from_slice(&answer.stdout).context("what router.py tells")?;
    if told["interface"] != router.interface.as_str() {
        bail!("Neutron {release} calls the HA interface {}, not {}", told["interface"], router.interface);
    }
    let text = |name: &str| told[name].as_str().map(str::to_owned).with_context(|| format!("{name} in {told}"));
    let command = told["command"].as_array().context("a command")?;
    Ok(Written {
        id: router.id,
        conf: text("conf")?.into(),
        vip: text("vip")?,
        namespace: text("namespace")?,
        command: command.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        pid_file: text("pid_file")?.into(),
    })
}
