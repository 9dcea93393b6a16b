// SPDX-License-Identifier: BSD-2-Clause
//! `docs/state.md` says what the table says.
//!
//! The chapter between the two marks is written from the table: the test does it where `GODWIT_UPDATE_DOCS` is set, as
//! `cargo xtask docs` has it, and says otherwise that it has to be done.

use crate::{Class, Policy, Register, Source};
use core::fmt::Write as _;
use std::path::PathBuf;

const BEGIN: &str = "<!-- The register table begins. -->\n";
const END: &str = "<!-- The register table ends. -->\n";

fn document() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/state.md")
}

const fn class(class: Class) -> &'static str {
    match class {
        Class::Core => "core",
        Class::System => "system",
        Class::FloatingPoint => "FP/SIMD",
        Class::Debug => "debug",
        Class::Pmu => "PMU",
        Class::Timer => "timer",
        Class::Constant => "constant",
    }
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Thread => "the thread's registers, from the kernel",
        Source::Object => "the kernel's vCPU object",
        Source::Stub => "the capture stub",
        Source::StubOwn => "the capture stub, by an instruction of its own",
        Source::StubVectors => "the capture stub, vector registers",
        Source::StubBreakpoints => "the capture stub, breakpoints that there are",
        Source::StubWatchpoints => "the capture stub, watchpoints that there are",
        Source::StubPmu => "the capture stub, if there is a performance monitor",
        Source::StubCounters => "the capture stub, event counters that there are",
        Source::TimerDomain => "`timer-pd`",
        Source::Probe => "the capture stub at the board's start",
        Source::ProbeCaches => {
            "the capture stub at the board's start, for each cache that there is"
        }
        Source::ProbeDebug => {
            "the capture stub at the board's start, if debug registers can be reached"
        }
        Source::ProbePmu => {
            "the capture stub at the board's start, if there is a performance monitor"
        }
    }
}

const fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Write => "written as state",
        Policy::Exact => "compared: must be equal",
        Policy::Fields => "compared field by field",
        Policy::Ignore => "shown only",
    }
}

fn encoding(register: Register) -> String {
    register
        .encoding()
        .map_or_else(String::new, |[op0, op1, crn, crm, op2]| {
            format!("{op0}, {op1}, {crn}, {crm}, {op2}")
        })
}

/// The chapter, one table for each group of registers with the same class, source, policy and reason.
fn chapter() -> String {
    let mut text = String::new();
    let mut group = None;
    for register in Register::ALL {
        let key = (
            register.class(),
            register.source(),
            register.policy(),
            register.reason(),
        );
        if group != Some(key) {
            group = Some(key);
            let (is, from, then, because) = key;
            write!(
                text,
                "\n**Class** {} · **captured by** {} · **restore** {}: {because}.\n\n\
                 | register | identifier | bits | op0, op1, CRn, CRm, op2 |\n|---|---|---|---|\n",
                class(is),
                source(from),
                policy(then),
            )
            .unwrap();
        }
        writeln!(
            text,
            "| `{}` | `{:#018x}` | {} | {} |",
            register.name(),
            register.identifier().value(),
            register.width().bits(),
            encoding(register),
        )
        .unwrap();
    }
    text + "\n"
}

#[test]
fn the_register_reference_is_what_the_table_says() {
    let text = std::fs::read_to_string(document()).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let current = chapter();
    if std::env::var_os("GODWIT_UPDATE_DOCS").is_some() {
        std::fs::write(document(), format!("{before}{BEGIN}{current}{END}{after}")).unwrap();
        return;
    }
    assert!(
        found == current,
        "docs/state.md is not what the table says: run `cargo xtask docs`"
    );
}

/// What a row of the chapter on pitfalls says went wrong, and the test that guards it: file, function.
fn guard(row: &str) -> [&str; 3] {
    let mut cells = row.trim_matches('|').rsplitn(2, '|');
    let mut quoted = cells.next().unwrap().split('`');
    let guard = [quoted.nth(1).unwrap(), quoted.nth(1).unwrap()];
    [cells.next().unwrap().trim(), guard[0], guard[1]]
}

#[test]
fn every_pitfall_names_a_test_that_names_it() {
    let text = std::fs::read_to_string(document()).unwrap();
    let (_, rest) = text.split_once("<!-- The pitfalls begin. -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- The pitfalls end. -->").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() >= 23, "{} rows", rows.len());
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for row in rows {
        let [what, file, test] = guard(row);
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        let (before, _) = source
            .split_once(&format!("fn {test}("))
            .unwrap_or_else(|| panic!("no {test} in {file}"));
        // Above the test, with attributes and documentation in between.
        let above = before.rsplit("\n\n").next().unwrap_or_default();
        let named = format!("// Pitfall: {what}.");
        assert!(above.contains(&named), "{file}: {test} lacks `{named}`");
    }
}
