//! What an operator is told about a pair, by events, `status` and `explain`, with a real keepalived.

mod addresses;
mod intervals;
mod listeners;
mod observe;
mod passwords;

use anyhow::{Result, ensure};
use ha_agent_tests::lab::Site;
use ha_agent_tests::pair::Scene;

/// The agent reads keepalived's own configuration.
fn found() -> Scene {
    Scene { found: true, ..Scene::default() }
}

/// `ip address` in a site's namespace.
fn address(site: &Site, what: &str, address: &str) -> Result<()> {
    let words = ["-n", &site.netns, "address", what, address, "dev", &site.interface];
    let status = std::process::Command::new("ip").args(words).status()?;
    ensure!(status.success(), "ip {}", words.join(" "));
    Ok(())
}
