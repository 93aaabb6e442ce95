//! The durations and counts by which a router is judged.

use std::time::Duration;

use super::model::State;

/// A router's settings. One per router, because the advert interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether only confirmed states are passed on, or every report.
    pub observe: bool,
    /// Agreement must hold this long before primary is confirmed; also how long a dispute must
    /// hold before it is named.
    pub settle: Duration,
    /// How long a seen change may stay unreported; none: one advert interval.
    pub report_grace: Option<Duration>,
    /// Whether an unreported change is passed on.
    pub heal_unreported: bool,
    /// Advert interval until an advert tells better.
    pub advert_interval: Duration,
    /// Whether a reporter is known to exist (a notify FIFO instance is configured). Without one, and
    /// until a first report was borne out, nobody waits for reports.
    pub reporter_expected: bool,
    /// Whether the router's own monitor was replaced by a registration. While only reports are
    /// passed on, each change of the VIP is then passed on as that monitor would have: at once.
    pub stand_in: bool,
}

impl Policy {
    /// The grace in force when adverts come every `interval`.
    pub fn grace(&self, interval: Duration) -> Duration {
        self.report_grace.unwrap_or(interval)
    }
}

/// 1.5 advert intervals: after that much silence a speaker is not live (DESIGN section 7).
pub fn silence(interval: Duration) -> Duration {
    interval + interval / 2
}

/// Readings of the wire that are due within so long of each other are made together: a thousand
/// routers then wake the agent four times a second, not five hundred times.
pub const READ_GRID: Duration = Duration::from_millis(250);

/// The window over which netlink and wire are joined: their order may invert by tens of
/// milliseconds (measured: up to 78 ms in a preemption with scripts).
pub const JOIN: Duration = Duration::from_millis(250);

/// By how much netlink may tell of an address later or earlier than an advert left that was sent about the
/// same time (measured with the VIP's removal: some tens of milliseconds).
pub const ORDER: Duration = Duration::from_millis(50);

/// After so much silence nobody is master: 1.5 intervals, but at short ones an advert that a busy machine sends
/// or reads late is not missed yet.
pub fn nobody_after(interval: Duration) -> Duration {
    silence(interval).max(interval + SCHEDULING)
}

/// By how much a busy machine may put off who sends an advert and who reads it; less than half a second changes
/// nothing from an interval of one second on.
pub const SCHEDULING: Duration = Duration::from_millis(500);

/// Longest wait of a backup that never heard a master: Master_Down_Interval of RFC 9568 section 6.1
/// with the largest skew.
pub fn master_down_max(interval: Duration) -> Duration {
    interval * 4
}

/// Role changes within [`FLAP_WINDOW`] that count as flapping.
pub const FLAP_RAISE: usize = 6;
/// Below this many, flapping is over.
pub const FLAP_CLEAR: usize = 3;
/// See [`FLAP_RAISE`].
pub const FLAP_WINDOW: Duration = Duration::from_secs(60);
/// `forged_advert` is over when no such frame came for this long.
pub const FORGED_QUIET: Duration = Duration::from_secs(10);
/// A reading of the wire that was asked for and not answered is asked for again after this long.
pub const READ_RETRY: Duration = Duration::from_millis(500);

/// Whether a claim (or a confirmed state) and a seen role can both be true.
///
/// `fault` also fits a role of backup: a failed track script puts keepalived into FAULT with its
/// interface up, and neither the address table nor the wire can tell that from BACKUP.
pub fn fits(state: State, role: State) -> bool {
    state == role || (state == State::Fault && role == State::Backup)
}
