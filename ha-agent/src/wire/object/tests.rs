//! The real program, run by the kernel on built frames (`BPF_PROG_TEST_RUN`). That it judges as the shared
//! code does, frame by frame, is the differential test's affair; here is what it does with a judgement.

use ha_agent_common::build::{Advert, Auth};
use ha_agent_common::{
    BUDGET_BURST, Class, Device, EGRESS, FAMILY_V4, FAMILY_V6, INGRESS, RECORD_CHANGED, RECORD_FIRST, RECORD_FRAME,
    Reason, Record, Rules, SPEAKER_AH, SPEAKER_UNICAST, Watch, WatchKey, counter,
};

use super::*;
use crate::clock;
use crate::wire::trial::{GO_ON, Trial};

struct Bench {
    trial: Trial,
    keys: [WatchKey; 2],
}

/// What a test run takes for its interface's own MAC: that of `lo`.
const OWN_MAC: [u8; 6] = [0; 6];

impl Bench {
    /// Watches VRID 1 of both families as numbers 5 and 6, and knows nothing of them.
    fn new() -> Self {
        let mut trial = Trial::load(None).unwrap();
        let keys = [trial.key(1, FAMILY_V4), trial.key(1, FAMILY_V6)];
        for (key, id) in keys.iter().zip([5, 6]) {
            trial.set_watch(*key, Watch::new(id, Rules::default(), clock::now().0)).unwrap();
        }
        Self { trial, keys }
    }

    /// The same, after our own keepalived has sent its advert.
    fn taught() -> Self {
        let mut bench = Self::new();
        let mut watch = bench.watch(0);
        watch.vouch(super::super::rules::wide(from(9)));
        bench.trial.set_watch(bench.keys[0], watch).unwrap();
        bench.one(EGRESS, &Advert { source: from(9), ..Advert::v2() });
        bench
    }

    fn run(&self, direction: u8, frame: &[u8], repeat: u32) {
        let ran = self.trial.run(direction, frame, repeat).unwrap();
        assert_eq!(ran.verdict, GO_ON);
        assert_eq!(ran.frame, frame, "the frame was changed");
    }

    fn records(&mut self, direction: u8) -> Vec<Record> {
        self.trial.records(direction)
    }

    /// The one record that a frame makes.
    fn one(&mut self, direction: u8, advert: &Advert) -> Record {
        self.sent(direction, &advert.frame())
    }

    fn sent(&mut self, direction: u8, frame: &[u8]) -> Record {
        self.run(direction, frame, 1);
        let records = self.records(direction);
        assert_eq!(records.len(), 1, "{frame:x?}");
        records[0]
    }

    fn count(&self, index: u32) -> u64 {
        self.trial.counters().unwrap()[index as usize]
    }

    fn watch(&self, index: usize) -> Watch {
        self.trial.watch(self.keys[index]).unwrap()
    }
}

fn from(last: u8) -> std::net::IpAddr {
    std::net::Ipv4Addr::new(169, 254, 192, last).into()
}

fn tagged(advert: &Advert, kind: u16, id: u8) -> Vec<u8> {
    let mut frame = advert.frame();
    let [high, low] = kind.to_be_bytes();
    frame.splice(12..12, [high, low, 0xe0, id]);
    frame
}

