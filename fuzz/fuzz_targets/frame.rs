//! The judgement of frames that kernel and agent share, as it runs here: whatever bytes come, it ends in a class
//! and a reason that belong together, and nothing is learnt but from our own adverts. That the program in the
//! kernel says the same, `cargo xtask fuzz differential` compares.
#![no_main]

use arbitrary::{Result, Unstructured};
use ha_agent_common::judge::Peer;
use ha_agent_common::{Class, EGRESS, INGRESS, Reason, Rules, Speaker, Watch, ah};
use ha_agent_fuzz::reference::{self, Sight};
use libfuzzer_sys::fuzz_target;

const KEY: [u64; 2] = [1, 2];

fn rules(bytes: &mut Unstructured<'_>) -> Result<Rules> {
    let password = *b"secret\0\0";
    Ok(Rules {
        list: bytes.arbitrary()?,
        socket: bytes.arbitrary()?,
        ah: ah::Key::new(password),
        password,
        destination: bytes.arbitrary()?,
        group: [224, 0, 0, 18],
        interval_cs: bytes.arbitrary()?,
        flags: bytes.arbitrary()?,
        version: bytes.int_in_range(0..=4)?,
        auth_type: bytes.int_in_range(0..=3)?,
        vip_count: bytes.arbitrary()?,
        ttl: bytes.arbitrary()?,
        pad: [0; 4],
    })
}

fn look(mut bytes: Unstructured<'_>) -> Result<()> {
    let rules = rules(&mut bytes)?;
    let peer =
        if bytes.arbitrary()? { Some(Peer { min_ttl: 0, max_ttl: bytes.arbitrary()?, pad: [0; 2] }) } else { None };
    let mut watch = Watch::new(1, rules, 0);
    if bytes.arbitrary()? {
        watch.vouch(bytes.arbitrary()?);
    }
    let frame = bytes.take_rest();
    let nobody = Speaker::default();
    for direction in [INGRESS, EGRESS] {
        let Sight::Vrrp { base, .. } = reference::sight(frame, direction) else {
            continue;
        };
        let judged = reference::judge(frame, base, direction, &watch, (peer, &nobody), KEY);
        let class = judged.judgement.class;
        let reason = Reason::from_code(judged.judgement.reason);
        assert_eq!(matches!(class, Class::Ours | Class::Peer), reason.is_none(), "{judged:?}");
        assert_eq!(class == Class::Ours, direction == EGRESS && reason.is_none(), "{judged:?}");
        if class != Class::Ours {
            assert_eq!(judged.watch.rules, rules, "learnt from what is not ours");
        }
        // Judged again it is the same, but for what was used up: a sequence number, the form of a checksum.
        let again = reference::judge(frame, base, direction, &watch, (peer, &nobody), KEY);
        assert_eq!(again.judgement, judged.judgement);
        assert_eq!(again.speaker, judged.speaker);
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // Too short for rules is too short for a frame.
    let _short = look(Unstructured::new(bytes));
});
