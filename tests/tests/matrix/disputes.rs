//! keepalived itself is mistaken, because it does not hear, or is not heard.

use anyhow::Result;

use crate::play::{ADVERT, Channel, PATIENCE, Play};

/// The backup's input is filtered: it becomes master beside a better one, and says so.
pub(crate) fn deaf(play: &mut Play<'_>) -> Result<()> {
    let other = 1 - play.master;
    play.other().events.mark()?;
    play.other().site.drop_vrrp("input")?;
    let down = play.other().settings.master_down();
    play.mistaken(other, "primary", down + PATIENCE)?;
    play.other().site.pass_vrrp()?;
    play.gives_way(other)
}

/// The master's output is filtered: it is master no longer, and does not know. Whoever says that it is
/// primary is mistaken; once it is heard again, it is primary indeed.
pub(crate) fn mute(play: &mut Play<'_>) -> Result<()> {
    let (lead, other) = (play.master, 1 - play.master);
    play.lead().site.drop_vrrp("output")?;
    let down = play.other().settings.master_down();
    play.truly(other, "primary", down + PATIENCE)?;
    play.unclaimed(lead, "backup", ADVERT * 3 + PATIENCE)?;
    play.falsely(lead, Channel::Socket, "primary")?;
    play.lead().site.pass_vrrp()?;
    play.truly(other, "backup", ADVERT * 2 + PATIENCE)?;
    play.unclaimed(lead, "primary", ADVERT * 2 + PATIENCE)
}
