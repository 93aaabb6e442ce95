//! SIGHUP: the configuration read again, and what takes it over while running.

use tracing::{error, info, warn};

use super::Agent;
use super::driver::Command;

use crate::config::{self, Config};
use crate::status::Degraded;
use crate::telemetry::event::Event;
use crate::trust;

/// The channel that events and `status` name when a reload is refused.
const CHANNEL: &str = "trust";

impl Agent {
    /// Reads the configuration again: validated first, kept as it was on error.
    pub(super) async fn reload(&mut self, path: Option<&std::path::Path>) {
        self.telemetry.reopen();
        let new = match config::load(path) {
            Ok(new) => new,
            Err(error) => {
                error!("configuration kept as it was:\n{error}");
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

    /// Whether nobody else could change what the agent trusts. If somebody could, the event stream and
    /// `status` say so, until a later reload finds it in order.
    fn check_trust(&self, new: &Config, path: Option<&std::path::Path>) -> bool {
        let openings = trust::openings(new, path, trust::When::Reload(&self.config));
        let mut inner = self.shared.lock();
        let before = inner.degraded.len();
        inner.degraded.retain(|degraded| degraded.channel != CHANNEL);
        let restored = inner.degraded.len() < before;
        if openings.is_empty() {
            drop(inner);
            if restored {
                self.events.emit(Event::ChannelRestored { channel: CHANNEL.to_owned(), router_id: None });
            }
            return true;
        }
        error!("configuration kept as it was, others could change what the agent trusts:\n{}", openings.join("\n"));
        let reason = format!("the reload is refused: {}", openings.join("; "));
        inner.degraded.push(Degraded { channel: CHANNEL.to_owned(), reason: reason.clone() });
        drop(inner);
        self.events.emit(Event::ChannelDegraded { channel: CHANNEL.to_owned(), reason, router_id: None });
        false
    }
}
