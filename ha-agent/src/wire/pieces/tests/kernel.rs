//! Pieces at random, given to the kernel and to an assembly: both deliver the same packets.
//!
//! The kernel's side is a raw socket for VRRP at one end of a veth pair; the pieces go out of the other.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::process::Command;
use std::time::Duration;

use ha_agent_common::FAMILY_V6;
use ha_agent_common::frame::{HOST_DEVICE, be16};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::netns::NetnsThread;
use crate::wire::tests::{Pair, ip, send_raw};

/// Packets that each seed makes, each under an identification of its own.
const ROUNDS: u32 = 400;
/// Bytes of the packet that ends a round: no other one is as long.
const MARK: usize = 300;

/// What is on its way: a frame's host and its packet.
struct Sent {
    direct: bool,
    packet: Vec<u8>,
}

/// A payload that tells bytes apart.
fn payload(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| random.u8(..)).collect()
}

fn v4_header(total: usize, id: u16, place: u16, random: &mut fastrand::Rng, destination: [u8; 4]) -> Vec<u8> {
    let options: &[u8] = match random.u8(..40) {
        0 => &[1, 1, 1, 0],
        1 => &[148, 4, 0, 0],
        2 => &[131, 7, 4, 10, 0, 0, 1, 0],
        3 => &[7, 3, 4, 0],
        4 => &[68, 3, 5, 0],
        _ => &[],
    };
    let total = u16::try_from(total + 20 + options.len()).unwrap();
    let mut header = vec![0x45 + u8::try_from(options.len() / 4).unwrap(), 0];
    if random.u8(..60) == 0 {
        header[1] = random.u8(..4);
    }
    header.extend(total.to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend(place.to_be_bytes());
    header.extend([255, 112, 0, 0, 169, 254, 192, 1]);
    header.extend(destination);
    header.extend(options);
    seal(&mut header);
    if random.u8(..80) == 0 {
        header[11] ^= 1;
    }
    header
}

/// Cuts of one packet, some of them wrong.
fn v4(random: &mut fastrand::Rng, id: u16) -> Vec<Sent> {
    let length = random.usize(1..10) * 8 + random.usize(..8);
    let whole = payload(random, length);
    let destination = if random.bool() { [169, 254, 192, 2] } else { [224, 0, 0, 18] };
    let mut sent = Vec::new();
    for (begin, end) in ranges(random, length) {
        let more = if end < length { 0x2000 } else { 0 };
        let place = more | u16::try_from(begin / 8).unwrap();
        let mut packet = v4_header(end - begin, id, place, random, destination);
        packet.extend(&whole[begin..end]);
        sent.push(Sent { direct: destination[0] == 169, packet });
    }
    sent
}

/// Parts of a payload that cover it, with some more, some fewer, in any order.
fn ranges(random: &mut fastrand::Rng, length: usize) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut begin = 0;
    while begin < length {
        let end = (begin + 8 * random.usize(1..4)).min(length);
        ranges.push((begin, end));
        begin = end;
    }
    if random.u8(..4) == 0 {
        random.shuffle(&mut ranges);
    }
    for _ in 0..random.usize(..3) {
        let begin = random.usize(..length.div_ceil(8)) * 8;
        let end = if random.u8(..4) == 0 {
            random.usize(begin..=length)
        } else {
            (begin + 8 * random.usize(1..4)).min(length)
        };
        let place = random.usize(..=ranges.len());
        let again = ranges[random.usize(..ranges.len())];
        ranges.insert(place, if random.bool() { again } else { (begin, end) });
    }
    if random.u8(..8) == 0 {
        ranges.remove(random.usize(..ranges.len()));
    }
    ranges
}

