//! The real program, run by the kernel on built frames (`BPF_PROG_TEST_RUN`).

use ha_agent_common::build::{Advert, Auth};
use ha_agent_common::{
    BUDGET_BURST, EGRESS, FAMILY_V4, FAMILY_V6, ForeignKey, INGRESS, INVALID_CHECKSUM, INVALID_LENGTH, INVALID_TTL,
    INVALID_TYPE, INVALID_VERSION, RECORD_CHANGED, RECORD_FIRST, RECORD_INVALID, Record, SPEAKER_AH,
    SPEAKER_CHECKSUM_PLAIN, SPEAKER_UNICAST, SPEAKER_VMAC, Watch, WatchKey, counter,
};

use super::*;
use crate::clock;
use crate::wire::trial::{GO_ON, Trial};

struct Bench {
    trial: Trial,
    keys: [WatchKey; 2],
}

impl Bench {
    /// Watches VRID 1 of both families as numbers 5 and 6.
    fn new() -> Self {
        let mut trial = Trial::load(None).unwrap();
        let keys = [trial.key(1, FAMILY_V4), trial.key(1, FAMILY_V6)];
        for (key, id) in keys.iter().zip([5, 6]) {
            trial.set_watch(*key, Watch::new(id, clock::now().0)).unwrap();
        }
        Self { trial, keys }
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
        self.run(direction, &advert.frame(), 1);
        let records = self.records(direction);
        assert_eq!(records.len(), 1, "{advert:?}");
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

#[test]
#[ignore = "needs root"]
fn privileged_every_variant_is_read_in_the_kernel() {
    let cases = [
        (Advert::v2(), 0, 0),
        (Advert { auth: Auth::Pass(*b"secret\0\0"), ..Advert::v2() }, 1, 0),
        (Advert { auth: Auth::Ah, ..Advert::v2() }, 2, SPEAKER_AH),
        (Advert::v3(), 0, 0),
        (Advert { plain_checksum: true, ..Advert::v3() }, 0, SPEAKER_CHECKSUM_PLAIN),
        (Advert::v6(), 0, 0),
        (Advert { version: 2, ..Advert::v6() }, 0, 0),
        (Advert { destination: from(2), ttl: 64, ..Advert::v2() }, 0, SPEAKER_UNICAST),
        (Advert { option_words: 1, ..Advert::v2() }, 0, 0),
        (Advert { vmac: true, ..Advert::v2() }, 0, SPEAKER_VMAC),
        (Advert { trailer: true, ..Advert::v3() }, 0, 0),
        (
            Advert {
                addresses: (0..=254).map(|i| std::net::Ipv4Addr::new(10, 0, 0, i).into()).collect(),
                ..Advert::v2()
            },
            0,
            0,
        ),
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
            assert_eq!(record.kind, RECORD_FIRST, "{advert:?}");
            assert_eq!(record.invalid, 0);
            assert_eq!(record.direction, direction);
            assert_eq!(record.watch, if v6 { 6 } else { 5 });
            assert_eq!(record.family, if v6 { FAMILY_V6 } else { FAMILY_V4 });
            assert_eq!(record.ttl, advert.ttl);
            let speaker = record.speaker;
            assert_eq!(speaker.priority, advert.priority);
            assert_eq!(speaker.interval_cs, advert.interval_cs);
            assert_eq!(speaker.version, advert.version);
            assert_eq!(usize::from(speaker.vip_count), advert.addresses.len());
            assert_eq!((speaker.auth_type, speaker.flags), (auth, flags), "{advert:?}");
            assert_eq!((speaker.adverts, speaker.run_adverts), (1, 1));
            assert_eq!(bench.count(counter::FRAMES), 1);
            assert_eq!(bench.count(counter::VRRP), 1);
        }
    }
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
    assert_eq!(bench.watch(0).local_adverts, 100);
    // Leaving is told, and who left.
    let gone = bench.one(EGRESS, &Advert { priority: 0, ..Advert::v2() });
    assert_eq!(gone.kind, RECORD_CHANGED);
    assert_eq!((gone.speaker.priority, gone.speaker.last_priority), (0, 50));
    assert!(bench.records(INGRESS).is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_an_invalid_frame_touches_no_speaker() {
    let mut bench = Bench::new();
    bench.one(INGRESS, &Advert::v2());
    let key = ForeignKey { watch: 5, family: u32::from(FAMILY_V4), src: bench.trial.foreign_keys().unwrap()[0].src };
    let before = bench.trial.foreign(key).unwrap();
    let better = Advert { priority: 255, ..Advert::v2() };
    let mut checksum = better.frame();
    checksum[41] ^= 1;
    let mut length = better.frame();
    length[17] = 39;
    let cases = [
        (Advert { ttl: 64, ..better.clone() }.frame(), INVALID_TTL),
        (checksum, INVALID_CHECKSUM),
        (length, INVALID_LENGTH),
        (Advert { kind: 3, ..better.clone() }.frame(), INVALID_TYPE),
        (Advert { version: 4, ..better }.frame(), INVALID_VERSION),
    ];
    let count = cases.len() as u64;
    for (frame, code) in cases {
        bench.run(INGRESS, &frame, 1);
        let records = bench.records(INGRESS);
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].kind, records[0].invalid), (RECORD_INVALID, code));
        assert_eq!(records[0].speaker.priority, 255);
        assert_eq!(bench.trial.foreign(key).unwrap(), before);
    }
    assert_eq!(bench.count(counter::INVALID), count);
    assert_eq!(bench.watch(0).invalid_frames, count);
    // A flood of them stays within its own budget and leaves the others alone.
    let mut flood = Advert::v2().frame();
    flood[22] = 1;
    bench.run(INGRESS, &flood, 10_000);
    assert!(bench.records(INGRESS).len() <= BUDGET_BURST as usize);
    assert!(bench.watch(0).withheld >= 9_000);
    let other = Advert { source: from(9), ..Advert::v2() };
    assert_eq!(bench.one(INGRESS, &other).kind, RECORD_FIRST);
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
    assert_eq!(bench.watch(0).foreign_adverts, sent);
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
    let fragment = Advert { fragment: 0x2000, ..Advert::v2() };
    bench.run(INGRESS, &fragment.frame(), 1);
    assert_eq!(bench.count(counter::FRAGMENT), 1);
    let mut tagged = Advert::v2().frame();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    bench.run(INGRESS, &tagged, 1);
    assert_eq!(bench.count(counter::TAGGED), 1);
    let mut tagged = Advert { auth: Auth::Ah, ..Advert::v2() }.frame();
    tagged.splice(12..12, [0x88, 0xa8, 0x00, 0x05]);
    bench.run(INGRESS, &tagged, 1);
    assert_eq!(bench.count(counter::TAGGED), 2);
    let stranger = Advert { vrid: 77, ..Advert::v2() };
    bench.run(INGRESS, &stranger.frame(), 1);
    assert_eq!(bench.count(counter::UNKNOWN_VRID), 1);
    assert!(bench.records(INGRESS).is_empty());
    assert_eq!(bench.trial.foreign_keys().unwrap().len(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_frame_cut_off_in_the_trailer_is_invalid() {
    let mut bench = Bench::new();
    let mut frame = Advert { trailer: true, ..Advert::v3() }.frame();
    frame.pop();
    bench.run(INGRESS, &frame, 1);
    let records = bench.records(INGRESS);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].kind, records[0].invalid), (RECORD_INVALID, INVALID_LENGTH));
}

#[test]
#[ignore = "needs root"]
fn privileged_the_class_id_stands_in_for_the_cookie() {
    let Loaded { identity, .. } = load(None, true).unwrap();
    assert_eq!(identity, Identity::ClassId);
}

#[test]
fn an_object_that_is_none_is_named() {
    let missing = PathBuf::from("/nonexistent/ha-agent.bpf.o");
    assert!(matches!(
        load(Some(&missing), false).map(|_| ()),
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
    assert!(matches!(load(Some(&file.path().to_owned()), true).map(|_| ()), Err(WireError::LayoutMismatch)));
}
