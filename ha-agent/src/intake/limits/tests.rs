use super::*;
use crate::intake::testing;

fn limits(change: impl FnOnce(&mut config::Intake), previous: Option<&Limits>) -> Limits {
    let mut config = testing::config(std::path::Path::new("/nowhere"));
    config.allow_uids = vec![4001, 4002];
    change(&mut config);
    Limits::new(&config, previous)
}

fn peer(uid: u32) -> Peer {
    Peer { uid, gid: uid, pid: 1 }
}

#[test]
fn a_group_s_members_have_one_share_and_one_rate_and_a_user_its_own() {
    let limits = limits(
        |c| {
            c.allow_uids = vec![4001];
            c.allow_gids = vec![4100];
            c.max_requests_per_second = 5;
        },
        None,
    );
    let of = |uid, gid| Peer { uid, gid, pid: 1 };
    let (one, other, own) = (of(4002, 4100), of(4003, 4100), of(4001, 4100));
    assert!(Arc::ptr_eq(limits.share(one).unwrap(), limits.share(other).unwrap()));
    assert!(!Arc::ptr_eq(limits.share(one).unwrap(), limits.share(own).unwrap()));
    while limits.count_request(one).is_ok() {}
    assert_eq!(limits.count_request(other), Err(Refusal::TooManyRequests));
    limits.count_request(own).expect("a rate of its own");
    // A number is a user's or a group's, never both.
    assert!(limits.share(of(4100, 4002)).is_none());
    assert_eq!(limits.count_request(of(4100, 4002)), Err(Refusal::PeerNotAllowed));
}

#[test]
fn a_granted_user_may_report_its_routers_and_one_without_a_grant_all() {
    let [one, other] = [1, 2].map(|number| RouterId(uuid::Uuid::from_u128(number)));
    let these = |ids: &[RouterId]| Granted::These(ids.iter().copied().collect());
    let own = rustix::process::geteuid().as_raw();
    let grant = |uid, routers| Grant { to: Grantee::User(uid), routers };
    let limits = limits(
        |c| {
            c.grants = vec![
                grant(4001, these(&[one])),
                grant(4003, these(&[one])),
                grant(4003, these(&[other])),
                grant(4004, these(&[one])),
                grant(4004, Granted::All),
                grant(own, these(&[one])),
            ];
        },
        None,
    );
    let table = [(4001, true, false), (4002, true, true), (4003, true, true), (4004, true, true), (own, true, true)];
    for (uid, may_one, may_other) in table {
        assert!(limits.share(peer(uid)).is_some(), "a grant lets a user report, uid {uid}");
        assert_eq!((limits.may_report(uid, one), limits.may_report(uid, other)), (may_one, may_other), "uid {uid}");
    }
    assert!(limits.share(peer(4005)).is_none());
}

#[test]
fn one_user_s_rate_is_not_another_s() {
    let limits = limits(|c| c.max_requests_per_second = 5, None);
    let taken = (0..100).filter(|_| limits.count_request(peer(4001)).is_ok()).count();
    assert!((10..=11).contains(&taken), "burst of twice the rate, not {taken}");
    assert_eq!(limits.count_request(peer(4001)), Err(Refusal::TooManyRequests));
    let taken = (0..100).filter(|_| limits.count_connection(peer(4001)).is_ok()).count();
    assert!((10..=11).contains(&taken), "connections have a bucket of their own, not {taken}");
    for _ in 0..10 {
        limits.count_request(peer(4002)).expect("the other user is not affected");
        limits.count_connection(peer(4002)).expect("nor are its connections");
    }
}

#[tokio::test]
async fn one_user_s_connections_leave_the_others_theirs() {
    let limits = limits(|c| c.max_connections = 9, None);
    assert!(limits.share(peer(4003)).is_none());
    let (one, other) = (limits.share(peer(4001)).unwrap(), limits.share(peer(4002)).unwrap());
    let mut held = Vec::new();
    let refusal = loop {
        match one.enter() {
            Ok(entry) => held.push(entry),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, Refusal::TooManyConnections);
    // The agent's own uid, 4001 and 4002: three slots each, and twice that may wait.
    let slots = held.iter().filter(|e| matches!(e, Entry::Slot(_))).count();
    assert_eq!((slots, held.len()), (3, 9));
    assert!(one.is_wanted() && !other.is_wanted());
    let slots = [other.enter(), other.enter(), other.enter()];
    assert!(slots.iter().all(|e| matches!(e, Ok(Entry::Slot(_)))), "{slots:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_next_slot_or_an_answer_in_time() {
    let limits = limits(|c| c.max_connections = 3, None);
    let share = limits.share(peer(4001)).unwrap();
    let Ok(Entry::Slot(slot)) = share.enter() else { panic!("the first one has a slot") };
    let waiting = share.enter().unwrap();
    let late = share.enter().unwrap();
    let next = tokio::spawn(waiting.slot(Duration::from_secs(2)));
    tokio::task::yield_now().await;
    drop(slot);
    let _slot = next.await.unwrap().expect("the freed slot");
    assert_eq!(late.slot(Duration::from_secs(2)).await.unwrap_err(), Refusal::TooManyConnections);
    assert!(!share.is_wanted(), "places are given up");
}

#[test]
fn a_reload_keeps_the_fill_of_what_did_not_change() {
    let before = limits(|c| c.max_requests_per_second = 1, None);
    while before.count_request(peer(4001)).is_ok() {}
    let same = limits(
        |c| {
            c.max_requests_per_second = 1;
            c.token = Some("t".to_owned());
        },
        Some(&before),
    );
    assert!(same.count_request(peer(4001)).is_err());
    assert!(Arc::ptr_eq(before.share(peer(4001)).unwrap(), same.share(peer(4001)).unwrap()));
    assert_eq!(same.token.as_deref(), Some(&b"t"[..]));

    let other = limits(|c| c.allow_uids = vec![4001], Some(&same));
    assert!(other.share(peer(4002)).is_none());
    assert!(other.count_request(peer(4001)).is_ok(), "another rate begins anew");
}
