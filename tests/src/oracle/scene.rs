//! Where keepalived is asked: a namespace with an interface, whose other end sends frames as they are.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use socket2::Socket;

use super::configuration::{Configuration, Host, MAC};
use super::keepalived::{Keepalived, Release};
use super::sketch::mac;
use crate::command::{ip_in, run_in};
use crate::lab::{Lab, Router, Site};
use crate::{frames, place};

/// A place for one configuration.
#[derive(Debug)]
pub struct Scene {
    /// What keepalived runs with.
    pub configuration: &'static Configuration,
    /// Where it runs.
    pub site: Site,
    /// The file that it reads.
    pub conf: PathBuf,
    release: Release,
    sender: Socket,
}

impl Scene {
    /// Builds it; keepalived is not started.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn new(configuration: &'static Configuration, release: &Release) -> Result<Self> {
        let lab = Lab::new(configuration.name)?;
        let site = lab.site("a", &Router::new(super::configuration::VRID))?;
        ensure!(site.ip() == configuration.address_v4(Host::Own), "the first site has another address");
        // From here the cable goes to us alone, not to a bridge.
        site.cut()?;
        run_in(&lab.fabric(), &["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"])?;
        prepare(&site, configuration)?;
        let folder = lab.node_folder(&site.node)?;
        let conf = folder.join("keepalived.conf");
        std::fs::write(&conf, configuration.conf(&site.interface)?)
            .with_context(|| format!("writing {}", conf.display()))?;
        let sender = place::within(&lab.fabric(), || frames::open(&site.port()))?;
        Ok(Self { configuration, site, conf, release: release.clone(), sender })
    }

    /// Starts keepalived.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub fn start(&self) -> Result<Keepalived> {
        Keepalived::start(&self.release, &self.site, &self.conf)
            .with_context(|| format!("starting keepalived with {}", self.configuration.name))
    }

    /// Takes away what a killed keepalived leaves behind.
    pub fn tidy(&self) {
        // What is not there cannot be deleted.
        if self.configuration.vmac {
            let _ = ip_in(&self.site.netns, &["link", "del", &format!("vrrp.{}", super::configuration::VRID)]);
        }
        for address in self.configuration.addresses() {
            let length = if self.configuration.v6 { 64 } else { 24 };
            let _ =
                ip_in(&self.site.netns, &["addr", "del", &format!("{address}/{length}"), "dev", &self.site.interface]);
        }
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// When the interface does not take it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = self.sender.send(frame).with_context(|| format!("sending {} bytes", frame.len()))?;
        ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }
}

/// Addresses, and what the kernel does with frames.
fn prepare(site: &Site, configuration: &Configuration) -> Result<()> {
    let (netns, interface) = (&site.netns, &site.interface);
    let filter = u8::from(configuration.rp_filter);
    // Incomplete packets go soon, so that they do not keep others out.
    let settings = format!(
        "cd /proc/sys/net; echo 0 > ipv4/conf/all/rp_filter; echo 0 > ipv4/conf/default/rp_filter; \
         echo {filter} > ipv4/conf/{interface}/rp_filter; echo 1 > ipv6/conf/{interface}/addr_gen_mode; \
         echo 0 > ipv6/conf/{interface}/accept_dad; echo 0 > ipv6/conf/default/accept_dad; \
         echo 2 > ipv4/ipfrag_time; echo 2 > ipv6/ip6frag_time"
    );
    run_in(netns, &["sh", "-euc", &settings])?;
    site.set_link("down")?;
    ip_in(netns, &["link", "set", interface, "address", &colons(MAC)])?;
    site.set_link("up")?;
    for address in ["fe80::a/64", "fd77::a/64"] {
        ip_in(netns, &["addr", "add", address, "dev", interface, "nodad"])?;
    }
    if configuration.unicast {
        for peer in [Host::Peer, Host::Keeper] {
            let (to, at) = (configuration.address(peer).to_string(), colons(mac(peer)));
            ip_in(netns, &["neigh", "replace", &to, "lladdr", &at, "dev", interface])?;
        }
    }
    Ok(())
}

fn colons(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
