//! The reference's words in the terms of the records that kernel and agent share. Field by field.

use ha_agent_common::{
    INVALID_AUTH, INVALID_CHECKSUM, INVALID_LENGTH, INVALID_TTL, INVALID_TYPE, INVALID_VERSION, SPEAKER_AH,
    SPEAKER_CHECKSUM_PLAIN, SPEAKER_UNICAST, SPEAKER_VMAC, Speaker,
};

use super::reference::{Advert, Family, Fault, hash};

/// What the advert alone says of its speaker: nothing of times and counts.
pub fn speaker(advert: &Advert) -> Speaker {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let list = advert.addresses.as_deref();
    Speaker {
        vips_hash: list.map_or(0, hash),
        src: wide(Some(&advert.source)),
        first_vip: wide(list.and_then(<[_]>::first)),
        auth_data: advert.password,
        interval_cs: advert.interval_cs,
        priority: advert.priority,
        version: advert.version,
        vip_count: advert.count,
        auth_type: advert.auth_type,
        flags: flag(advert.ah, SPEAKER_AH)
            | flag(advert.vmac, SPEAKER_VMAC)
            | flag(advert.unicast, SPEAKER_UNICAST)
            | flag(advert.plain_checksum, SPEAKER_CHECKSUM_PLAIN),
        ..Speaker::default()
    }
}

/// `INVALID_…`, or 0.
pub fn code(fault: Option<Fault>) -> u8 {
    match fault {
        None => 0,
        Some(Fault::Ttl) => INVALID_TTL,
        Some(Fault::Version) => INVALID_VERSION,
        Some(Fault::Type) => INVALID_TYPE,
        Some(Fault::Length) => INVALID_LENGTH,
        Some(Fault::Checksum) => INVALID_CHECKSUM,
        Some(Fault::Authentication) => INVALID_AUTH,
    }
}

/// `FAMILY_…`.
pub fn family(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

fn wide(address: Option<&Vec<u8>>) -> [u8; 16] {
    let mut wide = [0; 16];
    if let Some(address) = address {
        wide[..address.len()].copy_from_slice(address);
    }
    wide
}
