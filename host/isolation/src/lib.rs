// SPDX-License-Identifier: BSD-2-Clause
//! The review of isolation: what each domain can do to each other and to the guest, held against a policy.
//!
//! Responsible for: facts from three sources of rising strength (the description; the embedded kernel's image; the capDL
//! description of the image for seL4), the rules that every system must keep, the policy that ours must keep, and the
//! closure of who can influence whom. Never: trusts a source to agree with another, and never repairs anything.
//!
//! The pieces: [`facts`] is the vocabulary, [`description`], [`embedded`] and [`capdl`] read the sources, [`policy`] reads `policy.toml`,
//! [`check`] judges, [`flow`] closes the graph, [`culprit`] finds the element to blame, [`report`], [`document`] and
//! [`picture`] show the result, [`build`] makes the images.

pub mod build;
pub mod capdl;
pub mod check;
pub mod culprit;
pub mod description;
pub mod document;
pub mod embedded;
pub mod facts;
pub mod flow;
pub mod picture;
pub mod policy;
pub mod remains;
pub mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use culprit::{Culprit, Places};
pub use facts::{Fact, Facts, Source};
use flow::Flows;
use image::system::{Prefill, System};
use image::{Board, ImageError};
use policy::Policy;

/// Why there is no review.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// The policy cannot be used.
    #[error("{file}: {reason}")]
    Policy {
        /// Its name.
        file: String,
        /// Why.
        reason: String,
    },
    /// The description is not XML at all.
    #[error("{file}: {source}")]
    Xml {
        /// Its name.
        file: String,
        /// Why.
        source: roxmltree::Error,
    },
    /// The embedded kernel's image has no boot description, or a damaged one.
    #[error("the embedded kernel's image: {0}")]
    Embedded(#[from] kernel_image::ImageError),
    /// The capDL description cannot be read.
    #[error("the capDL description: {0}")]
    Capdl(#[from] serde_json::Error),
    /// An image cannot be built.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The document lacks a part that is to be generated.
    #[error("docs/isolation.md has no part '{0}'")]
    NoPart(String),
}

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The description itself is refused.
    Description,
    /// Nobody has a right to memory that the policy does not list.
    Memory,
    /// No memory is both writable and executable for anyone but the guest.
    WriteExecute,
    /// A region is shared by the two ends of one channel at most, and written by one of them.
    Shared,
    /// Who may notify and call whom, by which identifiers.
    Channel,
    /// Every call goes to a higher priority, and a machine runs below its domain.
    CallOrder,
    /// Priorities are those of the policy.
    Priority,
    /// Budgets are those of the policy, and nobody runs on its callers' time.
    Budget,
    /// Each domain runs the policy's program.
    Program,
    /// Each interrupt belongs to its device's owner.
    Interrupt,
    /// One domain controls the vCPUs.
    Vcpu,
    /// Each device belongs to one owner, at the board's address.
    Device,
    /// Physical addresses are told to drivers of devices with DMA only.
    PhysicalAddress,
    /// Nobody holds a capability that no rule knows, and every thread has what is its own.
    Capability,
    /// The policy permits nothing that nobody has.
    Unused,
    /// Stronger sources say the same as the description.
    Difference,
    /// Firmware is called by whom the policy lets, on boards where it must be.
    Firmware,
    /// Direct flows are those of the policy.
    Flow,
    /// Every path passes the barriers of the policy.
    Barrier,
}

