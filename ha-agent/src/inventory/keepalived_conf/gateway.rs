//! The gateway devices that Neutron names in `virtual_ipaddress_excluded` and `virtual_routes`.

use std::path::Path;

use super::statements::{Reader, Statement};
use super::{ConfError, OneText, default_config_id, lines, refuse_unseen};

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
    let mut first = Ok(());
    let mut reader = Reader::new(lines::split(Path::new(file), &default_config_id(), &mut OneText(text)));
    reader.top(|reader, statement| {
        let read = refuse_unseen(statement).and_then(|()| match statement.keyword() {
            "vrrp_instance" => instance(reader, statement, &mut gateways),
            _ => Ok(()),
        });
        first = std::mem::replace(&mut first, Ok(())).and(read);
    });
    first.and(reader.faults().into_iter().next().map_or(Ok(gateways), Err))
}

fn instance(reader: &mut Reader, head: &Statement, gateways: &mut Vec<Gateway>) -> Result<(), ConfError> {
    reader.block(head, |reader, statement| match statement.keyword() {
        "virtual_ipaddress_excluded" | "virtual_routes" => reader.block(statement, |_, line| {
            note(line, gateways);
            Ok(())
        }),
        _ => refuse_unseen(statement),
    })
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
