// SPDX-License-Identifier: BSD-2-Clause
//! The rules: what every system must keep, and what the policy says about ours.
//!
//! Responsible for: one finding for each rule that each fact breaks. Never: stops at the first.

use std::collections::{BTreeMap, BTreeSet};

use super::culprit::{Culprit, Places};
use super::facts::{Fact, Facts, OWN_MEMORY, Source};
use super::flow::Flows;
use super::policy::{Permitted, Policy};
use super::{Accepted, Finding, Rule};
use image::Board;

/// Holds facts against every rule.
#[must_use]
pub fn check(policy: &Policy, board: &Board, places: &Places<'_>, facts: &Facts) -> Vec<Finding> {
    let mut permitted = policy.permitted(board);
    if facts.source == Source::Sel4Image {
        permitted.extend(policy.permitted_by_microkit());
    }
    let mut check = Check {
        policy,
        places,
        facts,
        permitted,
        findings: Vec::new(),
    };
    check.nothing_beyond_the_policy();
    check.the_policy_permits_nothing_unused();
    check.nothing_writable_is_executable();
    check.regions_have_two_ends();
    check.devices_have_one_owner();
    check.calls_go_upwards();
    check.one_domain_controls_each_vcpu();
    check.flows(board);
    check.findings
}

/// Adds the flows that no capability shows.
pub fn add_hardware(flows: &mut Flows, policy: &Policy, board: &Board) {
    for flow in &policy.hardware_flow {
        if flow.boards.contains(&board.name) {
            flows.add(&flow.from, &flow.to, "hardware".to_owned());
        }
    }
}

/// What one source shows and the other does not: violations, and what the policy accepts.
#[must_use]
pub fn compare(
    policy: &Policy,
    places: &Places<'_>,
    description: &Facts,
    image: &Facts,
) -> (Vec<Finding>, Vec<Accepted>) {
    let granted = match image.source {
        Source::Sel4Image => policy.permitted_by_microkit(),
        Source::Description | Source::EmbeddedImage => Permitted::new(),
    };
    let mut findings = Vec::new();
    let mut accepted = Vec::new();
    let difference = |fact: &Fact, what: String| Finding {
        culprit: places.of(fact),
        rule: Rule::Difference,
        source: image.source,
        what,
        object: image.facts.get(fact).cloned().flatten(),
    };
    for fact in image.iter().filter(|fact| comparable(fact)) {
        if description.facts.contains_key(fact) {
            continue;
        }
        match granted.get(fact) {
            Some(why) => accepted.push(Accepted {
                source: image.source,
                fact: fact.clone(),
                why: why.clone(),
            }),
            None => findings.push(difference(
                fact,
                format!("{fact}, and the description does not say so"),
            )),
        }
    }
    for fact in description.iter().filter(|fact| comparable(fact)) {
        if !image.facts.contains_key(fact) {
            let what = format!("the description says that {fact}, and the image does not");
            findings.push(difference(fact, what));
        }
    }
    (findings, accepted)
}

/// Whether all sources can show a fact: an address that a program is told is only a number in it, and it has no name.
fn comparable(fact: &Fact) -> bool {
    match fact {
        Fact::PhysicalAddress { .. } | Fact::Program { .. } => false,
        Fact::Memory { region, .. } => region != OWN_MEMORY,
        _ => true,
    }
}

