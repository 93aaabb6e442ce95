//! Where the running kernel keeps the namespaces of a device and of a socket: member offsets, read from its BTF.
//!
//! Only what that needs: struct and union members by name, through anonymous ones. The format is
//! that of the kernel's Documentation/bpf/btf.rst.

use std::path::Path;

/// The kernel's own types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
/// Kinds that only pass a type on: typedef, volatile, const, restrict, type tag.
const KIND_PASSING: [u32; 5] = [KIND_TYPEDEF, 9, 10, 11, 18];

/// What is known of this kernel; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    /// `ha_agent_common::global::NETNS_OFFSETS`.
    pub(super) netns: [u32; 4],
    /// `ha_agent_common::global::SOCKET_OFFSETS`.
    pub(super) socket: [u32; 3],
}

impl Offsets {
    /// Reads what the BTF says: nothing where it cannot be read or does not know the members.
    pub(super) fn read(path: &Path) -> Self {
        let data = std::fs::read(path).unwrap_or_default();
        Types::parse(&data).map(|types| Self::of(&types)).unwrap_or_default()
    }

    fn of(types: &Types<'_>) -> Self {
        let device = types.offset("sk_buff", &["dev"]).zip(types.offset("net_device", &["nd_net", "net"]));
        let Some((dev, net)) = device else {
            return Self::default();
        };
        // It came with 5.12.
        let cookie = types.offset("net", &["net_cookie"]);
        let socket = types.offset("sk_buff", &["sk"]).zip(types.offset("sock", &["__sk_common", "skc_net", "net"]));
        Self {
            netns: [u32::from(cookie.is_some()), dev, net, cookie.unwrap_or(0)],
            socket: socket.map_or([0; 3], |(sk, net)| [1, sk, net]),
        }
    }

    /// Whether a namespace's cookie can be read.
    pub(super) fn has_cookie(&self) -> bool {
        self.netns[0] == 1
    }

    /// All but the cookie.
    pub(super) fn without_cookie(self) -> Self {
        let [_, dev, net, _] = self.netns;
        Self { netns: [0, dev, net, 0], ..self }
    }
}

/// A parsed BTF blob: where each type begins.
struct Types<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Offset of the type with id `index + 1`.
    starts: Vec<u32>,
}

impl<'a> Types<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header = word(data, 4)? as usize;
        let section = |offset: usize, length: usize| -> Option<&'a [u8]> {
            let start = header.checked_add(word(data, offset)? as usize)?;
            data.get(start..start.checked_add(word(data, length)? as usize)?)
        };
        let types = section(8, 12)?;
        let strings = section(16, 20)?;
        let mut starts = Vec::new();
        let mut at = 0;
        while at < types.len() {
            starts.push(u32::try_from(at).ok()?);
            let info = word(types, at + 4)?;
            at += 12 + extra(info)?;
        }
        Some(Self { types, strings, starts })
    }

    /// Byte offset of a member, each name of `path` a member of the one before.
    fn offset(&self, structure: &str, path: &[&str]) -> Option<u32> {
        let mut id = (1..=self.starts.len()).find(|id| {
            self.info(*id).is_some_and(|info| kind(info) == KIND_STRUCT) && self.name(*id) == Some(structure.as_bytes())
        })?;
        let mut bits = 0;
        for name in path {
            let (at, member) = self.member(id, name, 0)?;
            bits += at;
            id = member;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Bit offset and type of member `name`, also inside anonymous structs and unions.
    fn member(&self, id: usize, name: &str, depth: u32) -> Option<(u32, usize)> {
        // Anonymous nesting in kernel structs is three deep; a loop in the blob must end.
        if depth > 8 {
            return None;
        }
        let id = self.resolve(id)?;
        let info = self.info(id)?;
        if kind(info) != KIND_STRUCT && kind(info) != KIND_UNION {
            return None;
        }
        let start = self.start(id)? + 12;
        for index in 0..(info & 0xffff) as usize {
            let at = start + index * 12;
            let member = word(self.types, at + 4)? as usize;
            let raw = word(self.types, at + 8)?;
            // With the kind flag, the upper byte is a bit field's width.
            let offset = if info >> 31 == 1 { raw & 0x00ff_ffff } else { raw };
            let own = self.string(word(self.types, at)?)?;
            if own == name.as_bytes() {
                return Some((offset, member));
            }
            if own.is_empty()
                && let Some((inner, member)) = self.member(member, name, depth + 1)
            {
                return Some((offset + inner, member));
            }
        }
        None
    }

    /// The type that `id` stands for, without typedefs and qualifiers.
    fn resolve(&self, id: usize) -> Option<usize> {
        let mut id = id;
        for _ in 0..16 {
            if !KIND_PASSING.contains(&kind(self.info(id)?)) {
                return Some(id);
            }
            id = word(self.types, self.start(id)? + 8)? as usize;
        }
        None
    }

    fn start(&self, id: usize) -> Option<usize> {
        self.starts.get(id.checked_sub(1)?).map(|at| *at as usize)
    }

    fn info(&self, id: usize) -> Option<u32> {
        word(self.types, self.start(id)? + 4)
    }

    fn name(&self, id: usize) -> Option<&[u8]> {
        self.string(word(self.types, self.start(id)?)?)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        self.strings.get(offset as usize..)?.split(|byte| *byte == 0).next()
    }
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// Bytes that follow a type's first twelve.
fn extra(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match kind(info) {
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Pointer, forward, typedef, qualifiers, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Array.
        3 => 12,
        // Struct, union, section, 64-bit enumeration.
        4 | 5 | 15 | 19 => count * 12,
        // Enumeration, prototype.
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
