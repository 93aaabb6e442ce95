//! All routers of a node, and whose deadline comes next.

use std::collections::{BTreeMap, BTreeSet};

use super::io::{Input, Output, View};
use super::machine::Machine;
use super::model::{Basis, RouterId, State};
use super::policy::Policy;
use super::time::Mono;

/// Every router's machine with one ordered set of deadlines.
#[derive(Debug, Default)]
pub struct Node {
    machines: BTreeMap<RouterId, Machine>,
    deadlines: BTreeSet<(Mono, RouterId)>,
}

impl Node {
    /// Watches a router from `now` on, or changes the settings of one that is watched.
    pub fn watch(&mut self, id: RouterId, policy: Policy, restored: Option<(State, Basis)>, now: Mono) -> Vec<Output> {
        if self.machines.contains_key(&id) {
            return self.step(id, |machine, out| machine.set_policy(policy, now, out));
        }
        self.machines.insert(id, Machine::new(id, policy, restored, now));
        Vec::new()
    }

    /// Forgets a router.
    pub fn forget(&mut self, id: RouterId) {
        if let Some(machine) = self.machines.remove(&id)
            && let Some(at) = machine.deadline()
        {
            self.deadlines.remove(&(at, id));
        }
    }

    /// Takes one observation; nothing comes of one about an unknown router.
    pub fn input(&mut self, id: RouterId, input: Input, now: Mono) -> Vec<Output> {
        self.step(id, |machine, out| machine.input(input, now, out))
    }

    /// When [`Node::expire`] wants to be called next.
    pub fn deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The outputs of one router whose deadline has passed; call again until it gives none.
    pub fn expire(&mut self, now: Mono) -> Option<(RouterId, Vec<Output>)> {
        let (at, id) = *self.deadlines.first()?;
        (at <= now).then(|| (id, self.step(id, |machine, out| machine.expire(now, out))))
    }

    /// What is known of a router.
    pub fn view(&self, id: RouterId, now: Mono) -> Option<View> {
        self.machines.get(&id).map(|machine| machine.view(now))
    }

    /// Every watched router.
    pub fn routers(&self) -> impl Iterator<Item = RouterId> + '_ {
        self.machines.keys().copied()
    }

    fn step(&mut self, id: RouterId, act: impl FnOnce(&mut Machine, &mut Vec<Output>)) -> Vec<Output> {
        let mut out = Vec::new();
        let Some(machine) = self.machines.get_mut(&id) else {
            return out;
        };
        let before = machine.deadline();
        act(machine, &mut out);
        let after = machine.deadline();
        if before != after {
            if let Some(at) = before {
                self.deadlines.remove(&(at, id));
            }
            if let Some(at) = after {
                self.deadlines.insert((at, id));
            }
        }
        out
    }
}