fn extension(random: &mut fastrand::Rng, kind: u8, next: u8) -> Vec<u8> {
    if kind == 43 {
        // Not mobility's, 2: that is dropped only where the kernel was built with it.
        return vec![next, 0, *random.choice([0, 1, 3, 4, 5, 253].iter()).unwrap(), random.u8(..8) / 7, 0, 0, 0, 0];
    }
    let mut options = Vec::new();
    for _ in 0..random.usize(..4) {
        let kind = *random.choice([0, 0, 1, 1, 1, 5, 7, 49, 0x1e, 0x3e, 0x5e, 0xc2, 0xc9].iter()).unwrap();
        options.push(kind);
        if kind != 0 {
            let length = random.usize(..6);
            options.push(u8::try_from(length).unwrap());
            options.resize(options.len() + length, 0);
        }
    }
    if random.u8(..8) == 0 {
        options.extend([0x1e, 0].repeat(random.usize(5..10)));
    }
    let mut header = vec![next, 0];
    header.extend(options);
    let missing = header.len().next_multiple_of(8) - header.len();
    header.resize(header.len() + missing, 0);
    header[1] = u8::try_from(header.len() / 8 - 1).unwrap();
    if random.u8(..40) == 0 {
        header[1] = header[1].wrapping_add(1);
    }
    header
}

/// A chain of headers, and what it begins with.
fn chain(random: &mut fastrand::Rng, last: u8) -> (u8, Vec<u8>) {
    let kinds: Vec<u8> =
        (0..random.usize(..3)).map(|_| *random.choice([0, 0, 60, 60, 60, 43].iter()).unwrap()).collect();
    let next = |index: usize| kinds.get(index).copied().unwrap_or(last);
    let headers: Vec<Vec<u8>> =
        (0..kinds.len()).map(|index| extension(random, kinds[index], next(index + 1))).collect();
    (next(0), headers.concat())
}

fn v6_packet(first: u8, rest: &[u8], direct: bool) -> Sent {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    packet.extend([first, 255]);
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11]);
    packet.extend(if direct { [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2] } else { GROUP });
    packet.extend(rest);
    Sent { direct, packet }
}

const GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12];

fn v6(random: &mut fastrand::Rng, id: u16) -> Vec<Sent> {
    let direct = random.bool();
    let length = random.usize(1..10) * 8 + random.usize(..8);
    let (inner, mut whole) = chain(random, 112);
    whole.extend(payload(random, length));
    if random.bool() {
        return vec![v6_packet(inner, &whole, direct)];
    }
    let (first, before) = chain(random, 44);
    let mut sent = Vec::new();
    for (begin, end) in ranges(random, whole.len()) {
        let place = u16::try_from(begin | usize::from(end < whole.len())).unwrap();
        let mut rest = before.clone();
        rest.extend([inner, 0]);
        rest.extend(place.to_be_bytes());
        rest.extend([1, 0]);
        rest.extend(id.to_be_bytes());
        rest.extend(&whole[begin..end]);
        sent.push(v6_packet(first, &rest, direct));
    }
    sent
}

/// What a whole packet carries, if the kernel does not drop it.
fn carried(whole: &Whole) -> Option<Vec<u8>> {
    let header = if whole.family == FAMILY_V6 { 40 } else { usize::from(whole.bytes[0] & 15) * 4 };
    let mut envelope = Envelope::default();
    if whole.family == FAMILY_V4 {
        frame::open_v4(&Slice::new(&whole.bytes, KEY), &mut envelope, true);
    }
    (whole.fault == 0 && envelope.fault == 0).then(|| whole.bytes[header..].to_vec())
}

/// What the assembly makes of them.
fn ours(family: u8, sent: &[Sent]) -> Vec<Vec<u8>> {
    let mut assembly = Assembly::default();
    let mut delivered = Vec::new();
    for (sent, at) in sent.iter().zip(START..) {
        let ip = &sent.packet;
        let plain = if family == FAMILY_V6 { ip[6] == 112 } else { be16(ip[6], ip[7]) & 0x3fff == 0 };
        let whole = if plain {
            // What the classifier judges where it stands is no piece.
            Some(Whole { bytes: ip.clone(), fault: 0, link: Default::default(), family })
        } else {
            let host = if sent.direct { HOST_DEVICE } else { HOST_GROUP };
            assembly.take(&PieceHead { host, ..head(family, at) }, ip, || 0)
        };
        delivered.extend(whole.and_then(|whole| carried(&whole)));
    }
    delivered
}

