// SPDX-License-Identifier: BSD-2-Clause
//! What can be typed at the console.
//!
//! | command | answer |
//! |---|---|
//! | `report` | `godwit-check: {…}`, one line of JSON: `ok`, `sequence`, `uptime_ms`, `cpus`, the gaps since the last `mark`, `checks` by name |
//! | `mark` | forgets the gaps seen so far, so that the next report shows those of a move |
//! | `hello` | where the guest is: uptime, tick, CPU |
//! | `cpus` | the CPUs that are online |
//! | `processor` | which it is: what Linux took down when it started, and what the register says now |
//! | `words`, `verbose`, `quiet` | how ticks look: a story, a line each, not at all |
//! | `poweroff` | a last report, then the end: status 0 only if all is well |

use std::process::ExitCode;
use std::time::Duration;

use rustix::thread::sched_getcpu;
use serde_json::{Value, json};

use crate::checks::Context;
use crate::console::{Style, seconds, word};
use crate::{hardware, worker};

const HELP: &str =
    "commands: report, mark, hello, cpus, processor, words, verbose, quiet, poweroff";

/// Answers commands until one of them ends the workload.
pub(crate) fn serve(context: &Context) -> ExitCode {
    for command in std::io::stdin().lines().map_while(Result::ok) {
        if let Some(status) = answer(context, command.trim()) {
            return status;
        }
    }
    // Without a console there is nobody to answer, but the checks continue.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn answer(context: &Context, command: &str) -> Option<ExitCode> {
    let console = &context.console;
    match command {
        "" => {}
        "report" => {
            print_report(context);
        }
        "mark" => {
            context.gaps.reset();
            console.line(&format!(
                "mark: gaps count from tick {}",
                context.sequence()
            ));
        }
        "hello" => console.line(&hello(context)),
        "cpus" => console.line(&cpus(context)),
        "processor" => console.line(&processor()),
        "words" => console.set_style(Style::Words),
        "verbose" => console.set_style(Style::Lines),
        "quiet" => console.set_style(Style::Quiet),
        "help" => console.line(HELP),
        "poweroff" => {
            return Some(if print_report(context) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        other => console.line(&format!("{other}: unknown; {HELP}")),
    }
    None
}

fn hello(context: &Context) -> String {
    let sequence = context.sequence();
    format!(
        "hello: Linux here, up {} s, on CPU {} of {}, at tick {sequence} (\"{}\")",
        seconds(context.uptime()),
        sched_getcpu(),
        context.cpus,
        word(sequence),
    )
}

fn cpus(context: &Context) -> String {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online")
        .unwrap_or_else(|error| error.to_string());
    format!(
        "cpus: {} with a check on each; online: {}",
        context.cpus,
        online.trim()
    )
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let recorded = midr_of(&text).unwrap_or(0);
    format!(
        "processor: {recorded:#x} in /proc/cpuinfo, {:#x} in MIDR_EL1",
        hardware::midr()
    )
}

/// `MIDR_EL1` as `/proc/cpuinfo` has it of the first CPU, field by field (`arch/arm64/kernel/cpuinfo.c`).
fn midr_of(cpuinfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(key, _)| key.trim() == name)?;
        let value = value.trim();
        match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        }
    };
    let [implementer, variant, part, revision] =
        ["implementer", "variant", "part", "revision"].map(|name| field(&format!("CPU {name}")));
    // Bits 19 to 16 say that the identification registers say the rest.
    Some(implementer? << 24 | variant? << 20 | 0xf << 16 | part? << 4 | revision?)
}

/// Prints the report; whether all is well.
fn print_report(context: &Context) -> bool {
    let (ok, report) = report(context);
    context.console.line(&format!("godwit-check: {report}"));
    ok
}

fn report(context: &Context) -> (bool, Value) {
    let stalled = worker::stalled(&context.workers);
    let checks = worker::summary(&context.workers, &stalled);
    let ok = checks.values().all(|check| check["ok"] == json!(true));
    let report = json!({
        "ok": ok,
        "sequence": context.sequence(),
        "uptime_ms": context.uptime() / 1_000_000,
        "cpus": context.cpus,
        "largest_gap_us": context.gaps.common() / 1000,
        "largest_tick_gap_us": context.gaps.tick() / 1000,
        "largest_oversleep_us": context.gaps.oversleep() / 1000,
        "checks": checks,
    });
    (ok, report)
}

#[cfg(test)]
mod tests {
    use super::midr_of;

    #[test]
    fn cpuinfo_says_which_core_it_is() {
        let text = "processor\t: 0\nBogoMIPS\t: 125.00\nCPU implementer\t: 0x41\nCPU architecture: 8\n\
                    CPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\nprocessor\t: 1\n\
                    CPU implementer\t: 0x42\n";
        assert_eq!(midr_of(text), Some(0x414f_d0b1));
        assert_eq!(midr_of("processor : 0\n"), None);
    }
}
