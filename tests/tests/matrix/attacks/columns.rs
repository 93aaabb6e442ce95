//! What an attack must not change: one round of each column.

use std::time::Duration;

use anyhow::Result;

use super::volleys::Volleys;
use crate::play::{ADVERT, PATIENCE, Play};

/// A column: its name, the priorities of both nodes, whether the second one only comes in a round, one round.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) priorities: [u8; 2],
    pub(super) late: bool,
    pub(super) round: fn(&mut Play<'_>, &Volleys) -> Result<Vec<Duration>>,
}

pub(super) const COLUMNS: &[Column] = &[
    Column { name: "an orphan stays backup", priorities: [50, 50], late: false, round: orphan },
    Column { name: "the master stays primary", priorities: [50, 50], late: false, round: master },
    Column { name: "a failover is told in time", priorities: [50, 50], late: false, round: failover },
    Column { name: "a preemption is told in time", priorities: [50, 60], late: true, round: preemption },
    Column { name: "a split brain is refused", priorities: [60, 50], late: false, round: split },
];

/// How long an attack goes on where nothing must come of it.
const LONG: Duration = Duration::from_millis(2500);

/// The master is frozen and keeps the VIP; thawed, it gives way, and is master again when the other one stops.
fn orphan(play: &mut Play<'_>, volleys: &Volleys) -> Result<Vec<Duration>> {
    play.corners[0].keepalived()?.freeze()?;
    let down = play.corners[1].settings.master_down();
    play.truly(1, "primary", down + PATIENCE)?;
    play.unclaimed(0, "backup", ADVERT * 3 + PATIENCE)?;
    let attack = volleys.fire(0);
    attack.goes_on(LONG)?;
    play.corners[0].keepalived()?.thaw()?;
    play.gives_way(0)?;
    play.corners[1].keepalived()?.resign()?;
    let times = vec![play.timely(0, "primary", PATIENCE)?, play.timely(1, "backup", PATIENCE)?];
    attack.end()?;
    play.corners[1].keepalived()?.stop()?;
    play.corners[1].join()?;
    Ok(times)
}

/// Nothing happens.
fn master(_: &mut Play<'_>, volleys: &Volleys) -> Result<Vec<Duration>> {
    let attack = volleys.fire(0);
    attack.goes_on(LONG * 2)?;
    attack.end()?;
    Ok(Vec::new())
}

/// The master resigns.
fn failover(play: &mut Play<'_>, volleys: &Volleys) -> Result<Vec<Duration>> {
    let (old, new) = (play.master, 1 - play.master);
    let attack = volleys.fire(old);
    attack.goes_on(ADVERT)?;
    play.lead().keepalived()?.resign()?;
    let times = vec![play.timely(new, "primary", PATIENCE)?, play.timely(old, "backup", PATIENCE)?];
    attack.goes_on(LONG)?;
    attack.end()?;
    play.lead().keepalived()?.stop()?;
    play.lead().join()?;
    play.master = new;
    Ok(times)
}

/// A better one comes, takes over, and resigns.
fn preemption(play: &mut Play<'_>, volleys: &Volleys) -> Result<Vec<Duration>> {
    let attack = volleys.fire(0);
    play.corners[1].join()?;
    let down = play.corners[1].settings.master_down();
    let mut times = vec![play.timely(1, "primary", down + PATIENCE)?, play.timely(0, "backup", PATIENCE)?];
    attack.goes_on(LONG)?;
    play.corners[1].keepalived()?.resign()?;
    times.extend([play.timely(0, "primary", PATIENCE)?, play.timely(1, "backup", PATIENCE)?]);
    attack.end()?;
    play.corners[1].keepalived()?.stop()?;
    Ok(times)
}

/// The backup's input is filtered: it becomes master beside a better one, and says so.
fn split(play: &mut Play<'_>, volleys: &Volleys) -> Result<Vec<Duration>> {
    let attack = volleys.fire(1);
    play.corners[1].events.mark()?;
    play.corners[1].site.drop_vrrp("input")?;
    let down = play.corners[1].settings.master_down();
    play.mistaken(1, "primary", down + PATIENCE)?;
    attack.goes_on(LONG)?;
    attack.end()?;
    play.corners[1].site.pass_vrrp()?;
    play.gives_way(1)?;
    Ok(Vec::new())
}