/// A raw socket for VRRP that hears the group.
fn listen(family: u8) -> std::io::Result<Socket> {
    let index = rustix::net::netdevice::name_to_index(Socket::new(Domain::IPV4, Type::DGRAM, None)?, "ha0")?;
    let domain = if family == FAMILY_V6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(112)))?;
    if family == FAMILY_V6 {
        socket.join_multicast_v6(&GROUP.into(), index)?;
    } else {
        socket.join_multicast_v4_n(&[224, 0, 0, 18].into(), &InterfaceIndexOrAddress::Index(index))?;
    }
    socket.set_recv_buffer_size(1 << 20)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

/// What it hears up to the mark.
fn heard(socket: &Socket, family: u8) -> std::io::Result<Vec<Vec<u8>>> {
    let mut delivered = Vec::new();
    loop {
        let mut room = [MaybeUninit::<u8>::uninit(); 4096];
        let length = socket.recv(&mut room)?;
        let bytes: Vec<u8> = room
            .iter()
            .take(length)
            // SAFETY: as many bytes as were received have been written.
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        let header = if family == FAMILY_V6 { 0 } else { usize::from(bytes[0] & 15) * 4 };
        let bytes = bytes.get(header..).ok_or(ErrorKind::InvalidData)?.to_vec();
        if bytes.len() == MARK {
            return Ok(delivered);
        }
        delivered.push(bytes);
    }
}

async fn compare(tag: &str, family: u8, seed: u64) {
    let pair = Pair::new(tag);
    let netns = NetnsThread::spawn(CancellationToken::new()).unwrap();
    ip(&["-n", &pair.names[1], "addr", "add", "fd00::2/64", "dev", "ha0", "nodad"]);
    let told = Command::new("ip").args(["-n", &pair.names[1], "-o", "link", "show", "ha0"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let mac: Vec<u8> = told
        .split("link/ether ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let socket = netns.run_in(pair.netns(1), move || listen(family)).await.unwrap().unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..ROUNDS {
        let id = u16::try_from(round + 1).unwrap();
        let make = if family == FAMILY_V6 { v6 } else { v4 };
        let sent = make(&mut random, id);
        let mark = vec![0; MARK];
        let mark = if family == FAMILY_V6 {
            v6_packet(112, &mark, false)
        } else {
            let mut packet = v4_header(MARK, 0, 0, &mut fastrand::Rng::with_seed(1), [224, 0, 0, 18]);
            packet.extend(&mark);
            Sent { direct: false, packet }
        };
        let expected = ours(family, &sent);
        let frames: Vec<Vec<u8>> = sent
            .iter()
            .chain([&mark])
            .map(|sent| {
                let group: &[u8] =
                    if family == FAMILY_V6 { &[0x33, 0x33, 0, 0, 0, 0x12] } else { &[1, 0, 0x5e, 0, 0, 0x12] };
                let to = if sent.direct { &mac } else { group };
                let kind: &[u8] = if family == FAMILY_V6 { &[0x86, 0xdd] } else { &[8, 0] };
                [to, &[2, 0, 0, 0, 0, 1], kind, &sent.packet].concat()
            })
            .collect();
        netns.run_in(pair.netns(0), move || send_raw("ha0", &frames)).await.unwrap().unwrap();
        let told = heard(&socket, family).unwrap();
        let packets: Vec<&[u8]> = sent.iter().map(|sent| &sent.packet[..]).collect();
        assert_eq!(told, expected, "round {round} of seed {seed}: the kernel left, we right: {packets:02x?}");
    }
    netns.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_ipv4_fragments_at_random_are_the_kernels() {
    for seed in 0..4 {
        compare("kern4", FAMILY_V4, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root"]
async fn privileged_ipv6_chains_at_random_are_the_kernels() {
    for seed in 0..4 {
        compare("kern6", FAMILY_V6, seed).await;
    }
}
