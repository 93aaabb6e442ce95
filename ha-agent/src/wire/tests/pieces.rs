//! Fragments and extension headers, side by side with a real keepalived: what it takes, we take.

use ha_agent_common::build::{Advert as Frame, checksum};
use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::advert_rules::AdvertRules;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A keepalived that waits as backup for half a minute, and so says nothing.
struct Listener {
    child: Child,
    folder: tempfile::TempDir,
}

impl Listener {
    fn start(pair: &Pair, family: Family) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (version, addresses) = match family {
            Family::V4 => ("", "169.254.0.1/24 dev ha0"),
            Family::V6 => ("version 3\n native_ipv6\n", "fe80::1/64 dev ha0"),
        };
        let text = format!(
            "global_defs {{\n script_user root\n}}\nvrrp_instance VR_1 {{\n {version} state BACKUP\n \
             interface ha0\n virtual_router_id 1\n priority 50\n advert_int 20\n \
             virtual_ipaddress {{\n  {addresses}\n }}\n}}\n"
        );
        fs::write(file("conf"), text).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &pair.names[1], "keepalived", "-n", "-P", "-f"])
            .arg(file("conf"))
            .arg("-p")
            .arg(file("pid"))
            .arg("-r")
            .arg(file("vrrp"))
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Adverts that it took, and those that it dropped for their TTL. None: it has not answered.
    fn counts(&self) -> Option<(u64, u64)> {
        let pid = fs::read_to_string(self.folder.path().join("pid")).ok()?;
        let pid = Pid::from_raw(pid.trim().parse().ok()?)?;
        kill_process(pid, Signal::USR2).ok()?;
        let text = fs::read_to_string(self.folder.path().join("keepalived.stats")).ok()?;
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
            line.trim().parse().ok()
        };
        Some((figure("Received:")?, figure("TTL:")?))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _status = self.child.wait();
    }
}

/// The packet of an advert.
fn packet(advert: &Frame) -> Vec<u8> {
    let mut packet = advert.frame().split_off(14);
    let length = if advert.source.is_ipv4() { be16(&packet, 2) } else { 40 + be16(&packet, 4) };
    packet.truncate(length);
    packet
}

fn be16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

/// The frame of a packet to the group.
fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = match packet[0] >> 4 {
        4 => vec![1, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 1, 8, 0],
        _ => vec![0x33, 0x33, 0, 0, 0, 0x12, 2, 0, 0, 0, 0, 1, 0x86, 0xdd],
    };
    frame.extend(packet);
    frame
}

/// An IPv4 fragment: some bytes of a packet's payload.
fn v4(packet: &[u8], bytes: std::ops::Range<usize>, id: u8) -> Vec<u8> {
    let header = usize::from(packet[0] & 15) * 4;
    let end = (header + bytes.end).min(packet.len());
    let mut piece = packet[..header].to_vec();
    piece.extend(&packet[header + bytes.start..end]);
    let more = if end < packet.len() { 0x20 } else { 0 };
    let total = u16::try_from(piece.len()).unwrap();
    piece[2..4].copy_from_slice(&total.to_be_bytes());
    piece[5] = id;
    piece[6] = more;
    piece[7] = u8::try_from(bytes.start / 8).unwrap();
    seal(piece, header)
}

fn seal(mut piece: Vec<u8>, header: usize) -> Vec<u8> {
    piece[10..12].fill(0);
    let sum = checksum(&piece[..header]);
    piece[10..12].copy_from_slice(&sum.to_be_bytes());
    piece
}

/// An IPv6 packet with headers before what it carries.
fn v6(packet: &[u8], first: u8, headers: &[&[u8]], bytes: std::ops::Range<usize>) -> Vec<u8> {
    let mut piece = packet[..40].to_vec();
    piece[6] = first;
    piece.extend(headers.concat());
    piece.extend(&packet[40 + bytes.start..(40 + bytes.end).min(packet.len())]);
    let length = u16::try_from(piece.len() - 40).unwrap();
    piece[4..6].copy_from_slice(&length.to_be_bytes());
    piece
}

