//! Whose judgement is held to keepalived's.

use std::net::IpAddr;

use anyhow::Result;

use super::scene::Scene;
use super::verdict::Verdict;

/// Somebody who judges the frames that arrive at the scene's interface.
///
/// What is sent between two cases are sound adverts of a peer and adverts of VRIDs that nobody has: all of
/// that has arrived when [`Judge::before`] is called.
pub trait Judge {
    /// keepalived listens in a scene, which is new or where it was started anew: what was learned from the
    /// wire is forgotten.
    ///
    /// # Errors
    /// When the judge cannot follow.
    fn begin(&mut self, scene: &Scene) -> Result<()>;

    /// A case comes now.
    ///
    /// # Errors
    /// When the judge cannot look.
    fn before(&mut self) -> Result<()>;

    /// The whole case, which names this address as its source, has arrived: what was it?
    ///
    /// # Errors
    /// When the judge cannot look, or took it for several things.
    fn after(&mut self, source: IpAddr) -> Result<Option<Verdict>>;
}

/// Nobody, who has no judgement.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Judge for Nobody {
    fn begin(&mut self, _: &Scene) -> Result<()> {
        Ok(())
    }

    fn before(&mut self) -> Result<()> {
        Ok(())
    }

    fn after(&mut self, _: IpAddr) -> Result<Option<Verdict>> {
        Ok(None)
    }
}
