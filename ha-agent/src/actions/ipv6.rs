//! IPv6 on a transition, as Neutron's L3 agent sets it (29.0.0: `AgentMixin._configure_ipv6_params`,
//! `RouterInfo._configure_ipv6_params_on_gw`), so that an IPv6 failover does not wait for it.
//!
//! | setting | primary | else |
//! |---|---|---|
//! | `all.forwarding` | 1 | left alone: the kernel would send MLD reports for all that changes |
//! | gateway's `accept_ra` | 2, with an IPv6 default route of its own 0 | 0 |
//! | gateway's `forwarding` | 1 | 0 |

use std::io;
use std::path::{Path, PathBuf};

use crate::inventory::keepalived_conf::Gateway;

/// Where the opening thread's namespace is seen.
const SETTINGS: &str = "/proc/sys/net/ipv6/conf";

/// One value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// `all` or an interface.
    pub(super) device: String,
    /// The file's name.
    pub(super) name: &'static str,
    /// What it is to hold.
    pub(super) value: &'static str,
}

/// Why a setting could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot set {} to {value}: {source}", path.display())]
pub(super) struct SettingError {
    path: PathBuf,
    value: &'static str,
    source: io::Error,
}

/// What the table says, in Neutron's order. Pure.
pub(super) fn settings(primary: bool, gateways: &[Gateway]) -> Vec<Setting> {
    let setting = |device: &str, name, value| Setting { device: device.to_owned(), name, value };
    let on = if primary { "1" } else { "0" };
    let mut settings = Vec::new();
    if primary {
        settings.push(setting("all", "forwarding", "1"));
    }
    for gateway in gateways {
        let accept = if primary && !gateway.ipv6_route { "2" } else { "0" };
        settings.push(setting(&gateway.device, "accept_ra", accept));
        settings.push(setting(&gateway.device, "forwarding", on));
    }
    settings
}

/// Whether the node has IPv6 at all: Neutron's own question, asked outside of the router's namespace.
pub(super) fn is_enabled() -> bool {
    std::fs::read_to_string(Path::new(SETTINGS).join("default/disable_ipv6")).is_ok_and(|text| text.trim() == "0")
}

/// Writes them in the calling thread's namespace. A gateway whose device is not there (yet, or any
/// more) is passed over.
///
/// # Errors
/// The first one that could not be written; the others are written all the same.
pub(super) fn apply(settings: &[Setting]) -> Result<(), SettingError> {
    let mut first = Ok(());
    for Setting { device, name, value } in settings {
        let folder = Path::new(SETTINGS).join(device);
        if device != "all" && !folder.exists() {
            continue;
        }
        let path = folder.join(name);
        if let Err(source) = std::fs::write(&path, value)
            && first.is_ok()
        {
            first = Err(SettingError { path, value, source });
        }
    }
    first
}

#[cfg(test)]
#[path = "ipv6_tests.rs"]
mod tests;
