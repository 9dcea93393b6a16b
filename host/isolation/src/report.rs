// SPDX-License-Identifier: BSD-2-Clause
//! The report: what the review found, for a person and for a program.
//!
//! Responsible for: the tables (who may touch what, who controls what, who influences whom), as text, Markdown or JSON.
//! Never: judges.

use std::fmt::Write as _;

use serde::Serialize;

use super::facts::{Fact, Facts, MONITOR, OWN_MEMORY};
use super::flow::Flows;
use super::{Accepted, Finding, Review, remains};

/// A table of short texts.
#[derive(Clone, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub const fn new(head: Vec<String>) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// In columns, for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for line in lines() {
            let mut shown = String::from(" ");
            for (cell, width) in line.iter().zip(&widths) {
                let _ = write!(shown, " {cell:width$} ");
            }
            text.push_str(shown.trim_end());
            text.push('\n');
        }
        text
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.head);
        text.push_str(&line(&vec!["---".to_owned(); self.head.len()]));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }
}

/// Machines and domains, in the order of the description, each machine before its domain.
#[must_use]
pub fn subjects(review: &Review<'_>) -> Vec<String> {
    let mut subjects = Vec::new();
    for domain in review.system.iter().flat_map(|system| &system.domains) {
        subjects.extend(domain.machine.iter().map(|machine| machine.name.clone()));
        subjects.push(domain.name.clone());
    }
    subjects
}

/// Who may touch which region.
#[must_use]
pub fn memory(review: &Review<'_>) -> Table {
    let subjects = subjects(review);
    let mut table = Table::new(
        std::iter::once("region".to_owned())
            .chain(subjects.clone())
            .collect(),
    );
    let Some(facts) = review.sources.first() else {
        return table;
    };
    for region in review.system.iter().flat_map(|system| &system.regions) {
        let cell = |subject: &String| {
            let rights = facts
                .holders(&region.name)
                .filter(|(holder, _)| holder == subject)
                .map(|(_, access)| access.letters());
            rights.collect::<Vec<_>>().join(" ")
        };
        let cells = subjects.iter().map(cell);
        table.row(std::iter::once(region.name.clone()).chain(cells).collect());
    }
    table
}

/// Who calls, notifies, handles and controls what.
#[must_use]
pub fn control(review: &Review<'_>) -> Table {
    let head = [
        "",
        "priority",
        "calls",
        "notifies",
        "interrupts",
        "controls",
        "is told",
        "runs at most",
    ];
    let mut table = Table::new(head.map(str::to_owned).to_vec());
    let Some(facts) = review.sources.first() else {
        return table;
    };
    for subject in subjects(review) {
        let of = |choose: &dyn Fn(&Fact) -> Option<String>| {
            let mut found: Vec<String> = facts
                .iter()
                .filter(|fact| fact.subject() == subject)
                .filter_map(choose)
                .collect();
            found.dedup();
            found.join(", ")
        };
        table.row(vec![
            subject.clone(),
            of(&|fact| match fact {
                Fact::Priority { priority, .. } => Some(priority.to_string()),
                _ => None,
            }),
            of(&|fact| match fact {
                Fact::Call { peer, .. } => Some(peer.clone()),
                _ => None,
            }),
            of(&|fact| match fact {
                Fact::Notify { peer, .. } => Some(peer.clone()),
                _ => None,
            }),
            of(&|fact| match fact {
                Fact::Interrupt { intid, .. } => Some(intid.to_string()),
                _ => None,
            }),
            of(&|fact| match fact {
                Fact::Vcpu { machine, vcpu, .. } => Some(format!("{machine}:{vcpu}")),
                _ => None,
            }),
            of(&|fact| match fact {
                Fact::PhysicalAddress { region, .. } => Some(format!("address of {region}")),
                _ => None,
            }),
            of(&|fact| match fact {
                Fact::Budget { budget, period, .. } => Some(format!("{budget} us in {period} us")),
                _ => None,
            }),
        ]);
    }
    table
}

/// Who influences whom: directly, or through whom at least.
#[must_use]
pub fn flows(review: &Review<'_>) -> Table {
    let flows = review.flows();
    let subjects = subjects(review);
    let head = std::iter::once("from \\ to".to_owned()).chain(subjects.clone());
    let mut table = Table::new(head.collect());
    for from in &subjects {
        let cell = |to: &String| flow(&flows, from, to);
        let cells = subjects.iter().map(cell);
        table.row(std::iter::once(from.clone()).chain(cells).collect());
    }
    table
}

fn flow(flows: &Flows, from: &str, to: &str) -> String {
    if from == to {
        return String::new();
    }
    match flows.path(from, to, &[]) {
        None => "never".to_owned(),
        Some(path) if path.len() == 2 => "direct".to_owned(),
        Some(_) => match flows.unavoidable(from, to).as_slice() {
            [] => "indirect".to_owned(),
            through => format!("via {}", through.join(", ")),
        },
    }
}

