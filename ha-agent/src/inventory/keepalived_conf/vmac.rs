//! Names of the interfaces that keepalived makes for `use_vmac` and `use_ipvlan`: its `create_vmac_name`.

use std::collections::{HashMap, HashSet};

use super::instance::{Draft, Globals};

/// An interface's name has at most this many bytes.
const MAX_NAME: usize = 15;

/// Names given so far. One that an interface of another kind has by chance is not known here.
pub(super) struct Names {
    prefix: String,
    address_prefix: String,
    taken: HashSet<String>,
    /// What is there for a VRID and a family on an interface serves every address there.
    made: HashMap<(u8, bool, String), String>,
}

impl Names {
    /// With the names that instances ask for themselves.
    pub(super) fn new(globals: &Globals, drafts: &[Draft]) -> Self {
        let prefix = globals.vmac_prefix.clone().unwrap_or_else(|| "vrrp".to_owned());
        Self {
            address_prefix: globals.vmac_addr_prefix.clone().unwrap_or_else(|| prefix.clone()),
            prefix,
            taken: drafts.iter().filter_map(|draft| draft.vmac.clone().or(draft.ipvlan.clone())?).collect(),
            made: HashMap::new(),
        }
    }

    /// The name for an instance that asks for none.
    pub(super) fn instance(&mut self, vrid: u8, v6: bool) -> String {
        self.make(&self.prefix.clone(), vrid, v6)
    }

    /// Notes the VMAC of an instance on an interface.
    pub(super) fn note(&mut self, vrid: u8, v6: bool, base: &str, name: &str) {
        self.made.insert((vrid, v6, base.to_owned()), name.to_owned());
    }

    /// The name for an address that lives elsewhere than its instance.
    pub(super) fn address(&mut self, vrid: u8, v6: bool, base: &str) -> String {
        let key = (vrid, v6, base.to_owned());
        if let Some(name) = self.made.get(&key) {
            return name.clone();
        }
        let name = self.make(&self.address_prefix.clone(), vrid, v6);
        self.made.insert(key, name.clone());
        name
    }

    /// `vrrp.7`; where that is taken `vrrp1.7`, `vrrp2.7`, …, and for IPv6 `vrrp6.7` before these.
    fn make(&mut self, prefix: &str, vrid: u8, v6: bool) -> String {
        let numbers = std::iter::once(None)
            .chain(v6.then_some(Some(6)))
            .chain((1..).filter(|number| !(v6 && *number == 6)).map(Some));
        let mut names = numbers.map(|number: Option<u32>| {
            let end = number.map_or_else(|| format!(".{vrid}"), |number| format!("{number}.{vrid}"));
            let room = MAX_NAME.saturating_sub(end.len());
            format!("{}{end}", prefix.get(..room).unwrap_or(prefix))
        });
        let name = names.find(|name| !self.taken.contains(name)).unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}