/// What is sent, and whether keepalived is expected to take it: the comparison is with what it does.
struct Case {
    name: &'static str,
    pieces: Vec<Vec<u8>>,
    taken: bool,
}

fn v4_cases() -> Vec<Case> {
    let advert = Frame { interval_cs: 2_000, ..Frame::v2() };
    let plain = packet(&advert);
    let with_options = packet(&Frame { option_words: 2, ..advert.clone() });
    let elsewhere = packet(&Frame { destination: [224, 0, 0, 19].into(), ..advert });
    let mut id = 9;
    let mut case = |name, taken, pieces: &[(&[u8], std::ops::Range<usize>)]| {
        id += 1;
        let pieces = pieces.iter().map(|(packet, bytes)| v4(packet, bytes.clone(), id)).collect();
        Case { name, pieces, taken }
    };
    let p = &plain[..];
    let mut cases = vec![
        case("two", true, &[(p, 0..8), (p, 8..99)]),
        case("two, turned round", true, &[(p, 8..99), (p, 0..8)]),
        case("three, mixed", true, &[(p, 8..16), (p, 16..99), (p, 0..8)]),
        case("a duplicate", true, &[(p, 0..8), (p, 0..8), (p, 8..99)]),
        case("a part of what came in order", true, &[(p, 0..8), (p, 8..16), (p, 0..16), (p, 16..99)]),
        case("a part of what came out of order", false, &[(p, 8..16), (p, 0..8), (p, 0..16), (p, 16..99)]),
        case("an overlap", false, &[(p, 0..16), (p, 8..99)]),
        case("no last one", false, &[(p, 0..8), (p, 8..16)]),
        case("no first one", false, &[(p, 8..16), (p, 16..99)]),
        case("options in the first one", true, &[(&with_options, 0..8), (p, 8..99)]),
        case("options in the second one", true, &[(p, 0..8), (&with_options, 8..99)]),
        case("another group", false, &[(&elsewhere, 0..8), (&elsewhere, 8..99)]),
    ];
    let mut wrong = case("a wrong header checksum", false, &[(p, 0..8), (p, 8..99)]);
    wrong.pieces[0][10] ^= 1;
    let mut marked = case("congestion marks that do not go together", false, &[(p, 0..8), (p, 8..99)]);
    marked.pieces[0][1] |= 1;
    marked.pieces[0] = seal(marked.pieces[0].clone(), 20);
    cases.extend([wrong, marked]);
    cases
}

