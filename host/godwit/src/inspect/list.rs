// SPDX-License-Identifier: BSD-2-Clause
//! The register table, as a person or a program reads it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use state::{Class, Policy, Register, Source};

/// A class's name.
pub const fn class(class: Class) -> &'static str {
    match class {
        Class::Core => "core",
        Class::System => "system",
        Class::FloatingPoint => "fp",
        Class::Debug => "debug",
        Class::Pmu => "pmu",
        Class::Timer => "timer",
        Class::Constant => "constant",
    }
}

/// Where a register is captured, in a word or two.
pub const fn source(source: Source) -> &'static str {
    match source {
        Source::Thread => "thread",
        Source::Object => "vcpu object",
        Source::Stub | Source::StubOwn | Source::StubVectors => "stub",
        Source::StubBreakpoints => "stub, breakpoints",
        Source::StubWatchpoints => "stub, watchpoints",
        Source::StubPmu => "stub, pmu",
        Source::StubCounters => "stub, counters",
        Source::TimerDomain => "timer-pd",
        Source::Probe => "start",
        Source::ProbeCaches => "start, caches",
        Source::ProbeDebug => "start, debug",
        Source::ProbePmu => "start, pmu",
    }
}

/// What a restore does, in a word.
pub const fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Write => "written",
        Policy::Exact => "equal",
        Policy::Fields => "no less",
        Policy::Ignore => "shown",
    }
}

/// The table, a line for each register.
pub fn text() -> String {
    let mut text = format!(
        "{:<20} {:<18} {:>4}  {:<9} {:<18} {:<8} why\n",
        "register", "identifier", "bits", "class", "captured by", "restore"
    );
    for register in Register::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<20} {:#018x} {:>4}  {:<9} {:<18} {:<8} {}",
            register.name(),
            register.identifier().value(),
            register.width().bits(),
            class(register.class()),
            source(register.source()),
            policy(register.policy()),
            register.reason(),
        );
    }
    text
}

/// The table as JSON.
pub fn json() -> Value {
    let row = |register: Register| {
        json!({
            "name": register.name(),
            "id": format!("{:#018x}", register.identifier().value()),
            "bits": register.width().bits(),
            "encoding": register.encoding(),
            "class": class(register.class()),
            "captured_by": source(register.source()),
            "restore": policy(register.policy()),
            "reason": register.reason(),
        })
    };
    Value::Array(Register::ALL.into_iter().map(row).collect())
}
