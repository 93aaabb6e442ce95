//! SIGHUP: the configuration read again, and what takes it over while running.

use tracing::{error, info, warn};

use super::Agent;
use super::driver::Command;

use crate::config::{self, Config};
use crate::status::Degraded;
use crate::telemetry::event::Event;
use crate::trust;

/// The channel that events and `status` name when others could change what the agent trusts, ...
const TRUST: &str = "trust";
/// ... and when the configuration cannot be read.
const CONFIGURATION: &str = "configuration";

impl Agent {
    /// Reads the configuration again: validated first, kept as it was on error.
    pub(super) async fn reload(&mut self, path: Option<&std::path::Path>) {
        self.telemetry.reopen();
        let new = match config::load(path) {
            Ok(new) => new,
            Err(error) => {
                error!("configuration kept as it was:\n{error}");
                let problems = error.to_string().replace('\n', "; ");
                self.stands(
                    CONFIGURATION,
                    Some(format!("the reload is refused, what was read before holds: {problems}")),
                );
                return;
            }
        };
        for (what, changed) in [
            ("mode", new.mode != self.config.mode),
            (
                "runtime_dir or state_dir",
                (&new.runtime_dir, &new.state_dir) != (&self.config.runtime_dir, &self.config.state_dir),
            ),
            ("events.sinks", new.sinks != self.config.sinks),
            ("[admin]", new.admin != self.config.admin),
            ("intake.notify_fifos", new.intake.notify_fifos != self.config.intake.notify_fifos),
            (
                "neutron.l3_agent_ha_confs_path",
                new.neutron.l3_agent_ha_confs_path != self.config.neutron.l3_agent_ha_confs_path,
            ),
            ("neutron.ha_confs_path", new.neutron.ha_confs_path != self.config.neutron.ha_confs_path),
            ("keepalived.configs, config_id or netns", !new.keepalived.finds_the_same(&self.config.keepalived)),
            ("neutron.release", new.neutron.release != self.config.neutron.release),
        ] {
            if changed {
                warn!("{what} changed: takes effect when ha-agent is restarted");
            }
        }
        if !self.check_trust(&new, path) {
            return;
        }
        self.intake.reload(&new.intake);
        self.fifo.reload(&new.intake);
        self.delivery.reload(&new.delivery);
        self.actions.reload(&new.actions);
        let release = new.keepalived.installed.release;
        self.releases.send_if_modified(|known| std::mem::replace(known, release) != release);
        let command = Command::Reconfigure { routers: new.routers.clone(), corroboration: new.corroboration };
        if self.commands.send(command).await.is_err() {
            error!("the driver has ended");
        }
        self.config = new;
        info!("configuration read again");
    }

    /// Whether the agent would start with it: its hooks can be run, and nobody else could change what it trusts.
    fn check_trust(&self, new: &Config, path: Option<&std::path::Path>) -> bool {
        let missing = trust::missing(new);
        if !missing.is_empty() {
            error!("configuration kept as it was:\n{}", missing.join("\n"));
        }
        let refused = |why: &[String]| (!why.is_empty()).then(|| format!("the reload is refused: {}", why.join("; ")));
        self.stands(CONFIGURATION, refused(&missing));
        let openings = trust::openings(new, path, trust::When::Reload(&self.config));
        if !openings.is_empty() {
            error!("configuration kept as it was, others could change what the agent trusts:\n{}", openings.join("\n"));
        }
        self.stands(TRUST, refused(&openings));
        missing.is_empty() && openings.is_empty()
    }

    /// How a channel of the whole node stands: the event stream and `status` say so when it is degraded, until a later
    /// reload finds it in order.
    fn stands(&self, channel: &str, reason: Option<String>) {
        let mut inner = self.shared.lock();
        let before = inner.degraded.len();
        inner.degraded.retain(|degraded| degraded.channel != channel);
        let restored = inner.degraded.len() < before;
        let channel = channel.to_owned();
        if let Some(reason) = reason {
            inner.degraded.push(Degraded { channel: channel.clone(), reason: reason.clone() });
            drop(inner);
            self.events.emit(Event::ChannelDegraded { channel, reason, router_id: None });
        } else if restored {
            drop(inner);
            self.events.emit(Event::ChannelRestored { channel, router_id: None });
        }
    }
}