fn v6_cases() -> Vec<Case> {
    let plain = packet(&Frame { interval_cs: 2_000, ..Frame::v6() });
    let p = &plain[..];
    let one = |name, taken, first, headers: &[&[u8]]| Case { name, pieces: vec![v6(p, first, headers, 0..999)], taken };
    let fragment = |next: u8, at: u8, more: u8, id: u8| [next, 0, 0, at | more, 0, 0, 0, id];
    let many: Vec<u8> = [vec![112, 2], [0x1e, 0].repeat(9), vec![1, 2, 0, 0]].concat();
    let some: Vec<u8> = [vec![112, 2], [0x1e, 0].repeat(8), vec![1, 4, 0, 0, 0, 0]].concat();
    let whole = fragment(112, 0, 0, 1);
    let mut cases = vec![
        one("hop-by-hop, padding", true, 0, &[&[112, 0, 1, 4, 0, 0, 0, 0]]),
        one("hop-by-hop, single padding", true, 0, &[&[112, 0, 0, 0, 0, 0, 0, 0]]),
        one("hop-by-hop, router alert", true, 0, &[&[112, 0, 5, 2, 0, 0, 1, 0]]),
        one("hop-by-hop, padding that is not zero", false, 0, &[&[112, 0, 1, 4, 0, 9, 0, 0]]),
        one("hop-by-hop, too much padding", false, 0, &[&[112, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0x1e, 4, 0, 0, 0, 0]]),
        one("hop-by-hop, unknown, to be passed", true, 0, &[&[112, 0, 0x1e, 4, 7, 7, 7, 7]]),
        one("hop-by-hop, unknown, to be dropped", false, 0, &[&[112, 0, 0x5e, 4, 7, 7, 7, 7]]),
        one("hop-by-hop, unknown, to be answered", false, 0, &[&[112, 0, 0xde, 4, 7, 7, 7, 7]]),
        one("hop-by-hop, jumbogram", false, 0, &[&[112, 0, 0xc2, 4, 0, 1, 0, 0]]),
        one("hop-by-hop, beyond its end", false, 0, &[&[112, 0, 0x1e, 9, 7, 7, 7, 7]]),
        one("hop-by-hop, eight options", true, 0, &[&some]),
        one("hop-by-hop, nine options", false, 0, &[&many]),
        one("hop-by-hop, label", false, 0, &[&[112, 1, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0]]),
        one("hop-by-hop, measurement", true, 0, &[&[112, 0, 1, 0, 49, 2, 0, 0]]),
        one("hop-by-hop, measurement, not aligned", false, 0, &[&[112, 0, 49, 2, 0, 0, 1, 0]]),
        one("destination", true, 60, &[&[112, 0, 1, 4, 0, 0, 0, 0]]),
        one(
            "destination, home address",
            false,
            60,
            &[&[112, 2, 0xc9, 16, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 0, 0]],
        ),
        one("hop-by-hop and destination", true, 0, &[&[60, 0, 1, 4, 0, 0, 0, 0], &[112, 0, 1, 4, 0, 0, 0, 0]]),
        one("destination and hop-by-hop", false, 60, &[&[0, 0, 1, 4, 0, 0, 0, 0], &[112, 0, 1, 4, 0, 0, 0, 0]]),
        one("routing to a group", false, 43, &[&[112, 0, 0, 0, 0, 0, 0, 0]]),
        one("a fragment that is the whole", true, 44, &[&whole]),
        one("two of those", false, 44, &[&fragment(44, 0, 0, 1), &whole]),
        one("nothing behind", false, 0, &[&[59, 0, 1, 4, 0, 0, 0, 0]]),
    ];
    let hop: &[u8] = &[44, 0, 1, 4, 0, 0, 0, 0];
    let mut id = 9;
    let mut cut = |name, taken, pieces: &[(u8, u8, std::ops::Range<usize>)]| {
        id += 1;
        let pieces = pieces.iter().map(|(first, more, bytes)| {
            let fragment = fragment(112, u8::try_from(bytes.start).unwrap(), *more, id);
            let headers: &[&[u8]] = if *first == 0 { &[hop, &fragment] } else { &[&fragment] };
            v6(p, *first, headers, bytes.clone())
        });
        cases.push(Case { name, pieces: pieces.collect(), taken });
    };
    cut("two", true, &[(44, 1, 0..16), (44, 0, 16..99)]);
    cut("three, mixed", true, &[(44, 1, 8..16), (44, 0, 16..99), (44, 1, 0..8)]);
    cut("a duplicate", true, &[(44, 1, 0..16), (44, 1, 0..16), (44, 0, 16..99)]);
    cut("an overlap", false, &[(44, 1, 0..16), (44, 0, 8..99)]);
    cut("no last one", false, &[(44, 1, 0..16)]);
    cut("one that ends anywhere is passed over", true, &[(44, 1, 0..16), (44, 1, 16..20), (44, 0, 16..99)]);
    cut("behind hop-by-hop options", true, &[(0, 1, 0..16), (0, 0, 16..99)]);
    // The first one holds no more than options.
    let inner = v6(p, 60, &[&[112, 0, 1, 4, 0, 0, 0, 0]], 0..999);
    let part = |at, more, bytes| v6(&inner, 44, &[&fragment(60, at, more, 99)], bytes);
    cases.push(Case {
        name: "options alone in the first one",
        pieces: vec![part(0, 1, 0..8), part(8, 0, 8..99)],
        taken: false,
    });
    cases
}

