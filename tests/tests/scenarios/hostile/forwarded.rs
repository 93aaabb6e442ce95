//! What a router forwards is not its own, whoever's adverts they look like.

use std::time::SystemTime;

use anyhow::{Result, ensure};
use ha_agent_common::build::Advert;
use ha_agent_tests::forge::to_mac;
use ha_agent_tests::frames::sealed;
use ha_agent_tests::hostile::{Host, NOBODY, Pulse, Sender, Tenant, forward};
use ha_agent_tests::keepalived::Settings;
use ha_agent_tests::pair::{Pair, SLACK, Scene};
use ha_agent_tests::witness::Witness;

use super::{EVERY, better, forged, found, in_time, mac, only, orphaned, unmoved, witness};
use crate::ADVERT;

/// The kernel makes it leave, and it did not begin here.
const FORWARDED: &[&str] = &["forwarded"];
/// It also arrives, for somebody else.
const HAIRPIN: &[&str] = &["forwarded", "destination"];

/// A tenant's adverts to the peer, through the first node's router.
fn through(pair: &Pair, change: impl Fn(Advert) -> Advert) -> Result<(Tenant, Vec<u8>)> {
    let tenant = Tenant::behind(&pair.a.site)?;
    let advert = Advert { destination: pair.b.site.ip().into(), ..better(pair, tenant.ip) };
    let frame = change(advert).frame();
    Ok((tenant, frame))
}

/// A host's advert to itself, by way of the first node, which routes it back.
fn back(pair: &Pair, host: &Host, change: impl Fn(Advert) -> Advert) -> Result<Vec<u8>> {
    forward(&pair.a.site)?;
    let advert = Advert { destination: host.site.ip().into(), ..better(pair, host.site.ip()) };
    Ok(sealed(&to_mac(change(advert).frame(), mac(&pair.a)?)))
}

/// An orphan stays backup while it goes on; thawed it gives way, and nothing else is told.
fn stays_backup(mut pair: Pair, pulse: Pulse, reasons: &[&str]) -> Result<()> {
    // A verdict would come within a few intervals.
    pulse.more(8, EVERY * 20)?;
    unmoved(&mut pair.a)?;
    forged(&mut pair.a, reasons)?;
    only(&mut pair.a, &["forged_advert"])?;
    pulse.end()?;
    pair.a.keepalived()?.thaw()?;
    pair.a.cleared(ADVERT * 2 + SLACK, "orphan_vip")?;
    pair.a.vip(SLACK, false)?;
    unmoved(&mut pair.a)?;
    unmoved(&mut pair.b)?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])
}

#[test]
#[ignore = "needs root"]
fn an_orphan_stays_backup_behind_a_tenant_s_adverts() -> Result<()> {
    let pair = orphaned("forward")?;
    let (tenant, frame) = through(&pair, |advert| advert)?;
    let pulse = tenant.pulse(vec![frame], EVERY);
    stays_backup(pair, pulse, FORWARDED)
}

#[test]
#[ignore = "needs root"]
fn an_orphan_stays_backup_behind_one_advert_with_a_long_interval() -> Result<()> {
    let pair = orphaned("forward255")?;
    let (tenant, frame) = through(&pair, |advert| Advert { interval_cs: 25_500, ..advert })?;
    tenant.send(&frame)?;
    // No more of them: what goes on is none of ours.
    let other = Advert { vrid: pair.router.vrid + 1, ..better(&pair, tenant.ip) }.frame();
    let pulse = tenant.pulse(vec![other], EVERY);
    stays_backup(pair, pulse, FORWARDED)
}

#[test]
#[ignore = "needs root"]
fn an_orphan_stays_backup_while_it_routes_adverts_back() -> Result<()> {
    let pair = orphaned("hairpin")?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let pulse = host.pulse(vec![back(&pair, &host, |advert| advert)?], EVERY);
    stays_backup(pair, pulse, HAIRPIN)
}

/// One of higher priority takes over while `attack` goes on: both are told in time.
fn preempts(name: &str, attack: impl FnOnce(&Pair) -> Result<Option<Pulse>>) -> Result<Pair> {
    let keepalived = Settings { nopreempt: false, ..Settings::default() };
    let mut pair = Scene { keepalived, ..found() }.build(name)?;
    pair.b.settings.priority = 60;
    pair.a.start_keepalived()?;
    pair.a.vip(pair.a.settings.master_down() + SLACK, true)?;
    pair.watch()?;
    let witness = witness(&pair)?;
    let pulse = attack(&pair)?;
    let since = SystemTime::now();
    pair.b.start_keepalived()?;
    in_time(&mut pair.b, &witness, "primary", since)?;
    in_time(&mut pair.a, &witness, "backup", since)?;
    pulse.map_or(Ok(()), Pulse::end)?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])?;
    Ok(pair)
}