/// All of it, for a terminal.
#[must_use]
pub fn text(review: &Review<'_>) -> String {
    let mut text = format!(
        "Isolation on {} ({})\n\nSources, in rising strength\n",
        review.board.name, review.board.description
    );
    for facts in &review.sources {
        let _ = writeln!(
            text,
            "  {:<15} {:>4} rights",
            facts.source,
            facts.facts.len()
        );
    }
    for missing in &review.missing {
        let _ = writeln!(text, "  not reviewed: {missing}");
    }
    if review.system.is_some() {
        let sections = [
            ("Memory", memory(review)),
            ("Control", control(review)),
            (
                "Who can influence whom (and so: who can learn from whom)",
                flows(review),
            ),
        ];
        for (title, table) in sections {
            let _ = write!(text, "\n{title}\n{}", table.text());
        }
    }
    text.push_str(&accepted(review));
    if review.guest_debug {
        text.push_str("\nGiven up by --guest-debug\n");
        for line in remains::GIVEN_UP {
            let _ = writeln!(text, "  {line}");
        }
    }
    if review.findings.is_empty() {
        text.push_str("\nNo violation of policy.toml.\n");
        return text;
    }
    let _ = writeln!(text, "\n{} violations\n", review.findings.len());
    let mut last = None;
    for finding in &review.findings {
        if last != Some(&finding.culprit) {
            let _ = writeln!(text, "{}", finding.culprit);
            last = Some(&finding.culprit);
        }
        let object = finding.object.as_ref().map(|object| format!(" [{object}]"));
        let _ = writeln!(
            text,
            "    {} ({}): {}{}",
            finding.rule,
            finding.source,
            finding.what,
            object.unwrap_or_default()
        );
    }
    text
}

fn accepted(review: &Review<'_>) -> String {
    let mut text = String::new();
    let mut reasons: Vec<&str> = review
        .accepted
        .iter()
        .map(|accepted| accepted.why.as_str())
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    if !reasons.is_empty() {
        text.push_str("\nBeyond the description, and accepted by the policy\n");
    }
    for reason in reasons {
        let _ = writeln!(text, "  {reason}:");
        for accepted in review
            .accepted
            .iter()
            .filter(|accepted| accepted.why == reason)
        {
            let _ = writeln!(text, "    {}: {}", accepted.source, accepted.fact);
        }
    }
    text
}

#[derive(Serialize)]
struct Json<'a> {
    board: &'a str,
    holds: bool,
    sources: Vec<JsonSource<'a>>,
    missing: &'a [String],
    given_up: &'a [&'a str],
    flows: Vec<JsonFlow<'a>>,
    accepted: &'a [Accepted],
    violations: &'a [Finding],
}

#[derive(Serialize)]
struct JsonSource<'a> {
    source: super::Source,
    facts: Vec<&'a Fact>,
}

#[derive(Serialize)]
struct JsonFlow<'a> {
    from: &'a str,
    to: &'a str,
    direct: bool,
    means: Vec<&'a str>,
    unavoidable: Vec<&'a str>,
}

/// All of it, for a program.
///
/// # Errors
///
/// None in practice: every key is a string.
pub fn json(review: &Review<'_>) -> Result<String, serde_json::Error> {
    let flows = review.flows();
    let mut closure = Vec::new();
    for from in flows.subjects() {
        for to in flows.subjects() {
            if from == to || flows.path(from, to, &[]).is_none() {
                continue;
            }
            let direct = flows
                .direct()
                .find(|(one, other, _)| (*one, *other) == (from, to));
            closure.push(JsonFlow {
                from,
                to,
                direct: direct.is_some(),
                means: direct
                    .iter()
                    .flat_map(|(.., means)| means.iter().map(String::as_str))
                    .collect(),
                unavoidable: flows.unavoidable(from, to),
            });
        }
    }
    let sources = review.sources.iter().map(|facts: &Facts| JsonSource {
        source: facts.source,
        facts: facts.iter().collect(),
    });
    serde_json::to_string_pretty(&Json {
        board: &review.board.name,
        holds: review.holds(),
        sources: sources.collect(),
        missing: &review.missing,
        given_up: if review.guest_debug {
            &remains::GIVEN_UP
        } else {
            &[]
        },
        flows: closure,
        accepted: &review.accepted,
        violations: &review.findings,
    })
}

/// What a subject can do, a line each.
#[must_use]
pub fn abilities(review: &Review<'_>, subject: &str) -> Vec<String> {
    let Some(facts) = review.sources.first() else {
        return Vec::new();
    };
    let mine = facts.iter().filter(|fact| fact.subject() == subject);
    let mut lines = Vec::new();
    for fact in mine {
        let line = match fact {
            Fact::Memory { region, access, .. } if region != OWN_MEMORY => {
                let verb = match (access.write, access.execute) {
                    (false, false) => "read",
                    (true, false) => "read and write",
                    (false, true) => "read and execute",
                    (true, true) => "read, write and execute",
                };
                format!("{verb} `{region}`")
            }
            Fact::Notify { peer, .. } => format!("notify {peer}"),
            Fact::Call { peer, .. } => format!("call {peer}"),
            Fact::Interrupt { intid, .. } => {
                format!("acknowledge interrupt {intid}, or leave it masked")
            }
            Fact::Vcpu { machine, vcpu, .. } => {
                format!("stop, start, read, write and interrupt {machine}'s vCPU {vcpu}")
            }
            Fact::PhysicalAddress { region, .. } => {
                format!("use the physical address of `{region}`")
            }
            Fact::ReceiveAt { peer, .. } if peer != MONITOR => {
                format!("receive at {peer}'s endpoint")
            }
            _ => continue,
        };
        lines.push(line);
    }
    lines
}
