// SPDX-License-Identifier: BSD-2-Clause
//! Culprits: the element of `system.xml` that a person has to look at.
//!
//! Responsible for: finding the most specific element behind a fact, whichever source showed the fact. Never: judges.

use std::fmt;

use roxmltree::{Document, Node};
use serde::Serialize;

use super::facts::Fact;

/// An element of the description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Culprit {
    /// The description's name.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
    /// The element as it stands there, up to the end of its start tag.
    pub element: String,
}

impl fmt::Display for Culprit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.element)
    }
}

/// Where to look for culprits.
#[derive(Debug)]
pub struct Places<'input> {
    file: String,
    document: Document<'input>,
}

impl<'input> Places<'input> {
    /// Reads a description's text.
    ///
    /// # Errors
    ///
    /// It is not XML.
    pub fn new(file: &str, xml: &'input str) -> Result<Self, roxmltree::Error> {
        Ok(Self {
            file: file.to_owned(),
            document: Document::parse(xml)?,
        })
    }

    /// The element behind a fact; if there is none for it, that of its subject; at worst `<system>`.
    #[must_use]
    pub fn of(&self, fact: &Fact) -> Culprit {
        let exact = match fact {
            Fact::Memory {
                subject,
                region,
                access,
            } => self.mapping(subject, region, Some(access.letters())),
            // The last of them.
            Fact::Again { subject, region } => self.mapping(subject, region, None),
            Fact::Program { subject, .. } => self.program(subject),
            Fact::Notify {
                subject, channel, ..
            }
            | Fact::Call {
                subject, channel, ..
            } => self.end(subject, *channel),
            Fact::ReceiveAt { subject, peer } => self.channel(subject, peer),
            Fact::Interrupt {
                subject, channel, ..
            } => self.child(subject, "irq", "id", &channel.to_string()),
            Fact::Thread { machine, vcpu, .. }
            | Fact::Vcpu { machine, vcpu, .. }
            | Fact::Faults { machine, vcpu, .. } => self
                .child(machine, "vcpu", "id", &vcpu.to_string())
                .or_else(|| self.named(machine)),
            Fact::PhysicalAddress { subject, region } => {
                self.child(subject, "setvar", "region_paddr", region)
            }
            Fact::Firmware { .. }
            | Fact::Priority { .. }
            | Fact::Budget { .. }
            | Fact::Passive { .. } => None,
            Fact::Other { subject, .. } => self.named(subject).or_else(|| self.region(subject)),
            Fact::Device { region, .. } => self.region(region),
        };
        let node = exact
            .or_else(|| self.named(fact.subject()))
            .unwrap_or_else(|| self.document.root_element());
        self.culprit(node)
    }

    /// The element of a region, or `<system>`.
    #[must_use]
    pub fn of_region(&self, name: &str) -> Culprit {
        let node = self.region(name);
        self.culprit(node.unwrap_or_else(|| self.document.root_element()))
    }

    /// The element of a domain or machine, or `<system>`.
    #[must_use]
    pub fn of_subject(&self, name: &str) -> Culprit {
        let node = self.named(name);
        self.culprit(node.unwrap_or_else(|| self.document.root_element()))
    }

    /// The element that stands at a line and column.
    #[must_use]
    pub fn at(&self, line: u32, column: u32) -> Culprit {
        let node = self.document.descendants().find(|node| {
            let at = self.document.text_pos_at(node.range().start);
            node.is_element() && (at.row, at.col) == (line, column)
        });
        self.culprit(node.unwrap_or_else(|| self.document.root_element()))
    }

    fn culprit(&self, node: Node<'_, '_>) -> Culprit {
        let text = &self.document.input_text()[node.range()];
        let end = text.find('>').map_or(text.len(), |end| end + 1);
        Culprit {
            file: self.file.clone(),
            line: self.document.text_pos_at(node.range().start).row,
            element: text[..end].to_owned(),
        }
    }

    fn elements(&self) -> impl Iterator<Item = Node<'_, 'input>> {
        self.document.descendants().filter(Node::is_element)
    }

    fn named(&self, name: &str) -> Option<Node<'_, 'input>> {
        self.elements().find(|node| {
            matches!(
                node.tag_name().name(),
                "protection_domain" | "virtual_machine"
            ) && node.attribute("name") == Some(name)
        })
    }

    fn region(&self, name: &str) -> Option<Node<'_, 'input>> {
        self.elements()
            .find(|node| node.has_tag_name("memory_region") && node.attribute("name") == Some(name))
    }

    /// The last such mapping: what was added is more likely wrong than what was there.
    fn mapping(
        &self,
        subject: &str,
        region: &str,
        perms: Option<&str>,
    ) -> Option<Node<'_, 'input>> {
        let maps = || {
            self.named(subject)
                .into_iter()
                .flat_map(|node| node.children())
                .filter(|node| node.has_tag_name("map") && node.attribute("mr") == Some(region))
        };
        // Letters in any order, some of them twice perhaps.
        let has = |node: &Node<'_, '_>, letter| {
            let letters = node.attribute("perms").unwrap_or("rw");
            letters.contains(letter)
        };
        let same = |node: &Node<'_, '_>| {
            perms.is_some_and(|perms| {
                ['w', 'x']
                    .into_iter()
                    .all(|letter| has(node, letter) == perms.contains(letter))
            })
        };
        maps().rfind(same).or_else(|| maps().next_back())
    }

    fn program(&self, subject: &str) -> Option<Node<'_, 'input>> {
        let mut children = self.named(subject)?.children();
        children.find(|node| node.has_tag_name("program_image"))
    }

    fn child(
        &self,
        subject: &str,
        tag: &str,
        attribute: &str,
        value: &str,
    ) -> Option<Node<'_, 'input>> {
        self.named(subject)?
            .children()
            .find(|node| node.has_tag_name(tag) && node.attribute(attribute) == Some(value))
    }

    fn end(&self, subject: &str, channel: u8) -> Option<Node<'_, 'input>> {
        let channel = channel.to_string();
        self.elements().find(|node| {
            node.has_tag_name("end")
                && node.attribute("pd") == Some(subject)
                && node.attribute("id") == Some(&channel)
        })
    }

    fn channel(&self, one: &str, other: &str) -> Option<Node<'_, 'input>> {
        self.elements().find(|node| {
            let has = |name| node.children().any(|end| end.attribute("pd") == Some(name));
            node.has_tag_name("channel") && has(one) && has(other)
        })
    }
}
