//! Records in the core's terms.

use std::time::Duration;

use ha_agent_common::{
    INGRESS, INVALID_AUTH, INVALID_CHECKSUM, INVALID_LENGTH, INVALID_TTL, INVALID_TYPE, INVALID_VERSION,
    RECORD_INVALID, Record, Speaker,
};

use super::WireEvent;
use super::maps::source;
use crate::core::model::{Advert, InvalidFrame, InvalidReason, Password, RouterId, Side};
use crate::core::time::Mono;

/// A speaker as the core knows it.
pub(super) fn advert(speaker: &Speaker, family: u8, side: Side) -> Advert {
    Advert {
        side,
        source: source(speaker, family),
        priority: speaker.priority,
        last_priority: speaker.last_priority,
        interval: Duration::from_millis(u64::from(speaker.interval_cs) * 10),
        version: speaker.version,
        auth_type: speaker.auth_type,
        password: (speaker.version == 2 && speaker.auth_type == 1).then(|| Password::from_wire(speaker.auth_data)),
        vips_hash: speaker.vips_hash,
        vip_count: speaker.vip_count,
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
        frame: InvalidFrame {
            side,
            source: source(&record.speaker, record.family),
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
            return Some(invalid(InvalidReason::OwnSource));
        }
        if !super::maps::is_heard(&record.speaker, local) {
            return None;
        }
    }
    Some(WireEvent::Advert { router, advert: advert(&record.speaker, record.family, side) })
}

fn reason(code: u8) -> Option<InvalidReason> {
    Some(match code {
        INVALID_TTL => InvalidReason::Ttl,
        INVALID_CHECKSUM => InvalidReason::Checksum,
        INVALID_LENGTH => InvalidReason::Length,
        INVALID_TYPE => InvalidReason::Type,
        INVALID_VERSION => InvalidReason::Version,
        INVALID_AUTH => InvalidReason::Auth,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
