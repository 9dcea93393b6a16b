// SPDX-License-Identifier: BSD-2-Clause
//! Flows: who can influence whom, and so who can learn from whom, directly and through others.
//!
//! Responsible for: the graph that the facts make and its closure, in the manner of seL4's authority graph: an edge from
//! A to B where some right lets an action of A be seen by B. An edge is integrity (B is not safe from A) and
//! confidentiality (A is not kept from B) at once. Never: counts time, caches or load as a channel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::facts::{Fact, Facts, MONITOR, OWN_MEMORY};

/// A graph of subjects: from, to, and by which means.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    edges: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Flows {
    /// The direct flows that facts permit.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let mut flows = Self::default();
        for fact in facts.iter() {
            match fact {
                Fact::Memory {
                    subject,
                    region,
                    access,
                } if access.write && region != OWN_MEMORY => {
                    for (reader, _) in facts.holders(region) {
                        flows.add(subject, reader, format!("memory {region}"));
                    }
                }
                Fact::Notify { subject, peer, .. } => {
                    flows.add(subject, peer, "notification".to_owned())
                }
                Fact::Call { subject, peer, .. } => {
                    flows.both(subject, peer, "call");
                }
                Fact::Thread {
                    subject, machine, ..
                }
                | Fact::Vcpu {
                    subject, machine, ..
                } => flows.both(subject, machine, "control of vCPUs"),
                Fact::Faults {
                    subject, machine, ..
                } => flows.both(subject, machine, "faults"),
                Fact::ReceiveAt { subject, peer } if peer != MONITOR => {
                    flows.intercept(facts, subject, peer);
                }
                _ => {}
            }
        }
        flows
    }

    /// Whoever receives at another's endpoint sees and answers those who call or fault there.
    fn intercept(&mut self, facts: &Facts, subject: &str, at: &str) {
        for fact in facts.iter() {
            match fact {
                Fact::Call {
                    subject: caller,
                    peer,
                    ..
                } if peer == at => self.both(subject, caller, "interception"),
                Fact::Faults {
                    subject: handler,
                    machine,
                    ..
                } if handler == at => self.both(subject, machine, "interception"),
                _ => {}
            }
        }
    }

    /// Adds a flow; one to oneself is none.
    pub fn add(&mut self, from: &str, to: &str, means: String) {
        if from != to {
            let edge = (from.to_owned(), to.to_owned());
            self.edges.entry(edge).or_default().insert(means);
        }
    }

    fn both(&mut self, one: &str, other: &str, means: &str) {
        self.add(one, other, means.to_owned());
        self.add(other, one, means.to_owned());
    }

    /// Direct flows with their means.
    pub fn direct(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<String>)> {
        self.edges
            .iter()
            .map(|((from, to), means)| (from.as_str(), to.as_str(), means))
    }

    /// Everyone who takes part in a flow.
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<&str> {
        self.direct().flat_map(|(from, to, _)| [from, to]).collect()
    }

    /// A shortest path that passes none of `without`; it names both ends.
    #[must_use]
    pub fn path<'a>(&'a self, from: &'a str, to: &str, without: &[String]) -> Option<Vec<&'a str>> {
        let mut came_from = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(here) = queue.pop_front() {
            if here == to {
                let mut path = vec![here];
                let mut at = here;
                while at != from {
                    at = came_from[at];
                    path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            for (_, next, _) in self.direct().filter(|(start, ..)| *start == here) {
                let passable = next == to || !without.iter().any(|name| name == next);
                if passable && !came_from.contains_key(next) {
                    came_from.insert(next, here);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// Who lies on every path between two: those whom both must go through.
    #[must_use]
    pub fn unavoidable<'a>(&'a self, from: &str, to: &str) -> Vec<&'a str> {
        self.subjects()
            .into_iter()
            .filter(|&name| name != from && name != to)
            .filter(|&name| self.path(from, to, &[name.to_owned()]).is_none())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(edges: &[(&str, &str)]) -> Flows {
        let mut flows = Flows::default();
        for (from, to) in edges {
            flows.add(from, to, "test".to_owned());
        }
        flows
    }

    #[test]
    fn closure_follows_any_number_of_intermediaries() {
        let flows = flows(&[("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]);
        assert_eq!(flows.path("a", "c", &[]), Some(vec!["a", "b", "c"]));
        assert_eq!(flows.path("a", "d", &[]), Some(vec!["a", "d"]));
        assert_eq!(flows.path("d", "a", &[]), None);
    }

    #[test]
    fn a_barrier_is_who_cannot_be_avoided() {
        let mut flows = flows(&[("a", "b"), ("b", "c"), ("a", "x"), ("x", "b")]);
        assert_eq!(flows.unavoidable("a", "c"), ["b"]);
        flows.add("x", "c", "a way around".to_owned());
        assert!(flows.unavoidable("a", "c").is_empty());
    }
}