#[test]
#[ignore = "needs root"]
fn privileged_every_variant_is_read_in_the_kernel() {
    let many = (0..=254).map(|i| std::net::Ipv4Addr::new(10, 0, 0, i).into()).collect();
    let cases = [
        (Advert::v2(), 0, 0),
        (Advert { auth: Auth::Pass(*b"secret\0\0"), ..Advert::v2() }, 1, 0),
        (Advert { auth: Auth::Ah, ..Advert::v2() }, 2, SPEAKER_AH),
        (Advert::v3(), 0, 0),
        (Advert::v6(), 0, 0),
        (Advert { destination: from(2), to_mac: Some(OWN_MAC), ttl: 64, ..Advert::v2() }, 0, SPEAKER_UNICAST),
        (Advert { option_words: 10, ..Advert::v2() }, 0, 0),
        (Advert { vmac: true, ..Advert::v2() }, 0, 0),
        (Advert { addresses: many, ..Advert::v2() }, 0, 0),
        (
            Advert {
                addresses: (0..90_u16).map(|i| std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, i).into()).collect(),
                ..Advert::v6()
            },
            0,
            0,
        ),
    ];
    for (advert, auth, flags) in cases {
        for direction in [INGRESS, EGRESS] {
            let mut bench = Bench::new();
            let record = bench.one(direction, &advert);
            let v6 = advert.source.is_ipv6();
            let class = if direction == INGRESS { Class::Peer } else { Class::Ours };
            assert_eq!((record.kind, record.class, record.reason), (RECORD_FIRST, class as u8, 0), "{advert:?}");
            assert_eq!(record.direction, direction);
            assert_eq!(record.watch, if v6 { 6 } else { 5 });
            assert_eq!(record.family, if v6 { FAMILY_V6 } else { FAMILY_V4 });
            let speaker = record.speaker;
            assert_eq!(speaker.ttl, advert.ttl);
            assert_eq!(speaker.priority, advert.priority);
            assert_eq!(speaker.interval_cs, advert.interval_cs);
            assert_eq!(speaker.version, advert.version);
            assert_eq!(usize::from(speaker.vip_count), advert.addresses.len());
            assert_eq!((speaker.auth_type, speaker.flags), (auth, flags), "{advert:?}");
            assert_eq!((speaker.adverts, speaker.run_adverts), (1, 1));
            assert_eq!(speaker.mac == [0; 6], direction == EGRESS);
            assert_eq!(bench.count(counter::FRAMES), 1);
            assert_eq!(bench.count(counter::VRRP), 1);
            let watch = bench.watch(usize::from(v6));
            assert_eq!((watch.ours, watch.peers), if direction == EGRESS { (1, 0) } else { (0, 1) });
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_an_integrity_value_is_computed_in_the_kernel() {
    let key = *b"secret\0\0";
    let keyed = |sequence, count: u8| Advert {
        auth: Auth::AhKey { key, sequence },
        addresses: (0..count).map(|last| std::net::Ipv4Addr::new(10, 0, 0, last).into()).collect(),
        ..Advert::v2()
    };
    let mut bench = Bench::new();
    let rules = Rules {
        ah: ha_agent_common::ah::Key::new(key),
        auth_type: 2,
        flags: Rules::KNOWS_AUTH | Rules::KNOWS_PASSWORD,
        ..Rules::default()
    };
    bench.trial.set_watch(bench.keys[0], Watch::new(5, rules, clock::now().0)).unwrap();
    let mut sequence = 0;
    for count in [0, 1, 7, 8, 9, 23, 24, 100, 255] {
        sequence += 1;
        let sealed = keyed(sequence, count);
        bench.run(INGRESS, &sealed.frame(), 1);
        let watch = bench.watch(0);
        let counts = (watch.peers, watch.rejected, watch.unheard);
        assert_eq!(counts, (u64::from(sequence), u64::from(sequence) - 1, 0), "{count}");
        bench.run(INGRESS, &Advert { auth: Auth::Ah, ..sealed }.frame(), 1);
        let watch = bench.watch(0);
        assert_eq!((watch.rejected, watch.reason), (u64::from(sequence), Reason::Icv as u8));
    }
    assert_eq!(bench.watch(0).ah_sequence, sequence);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_repeated_advert_makes_one_record() {
    let mut bench = Bench::new();
    bench.run(EGRESS, &Advert::v2().frame(), 100);
    let records = bench.records(EGRESS);
    assert_eq!(records.len(), 1);
    let known = bench.trial.local(5).unwrap();
    assert_eq!((known.adverts, known.run_adverts), (100, 100));
    assert_eq!(known.run_since_ns, records[0].speaker.last_seen_ns);
    assert!(known.last_seen_ns > known.run_since_ns);
    assert_eq!(bench.watch(0).ours, 100);
    let gone = bench.one(EGRESS, &Advert { priority: 0, ..Advert::v2() });
    assert_eq!((gone.kind, gone.speaker.priority), (RECORD_CHANGED, 0));
    assert!(bench.records(INGRESS).is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_what_one_source_says_is_kept_apart() {
    let mut bench = Bench::taught();
    let all = [
        Advert::v2(),
        Advert { priority: 1, ..Advert::v2() },
        Advert { mac: [2, 0, 0, 0, 0, 7], ..Advert::v2() },
        Advert { interval_cs: 300, ..Advert::v2() },
    ];
    for advert in &all {
        assert_eq!(bench.one(INGRESS, advert).kind, RECORD_FIRST, "{advert:?}");
    }
    for advert in &all {
        bench.run(INGRESS, &advert.frame(), 1);
    }
    assert!(bench.records(INGRESS).is_empty(), "each goes on as before");
    assert_eq!(bench.trial.foreign_keys().unwrap().len(), all.len());
    let watch = bench.watch(0);
    assert_eq!((watch.peers, watch.rejected), (6, 2));
}

#[test]
#[ignore = "needs root"]
fn privileged_our_own_advert_is_the_rule() {
    let bench = Bench::taught();
    let list = bench.trial.local(5).unwrap().list;
    let rules = bench.watch(0).rules;
    assert_eq!((rules.version, rules.vip_count, rules.list, rules.interval_cs), (2, 1, list, 200));
    let frame = |advert: Advert| {
        let record = Bench::taught().one(INGRESS, &advert);
        (record.class, Reason::from_code(record.reason))
    };
    let rejected = Class::Rejected as u8;
    assert_eq!(frame(Advert::v2()), (Class::Peer as u8, None));
    assert_eq!(frame(Advert::v3()), (rejected, Some(Reason::Version)));
    assert_eq!(frame(Advert { interval_cs: 300, ..Advert::v2() }), (rejected, Some(Reason::Interval)));
    assert_eq!(frame(Advert { addresses: vec![from(77)], ..Advert::v2() }), (rejected, Some(Reason::Addresses)));
    assert_eq!(frame(Advert { auth: Auth::Pass([1; 8]), ..Advert::v2() }), (rejected, Some(Reason::Auth)));
    let unicast = Advert { destination: from(9), to_mac: Some(OWN_MAC), ..Advert::v2() };
    assert_eq!(frame(unicast), (Class::Unheard as u8, Some(Reason::Destination)));
    // What arrives teaches nothing.
    bench.run(INGRESS, &Advert { interval_cs: 300, ..Advert::v2() }.frame(), 5);
    assert_eq!(bench.watch(0).rules, rules);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_nobody_hears_touches_no_speaker() {
    let mut bench = Bench::taught();
    bench.one(INGRESS, &Advert::v2());
    let keys = bench.trial.foreign_keys().unwrap();
    let before = bench.trial.foreign(keys[0]).unwrap();
    let better = Advert { priority: 255, ..Advert::v2() };
    let mut header = better.frame();
    header[25] ^= 1;
    let cases = [
        (Advert { to_mac: Some([2, 0, 0, 0, 9, 9]), ..better.clone() }.frame(), Reason::OtherHost),
        (
            Advert { destination: std::net::Ipv4Addr::new(224, 0, 0, 19).into(), ..better.clone() }.frame(),
            Reason::Destination,
        ),
        (header, Reason::Header),
        (Advert { options: vec![131, 3, 4], ..better.clone() }.frame(), Reason::SourceRoute),
        (
            Advert { source: std::net::Ipv4Addr::new(224, 0, 0, 1).into(), ..better.clone() }.frame(),
            Reason::MartianSource,
        ),
        (Advert { auth: Auth::Ah, ..better }.frame(), Reason::Protocol),
    ];
    let count = cases.len() as u64;
    for (frame, reason) in cases {
        let record = bench.sent(INGRESS, &frame);
        assert_eq!((record.kind, record.class), (RECORD_FRAME, Class::Unheard as u8));
        assert_eq!(Reason::from_code(record.reason), Some(reason));
        assert_eq!((record.speaker.priority, record.speaker.mac), (255, [2, 0, 0, 0, 0, 1]));
        assert_eq!(bench.trial.foreign_keys().unwrap(), keys);
        assert_eq!(bench.trial.foreign(keys[0]).unwrap(), before);
    }
    assert_eq!(bench.count(counter::INVALID), count);
    let watch = bench.watch(0);
    assert_eq!((watch.unheard, watch.rejected, watch.rejected_ns), (count, 0, 0));
    assert_eq!(Reason::from_code(watch.reason), Some(Reason::Protocol));
}

#[test]
#[ignore = "needs root"]
fn privileged_what_keepalived_drops_is_remembered_as_such() {
    let mut bench = Bench::taught();
    let before = clock::now().0;
    let record = bench.one(INGRESS, &Advert { ttl: 64, ..Advert::v2() });
    assert_eq!((record.kind, record.class), (RECORD_FIRST, Class::Rejected as u8));
    assert_eq!((record.reason, record.speaker.refused), (Reason::Ttl as u8, Reason::Ttl as u8));
    let watch = bench.watch(0);
    assert_eq!((watch.rejected, watch.peers, watch.unheard), (1, 0, 0));
    assert!(watch.rejected_ns >= before);
    let keys = bench.trial.foreign_keys().unwrap();
    assert_eq!(bench.trial.foreign(keys[0]).unwrap().unwrap().refused, Reason::Ttl as u8);
}

#[test]
#[ignore = "needs root"]
fn privileged_floods_stay_within_budgets_of_their_own() {
    let mut bench = Bench::taught();
    let mut unheard = Advert::v2().frame();
    unheard[25] ^= 1;
    bench.run(INGRESS, &unheard, 10_000);
    assert!(bench.records(INGRESS).len() <= BUDGET_BURST as usize + 1);
    assert!(bench.watch(0).withheld >= 9_000);
    // Those whom keepalived rejects share it; peers do not.
    let mut rejected = 0;
    for last in 0..=255 {
        bench.run(INGRESS, &Advert { source: from(last), ttl: 64, ..Advert::v2() }.frame(), 1);
        rejected += bench.records(INGRESS).len();
    }
    assert!(rejected < 64, "{rejected}");
    assert_eq!(bench.trial.foreign_keys().unwrap().len(), rejected);
    assert_eq!(bench.one(INGRESS, &Advert::v2()).kind, RECORD_FIRST);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_foreign_flood_reaches_neither_the_local_speaker_nor_the_map() {
    let mut bench = Bench::new();
    bench.one(EGRESS, &Advert::v2());
    let before = bench.trial.local(5).unwrap();
    let began = clock::now();
    let mut sent = 0;
    for index in 0..20_000_u32 {
        let [_, high, low, vrid] = (index * 7919).to_be_bytes();
        let advert = Advert {
            source: std::net::Ipv4Addr::new(10, high, low, 1).into(),
            vrid: if index % 4 == 0 { vrid } else { 1 },
            ..Advert::v2()
        };
        sent += u64::from(advert.vrid == 1);
        bench.run(INGRESS, &advert.frame(), 1);
    }
    let seconds = clock::now().since(began).as_secs_f64();
    let allowed = f64::from(BUDGET_BURST) + 32.0 * seconds + 2.0;
    let records = bench.records(INGRESS).len();
    assert!(records >= BUDGET_BURST as usize);
    assert!(f64::from(u32::try_from(records).unwrap()) <= allowed, "{records} over {seconds} s");
    assert_eq!(bench.trial.foreign_keys().unwrap().len(), records, "no speaker without a record");
    assert_eq!(bench.watch(0).peers, sent);
    assert_eq!(bench.count(counter::UNKNOWN_VRID), 20_000 - sent);
    assert_eq!(bench.trial.local(5).unwrap(), before);
    assert!(bench.records(EGRESS).is_empty());
    let gone = Advert { priority: 0, ..Advert::v2() };
    assert_ne!(bench.one(EGRESS, &gone).kind, RECORD_FIRST);
}

#[test]
#[ignore = "needs root"]
fn privileged_other_frames_are_passed_over_and_counted() {
    let mut bench = Bench::new();
    let mut tcp = Advert::v2().frame();
    tcp[23] = 6;
    bench.run(INGRESS, &tcp, 3);
    assert_eq!((bench.count(counter::FRAMES), bench.count(counter::VRRP)), (3, 0));
    bench.run(INGRESS, &tagged(&Advert::v2(), 0x8100, 5), 1);
    assert_eq!(bench.count(counter::TAGGED), 1);
    bench.run(INGRESS, &tagged(&Advert { auth: Auth::Ah, ..Advert::v2() }, 0x88a8, 5), 1);
    assert_eq!(bench.count(counter::TAGGED), 2);
    let stranger = Advert { vrid: 77, ..Advert::v2() };
    bench.run(INGRESS, &stranger.frame(), 1);
    assert_eq!(bench.count(counter::UNKNOWN_VRID), 1);
    assert!(bench.records(INGRESS).is_empty());
    assert_eq!(bench.trial.foreign_keys().unwrap().len(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_priority_tag_hides_nothing() {
    for kind in [0x8100, 0x88a8] {
        let mut bench = Bench::new();
        let record = bench.sent(INGRESS, &tagged(&Advert::v2(), kind, 0));
        assert_eq!((record.kind, record.class), (RECORD_FIRST, Class::Peer as u8));
        assert_eq!(bench.sent(INGRESS, &tagged(&Advert::v6(), kind, 0)).watch, 6);
        assert_eq!(bench.count(counter::TAGGED), 0);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_what_must_be_put_together_is_handed_over_where_we_are_attached() {
    let mut bench = Bench::new();
    let fragment = Advert { fragment: 0x2000, ..Advert::v2() };
    bench.run(INGRESS, &fragment.frame(), 1);
    assert_eq!(bench.count(counter::FRAGMENT), 0);
    assert!(bench.trial.pieces().is_empty(), "nothing is attached there");

    let device = Device { refilled_ns: clock::now().0, tokens: BUDGET_BURST, ..Device::default() };
    bench.trial.set_device(device).unwrap();
    bench.run(INGRESS, &fragment.frame(), 1);
    bench.run(EGRESS, &fragment.frame(), 1);
    let mut hop_by_hop = Advert::v6().frame();
    hop_by_hop[20] = 0;
    bench.run(INGRESS, &hop_by_hop, 1);
    bench.run(INGRESS, &tagged(&fragment, 0x8100, 0), 1);
    let pieces = bench.trial.pieces();
    assert_eq!(pieces.len(), 3, "only what arrives");
    for (piece, frame) in pieces.iter().zip([fragment.frame(), hop_by_hop, fragment.frame()]) {
        let length = usize::from(piece.head.length);
        assert_eq!(piece.bytes[..length], frame[14..]);
        assert_eq!(piece.head.mac, [2, 0, 0, 0, 0, 1]);
        assert_eq!((piece.head.host, &piece.head.to[..]), (ha_agent_common::frame::HOST_GROUP, &frame[..6]));
        assert_eq!(piece.head.ifindex, 1);
    }
    assert_eq!(bench.count(counter::FRAGMENT), 3);
    // A flood of them stays within its budget; what is too long is counted.
    bench.run(INGRESS, &fragment.frame(), 10_000);
    assert!(bench.trial.pieces().len() < 100);
    let before = bench.count(counter::WITHHELD);
    bench.trial.set_device(device).unwrap();
    let mut long = fragment.frame();
    long.resize(14 + 2049, 0);
    bench.run(INGRESS, &long, 1);
    assert!(bench.trial.pieces().is_empty());
    assert_eq!(bench.count(counter::WITHHELD), before + 1);
    long.pop();
    bench.run(INGRESS, &long, 1);
    assert_eq!(bench.trial.pieces()[0].head.length, 2048);
    assert!(bench.records(INGRESS).is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_the_class_id_stands_in_for_the_cookie() {
    let Loaded { identity, .. } = load(Choice { force_class_id: true, ..Choice::default() }).unwrap();
    assert_eq!(identity, Identity::ClassId);
}

#[test]
#[ignore = "needs root"]
fn privileged_each_load_has_a_secret_of_its_own() {
    let [one, two] = [0; 2].map(|_| load(Choice::default()).unwrap().key);
    assert_ne!(one, two);
    assert!(one.iter().chain(&two).all(|word| *word != 0));
}

#[test]
fn an_object_that_is_none_is_named() {
    let missing = PathBuf::from("/nonexistent/ha-agent.bpf.o");
    assert!(matches!(
        load(Choice { path: Some(&missing), ..Choice::default() }).map(|_| ()),
        Err(WireError::Object { path, .. }) if path == missing
    ));
}

#[test]
fn an_object_without_our_layout_is_refused() {
    // The embedded one with the layout's symbol renamed.
    let mut other = EMBEDDED.to_vec();
    let name = LAYOUT_GLOBAL.as_bytes();
    let places: Vec<usize> = (0..other.len() - name.len()).filter(|at| &other[*at..*at + name.len()] == name).collect();
    assert!(!places.is_empty());
    for at in places {
        other[at + name.len() - 1] = b'0';
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), other).unwrap();
    let path = file.path().to_owned();
    let choice = Choice { path: Some(&path), force_class_id: true, any_sender: false };
    assert!(matches!(load(choice).map(|_| ()), Err(WireError::LayoutMismatch)));
}
