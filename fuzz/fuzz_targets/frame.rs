//! The judgement of frames that kernel and agent share, as it runs here, against the reference. The
//! program itself, in the kernel, is compared by `cargo xtask fuzz differential`.
#![no_main]

use ha_agent_common::Speaker;
use ha_agent_common::frame::{Bytes, Envelope, Packet, Seen, header, judge, open_v4, open_v6};
use ha_agent_fuzz::reference::{self, Sight};
use ha_agent_fuzz::terms;
use libfuzzer_sys::fuzz_target;

struct Slice<'a>(&'a [u8]);

impl Packet for Slice<'_> {
    fn load<const N: usize>(&self, offset: u32, into: &mut Bytes<N>) -> bool {
        let start = offset as usize;
        match self.0.get(start..start + N) {
            Some(bytes) => {
                into.0.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

fuzz_target!(|frame: &[u8]| {
    let packet = Slice(frame);
    let mut envelope = Envelope::default();
    let seen = match frame.get(12..14) {
        Some([0x08, 0x00]) => open_v4(&packet, &mut envelope),
        Some([0x86, 0xdd]) => open_v6(&packet, &mut envelope),
        // Tags are the program's own affair.
        _ => return,
    };
    let expected = reference::read(frame);
    let told = match (seen, &expected) {
        // Which protocol is asked first makes no difference but for frames that are neither.
        (Seen::Other, Sight::Other) | (Seen::Fragment, Sight::Fragment) => return,
        (Seen::Fragment, Sight::Other) if !matches!(frame.get(23), Some(51 | 112)) => return,
        (Seen::Vrrp, told) => told,
        (seen, expected) => panic!("{seen:?}, expected {expected:?}"),
    };
    let Some(header) = header(&packet, &envelope) else {
        assert_eq!(*told, Sight::Headless);
        return;
    };
    let Sight::Advert(advert) = told else {
        panic!("an advert, expected {told:?}");
    };
    let mut speaker = Speaker::default();
    let invalid = judge(&packet, &envelope, &header, &mut speaker);
    assert_eq!(invalid, terms::code(advert.fault), "{advert:?}");
    assert_eq!(speaker, terms::speaker(advert), "{advert:?}");
    assert_eq!((header[1], envelope.family, envelope.ttl), (advert.vrid, terms::family(advert.family), advert.ttl));
});
