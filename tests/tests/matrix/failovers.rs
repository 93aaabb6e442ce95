//! True claims: the router changes its node.

use anyhow::Result;

use crate::play::{ADVERT, Channel, PATIENCE, Play};

/// keepalived is stopped in order, and started again as a backup.
pub(crate) fn stopped(play: &mut Play<'_>) -> Result<()> {
    let (old, new) = (play.master, 1 - play.master);
    play.lead().keepalived()?.stop()?;
    play.truly(new, "primary", PATIENCE)?;
    // Neutron's scripts do not report a stop.
    if play.lead().settings.fifo.is_some() {
        play.truly(old, "backup", PATIENCE)?;
    } else {
        play.unclaimed(old, "backup", ADVERT + PATIENCE)?;
    }
    play.lead().join()?;
    play.master = new;
    Ok(())
}

/// Both processes are killed. Until the other one takes over nobody is primary, whoever says so.
pub(crate) fn killed(play: &mut Play<'_>) -> Result<()> {
    let (old, new) = (play.master, 1 - play.master);
    play.lead().keepalived()?.kill()?;
    play.falsely(new, Channel::Socket, "primary")?;
    let down = play.other().settings.master_down();
    play.truly(new, "primary", down + PATIENCE)?;
    play.unclaimed(old, "backup", ADVERT * 3 + PATIENCE)?;
    // It removes the VIP that the killed one left.
    play.lead().join()?;
    play.master = new;
    Ok(())
}

/// One of higher priority comes and takes over; it goes again, and the first one takes over.
pub(crate) fn preempted(play: &mut Play<'_>) -> Result<()> {
    play.corners[1].join()?;
    let down = play.corners[1].settings.master_down();
    play.truly(1, "primary", down + PATIENCE)?;
    play.truly(0, "backup", PATIENCE)?;
    play.corners[1].keepalived()?.stop()?;
    play.truly(0, "primary", PATIENCE)?;
    play.truly(1, "backup", PATIENCE)
}

/// The master's interface goes down, and up again once the other one has taken over.
pub(crate) fn unplugged(play: &mut Play<'_>) -> Result<()> {
    let (old, new) = (play.master, 1 - play.master);
    play.lead().site.set_link("down")?;
    play.truly(old, "fault", PATIENCE)?;
    let down = play.other().settings.master_down();
    play.truly(new, "primary", down + PATIENCE)?;
    play.lead().site.set_link("up")?;
    play.truly(old, "backup", PATIENCE)?;
    play.master = new;
    Ok(())
}