struct Check<'a> {
    policy: &'a Policy,
    places: &'a Places<'a>,
    facts: &'a Facts,
    permitted: Permitted,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn report(&mut self, rule: Rule, fact: &Fact, what: String) {
        self.findings.push(Finding {
            culprit: self.places.of(fact),
            rule,
            source: self.facts.source,
            what,
            object: self.facts.facts.get(fact).cloned().flatten(),
        });
    }

    fn report_at(&mut self, rule: Rule, culprit: Culprit, what: String) {
        self.findings.push(Finding {
            culprit,
            rule,
            source: self.facts.source,
            what,
            object: None,
        });
    }

    fn permits(&self, fact: &Fact) -> bool {
        let own = matches!(fact, Fact::Memory { region, .. } if region == OWN_MEMORY);
        own || self.permitted.contains_key(fact)
    }

    fn nothing_beyond_the_policy(&mut self) {
        let facts = self.facts;
        for fact in facts
            .iter()
            .filter(|fact| !self.permits(fact))
            .collect::<Vec<_>>()
        {
            let instead = self.permitted.keys().find(|other| same_place(fact, other));
            let what = match instead {
                Some(other) => format!("{fact}; the policy permits: {other}"),
                None => format!("{fact}; the policy does not permit it"),
            };
            self.report(Rule::of(fact), fact, what);
        }
    }

    /// Only the description is held against this: images are held against the description.
    fn the_policy_permits_nothing_unused(&mut self) {
        if self.facts.source != Source::Description {
            return;
        }
        let unused: Vec<Fact> = self
            .permitted
            .keys()
            .filter(|fact| !self.facts.iter().any(|other| same_place(fact, other)))
            .cloned()
            .collect();
        for fact in unused {
            let what = format!("the policy permits that {fact}, which is not so");
            // A limit that is not there is a right too many.
            let rule = match fact {
                Fact::Budget { .. } => Rule::Budget,
                _ => Rule::Unused,
            };
            self.report(rule, &fact, what);
        }
    }

    fn nothing_writable_is_executable(&mut self) {
        let facts = self.facts;
        for fact in facts.iter() {
            let Fact::Memory {
                subject,
                region,
                access,
            } = fact
            else {
                continue;
            };
            if !access.execute || self.policy.write_and_execute.contains_key(subject) {
                continue;
            }
            let writers: Vec<&str> = match region.as_str() {
                OWN_MEMORY if access.write => vec![subject],
                OWN_MEMORY => Vec::new(),
                region => facts
                    .holders(region)
                    .filter(|(_, access)| access.write)
                    .map(|(writer, _)| writer)
                    .collect(),
            };
            for writer in writers {
                let what = if writer == subject {
                    format!("{subject} may both write and execute '{region}'")
                } else {
                    format!("{subject} may execute '{region}', which {writer} writes")
                };
                self.report(Rule::WriteExecute, fact, what);
            }
        }
    }

    fn is_machine(&self, subject: &str) -> bool {
        self.policy.owner_of_machine(subject).is_some()
    }

    fn regions_have_two_ends(&mut self) {
        let facts = self.facts;
        let regions: BTreeSet<&str> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Memory { region, .. } if region != OWN_MEMORY => Some(region.as_str()),
                _ => None,
            })
            .collect();
        for region in regions {
            let domains: BTreeMap<&str, bool> = facts
                .holders(region)
                .filter(|(subject, _)| !self.is_machine(subject))
                .fold(BTreeMap::new(), |mut domains, (subject, access)| {
                    *domains.entry(subject).or_default() |= access.write;
                    domains
                });
            let names: Vec<&str> = domains.keys().copied().collect();
            let good = match names.as_slice() {
                [] | [_] => true,
                [one, other] => self.joined(one, other),
                _ => false,
            };
            if !good {
                let what = format!(
                    "'{region}' is shared by {}, which are not the two ends of a channel",
                    names.join(", ")
                );
                let culprit = self.mismatch(region);
                self.report_at(Rule::Shared, culprit, what);
            }
            let writers: Vec<&str> = domains
                .iter()
                .filter(|(_, writes)| **writes)
                .map(|(name, _)| *name)
                .collect();
            if writers.len() > 1 && !self.policy.two_writers.contains_key(region) {
                let what = format!("'{region}' is written by {}", writers.join(" and "));
                let culprit = self.mismatch(region);
                self.report_at(Rule::Shared, culprit, what);
            }
        }
    }

    /// The mapping of a region that the policy does not permit, or else the region.
    fn mismatch(&self, wanted: &str) -> Culprit {
        let mismatch = self.facts.iter().find(|fact| {
            matches!(fact, Fact::Memory { region, .. } if region == wanted) && !self.permits(fact)
        });
        mismatch.map_or_else(
            || self.places.of_region(wanted),
            |fact| self.places.of(fact),
        )
    }

    fn joined(&self, one: &str, other: &str) -> bool {
        self.facts.iter().any(|fact| match fact {
            Fact::Notify { subject, peer, .. } | Fact::Call { subject, peer, .. } => {
                (subject == one && peer == other) || (subject == other && peer == one)
            }
            _ => false,
        })
    }

    fn devices_have_one_owner(&mut self) {
        let facts = self.facts;
        for fact in facts.iter() {
            let Fact::Device { region: device, .. } = fact else {
                continue;
            };
            let owner = self
                .policy
                .device
                .values()
                .find(|known| known.region == *device)
                .map_or("nobody", |known| known.owner.as_str());
            for holding in facts.iter() {
                if let Fact::Memory {
                    subject, region, ..
                } = holding
                    && region == device
                    && subject != owner
                {
                    let what =
                        format!("{subject} has the device '{device}', which belongs to {owner}");
                    self.report(Rule::Device, holding, what);
                }
            }
        }
    }

    fn priority(&self, name: &str) -> Option<u8> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Priority { subject, priority } if subject == name => Some(*priority),
            _ => None,
        })
    }

    fn calls_go_upwards(&mut self) {
        let facts = self.facts;
        for fact in facts.iter() {
            let (lower, higher) = match fact {
                Fact::Call { subject, peer, .. } => (subject, peer),
                Fact::Faults {
                    subject, machine, ..
                } => (machine, subject),
                _ => continue,
            };
            if self.priority(lower) >= self.priority(higher) {
                let what = format!("{fact}, but {lower} does not run below {higher}");
                // One element has both ends' priorities wrong at most: that which differs from the policy.
                let wrong = [lower, higher].into_iter().find_map(|subject| {
                    facts.iter().find(|other| {
                        matches!(other, Fact::Priority { subject: named, .. } if named == subject)
                            && !self.permits(other)
                    })
                });
                self.report(Rule::CallOrder, wrong.unwrap_or(fact), what);
            }
        }
    }

    fn one_domain_controls_each_vcpu(&mut self) {
        let facts = self.facts;
        for fact in facts.iter() {
            let (subject, machine) = match fact {
                Fact::Thread {
                    subject, machine, ..
                }
                | Fact::Vcpu {
                    subject, machine, ..
                }
                | Fact::Faults {
                    subject, machine, ..
                } => (subject, machine),
                _ => continue,
            };
            let owner = self.policy.owner_of_machine(machine).unwrap_or("nobody");
            if subject != owner {
                let what = format!("{fact}, but only {owner} may control {machine}");
                self.report(Rule::Vcpu, fact, what);
            }
        }
    }

    fn flows(&mut self, board: &Board) {
        let mut flows = Flows::of(self.facts);
        add_hardware(&mut flows, self.policy, board);
        let listed = |from: &str, to: &str| {
            self.policy
                .flows
                .get(from)
                .is_some_and(|to_all| to_all.contains(to))
                || self.policy.hardware_flow.iter().any(|flow| {
                    flow.from == from && flow.to == to && flow.boards.contains(&board.name)
                })
        };
        let mut found = Vec::new();
        for (from, to, means) in flows.direct().filter(|(from, to, _)| !listed(from, to)) {
            let means: Vec<&str> = means.iter().map(String::as_str).collect();
            let what = format!("{from} can influence {to} by {}", means.join(", "));
            found.push((Rule::Flow, self.blame(&[from, to]), what));
        }
        if self.facts.source == Source::Description {
            for (from, all) in &self.policy.flows {
                for to in all {
                    if !flows
                        .direct()
                        .any(|(one, other, _)| (one, other) == (from, to))
                    {
                        let what =
                            format!("the policy lists a flow from {from} to {to}; there is none");
                        found.push((Rule::Unused, self.blame(&[from, to]), what));
                    }
                }
            }
        }
        for barrier in &self.policy.barrier {
            for to in &barrier.to {
                if let Some(path) = flows.path(&barrier.from, to, &barrier.through) {
                    let steps = path.join(" -> ");
                    let what = format!(
                        "{steps} goes around {}: {}",
                        barrier.through.join(" and "),
                        barrier.why
                    );
                    found.push((Rule::Barrier, self.blame(&path), what));
                }
            }
        }
        for (rule, culprit, what) in found {
            self.report_at(rule, culprit, what);
        }
    }

    /// The element that makes a flow that should not be: a fact about these subjects that is not permitted.
    fn blame(&self, subjects: &[&str]) -> Culprit {
        let concerns = |fact: &Fact| {
            let peer = match fact {
                Fact::Notify { peer, .. } | Fact::Call { peer, .. } => peer.as_str(),
                Fact::Thread { machine, .. }
                | Fact::Vcpu { machine, .. }
                | Fact::Faults { machine, .. } => machine.as_str(),
                _ => "",
            };
            subjects.contains(&fact.subject()) || subjects.contains(&peer)
        };
        let wrong = self
            .facts
            .iter()
            .find(|fact| concerns(fact) && !self.permits(fact));
        wrong.map_or_else(
            || self.places.of_subject(subjects[0]),
            |fact| self.places.of(fact),
        )
    }
}

/// Whether two facts are about the same thing, so that one is what the other should be.
fn same_place(one: &Fact, other: &Fact) -> bool {
    let place = |fact: &Fact| match fact {
        Fact::Memory {
            subject, region, ..
        } => (0, subject.clone(), region.clone()),
        Fact::Notify {
            subject, channel, ..
        } => (1, subject.clone(), channel.to_string()),
        Fact::Call {
            subject, channel, ..
        } => (2, subject.clone(), channel.to_string()),
        Fact::Interrupt {
            subject, channel, ..
        } => (3, subject.clone(), channel.to_string()),
        Fact::Priority { subject, .. } => (4, subject.clone(), String::new()),
        Fact::Device { region, .. } => (5, region.clone(), String::new()),
        Fact::Budget { subject, .. } => (6, subject.clone(), String::new()),
        Fact::Program { subject, .. } => (7, subject.clone(), String::new()),
        fact => (8, fact.subject().to_owned(), fact.to_string()),
    };
    place(one) == place(other)
}
