use ha_agent_common::FAMILY_V4;

use super::*;

const NOW: u64 = 1_000_000_000_000;

/// The `n`-th of many: a source that began at that millisecond and was heard just now.
fn one(n: u8, priority: u8) -> (ForeignKey, Speaker) {
    let mut src = [0; 16];
    src[3] = n;
    let begun = NOW - 1_000_000_000 + u64::from(n) * 1_000_000;
    let speaker = Speaker {
        run_since_ns: begun,
        last_seen_ns: NOW,
        src,
        interval_cs: 100,
        priority,
        version: 2,
        vip_count: 1,
        content: 7,
        ..Speaker::default()
    };
    let key = ForeignKey { watch: 0, family: FAMILY_V4.into(), vlan: 0, src, content: 7, mac: [0; 6], pad: [0; 2] };
    (key, speaker)
}

/// Offers one; whoever is looked at again is as it was.
fn offer(known: &mut Known, (key, speaker): (ForeignKey, Speaker)) -> Offer {
    let others = known.kept.clone();
    let again = |key: &ForeignKey| others.iter().find(|(other, _)| other == key).map(|(_, speaker)| *speaker);
    known.offer(key, speaker, Mono(NOW), again)
}

fn crowd(change: impl Fn(&mut Speaker)) -> Known {
    let mut known = Known::default();
    for n in 0..64 {
        let (key, mut speaker) = one(n, 255);
        change(&mut speaker);
        assert_eq!(offer(&mut known, (key, speaker)), Offer { new: true, left_out: false });
    }
    known
}

#[test]
fn a_new_master_finds_a_place_among_those_that_keepalived_drops() {
    let mut known = crowd(|speaker| speaker.refused = 11);
    assert_eq!(offer(&mut known, one(200, 60)), Offer { new: true, left_out: true });
    assert!(known.speakers().any(|speaker| speaker.priority == 60));
    assert_eq!(offer(&mut known, one(200, 60)), Offer::default(), "known");
    // And one that keepalived drops pushes out no peer, however great it says it is.
    let mut known = crowd(|speaker| speaker.priority = 1);
    let (key, speaker) = one(200, 255);
    let refused = Speaker { refused: 11, ..speaker };
    assert_eq!(offer(&mut known, (key, refused)), Offer { new: false, left_out: true });
}

#[test]
fn contents_of_one_source_are_kept_apart() {
    let mut known = Known::default();
    let (key, speaker) = one(1, 50);
    offer(&mut known, (key, speaker));
    for (other, content) in [(ForeignKey { content: 8, ..key }, 8), (ForeignKey { mac: [1; 6], ..key }, 7)] {
        assert!(offer(&mut known, (other, Speaker { content, ..speaker })).new);
    }
    assert_eq!(known.speakers().count(), 3);
}

#[test]
fn the_worst_of_the_late_is_left_out() {
    let mut known = crowd(|_| {});
    assert_eq!(offer(&mut known, one(200, 60)), Offer { new: false, left_out: true });
    let mut gone = one(201, 0);
    gone.1.last_seen_ns = NOW;
    assert_eq!(offer(&mut known, gone), Offer::default(), "nobody misses one that left");
}

#[test]
fn one_that_goes_on_is_not_given_up_for_silent_because_nobody_looked() {
    let mut known = crowd(|speaker| speaker.priority = 60);
    // The last look at the first ones is long ago, but only the first one is silent.
    for (_, speaker) in &mut known.kept[..8] {
        speaker.last_seen_ns = NOW - 10_000_000_000;
    }
    let silent = known.kept[0];
    let again = |key: &ForeignKey| if *key == silent.0 { Some(silent.1) } else { Some(one(key.src[3], 60).1) };
    let (key, speaker) = one(200, 40);
    let offer = known.offer(key, speaker, Mono(NOW), again);
    assert_eq!(offer, Offer { new: true, left_out: false });
    assert!(known.kept.iter().all(|(key, _)| *key != silent.0));
    assert_eq!(known.kept.len(), 64);
}

#[test]
fn who_is_forgotten_makes_room_and_is_dropped_by_a_reading() {
    let mut known = crowd(|speaker| speaker.priority = 60);
    known.kept[5].1.last_seen_ns = 1;
    let (key, speaker) = one(200, 40);
    assert!(known.offer(key, speaker, Mono(NOW), |_| None).new);
    known.refresh(|key| Ok::<_, ()>((key.src[3] != 7).then_some(one(key.src[3], 9).1))).unwrap();
    assert_eq!((known.kept.len(), known.speakers().all(|speaker| speaker.priority == 9)), (63, true));
    assert_eq!(known.refresh(|_| Err(())), Err(()));
    assert_eq!(known.into_keys().count(), 63, "nothing is dropped for a failed reading");
}

#[test]
fn who_goes_on_and_who_does_not() {
    let at = |last_seen_ns, priority, interval_cs| {
        is_live(&Speaker { last_seen_ns, priority, interval_cs, ..Speaker::default() }, Mono(NOW))
    };
    assert!(at(NOW, 1, 100));
    assert!(at(NOW - 1_499_999_999, 1, 100));
    assert!(!at(NOW - 1_500_000_000, 1, 100));
    assert!(!at(NOW, 0, 100));
    assert!(!at(NOW, 1, 0));
}

#[test]
fn when_keepalived_last_dropped_a_frame_does_not_depend_on_who_is_kept() {
    let at = |ago: u64| NOW - ago * 1_000_000;
    let one = |ago| Speaker { last_seen_ns: at(ago), refused: 1, ..Speaker::default() };
    let rejected = |newest, crowded, found: &[(u64, bool)]| {
        let mut rejected = Rejected::new(newest, Mono(at(5000)));
        rejected.crowded = crowded;
        for (ago, taken) in found {
            rejected.found(&one(*ago), *taken);
        }
        rejected.at().map(|then| (NOW - then.0) / 1_000_000)
    };
    assert_eq!(rejected(0, false, &[]), None, "never");
    assert_eq!(rejected(at(6000), false, &[]), None, "before the watch");
    assert_eq!(rejected(at(400), false, &[]), Some(400), "nobody is kept");
    assert_eq!(rejected(at(400), true, &[(900, true)]), Some(400));
    // Whom the kernel does not take, keepalived never hears.
    assert_eq!(rejected(at(400), false, &[(400, false)]), None);
    assert_eq!(rejected(at(400), false, &[(400, false), (900, true)]), Some(900));
    assert_eq!(rejected(at(400), false, &[(500, false), (900, true)]), Some(400), "the newest is another one's");
    assert_eq!(rejected(at(400), false, &[(300, false)]), None, "it came while this was read");
    assert_eq!(rejected(at(400), true, &[(400, false)]), Some(400), "in a crowd that cannot be told");
}
