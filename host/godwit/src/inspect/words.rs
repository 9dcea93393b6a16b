// SPDX-License-Identifier: BSD-2-Clause
//! State in words, the same wherever it is shown.

use std::time::Duration;

use state::vgic::{InterruptV1, PRIVATE, SOFTWARE_GENERATED};
use state::{PowerV1, Register, VcpuInterruptsV1, VcpuTimerV1};

/// The virtual timer's private interrupt (Base System Architecture, and every board here).
const VIRTUAL_TIMER: usize = 27;
/// The console's (QEMU's `virt` map, which every guest's machine has).
const CONSOLE: usize = 33;
/// The clock's.
const CLOCK: usize = 34;

/// A value in hexadecimal, as wide as its register.
pub(super) fn hexadecimal(register: Register, value: u128) -> String {
    let digits = usize::try_from(register.width().bits() / 4).unwrap_or(32);
    format!("0x{value:0digits$x}")
}

/// A power state.
pub(super) fn power(power: PowerV1) -> String {
    match power {
        PowerV1::Off => "off".to_owned(),
        PowerV1::On => "on".to_owned(),
        PowerV1::OnPending { entry, context } => {
            format!("on, to start at {entry:#x} with {context:#x} in x0")
        }
    }
}

/// An interrupt's name.
pub(super) fn interrupt_name(number: usize) -> String {
    let kind = match number {
        0..SOFTWARE_GENERATED => "SGI",
        SOFTWARE_GENERATED..PRIVATE => "PPI",
        _ => "SPI",
    };
    let source = match number {
        VIRTUAL_TIMER => ", virtual timer",
        CONSOLE => ", console",
        CLOCK => ", clock",
        _ => "",
    };
    format!("{kind} {number}{source}")
}

/// What a shared interrupt is, besides its number, on a machine of `vcpus` vCPUs. On one it has no targets
/// (`GICD_ITARGETSR` is zero there, IHI 0048B, 4.3.12) and goes to that vCPU.
pub(super) fn shared_interrupt(state: &InterruptV1, vcpus: usize) -> String {
    let text = interrupt(state);
    match (vcpus, state.targets) {
        (..=1, 0) => text,
        (_, targets) => format!("{text}, to {}", set(targets.into())),
    }
}

fn interrupt(interrupt: &InterruptV1) -> String {
    let mut words = vec![
        if interrupt.enabled {
            "enabled"
        } else {
            "disabled"
        }
        .to_owned(),
    ];
    let flags = [
        (interrupt.latched, "pending"),
        (interrupt.line, "line high"),
        (interrupt.active, "active"),
        (interrupt.group1, "group 1"),
    ];
    words.extend(
        flags
            .iter()
            .filter(|flag| flag.0)
            .map(|flag| flag.1.to_owned()),
    );
    words.push(if interrupt.edge { "edge" } else { "level" }.to_owned());
    words.push(format!("priority {:#04x}", interrupt.priority));
    words.join(", ")
}

/// A private interrupt of a vCPU, with what only software generated ones have.
pub(super) fn private_interrupt(banked: &VcpuInterruptsV1, number: usize) -> String {
    let state = banked.private.get(number).copied().unwrap_or_default();
    let mut text = interrupt(&state);
    for (word, sources) in [
        ("pending", &banked.pending_sources),
        ("active", &banked.active_sources),
    ] {
        match sources.get(number) {
            Some(0) | None => {}
            Some(sources) => text += &format!(", {word} from {}", set((*sources).into())),
        }
    }
    if is_acknowledged(banked, number) {
        text += ", acknowledged";
    }
    text
}

/// Whether a vCPU has acknowledged an interrupt and not deactivated it.
pub(super) fn is_acknowledged(banked: &VcpuInterruptsV1, number: usize) -> bool {
    let word = banked.acknowledged.get(number / 32).copied().unwrap_or(0);
    word & 1 << (number % 32) != 0
}

/// vCPUs by bits: "vCPU 0", "vCPUs 0, 2", "no vCPU".
fn set(bits: u32) -> String {
    let list: Vec<String> = (0..32)
        .filter(|bit| bits & 1 << bit != 0)
        .map(|bit| bit.to_string())
        .collect();
    match list.len() {
        0 => "no vCPU".to_owned(),
        1 => format!("vCPU {}", list.join("")),
        _ => format!("vCPUs {}", list.join(", ")),
    }
}

/// `GICC_CTLR` (IHI 0048B, 4.4.1).
const CPU_INTERFACE: [(u32, &str); 5] = [
    (0, "group 0"),
    (1, "group 1"),
    (2, "AckCtl"),
    (4, "CBPR"),
    (9, "EOImode"),
];
/// `GICD_CTLR` (IHI 0048B, 4.3.1).
const DISTRIBUTOR: [(u32, &str); 2] = [(0, "group 0"), (1, "group 1")];

/// `GICD_CTLR`.
pub(super) fn distributor(control: u32) -> String {
    switches(control, &DISTRIBUTOR)
}

/// A control register, with what it switches on.
fn switches(control: u32, names: &[(u32, &str)]) -> String {
    let on = names.iter().filter(|(bit, _)| control & 1 << bit != 0);
    let on: Vec<&str> = on.map(|(_, name)| *name).collect();
    match on.len() {
        0 => format!("{control:#x}"),
        _ => format!("{control:#x} ({})", on.join(", ")),
    }
}

/// A CPU interface.
pub(super) fn interface(banked: &VcpuInterruptsV1) -> String {
    let interface = &banked.interface;
    format!(
        "GICC_CTLR {}, PMR {:#04x}, BPR {}, ABPR {}, active priorities {:#010x}",
        switches(interface.control, &CPU_INTERFACE),
        interface.priority_mask,
        interface.binary_point,
        interface.aliased_binary_point,
        interface.active_priorities,
    )
}

/// Ticks as a time.
pub(super) fn time(ticks: u64, frequency: u32) -> Duration {
    let frequency = u128::from(frequency.max(1));
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / frequency;
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(u64::MAX);
    let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
    Duration::new(seconds, rest)
}

/// When a timer is due, as the machine sees it: its compare value is a count like the machine's, and the difference is
/// signed.
pub(super) fn due(timer: &VcpuTimerV1, count: u64, frequency: u32) -> String {
    let left = timer.compare.wrapping_sub(count).cast_signed();
    let time = time(left.unsigned_abs(), frequency);
    match left {
        0.. => format!("due in {time:?}"),
        _ => format!("due since {time:?}"),
    }
}

/// A timer's switches.
pub(super) fn timer(timer: &VcpuTimerV1) -> String {
    let mut words = vec![if timer.control & 1 != 0 { "on" } else { "off" }];
    if timer.control & 2 != 0 {
        words.push("masked");
    }
    if timer.asserted {
        words.push("its interrupt delivered and not over");
    }
    words.join(", ")
}

/// µs since 1970 as a date and time, UTC (after Howard Hinnant's "chrono-compatible low-level date algorithms").
pub(super) fn date(microseconds: u64) -> String {
    let seconds = microseconds / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let date = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_704_067_199_000_000), "2023-12-31 23:59:59 UTC");
    }

    #[test]
    fn a_timer_is_due_before_or_after_now_even_where_the_count_wraps() {
        let timer = |compare| VcpuTimerV1 {
            compare,
            ..VcpuTimerV1::default()
        };
        assert_eq!(due(&timer(62_500), 0, 62_500_000), "due in 1ms");
        assert_eq!(due(&timer(0), 62_500, 62_500_000), "due since 1ms");
        assert_eq!(due(&timer(62_499), u64::MAX, 62_500_000), "due in 1ms");
    }
}
