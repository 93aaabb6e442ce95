//! The cases: what is sent under a configuration, by a seed.

use std::fmt;

use fastrand::Rng;

use super::configuration::{Configuration, Host};
use super::deviation::{Cutting, Deviation, Form, List, Mac, Place, Sequence, fits};
use super::sketch::{Padding, Sketch};

use Deviation as D;

/// A case: what is sent differs so from the sound advert.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Case {
    /// In the order in which they are applied.
    pub deviations: Vec<Deviation>,
}

impl Case {
    /// What is sent; `sequence` is the authentication header's number of a sound advert.
    pub fn sketch(&self, configuration: &Configuration, sequence: u32) -> Sketch {
        let mut sketch = Sketch::sound(configuration, Host::Peer, sequence);
        self.deviations.iter().for_each(|deviation| deviation.apply(&mut sketch, configuration));
        sketch
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deviations.is_empty() {
            return write!(out, "a sound advert");
        }
        let words: Vec<String> = self.deviations.iter().map(ToString::to_string).collect();
        write!(out, "{}", words.join("; "))
    }
}

/// Every deviation.
const DEVIATIONS: &[Deviation] = &[
    // Ethernet.
    D::To(Mac::Own),
    D::To(Mac::Other),
    D::To(Mac::Broadcast),
    D::To(Mac::Group),
    D::To(Mac::OtherGroup),
    D::To(Mac::AllHosts),
    D::To(Mac::Virtual),
    D::To(Mac::OtherVirtual),
    D::To(Mac::VirtualOfOtherFamily),
    D::From(Mac::Own),
    D::From(Mac::Virtual),
    D::From(Mac::Zero),
    D::From(Mac::Broadcast),
    D::From(Mac::Stranger),
    D::Tags(&[(0x8100, 0)]),
    D::Tags(&[(0x8100, 0xe000)]),
    D::Tags(&[(0x8100, 5)]),
    D::Tags(&[(0x8100, 0xfff)]),
    D::Tags(&[(0x88a8, 0)]),
    D::Tags(&[(0x88a8, 5)]),
    D::Tags(&[(0x9100, 0)]),
    D::Tags(&[(0x8100, 0), (0x8100, 0)]),
    D::Tags(&[(0x8100, 0), (0x8100, 5)]),
    D::Tags(&[(0x8100, 5), (0x8100, 0)]),
    D::Tags(&[(0x88a8, 0), (0x8100, 0)]),
    D::Tags(&[(0x88a8, 0), (0x8100, 5)]),
    D::Tags(&[(0x8100, 0), (0x88a8, 0)]),
    D::Tags(&[(0x8100, 0), (0x8100, 0), (0x8100, 0)]),
    D::Tags(&[(0x8100, 0), (0x88a8, 0), (0x8100, 5)]),
    D::Tags(&[(0x8100, 0x2000), (0x88a8, 0), (0x8100, 0), (0x8100, 0), (0x8100, 0), (0x8100, 0)]),
    D::Tags(&[(0x8100, 0), (0x88a8, 0), (0x8100, 0), (0x8100, 0), (0x8100, 0), (0x8100, 5)]),
    D::EtherType(0x0800),
    D::EtherType(0x86dd),
    D::EtherType(0x0806),
    D::EtherType(0x002e),
    D::Padding(Padding::None),
    D::Padding(Padding::Bytes(1)),
    D::Padding(Padding::Bytes(100)),
    D::CutFrame(1),
    D::CutFrame(8),
    // IP.
    D::IpVersion(0),
    D::IpVersion(4),
    D::IpVersion(5),
    D::IpVersion(6),
    D::Ihl(0),
    D::Ihl(4),
    D::Ihl(6),
    D::Ihl(15),
    D::Options("nop", &[1, 1, 1, 1]),
    D::Options("end", &[0, 0, 0, 0]),
    D::Options("end, then garbage", &[0, 0x83, 0xff, 0xff]),
    D::Options("record route", &[7, 7, 4, 0, 0, 0, 0, 0]),
    D::Options("record route, full", &[7, 7, 8, 1, 2, 3, 4, 0]),
    D::Options("record route, wrong pointer", &[7, 7, 3, 0, 0, 0, 0, 0]),
    D::Options("record route, no room", &[7, 6, 4, 0, 0, 0, 0, 0]),
    D::Options("timestamp", &[0x44, 8, 5, 0, 0, 0, 0, 0]),
    D::Options("timestamp, full", &[0x44, 8, 9, 0, 1, 2, 3, 4]),
    D::Options("timestamp, overflow at its end", &[0x44, 8, 9, 0xf0, 1, 2, 3, 4]),
    D::Options("timestamp, wrong pointer", &[0x44, 8, 3, 0, 0, 0, 0, 0]),
    D::Options("timestamp with address", &[0x44, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    D::Options("timestamp, prespecified", &[0x44, 12, 5, 3, 169, 254, 192, 10, 0, 0, 0, 0]),
    D::Options("loose source route", &[0x83, 7, 4, 169, 254, 192, 10, 0]),
    D::Options("loose source route, used up", &[0x83, 7, 8, 169, 254, 192, 10, 0]),
    D::Options("loose source route, empty", &[0x83, 3, 4, 0]),
    D::Options("strict source route", &[0x89, 7, 4, 169, 254, 192, 10, 0]),
    D::Options("strict source route, used up", &[0x89, 7, 8, 169, 254, 192, 10, 0]),
    D::Options("source route twice", &[0x83, 3, 4, 0x89, 3, 4, 0, 0]),
    D::Options("router alert", &[0x94, 4, 0, 0]),
    D::Options("router alert, other value", &[0x94, 4, 0, 9]),
    D::Options("router alert, wrong length", &[0x94, 3, 0, 0]),
    D::Options("cipso", &[0x86, 6, 0, 0, 0, 1, 0, 0]),
    D::Options("security", &[0x82, 4, 0, 0]),
    D::Options("stream id", &[0x88, 4, 0, 1]),
    D::Options("unknown", &[0x5e, 4, 0, 0]),
    D::Options("too long", &[0x5e, 9, 0, 0]),
    D::Options("length 0", &[0x5e, 0, 0, 0]),
    D::Options("length 1", &[0x5e, 1, 0, 0]),
    D::Options("length missing", &[1, 1, 1, 0x5e]),
    D::Options("40 bytes of nop", &[1; 40]),
    D::Tos(0),
    D::Tos(0xff),
    D::Length(1),
    D::Length(2),
    D::Length(8),
    D::Length(40),
    D::Length(-1),
    D::Length(-8),
    D::Length(-24),
    D::Length(-4000),
    D::Fragment(0x4000),
    D::Fragment(0x8000),
    D::Fragment(0x2000),
    D::Fragment(0x6000),
    D::Fragment(0x0001),
    D::Fragment(0x1fff),
    D::Pieces(Cutting::Two(8)),
    D::Pieces(Cutting::Two(16)),
    D::Pieces(Cutting::Reversed(8)),
    D::Pieces(Cutting::Three),
    D::Pieces(Cutting::NoEnd),
    D::Pieces(Cutting::NoBegin),
    D::Pieces(Cutting::Twice),
    D::Pieces(Cutting::Overlap),
    D::Pieces(Cutting::TtlOfSecond(1)),
    D::Pieces(Cutting::TtlOfFirst(1)),
    D::Pieces(Cutting::SecondElsewhere),
    D::Ttl(0),
    D::Ttl(1),
    D::Ttl(64),
    D::Ttl(249),
    D::Ttl(250),
    D::Ttl(254),
    D::Ttl(255),
    D::HeaderSum(1),
    D::HeaderSum(0x8000),
    D::Protocol(51),
    D::Protocol(112),
    D::Protocol(0),
    D::Protocol(2),
    D::Protocol(17),
    D::Protocol(59),
    D::Source(Place::Own),
    D::Source(Place::OwnOther),
    D::Source(Place::Stranger),
    D::Source(Place::Low),
    D::Source(Place::Virtual),
    D::Source(Place::OffLink),
    D::Source(Place::Zero),
    D::Source(Place::Loopback),
    D::Source(Place::Group),
    D::Source(Place::AllHosts),
    D::Source(Place::Broadcast),
    D::Source(Place::NetBroadcast),
    D::Source(Place::Network),
    D::Source(Place::Reserved),
    D::Source(Place::Mapped),
    D::Destination(Place::OtherMode),
    D::Destination(Place::OwnOther),
    D::Destination(Place::Stranger),
    D::Destination(Place::Virtual),
    D::Destination(Place::OffLink),
    D::Destination(Place::Zero),
    D::Destination(Place::Loopback),
    D::Destination(Place::OtherGroup),
    D::Destination(Place::AllHosts),
    D::Destination(Place::FarGroup),
    D::Destination(Place::Broadcast),
    D::Destination(Place::NetBroadcast),
    D::Destination(Place::Network),
    D::Destination(Place::Reserved),
    D::DestinationOnly(Place::OtherMode),
    D::DestinationOnly(Place::OtherGroup),
    D::DestinationOnly(Place::Broadcast),
    D::Extensions("hop-by-hop, padding", &[(0, &[0, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, Pad1 only", &[(0, &[0, 0, 0, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, router alert", &[(0, &[0, 5, 2, 0, 0, 1, 0])]),
    D::Extensions("hop-by-hop, unknown option to be skipped", &[(0, &[0, 0x1e, 4, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, unknown option to be discarded", &[(0, &[0, 0x5e, 4, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, unknown option to be told of", &[(0, &[0, 0xde, 4, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, option too long", &[(0, &[0, 1, 9, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, too long", &[(0, &[40, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, jumbo", &[(0, &[0, 0xc2, 4, 0, 1, 0, 0])]),
    D::Extensions("hop-by-hop of 16 bytes", &[(0, &[1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop twice", &[(0, &[0, 1, 4, 0, 0, 0, 0]), (0, &[0, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("destination options, padding", &[(60, &[0, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("destination options, unknown to be skipped", &[(60, &[0, 0x1e, 4, 0, 0, 0, 0])]),
    D::Extensions("destination options, unknown to be discarded", &[(60, &[0, 0x5e, 4, 0, 0, 0, 0])]),
    D::Extensions("destination options twice", &[(60, &[0, 1, 4, 0, 0, 0, 0]), (60, &[0, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("hop-by-hop, then destination options", &[(0, &[0, 1, 4, 0, 0, 0, 0]), (60, &[0, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("destination options, then hop-by-hop", &[(60, &[0, 1, 4, 0, 0, 0, 0]), (0, &[0, 1, 4, 0, 0, 0, 0])]),
    D::Extensions("routing type 0, none left", &[(43, &[0, 0, 0, 0, 0, 0, 0])]),
    D::Extensions(
        "routing type 0, one left",
        &[(43, &[2, 0, 1, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10])],
    ),
    D::Extensions("routing type 2, none left", &[(43, &[0, 2, 0, 0, 0, 0, 0])]),
    D::Extensions("routing type 4, none left", &[(43, &[0, 4, 0, 0, 0, 0, 0])]),
    D::Extensions("routing type 253, one left", &[(43, &[0, 253, 1, 0, 0, 0, 0])]),
    D::Extensions("an atomic fragment", &[(44, &[0, 0, 0, 1, 2, 3, 4])]),
    D::Extensions("an atomic fragment, reserved bits", &[(44, &[0xff, 0, 6, 1, 2, 3, 4])]),
    D::Extensions("a first fragment", &[(44, &[0, 0, 1, 1, 2, 3, 5])]),
    D::Extensions("a last fragment", &[(44, &[0, 0, 8, 1, 2, 3, 6])]),
    D::Extensions("hop-by-hop, then an atomic fragment", &[(0, &[0, 1, 4, 0, 0, 0, 0]), (44, &[0, 0, 0, 1, 2, 3, 7])]),
    D::Extensions(
        "an atomic fragment, then destination options",
        &[(44, &[0, 0, 0, 1, 2, 3, 8]), (60, &[0, 1, 4, 0, 0, 0, 0])],
    ),
    D::Extensions(
        "an authentication header",
        &[(51, &[4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    ),
    D::Extensions("mobility", &[(135, &[0, 0, 0, 0, 0, 0, 0])]),
    D::Extensions("HIP", &[(139, &[0, 0, 0, 0, 0, 0, 0])]),
    // Authentication header.
    D::AhAdded,
    D::AhRemoved,
    D::AhNext(51),
    D::AhNext(17),
    D::AhLength(3),
    D::AhLength(5),
    D::AhReserved(0x0100),
    D::AhSpi(0),
    D::AhSpi(0x0102_0304),
    D::AhSequence(Sequence::Old),
    D::AhSequence(Sequence::Same),
    D::AhSequence(Sequence::Next),
    D::AhSequence(Sequence::Far),
    D::AhKey,
    D::AhFlip,
    // VRRP.
    D::Version(0),
    D::Version(1),
    D::Version(2),
    D::Version(3),
    D::Version(4),
    D::Version(15),
    D::OtherVersion,
    D::Kind(0),
    D::Kind(2),
    D::Kind(15),
    D::Vrid(0),
    D::Vrid(8),
    D::Vrid(255),
    D::Priority(0),
    D::Priority(1),
    D::Priority(253),
    D::Priority(254),
    D::Priority(255),
    D::Count(-1),
    D::Count(1),
    D::Count(2),
    D::Count(255),
    D::AuthType(0),
    D::AuthType(1),
    D::AuthType(2),
    D::AuthType(3),
    D::AuthType(255),
    D::AuthWord(*b"wrong\0\0\0"),
    D::AuthWord(*b"secret\0\0"),
    D::AuthWord(*b"secretxx"),
    D::Interval(0),
    D::Interval(1),
    D::Interval(2),
    D::Interval(255),
    D::Interval(4095),
    D::Reserved(0xf),
    D::Reserved(0x8),
    D::Addresses(List::Turned),
    D::Addresses(List::Doubled),
    D::Addresses(List::OneMoreDoubled),
    D::Addresses(List::Foreign),
    D::Addresses(List::ForeignFirst),
    D::Addresses(List::OneMore),
    D::Addresses(List::OneLess),
    D::Addresses(List::Empty),
    D::Addresses(List::Twenty),
    D::Checksum(Form::Plain),
    D::Checksum(Form::Pseudo),
    D::Checksum(Form::PseudoGroup),
    D::Checksum(Form::PseudoDefault),
    D::Checksum(Form::Whole),
    D::Checksum(Form::PlainWhole),
    D::Checksum(Form::Wrong),
    D::Checksum(Form::Zero),
    D::Surplus(1, 0),
    D::Surplus(2, 0),
    D::Surplus(2, 0x5a),
    D::Surplus(4, 0),
    D::Surplus(6, 0),
    D::Surplus(6, 0x5a),
    D::Surplus(8, 0),
    D::Surplus(10, 0),
    D::Surplus(14, 0),
    D::Surplus(28, 0x5a),
    D::Surplus(1000, 0),
    D::CutPacket(1),
    D::CutPacket(4),
    D::CutPacket(8),
    D::CutPacket(12),
    D::CutPacket(16),
    D::CutPacket(18),
    D::CutPacket(200),
];

/// Those that a configuration can have.
pub fn deviations(configuration: &Configuration) -> Vec<Deviation> {
    DEVIATIONS.iter().copied().filter(|deviation| fits(*deviation, configuration)).collect()
}

/// The sound case, each deviation alone, and then two or three at once, for ever.
pub fn thorough(configuration: &Configuration, mut rng: Rng) -> impl Iterator<Item = Case> {
    let all = deviations(configuration);
    let single: Vec<Case> = all.iter().map(|deviation| Case { deviations: vec![*deviation] }).collect();
    let first = std::iter::once(Case::default()).chain(single);
    first.chain(std::iter::repeat_with(move || several(&mut rng, &all)))
}

/// Sound cases, single deviations and several of them, mixed, for ever.
pub fn mixed(configuration: &Configuration, mut rng: Rng) -> impl Iterator<Item = Case> {
    let all = deviations(configuration);
    // Each one comes in turn.
    let mut singles = all.clone();
    rng.shuffle(&mut singles);
    let mut singles = singles.into_iter().cycle();
    std::iter::repeat_with(move || match rng.u8(0..20) {
        0 | 1 => Case::default(),
        2..=11 => Case { deviations: singles.next().into_iter().collect() },
        _ => several(&mut rng, &all),
    })
}

/// Two deviations, now and then three; not two of one kind. Most are of what keepalived itself looks at: much of
/// the rest keeps the frame from it.
fn several(rng: &mut Rng, all: &[Deviation]) -> Case {
    let mut case = Case::default();
    let wanted = if rng.u8(0..5) == 0 { 3 } else { 2 };
    let (below, above): (Vec<Deviation>, Vec<Deviation>) = all.iter().partition(|deviation| deviation.is_below_vrrp());
    while case.deviations.len() < wanted {
        let from = if rng.u8(0..5) < 3 { &above } else { &below };
        let Some(next) = rng.choice(from).copied() else { break };
        let kind = std::mem::discriminant(&next);
        if !case.deviations.iter().any(|other| std::mem::discriminant(other) == kind) {
            case.deviations.push(next);
        }
    }
    case
}