#[test]
#[ignore = "needs root"]
fn a_preemption_is_told_in_time_where_nobody_attacks() -> Result<()> {
    let mut pair = preempts("preempt0", |_| Ok(None))?;
    only(&mut pair.a, &[])?;
    only(&mut pair.b, &[])
}

#[test]
#[ignore = "needs root"]
fn a_preemption_is_told_in_time_behind_a_tenant_s_adverts() -> Result<()> {
    let mut pair = preempts("preempt1", |pair| {
        let (tenant, frame) = through(pair, |advert| advert)?;
        Ok(Some(tenant.pulse(vec![frame], EVERY)))
    })?;
    forged(&mut pair.a, FORWARDED)?;
    // There it is a unicast advert for a router that is told by multicast.
    forged(&mut pair.b, &["destination", "mode"])?;
    only(&mut pair.a, &["forged_advert"])?;
    only(&mut pair.b, &["forged_advert"])
}

#[test]
#[ignore = "needs root"]
fn a_preemption_is_told_in_time_while_adverts_are_routed_back() -> Result<()> {
    let mut pair = preempts("preempt2", |pair| {
        let host = Host::join(&pair.lab, "h", &pair.router)?;
        Ok(Some(host.pulse(vec![back(pair, &host, |advert| advert)?], EVERY)))
    })?;
    forged(&mut pair.a, HAIRPIN)?;
    only(&mut pair.a, &["forged_advert"])?;
    only(&mut pair.b, &[])
}

/// A healthy master stays what it is while adverts with such an interval seem to leave it.
fn stays_primary(name: &str, interval_cs: u16) -> Result<(Pair, [Pulse; 2])> {
    let mut pair = found().start(name)?;
    let host = Host::join(&pair.lab, "h", &pair.router)?;
    let (tenant, frame) = through(&pair, |advert| Advert { interval_cs, ..advert })?;
    // Somebody worse who goes on, and is not heard either: whoever is silent beside him is backup.
    let rival = Advert { priority: 1, ..better(&pair, host.site.ip()) }.frame();
    let rival = sealed(&to_mac(rival, NOBODY));
    let pulses = [host.pulse(vec![rival], EVERY * 2), tenant.pulse(vec![frame], EVERY / 8)];
    pulses[0].more(6, EVERY * 20)?;
    unmoved(&mut pair.a)?;
    unmoved(&mut pair.b)?;
    ensure!(pair.a.site.holds_vip(), "keepalived hears none of it");
    Ok((pair, pulses))
}

/// Both nodes are told in time, and nothing else is.
fn fails_over((mut pair, pulses): (Pair, [Pulse; 2]), since: SystemTime, witness: &Witness) -> Result<Pair> {
    in_time(&mut pair.b, witness, "primary", since)?;
    // Where the VIP stays, the other one must have gone on for more than an interval.
    pair.a.confirmed(ADVERT * 3 + SLACK, "backup")?;
    pulses.into_iter().try_for_each(Pulse::end)?;
    forged(&mut pair.a, &["forwarded", "other_host"])?;
    forged(&mut pair.b, &["destination", "mode", "other_host"])?;
    pair.heard(&["primary", "backup"], &["backup", "primary"])?;
    Ok(pair)
}

#[test]
#[ignore = "needs root"]
fn a_master_stays_primary_though_adverts_with_interval_0_seem_to_leave_it() -> Result<()> {
    let (mut pair, pulses) = stays_primary("interval0", 0)?;
    let witness = witness(&pair)?;
    let since = SystemTime::now();
    pair.a.keepalived()?.resign()?;
    let mut pair = fails_over((pair, pulses), since, &witness)?;
    only(&mut pair.a, &["forged_advert"])?;
    only(&mut pair.b, &["forged_advert"])
}

#[test]
#[ignore = "needs root"]
fn a_master_s_death_is_told_though_adverts_with_interval_255_seem_to_leave_it() -> Result<()> {
    let (mut pair, pulses) = stays_primary("interval255", 25_500)?;
    let witness = witness(&pair)?;
    let since = SystemTime::now();
    pair.a.keepalived()?.kill()?;
    let mut pair = fails_over((pair, pulses), since, &witness)?;
    only(&mut pair.a, &["forged_advert", "silent_primary", "orphan_vip"])?;
    only(&mut pair.b, &["forged_advert", "no_primary"])
}
