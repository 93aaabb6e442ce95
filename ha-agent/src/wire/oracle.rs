//! What somebody has to ask who sends frame after frame and wants to know what each was: the oracle of the
//! end-to-end tests.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::sources::Whose;
use super::{Wire, WireError, asker, rules};
use crate::core::model::RouterId;

impl Wire {
    /// Whether the kernel now takes packets from a source for a router's keepalived; none: it cannot tell. What
    /// [`Wire::judged`] counts as a peer's or as rejected is that only from such a source: otherwise it is told
    /// as unheard.
    ///
    /// # Errors
    /// [`WireError::NotAttached`].
    #[doc(hidden)]
    pub async fn takes(&self, router: RouterId, source: IpAddr) -> Result<Option<bool>, WireError> {
        let entry = self.entry(router)?;
        let answer = asker::ask(&self.netns, &entry, (Whose::Theirs, rules::wide(source))).await;
        Ok(answer.and_then(|(taken, _)| taken))
    }

    /// Forgets what is being put together, and fills the budget of pieces of a router's interface: a second of
    /// many frames has more incomplete packets than a link in a year.
    ///
    /// # Errors
    /// [`WireError::NotAttached`], [`WireError::Map`].
    #[doc(hidden)]
    pub fn forget_pieces(&self, router: RouterId) -> Result<(), WireError> {
        let entry = self.entry(router)?;
        self.shared.forget_pieces.store(true, Ordering::Release);
        self.shared.reset_device(&entry.key)
    }

    /// How many pieces have been taken out of the ring buffer and judged, if they made a whole.
    #[doc(hidden)]
    pub fn pieces(&self) -> u64 {
        self.shared.pieces_taken.load(Ordering::Acquire)
    }
}
