//! The operator's programs, and what they are told.

use std::process::Stdio;

use super::child::Program;
use super::plan::{Change, HookCall};
use crate::config::{Hook, Netns, Router};
use crate::paths::{PathsError, guard};

/// What a hook finds programs in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that a hook is told.
///
/// | variable | holds |
/// |---|---|
/// | `HA_AGENT_ROUTER_ID` | UUID |
/// | `HA_AGENT_STATE` | `primary`, `backup` or `fault` |
/// | `HA_AGENT_PREVIOUS` | the state before; empty when this is the first |
/// | `HA_AGENT_BASIS` | `report+vip+wire` and the like |
/// | `HA_AGENT_NETNS` | path of the router's namespace; empty for the agent's own |
/// | `HA_AGENT_INTERFACE` | HA interface |
/// | `HA_AGENT_VIP` | primary VIP in CIDR form |
/// | `HA_AGENT_VRID` | virtual router identifier |
/// | `HA_AGENT_SEQUENCE` | the state's number at the receiver; rises per router |
/// | `PATH` | the usual folders |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// For this router's new state.
    pub fn new(router: &Router, change: &Change) -> Self {
        Self(vec![
            ("HA_AGENT_ROUTER_ID", router.id.to_string()),
            ("HA_AGENT_STATE", change.state.as_str().to_owned()),
            ("HA_AGENT_PREVIOUS", change.previous.map_or(String::new(), |state| state.as_str().to_owned())),
            ("HA_AGENT_BASIS", change.basis.to_string()),
            (
                "HA_AGENT_NETNS",
                match &router.netns {
                    Netns::Own => String::new(),
                    Netns::Path(path) => path.display().to_string(),
                },
            ),
            ("HA_AGENT_INTERFACE", router.interface.clone()),
            ("HA_AGENT_VIP", format!("{}/{}", router.vip, router.prefix)),
            ("HA_AGENT_VRID", router.vrid.to_string()),
            ("HA_AGENT_SEQUENCE", change.sequence.to_string()),
            ("PATH", PATH.to_owned()),
        ])
    }
}

/// What is to be executed, examined once more.
///
/// # Errors
/// [`PathsError`].
pub(super) fn program(call: &HookCall) -> Result<Program, PathsError> {
    let Hook { program, arguments } = &call.hook;
    Ok(Program {
        path: guard::program(program)?,
        arguments: arguments.iter().map(Into::into).collect(),
        environment: call.environment.0.clone(),
        input: Stdio::null(),
    })
}

#[cfg(test)]
mod tests;