impl Rule {
    /// The name that reports and documents use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Memory => "memory",
            Self::WriteExecute => "write-execute",
            Self::Shared => "shared",
            Self::Channel => "channel",
            Self::CallOrder => "call-order",
            Self::Priority => "priority",
            Self::Budget => "budget",
            Self::Program => "program",
            Self::Interrupt => "interrupt",
            Self::Vcpu => "vcpu",
            Self::Device => "device",
            Self::PhysicalAddress => "physical-address",
            Self::Capability => "capability",
            Self::Unused => "unused",
            Self::Difference => "difference",
            Self::Firmware => "firmware",
            Self::Flow => "flow",
            Self::Barrier => "barrier",
        }
    }

    /// The rule that a fact falls under.
    #[must_use]
    pub const fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Memory { .. } | Fact::Again { .. } => Self::Memory,
            Fact::Notify { .. } | Fact::Call { .. } => Self::Channel,
            Fact::Interrupt { .. } => Self::Interrupt,
            Fact::Thread { .. } | Fact::Vcpu { .. } | Fact::Faults { .. } => Self::Vcpu,
            Fact::PhysicalAddress { .. } => Self::PhysicalAddress,
            Fact::Firmware { .. } => Self::Firmware,
            Fact::Priority { .. } => Self::Priority,
            Fact::Budget { .. } | Fact::Passive { .. } => Self::Budget,
            Fact::Program { .. } => Self::Program,
            Fact::Device { .. } => Self::Device,
            Fact::ReceiveAt { .. } | Fact::Other { .. } => Self::Capability,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The element to look at.
    pub culprit: Culprit,
    /// The rule that it breaks.
    pub rule: Rule,
    /// Where it shows.
    pub source: Source,
    /// What is wrong.
    pub what: String,
    /// The object of an image that shows it, where it has a name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// What a stronger source shows beyond the description and the policy accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Accepted {
    /// Where it shows.
    pub source: Source,
    /// What.
    pub fact: Fact,
    /// Why it is accepted.
    pub why: String,
}

/// A review of one system on one board.
#[derive(Debug)]
pub struct Review<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The board.
    pub board: &'a Board,
    /// The description, if it is one.
    pub system: Option<System>,
    /// The sources, the description first.
    pub sources: Vec<Facts>,
    /// Images are made with `--guest-debug`.
    pub guest_debug: bool,
    /// Sources that were not available, each with the reason.
    pub missing: Vec<String>,
    /// Everything that is wrong, sorted, nothing twice.
    pub findings: Vec<Finding>,
    /// Differences that the policy accepts.
    pub accepted: Vec<Accepted>,
    places: Places<'a>,
}

impl<'a> Review<'a> {
    /// Reviews a description.
    ///
    /// # Errors
    ///
    /// It is not XML. Whatever else is wrong with it is a finding.
    pub fn of_description(
        file: &str,
        xml: &'a str,
        board: &'a Board,
        policy: &'a Policy,
    ) -> Result<Self, IsolationError> {
        let places = Places::new(file, xml).map_err(|source| IsolationError::Xml {
            file: file.to_owned(),
            source,
        })?;
        let mut review = Self {
            policy,
            board,
            system: None,
            sources: Vec::new(),
            guest_debug: false,
            missing: Vec::new(),
            findings: Vec::new(),
            accepted: Vec::new(),
            places,
        };
        match System::parse(file, xml, &prefill(xml)) {
            Ok(system) => {
                let facts = description::facts(&system, &board.ram.range());
                review.system = Some(system);
                review.add(facts);
            }
            Err(error) => review.findings.push(Finding {
                culprit: review.places.at(error.position.line, error.position.column),
                rule: Rule::Description,
                source: Source::Description,
                what: error.kind.to_string(),
                object: None,
            }),
        }
        Ok(review)
    }

    /// Holds a source's facts against the policy, and against the description.
    pub fn add(&mut self, facts: Facts) {
        let mut findings = check::check(self.policy, self.board, &self.places, &facts);
        if let Some(description) = self.sources.first() {
            let (differences, accepted) =
                check::compare(self.policy, &self.places, description, &facts);
            findings.extend(differences);
            self.accepted.extend(accepted);
        }
        self.findings.extend(findings);
        self.findings.sort();
        self.findings.dedup();
        self.sources.push(facts);
    }

    /// The flows that the strongest source shows, and those of the hardware.
    #[must_use]
    pub fn flows(&self) -> Flows {
        let mut flows = self.sources.last().map(Flows::of).unwrap_or_default();
        check::add_hardware(&mut flows, self.policy, self.board);
        flows
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}

/// A byte for each file that a description prefills a region from: what the files hold is nobody's right.
#[must_use]
pub fn prefill(xml: &str) -> Prefill {
    let document = roxmltree::Document::parse(xml);
    let paths = document.iter().flat_map(roxmltree::Document::descendants);
    paths
        .filter_map(|node| node.attribute("prefill_path"))
        .map(|path| (path.to_owned(), vec![0]))
        .collect()
}
