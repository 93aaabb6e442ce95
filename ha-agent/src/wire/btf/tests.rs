use super::*;

/// A type: name, kind, third word, then what follows.
struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend(word.to_ne_bytes());
        }
    }

    fn structure(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) {
        let name = self.string(name);
        let count = u32::try_from(members.len()).unwrap();
        self.push(&[name, kind << 24 | count, 0]);
        for (name, id, bits) in members {
            let name = self.string(name);
            self.push(&[name, *id, *bits]);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let mut out = MAGIC.to_ne_bytes().to_vec();
        out.extend([1, 0]);
        for word in [24, 0, types, types, strings] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(&self.types);
        out.extend(&self.strings);
        out
    }
}

#[test]
fn finds_members_through_anonymous_ones_and_typedefs() {
    let mut blob = Blob::new();
    // 1: pointer, 2: anonymous struct, 3: anonymous union of it, 4: outer.
    blob.push(&[0, 2 << 24, 0]);
    blob.structure(KIND_STRUCT, "", &[("next", 1, 0), ("dev", 1, 128)]);
    blob.structure(KIND_UNION, "", &[("node", 1, 0), ("", 2, 0)]);
    blob.structure(KIND_STRUCT, "sk_buff", &[("x", 1, 0), ("", 3, 64)]);
    // 5: struct, 6: typedef of it, 7: outer.
    blob.structure(KIND_STRUCT, "", &[("net", 1, 32)]);
    let name = blob.string("possible_net_t");
    blob.push(&[name, KIND_TYPEDEF << 24, 5]);
    blob.structure(KIND_STRUCT, "net_device", &[("nd_net", 6, 640)]);
    let bytes = blob.bytes();
    let types = Types::parse(&bytes).unwrap();
    assert_eq!(types.offset("sk_buff", &["dev"]), Some(24));
    assert_eq!(types.offset("net_device", &["nd_net", "net"]), Some(84));
    assert_eq!(types.offset("net_device", &["other"]), None);
    assert_eq!(types.offset("net", &["net_cookie"]), None);
}

#[test]
fn anything_cut_short_is_none_and_does_not_panic() {
    let mut blob = Blob::new();
    blob.structure(KIND_STRUCT, "net", &[("net_cookie", 1, 64)]);
    let bytes = blob.bytes();
    assert_eq!(Types::parse(&bytes).unwrap().offset("net", &["net_cookie"]), Some(8));
    for length in 0..bytes.len() {
        if let Some(types) = Types::parse(&bytes[..length]) {
            assert_eq!(types.offset("net", &["net_cookie"]), None, "{length}");
        }
    }
}

#[test]
fn this_kernel_answers_or_has_no_btf() {
    let offsets = Offsets::read(Path::new(VMLINUX));
    if Path::new(VMLINUX).exists() {
        let [known, dev, net, cookie] = offsets.netns;
        assert_eq!(known, 1);
        // `dev` has been the third word of `sk_buff` since 4.19, and `sk` the fourth; the others move.
        assert_eq!(dev, 16);
        assert!(net > 0 && cookie > 0);
        let [known, sk, socket] = offsets.socket;
        assert_eq!((known, sk), (1, 24));
        assert!(socket > 0);
        assert_eq!(offsets.without_cookie(), Offsets { netns: [0, dev, net, 0], ..offsets });
    } else {
        assert_eq!(offsets, Offsets::default());
    }
}

#[test]
fn a_kernel_without_cookies_tells_namespaces_apart_all_the_same() {
    let mut blob = Blob::new();
    // Type ids count from 1.
    blob.structure(KIND_STRUCT, "sk_buff", &[("dev", 2, 128), ("sk", 5, 192)]);
    blob.structure(KIND_STRUCT, "net_device", &[("nd_net", 3, 800)]);
    blob.structure(KIND_STRUCT, "possible_net_t", &[("net", 4, 0)]);
    blob.structure(KIND_STRUCT, "net", &[("count", 4, 0)]);
    blob.structure(KIND_STRUCT, "sock", &[("__sk_common", 6, 0)]);
    blob.structure(KIND_STRUCT, "sock_common", &[("skc_net", 3, 384)]);
    let bytes = blob.bytes();
    let offsets = Offsets::of(&Types::parse(&bytes).unwrap());
    assert_eq!(offsets, Offsets { netns: [0, 16, 100, 0], socket: [1, 24, 48] });
    assert!(!offsets.has_cookie());
}
