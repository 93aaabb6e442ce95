//! What `neutron-keepalived-state-change` says of its router: `PUT /v1/routers/{id}` on the admin
//! socket. Pure: bytes → a validated [`Registration`].
//!
//! ```json
//! {"namespace": "qrouter-2f0c…", "interface": "ha-1b2c3d4e-5f", "cidr": "169.254.0.1/24",
//!  "conf_dir": "/var/lib/neutron/ha_confs/2f0c…", "enable_conntrackd": false,
//!  "user": "42435", "group": "42435", "pid": 4711, "daemon": true}
//! ```
//!
//! | field | is | absent |
//! |---|---|---|
//! | `namespace` | a name under `/run/netns`, at most 255 bytes | refused |
//! | `interface` | the HA interface, at most 15 bytes | refused |
//! | `cidr` | the primary VIP with its prefix length | refused |
//! | `conf_dir` | the router's folder, directly below `neutron.l3_agent_ha_confs_path` | refused |
//! | `enable_conntrackd` | whether conntrackd is to follow the router's state | false |
//! | `user`, `group` | whose the state file is, a name or a number | nobody in particular |
//! | `pid` | the process that registers, as it sees itself | unknown |
//! | `daemon` | whether the release expects a daemon (28 and before) | false |
//!
//! Fields that are not in the table are ignored: the one that registers may be newer than the agent.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use crate::config::Netns;
use crate::core::model::RouterId;

/// Where namespaces have their names.
const NETNS: &str = "/run/netns";
/// A body has no more, bytes.
pub const MAX_BYTES: usize = 4096;

/// A router's monitor has been replaced by a process that only registers. What that monitor would
/// have known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The router.
    pub router: RouterId,
    /// Its namespace's name, without `/run/netns/`.
    pub namespace: String,
    /// HA interface.
    pub interface: String,
    /// Primary VIP.
    pub vip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// Where the monitor kept the file `state`, as the L3 agent sees it: absolute, directly below
    /// `neutron.l3_agent_ha_confs_path`, its last part the router's id.
    pub conf_dir: PathBuf,
    /// Whether the monitor synchronised conntrackd.
    pub conntrackd: bool,
    /// The L3 agent's user, a name or a uid.
    pub user: Option<String>,
    /// The L3 agent's group, a name or a gid.
    pub group: Option<String>,
    /// The pid that it gives itself; in a container not the one that this node sees.
    pub pid: Option<u32>,
    /// Started as a daemon: Neutron 28 or before.
    pub daemon: bool,
}

/// Why a registration is refused. What was sent is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Not JSON, or no object.
    #[error("expected a JSON object with namespace, interface, cidr and conf_dir")]
    Shape,
    /// One field is missing or wrong.
    #[error("{field}: expected {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// The agent looks for routers elsewhere.
    #[error(
        "conf_dir: expected the router's own folder directly below {}: set neutron.state_path (or neutron.ha_confs_path) to the L3 agent's; where that runs in a container and sees it elsewhere, set neutron.l3_agent_ha_confs_path",
        .0.display()
    )]
    Elsewhere(PathBuf),
}

impl Registration {
    /// Its namespace's file.
    pub fn netns(&self) -> Netns {
        Netns::Path(Path::new(NETNS).join(&self.namespace))
    }

    /// Reads a body for this router, where the L3 agent keeps its routers' folders in `ha_confs_path`.
    ///
    /// # Errors
    /// The first field that is missing or wrong, or that the folder is elsewhere.
    pub fn parse(router: RouterId, body: &[u8], ha_confs_path: &Path) -> Result<Self, RegistrationError> {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return Err(RegistrationError::Shape) };
        let fields = Fields(&body);
        let namespace = fields.required("namespace", "a namespace's name, at most 255 bytes", is_namespace)?;
        let interface = fields.required("interface", "an interface's name, at most 15 bytes", is_interface)?;
        let a_cidr = "an address with its prefix length, such as 169.254.0.1/24";
        let (vip, prefix) = cidr(&fields.required("cidr", a_cidr, |text| cidr(text).is_some())?)
            .ok_or(RegistrationError::Field { field: "cidr", expected: a_cidr })?;
        let a_path = "an absolute path without \"..\"";
        let conf_dir = PathBuf::from(fields.required("conf_dir", a_path, is_path)?);
        let named_after = conf_dir.file_name().and_then(|name| name.to_str()?.parse().ok());
        if conf_dir.parent() != Some(ha_confs_path) || named_after != Some(router) {
            return Err(RegistrationError::Elsewhere(ha_confs_path.to_owned()));
        }
        Ok(Self {
            router,
            namespace,
            interface,
            vip,
            prefix,
            conf_dir,
            conntrackd: fields.flag("enable_conntrackd")?,
            user: fields.optional("user", "a user's name or uid", is_account)?,
            group: fields.optional("group", "a group's name or gid", is_account)?,
            pid: fields.pid()?,
            daemon: fields.flag("daemon")?,
        })
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn optional(
        &self,
        field: &'static str,
        expected: &'static str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, RegistrationError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if fits(text) => Ok(Some(text.clone())),
            Some(_) => Err(RegistrationError::Field { field, expected }),
        }
    }

    fn required(
        &self,
        field: &'static str,
        expected: &'static str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<String, RegistrationError> {
        self.optional(field, expected, fits)?.ok_or(RegistrationError::Field { field, expected })
    }

    fn flag(&self, field: &'static str) -> Result<bool, RegistrationError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(RegistrationError::Field { field, expected: "true or false" }),
        }
    }

    fn pid(&self) -> Result<Option<u32>, RegistrationError> {
        match self.0.get("pid") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|pid| u32::try_from(pid).ok()) {
                Some(pid) if pid > 0 => Ok(Some(pid)),
                _ => Err(RegistrationError::Field { field: "pid", expected: "a process id" }),
            },
        }
    }
}

/// One part of a path, and nothing that could change a line of log.
fn is_name(text: &str, longest: usize) -> bool {
    let odd = |c: char| c == '/' || c.is_control() || c.is_whitespace();
    !text.is_empty() && text.len() <= longest && text != "." && text != ".." && !text.contains(odd)
}

fn is_namespace(text: &str) -> bool {
    is_name(text, 255)
}

/// As the configuration takes it; `IFNAMSIZ` with its final zero is 16.
fn is_interface(text: &str) -> bool {
    is_name(text, 15) && !text.contains(':')
}

fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    text.len() < 4096 && !text.contains(char::is_control) && path.is_absolute() && path.components().all(plain)
}

fn is_account(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '$');
    (1..=32).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-')
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok().filter(|_| prefix.bytes().all(|b| b.is_ascii_digit()))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= most && !address.is_unspecified() && !address.is_multicast()).then_some((address, prefix))
}

#[cfg(test)]
#[path = "registration_tests.rs"]
mod tests;
