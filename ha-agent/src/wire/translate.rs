//! Records in the core's terms.

use std::time::Duration;

use ha_agent_common::{
    INGRESS, INVALID_AUTH, INVALID_CHECKSUM, INVALID_LENGTH, INVALID_TTL, INVALID_TYPE, INVALID_VERSION,
    RECORD_INVALID, Record, Speaker,
};

use super::WireEvent;
use super::maps::source;
use crate::core::model::{Advert, Frame, Reason, RouterId, Side};
use crate::core::time::Mono;

/// A speaker as the core knows it.
pub(super) fn advert(speaker: &Speaker, family: u8, side: Side) -> Advert {
    Advert {
        side,
        refused: None,
        source: source(speaker, family),
        mac: None,
        vlan: None,
        sender: 0,
        content: speaker.vips_hash,
        priority: speaker.priority,
        interval: Duration::from_millis(u64::from(speaker.interval_cs) * 10),
        version: speaker.version,
        vip_count: speaker.vip_count,
        ttl: 255,
        run_since: Mono(speaker.run_since_ns),
        at: Mono(speaker.last_seen_ns),
        run_adverts: speaker.run_adverts,
    }
}

/// What a record tells of a router. `local` is the speaker on this host, if it was heard.
///
/// None for an advert that keepalived never hears: by unicast, while our own go to the group.
pub(super) fn event(router: RouterId, record: &Record, local: Option<&Speaker>) -> Option<WireEvent> {
    let side = if record.direction == INGRESS { Side::Foreign } else { Side::Local };
    let invalid = |reason| WireEvent::Invalid {
        router,
        frame: Frame {
            side,
            source: source(&record.speaker, record.family),
            mac: None,
            vlan: None,
            reason,
            priority: record.speaker.priority,
            ttl: record.ttl,
            at: Mono(record.speaker.last_seen_ns),
        },
    };
    if record.kind == RECORD_INVALID {
        return reason(record.invalid).map(invalid);
    }
    if side == Side::Foreign {
        if local.is_some_and(|local| local.src == record.speaker.src) {
            return Some(invalid(Reason::OwnSource));
        }
        if !super::maps::is_heard(&record.speaker, local) {
            return None;
        }
    }
    Some(WireEvent::Advert { router, advert: advert(&record.speaker, record.family, side) })
}

fn reason(code: u8) -> Option<Reason> {
    Some(match code {
        INVALID_TTL => Reason::Ttl,
        INVALID_CHECKSUM => Reason::Checksum,
        INVALID_LENGTH => Reason::Length,
        INVALID_TYPE => Reason::Type,
        INVALID_VERSION => Reason::Version,
        INVALID_AUTH => Reason::Auth,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
