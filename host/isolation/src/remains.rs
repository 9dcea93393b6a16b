// SPDX-License-Identifier: BSD-2-Clause
//! What a guest leaves behind on the core that domains run on next, as the register table has it.
//!
//! Responsible for: the tables of `docs/isolation.md` about it, and what an image gives up that leaves a guest its debug
//! registers. Never: decides what is in them (`register_table::remains` does).

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use register_table::remains::{LINES, NEEDS, OTHERS, Other, REGISTERS, Treatment, Treatments};

use super::report::Table;

/// What `--guest-debug` gives up, a line each.
pub const GIVEN_UP: [&str; 3] = [
    "the guest has its processor's debug registers and performance monitor: that no debug exception or counter of its is \
     in force while domains run rests on the embedded kernel's switching of them, not on a trap",
    "the guest can hinder an external debugger: OS lock, double lock, claim tags, power-down requests and the debug \
     communications channel are its own",
    "the guest moves only to boards whose image leaves it the same",
];

/// The tables and the options, in Markdown.
#[must_use]
pub fn document() -> String {
    let mut text = String::from("The registers of a vCPU, which a record holds:\n\n");
    text.push_str(&table("register", registers()).markdown());
    text.push_str("\nEverything else that EL1 and EL0 of a Cortex-A53 to A76 can change:\n\n");
    text.push_str(&table("what", OTHERS.iter().map(named)).markdown());
    text.push_str("\nInterrupt lines of a core, by INTID:\n\n");
    text.push_str(&table("line", LINES.iter().map(named)).markdown());
    text.push_str("\nOf seL4 this is true in its release configuration, with\n\n");
    for need in NEEDS {
        let state = if need.on { "on" } else { "off" };
        let _ = writeln!(text, "* `{}` {state}: else {};", need.option, need.why);
    }
    text.push_str("* `MAX_NUM_NODES` 1: else other cores would start without the stage.\n\n");
    text
}

fn named(other: &Other) -> (String, Treatments) {
    (other.name.to_owned(), other.treatments)
}

/// Rows that follow each other and share their treatments become one.
fn registers() -> impl Iterator<Item = (String, Treatments)> {
    let mut groups: Vec<(Vec<RangeInclusive<usize>>, Treatments)> = Vec::new();
    for (index, (_, treatments)) in REGISTERS.iter().enumerate() {
        let known = groups.iter_mut().find(|(_, known)| known == treatments);
        match known {
            Some((ranges, _)) => match ranges.last_mut() {
                Some(last) if *last.end() + 1 == index => *last = *last.start()..=index,
                _ => ranges.push(index..=index),
            },
            None => groups.push((vec![index..=index], *treatments)),
        }
    }
    groups.into_iter().map(|(ranges, treatments)| {
        let names: Vec<_> = ranges.iter().map(name).collect();
        (names.join(", "), treatments)
    })
}

/// A run of rows: few by their names, many by the first and last.
fn name(range: &RangeInclusive<usize>) -> String {
    let of = |index: usize| REGISTERS.get(index).map_or("", |(name, _)| name);
    let (first, last) = (*range.start(), *range.end());
    match last - first {
        0..3 => {
            let names: Vec<_> = range
                .clone()
                .map(|index| format!("`{}`", of(index)))
                .collect();
            names.join(", ")
        }
        _ => format!("`{}` to `{}`", of(first), of(last)),
    }
}

fn table(what: &str, rows: impl Iterator<Item = (String, Treatments)>) -> Table {
    let head = [what, "on seL4", "on the embedded kernel"];
    let mut table = Table::new(head.map(str::to_owned).to_vec());
    let cell = |(treatment, how): (Treatment, &str)| format!("**{}**: {how}", treatment.word());
    for (name, treatments) in rows {
        let embedded = if treatments.embedded == treatments.sel4 {
            "as on seL4".to_owned()
        } else {
            cell(treatments.embedded)
        };
        table.row(vec![name, cell(treatments.sel4), embedded]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_is_in_the_table_once() {
        let rows: Vec<_> = registers().collect();
        let treatments: Vec<_> = rows.iter().map(|(_, treatments)| treatments).collect();
        for (index, treatment) in treatments.iter().enumerate() {
            assert!(
                !treatments[..index].contains(treatment),
                "{treatment:?} twice"
            );
        }
        let names: Vec<_> = rows.iter().map(|(names, _)| names.as_str()).collect();
        let said = names.join(" ");
        for name in [
            "X0",
            "MDCCINT_EL1",
            "CSSELR_EL1",
            "CNTV_CTL_EL0",
            "SCTLR_EL1",
        ] {
            assert!(said.contains(&format!("`{name}`")), "{name} in {said}");
        }
    }
}
