//! What an agent holds in the kernel: programs, maps and links, by the ids that the kernel gave them.
//!
//! The kernel hands ids out one after the other, so an id that is still there is still the same thing,
//! however many other agents run on the machine.

use std::collections::BTreeSet;

use aya::maps::loaded_maps;
use aya::programs::{loaded_links, loaded_programs};

/// Kinds of things, as `/proc/PID/fdinfo` names their ids.
const KINDS: [(&str, &str); 3] = [("prog_id:", "program"), ("map_id:", "map"), ("link_id:", "link")];

/// Things by kind and id.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    ids: BTreeSet<(&'static str, u32)>,
}

impl Holdings {
    /// Adds what a process holds now, by descriptor or through a program of its own; nothing, if it is
    /// gone.
    pub fn add(&mut self, pid: u32) {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        for text in descriptors.filter_map(|descriptor| std::fs::read_to_string(descriptor.path()).ok()) {
            for line in text.lines() {
                let found = KINDS.iter().find_map(|(key, kind)| Some((*kind, line.strip_prefix(key)?)));
                if let Some((kind, id)) = found.and_then(|(kind, id)| Some((kind, id.trim().parse().ok()?))) {
                    self.ids.insert((kind, id));
                }
            }
        }
        let own = |id: u32| self.ids.contains(&("program", id));
        let programs = loaded_programs().flatten().filter(|program| own(program.id()));
        let maps: Vec<u32> = programs.filter_map(|program| program.map_ids().ok().flatten()).flatten().collect();
        self.ids.extend(maps.into_iter().map(|id| ("map", id)));
    }

    /// Those that the kernel still has.
    pub fn remaining(&self) -> Vec<String> {
        if self.ids.is_empty() {
            return Vec::new();
        }
        let mut there: BTreeSet<(&str, u32)> = BTreeSet::new();
        there.extend(loaded_programs().flatten().map(|program| ("program", program.id())));
        there.extend(loaded_maps().flatten().map(|map| ("map", map.id())));
        there.extend(loaded_links().flatten().map(|link| ("link", link.id())));
        self.ids.iter().filter(|held| there.contains(*held)).map(|(kind, id)| format!("BPF {kind} {id}")).collect()
    }
}
