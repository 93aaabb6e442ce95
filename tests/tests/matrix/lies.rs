//! False claims: somebody on the node reports what is not so.

use anyhow::Result;

use crate::play::{Channel, Play};

/// Nothing happens, but something is reported, in every way.
pub(crate) fn quiet(play: &mut Play<'_>) -> Result<()> {
    let (lead, other) = (play.master, 1 - play.master);
    for channel in Channel::ALL {
        play.falsely(other, channel, "primary")?;
        play.falsely(lead, channel, "backup")?;
        play.falsely(lead, channel, "fault")?;
    }
    Ok(())
}

/// Somebody even sets the VIP before.
pub(crate) fn with_a_vip(play: &mut Play<'_>) -> Result<()> {
    let other = 1 - play.master;
    play.other().site.add_vip()?;
    for channel in Channel::ALL {
        play.falsely(other, channel, "primary")?;
    }
    play.other().site.delete_vip()
}
