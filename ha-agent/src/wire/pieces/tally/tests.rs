use ha_agent_common::{Reason, Rules};

use super::*;

#[test]
fn the_newest_reason_is_told_wherever_it_was_found() {
    let mut watch = Watch::new(1, Rules::default(), 0);
    let mut tally = Tally::default();
    watch.rejected = 1;
    watch.reason = Reason::Password as u8;
    assert_eq!(tally.reason(&watch), Reason::Password as u8);
    tally.count(&watch, Judgement { class: Class::Rejected, reason: Reason::Length as u8 }, 7);
    assert_eq!(tally.reason(&watch), Reason::Length as u8);
    tally.count(&watch, Judgement { class: Class::Peer, reason: 0 }, 8);
    assert_eq!(tally.reason(&watch), Reason::Length as u8);
    watch.unheard = 1;
    watch.reason = Reason::OtherHost as u8;
    assert_eq!(tally.reason(&watch), Reason::OtherHost as u8);
    let counts = (tally.peers, tally.rejected, tally.unheard, tally.rejected_ns);
    assert_eq!(counts, (1, 1, 0, 7));
}
