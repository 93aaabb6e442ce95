//! Records in the core's terms.

use std::net::IpAddr;
use std::time::Duration;

use ha_agent_common::{self as kernel, INGRESS, NO_VLAN, RECORD_FRAME, Record, Speaker};

use super::WireEvent;
use crate::core::model::{Advert, Frame, Mac, Reason, RouterId, Side};
use crate::core::time::Mono;

/// A speaker as the core knows it.
pub(super) fn advert(speaker: &Speaker, family: u8, side: Side) -> Advert {
    Advert {
        side,
        refused: kernel::Reason::from_code(speaker.refused).map(reason),
        source: source(speaker, family),
        mac: mac(speaker),
        vlan: vlan(speaker),
        sender: speaker.sender,
        content: speaker.content,
        priority: speaker.priority,
        interval: Duration::from_millis(u64::from(speaker.interval_cs) * 10),
        version: speaker.version,
        vip_count: speaker.vip_count,
        ttl: speaker.ttl,
        run_since: Mono(speaker.run_since_ns),
        at: Mono(speaker.last_seen_ns),
        run_adverts: speaker.run_adverts,
    }
}

/// What a record tells of a router.
pub(super) fn event(router: RouterId, record: &Record) -> Option<WireEvent> {
    let side = side(record);
    if record.kind == RECORD_FRAME {
        let reason = kernel::Reason::from_code(record.reason).map(reason)?;
        return Some(WireEvent::Invalid { router, frame: frame(&record.speaker, record.family, side, reason) });
    }
    Some(WireEvent::Advert { router, advert: advert(&record.speaker, record.family, side) })
}

/// Which way a record's frame went.
pub(super) fn side(record: &Record) -> Side {
    if record.direction == INGRESS { Side::Foreign } else { Side::Local }
}

/// A frame that moves nothing, by itself.
pub(super) fn frame(speaker: &Speaker, family: u8, side: Side, reason: Reason) -> Frame {
    Frame {
        side,
        source: source(speaker, family),
        mac: mac(speaker),
        vlan: vlan(speaker),
        reason,
        priority: speaker.priority,
        ttl: speaker.ttl,
        at: Mono(speaker.last_seen_ns),
    }
}

/// Source address of a speaker.
pub(super) fn source(speaker: &Speaker, family: u8) -> IpAddr {
    address(&speaker.src, family)
}

/// An address as the maps have it.
pub(super) fn address(bytes: &[u8; 16], family: u8) -> IpAddr {
    if family == kernel::FAMILY_V6 {
        IpAddr::from(*bytes)
    } else {
        let [a, b, c, d, ..] = *bytes;
        IpAddr::from([a, b, c, d])
    }
}

fn mac(speaker: &Speaker) -> Option<Mac> {
    (speaker.mac != [0; 6]).then_some(Mac(speaker.mac))
}

fn vlan(speaker: &Speaker) -> Option<u16> {
    (speaker.vlan != NO_VLAN).then_some(speaker.vlan)
}

/// The core's word for the classifier's.
pub(super) fn reason(reason: kernel::Reason) -> Reason {
    match reason {
        kernel::Reason::Ttl => Reason::Ttl,
        kernel::Reason::Checksum => Reason::Checksum,
        kernel::Reason::Length => Reason::Length,
        kernel::Reason::Type => Reason::Type,
        kernel::Reason::Version => Reason::Version,
        kernel::Reason::Auth => Reason::Auth,
        kernel::Reason::Password => Reason::Password,
        kernel::Reason::Icv => Reason::Icv,
        kernel::Reason::Sequence => Reason::Sequence,
        kernel::Reason::Interval => Reason::Interval,
        kernel::Reason::Addresses => Reason::Addresses,
        kernel::Reason::PeerSource => Reason::PeerSource,
        kernel::Reason::PeerTtl => Reason::PeerTtl,
        kernel::Reason::Owner => Reason::Owner,
        kernel::Reason::OtherHost => Reason::OtherHost,
        kernel::Reason::Destination => Reason::Destination,
        kernel::Reason::Header => Reason::Header,
        kernel::Reason::SourceRoute => Reason::SourceRoute,
        kernel::Reason::MartianSource => Reason::MartianSource,
        kernel::Reason::OwnSource => Reason::OwnSource,
        kernel::Reason::Protocol => Reason::Protocol,
        kernel::Reason::Forwarded => Reason::Forwarded,
        kernel::Reason::NotVrrpSocket => Reason::NotVrrpSocket,
        kernel::Reason::LocalSource => Reason::LocalSource,
        kernel::Reason::LocalTtl => Reason::LocalTtl,
    }
}

#[cfg(test)]
mod tests;
