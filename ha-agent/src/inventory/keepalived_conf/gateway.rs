//! The gateway devices that Neutron names in `virtual_ipaddress_excluded` and `virtual_routes`.

use std::path::Path;

use super::keywords::{INSTANCE, Process};
use super::statements::Statement;
use super::walk::{Met, Next, walk};
use super::{ConfError, Effect, OneText, default_config_id, lines};
use crate::advert_rules::Release;

/// What the names of Neutron's gateway devices begin with (`EXTERNAL_DEV_PREFIX`).
const PREFIX: &str = "qg-";

/// A gateway device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name, at most 15 bytes.
    pub device: String,
    /// Whether an IPv6 default route of the router goes through it: its network has an IPv6 gateway (or
    /// the L3 agent's `ipv6_gateway` is set), so none is to be learnt from router advertisements.
    pub ipv6_route: bool,
}

/// The gateway devices of a text, in its order; none is no error. Includes are not followed.
///
/// # Errors
/// As [`parse`](super::parse).
pub fn gateways(text: &str, file: &str) -> Result<Vec<Gateway>, ConfError> {
    let mut gateways = Vec::new();
    let lines = lines::split(Path::new(file), &default_config_id(), Release::default(), &mut OneText(text));
    let each = &mut |path: &[&'static str], met: &Met<'_>| {
        if let (Met::Value { block: "virtual_ipaddress_excluded" | "virtual_routes", line }, [INSTANCE]) = (met, path) {
            note(line, &mut gateways);
        }
        Next::On
    };
    walk(&lines.lines, Process::Vrrp, each, &mut |_| {});
    let first = lines.troubles.into_iter().find(|trouble| trouble.effect != Effect::Assumed);
    first.map_or(Ok(gateways), |trouble| Err(trouble.error))
}

/// An address or a route with its device.
fn note(line: &Statement, gateways: &mut Vec<Gateway>) {
    let mut words = line.words.iter().skip_while(|word| *word != "dev").skip(1);
    let Some(device) = words.next().filter(|device| device.starts_with(PREFIX) && device.len() <= 15) else { return };
    if device.contains('/') {
        return;
    }
    let ipv6_route = line.keyword() == "::/0";
    match gateways.iter_mut().find(|gateway| gateway.device == *device) {
        Some(gateway) => gateway.ipv6_route |= ipv6_route,
        None => gateways.push(Gateway { device: device.clone(), ipv6_route }),
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
