//! Names of the interfaces that keepalived makes for `use_vmac` and `use_ipvlan`: keepalived 2.2.7's `create_vmac_name`.

use std::collections::HashSet;

use super::instance::{Draft, Globals};

/// An interface's name has at most this many bytes.
const MAX_NAME: usize = 15;

/// Names given so far. One that an interface of another kind has by chance is not known here.
pub(super) struct Names {
    prefix: String,
    address_prefix: String,
    taken: HashSet<String>,
}

impl Names {
    /// With the names that instances ask for themselves.
    pub(super) fn new(globals: &Globals, drafts: &[Draft]) -> Self {
        let prefix = globals.vmac_prefix.clone().unwrap_or_else(|| "vrrp".to_owned());
        Self {
            address_prefix: globals.vmac_addr_prefix.clone().unwrap_or_else(|| prefix.clone()),
            prefix,
            taken: drafts.iter().filter_map(|draft| draft.vmac.clone().or(draft.ipvlan.clone())?).collect(),
        }
    }

    /// The name for an instance.
    pub(super) fn instance(&mut self, vrid: u8, v6: bool) -> String {
        self.make(&self.prefix.clone(), vrid, v6)
    }

    /// The name for an address that lives on another interface than its instance.
    pub(super) fn address(&mut self, vrid: u8, v6: bool) -> String {
        self.make(&self.address_prefix.clone(), vrid, v6)
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
