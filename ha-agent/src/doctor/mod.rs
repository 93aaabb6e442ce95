//! What this machine lacks, and what degrades because of it.
//!
//! Looks only: changes nothing, needs no running agent. `judge` turns facts into findings and is
//! pure; `facts` gathers them.

mod facts;
mod judge;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

use crate::config::{self, Config};
use crate::trust::Trust;

/// A trial load of the classifier: what was loaded, or what the kernel said.
pub type WireProbe = fn() -> Result<String, String>;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// The judgement.
    pub result: Outcome,
    /// What is there.
    pub found: String,
    /// What degrades because of it; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// Something works less well, or may be meant so.
    Warn,
    /// Something of the agent's job does not work.
    Fail,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, result: Outcome::Ok, found: found.into(), means: None, remedy: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, means: &str, remedy: &str) -> Self {
        Self {
            name,
            result: Outcome::Warn,
            found: found.into(),
            means: Some(means.to_owned()),
            remedy: Some(remedy.to_owned()),
        }
    }

    fn fail(name: &'static str, found: impl Into<String>, means: &str, remedy: &str) -> Self {
        Self { result: Outcome::Fail, ..Self::warn(name, found, means, remedy) }
    }
}

/// All checks, for this many routers.
pub fn examine(path: Option<&Path>, routers: u64, wire_probe: Option<WireProbe>) -> Vec<Finding> {
    let loaded = config::load(path);
    let mut findings = vec![judge::configuration(path.unwrap_or(Path::new(config::DEFAULT_PATH)), &loaded)];
    let config = loaded
        .or_else(|_| config::as_client(path).map(|(config, _)| config.with_release()))
        .unwrap_or_else(|_| Config::default().with_release());
    findings.push(judge::capabilities(facts::effective_capabilities()));
    findings.push(judge::confinement(&crate::privilege::facts::gather()));
    findings.extend(judge::kernel(&facts::kernel_release()));
    findings.push(judge::bpf(&facts::bpf()));
    if let Some(probe) = wire_probe {
        findings.push(judge::classifier(probe()));
    }
    findings.push(judge::all_namespaces(&facts::listens_to_all_namespaces()));
    let (soft, hard) = facts::descriptors();
    findings.push(judge::descriptors(soft, hard, routers));
    findings.push(judge::directory(
        "runtime directory",
        &config.runtime_dir,
        &facts::directory(&config.runtime_dir),
        "the sockets and the lock cannot be made there",
    ));
    findings.push(judge::directory(
        "state directory",
        &config.state_dir,
        &facts::directory(&config.state_dir),
        "confirmed states are kept in memory only and do not outlive the agent",
    ));
    let neutron = facts::neutron(&config.neutron.state_path);
    findings.push(judge::l3_agent(&config.delivery.socket, facts::socket(&config.delivery.socket), neutron));
    let plain = facts::plain(&config.keepalived);
    findings.push(judge::routers(
        config.routers.len(),
        plain.instances,
        &config.neutron.ha_confs_path,
        facts::count(&config.neutron.ha_confs_path),
    ));
    findings.extend(judge::plain_configuration(&plain.troubles));
    findings.push(judge::keepalived(facts::keepalived()));
    findings.push(judge::release(&config.keepalived.installed));
    findings.extend(judge::trust(&Trust::of(&config, path), neutron));
    findings.push(judge::running(&config.admin.socket, facts::answers(&config.admin.socket)));
    findings
}