/// Sends each case, then an advert in pieces that both sides drop for its TTL, and compares.
async fn compare(tag: &str, family: Family, cases: Vec<Case>, fence: impl Fn(u8) -> Vec<Vec<u8>>) {
    let pair = Pair::new(tag);
    if family == Family::V6 {
        settle(&pair).await;
    }
    let rig = Rig::new(WireOptions::default());
    let id = router(1, 1);
    let target = Target {
        router: id,
        netns: pair.netns(1),
        interface: "ha0".to_owned(),
        through: None,
        vrid: 1,
        family,
        vip: IpAddr::from([169, 254, 0, 1]),
        rules: AdvertRules::default(),
    };
    rig.wire.attach(target).await.unwrap();
    let listener = Listener::start(&pair, family);
    let send = async |pieces: &[Vec<u8>]| {
        let frames: Vec<Vec<u8>> = pieces.iter().map(|piece| frame(piece)).collect();
        rig.netns.run_in(pair.netns(0), move || send_raw("ha0", &frames)).await.unwrap().unwrap();
    };
    // Both sides' counts, taken and dropped for the TTL.
    let counts = || {
        let ours = rig.wire.judged(id).unwrap();
        (listener.counts(), (ours.peers, ours.rejected))
    };
    // It hears once it has opened its socket; until then only we count.
    let mut number = 100;
    while listener.counts().is_none_or(|(_, dropped)| dropped == 0) {
        assert!(number < 200, "keepalived hears nothing");
        send(&fence(number)).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What is still on its way to it is counted, too, once two looks agree.
    let (mut theirs, mut ours) = loop {
        let before = counts();
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let (Some(theirs), ours) = counts()
            && before == (Some(theirs), ours)
        {
            break (theirs, ours);
        }
    };
    let mut wrong = Vec::new();
    for case in cases {
        send(&case.pieces).await;
        number = number.wrapping_add(1);
        send(&fence(number)).await;
        let deadline = std::time::Instant::now() + PATIENCE;
        let after = loop {
            if let (Some(their), our) = counts()
                && their.1 > theirs.1
                && our.1 > ours.1
            {
                break (their, our);
            }
            assert!(std::time::Instant::now() < deadline, "{}: {theirs:?} {ours:?} {:?}", case.name, counts());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let told = (after.0.0 - theirs.0, after.1.0 - ours.0);
        (theirs, ours) = after;
        let expected = u64::from(case.taken);
        if told != (expected, expected) {
            wrong.push(format!("{}: keepalived took {}, we {}, expected {expected}", case.name, told.0, told.1));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    drop(listener);
    rig.stop().await;
}

/// Waits until the addresses of both ends may be used.
async fn settle(pair: &Pair) {
    let deadline = std::time::Instant::now() + PATIENCE;
    let tentative = |name: &String| {
        let told = Command::new("ip").args(["-n", name, "-6", "addr", "show", "dev", "ha0"]).output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        !told.contains("fe80") || told.contains("tentative")
    };
    while pair.names.iter().any(tentative) {
        assert!(std::time::Instant::now() < deadline, "addresses stay tentative");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_fragments_are_taken_as_keepalived_takes_them() {
    let low = packet(&Frame { interval_cs: 2_000, ttl: 64, ..Frame::v2() });
    compare("frag4", Family::V4, v4_cases(), |id| vec![v4(&low, 0..8, id), v4(&low, 8..99, id)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_extension_headers_are_taken_as_keepalived_takes_them() {
    let low = packet(&Frame { interval_cs: 2_000, ttl: 64, ..Frame::v6() });
    let fence = |_| vec![v6(&low, 0, &[&[112, 0, 1, 4, 0, 0, 0, 0]], 0..999)];
    compare("ext6", Family::V6, v6_cases(), fence).await;
}
