//! A router's place and its new state → what is to be done. Pure.
//!
//! | | primary | backup | fault, unknown | when |
//! |---|---|---|---|---|
//! | state file | the word | the word | the word | registered |
//! | IPv6 | on | off | off | Neutron's router, `ipv6`, `enforce` |
//! | conntrackd | `-c -f -R -B` | `-t -n` | nothing | registered with conntrackd, a change |
//! | hook | `on_primary` | `on_backup` | `on_fault` | a change, `enforce` |
//!
//! A first verdict that only confirms what was known before a restart is no change.

use std::path::PathBuf;

use super::hook::Environment;
use crate::config::{Actions as Settings, Hook, Mode, Netns, Router};
use crate::core::model::{Basis, State};

/// What is known of a router besides its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it lives.
    pub router: Router,
    /// Its folder below `neutron.ha_confs_path`, where it is one of Neutron's.
    pub folder: Option<PathBuf>,
    /// Set while a stand-in for its monitor is registered. Without one its real monitor may be there,
    /// whose files and conntrackd are then left alone.
    pub registered: Option<Registered>,
}

/// What a registration says about actions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Whether conntrackd follows the router's state.
    pub conntrackd: bool,
    /// The L3 agent's user, a name or a uid.
    pub user: Option<String>,
    /// The L3 agent's group, a name or a gid.
    pub group: Option<String>,
}

/// A confirmed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The state.
    pub state: State,
    /// The one before; the same where a first verdict after a restart found nothing new.
    pub previous: Option<State>,
    /// On whose word.
    pub basis: Basis,
    /// Its number at the receiver; 0 where nothing is delivered.
    pub sequence: u64,
}

impl Change {
    /// Whether the router was something else before, or not known.
    pub(super) fn is_news(&self) -> bool {
        self.previous != Some(self.state)
    }
}

/// What holds for all routers.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// `[actions]`.
    pub settings: &'a Settings,
    /// Whether verdicts decide.
    pub mode: Mode,
    /// Neutron's release.
    pub release: u32,
}

/// What is to be done; each of the three in its own lane, in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The word for the file `state`.
    pub state_file: Option<StateFile>,
    /// IPv6 as the L3 agent sets it.
    pub ipv6: Option<Ipv6>,
    /// conntrackd's options, one call each.
    pub conntrackd: Option<Conntrackd>,
    /// The operator's program.
    pub hook: Option<HookCall>,
}

/// The file `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// The router's folder.
    pub folder: PathBuf,
    /// What it says.
    pub word: &'static str,
    /// Who must be able to write it.
    pub owner: Registered,
}

/// Forwarding and router advertisements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Where keepalived.conf names the gateway device.
    pub folder: PathBuf,
    /// The router's namespace, never the agent's own.
    pub netns: Netns,
    /// Whether the router is primary.
    pub primary: bool,
}

/// Calls of conntrackd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conntrackd {
    /// Where conntrackd.conf is.
    pub folder: PathBuf,
    /// The router's namespace.
    pub netns: Netns,
    /// One call each, in order.
    pub options: &'static [&'static str],
}

/// An operator's hook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookCall {
    /// Program and arguments.
    pub hook: Hook,
    /// What it is told.
    pub environment: Environment,
}

/// See the module.
pub fn plan(place: &Place, change: &Change, rules: &Rules<'_>) -> Plan {
    let decides = rules.mode == Mode::Enforce;
    let registered = place.folder.as_ref().zip(place.registered.as_ref());
    Plan {
        state_file: registered.map(|(folder, owner)| StateFile {
            folder: folder.clone(),
            word: crate::delivery::neutron::word(change.state, rules.release),
            owner: owner.clone(),
        }),
        ipv6: place.folder.as_ref().filter(|_| decides && rules.settings.ipv6 && place.router.netns != Netns::Own).map(
            |folder| Ipv6 {
                folder: folder.clone(),
                netns: place.router.netns.clone(),
                primary: change.state == State::Primary,
            },
        ),
        conntrackd: registered
            .filter(|(_, registered)| registered.conntrackd && change.is_news())
            .map(|(folder, _)| Conntrackd {
                folder: folder.clone(),
                netns: place.router.netns.clone(),
                options: conntrackd(change.state),
            })
            .filter(|conntrackd| !conntrackd.options.is_empty()),
        hook: hook(change.state, rules.settings)
            .filter(|_| decides && change.is_news())
            .map(|hook| HookCall { hook: hook.clone(), environment: Environment::new(&place.router, change) }),
    }
}

/// Neutron: commit, flush, resynchronise, send to all; or shorten timers, ask for all.
fn conntrackd(state: State) -> &'static [&'static str] {
    match state {
        State::Primary => &["-c", "-f", "-R", "-B"],
        State::Backup => &["-t", "-n"],
        State::Fault | State::Unknown => &[],
    }
}

fn hook(state: State, settings: &Settings) -> Option<&Hook> {
    match state {
        State::Primary => settings.on_primary.as_ref(),
        State::Backup => settings.on_backup.as_ref(),
        State::Fault => settings.on_fault.as_ref(),
        State::Unknown => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
