// SPDX-License-Identifier: BSD-2-Clause
//! A snapshot as a person wants to read it.

use std::fmt::{self, Write as _};

use hang::Hang;
use state::vgic::InterruptV1;
use state::{Class, Register, RegisterFile, VcpuInterruptsV1, VcpuV1};

use super::{fields, map, words};
use crate::snapshot::{SnapshotFile, State};

/// How much to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail {
    /// Also what is zero, idle or at rest.
    pub all: bool,
}

/// Everything but the contents of memory.
pub fn snapshot(file: &SnapshotFile, detail: Detail) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, file, detail);
    text
}

fn write(text: &mut String, file: &SnapshotFile, detail: Detail) -> fmt::Result {
    let state = file.state();
    header(text, file)?;
    for (number, vcpu) in state.vcpus.vcpus.iter().enumerate() {
        write_vcpu(text, number, vcpu, file.hang(number), detail)?;
    }
    write_console(text, state)?;
    write_interrupts(text, state, detail)?;
    write_timers(text, state)?;
    write_constants(text, state, detail)?;
    write_memory(text, file)
}

fn header(text: &mut String, file: &SnapshotFile) -> fmt::Result {
    let State {
        taken_us,
        running,
        machine,
        vcpus,
        ..
    } = file.state();
    writeln!(
        text,
        "{}: a guest that was {}, {}",
        file.path().display(),
        if *running { "running" } else { "paused" },
        words::date(*taken_us)
    )?;
    writeln!(
        text,
        "  {}, {} MiB of RAM at {:#x}, GICv{} with {} shared interrupts",
        match vcpus.vcpus.len() {
            1 => "1 vCPU".to_owned(),
            count => format!("{count} vCPUs"),
        },
        machine.ram_size >> 20,
        machine.ram_base,
        machine.gic_version,
        machine.shared_interrupts
    )?;
    if !machine.board.is_empty() {
        writeln!(text, "  taken on board {}", machine.board)?;
    }
    match (file.bundle(), vcpus.bundle) {
        (Some(bundle), identity) => writeln!(
            text,
            "  started from bundle {identity:#x}, {} KiB, which is in the file",
            u64::from(bundle.pages) * 4
        ),
        (None, 0) => writeln!(text, "  not known what it was started from"),
        (None, identity) => writeln!(
            text,
            "  started from bundle {identity:#x}, which is not in the file: it starts again only where that is"
        ),
    }
}

fn write_vcpu(
    text: &mut String,
    number: usize,
    vcpu: &VcpuV1,
    hang: Option<Hang>,
    detail: Detail,
) -> fmt::Result {
    let waits = if vcpu.waiting {
        ", waits for an interrupt"
    } else {
        ""
    };
    writeln!(text, "\nvCPU {number}: {}{waits}", words::power(vcpu.power))?;
    if let Some(hang) = hang {
        writeln!(text, "  {hang}")?;
    }
    general(text, &vcpu.registers)?;
    for (class, always) in [
        (Class::Core, true),
        (Class::Constant, true),
        (Class::System, true),
        (Class::FloatingPoint, false),
        (Class::Debug, false),
        (Class::Pmu, false),
    ] {
        let shown = |register: &(Register, u128)| {
            let is_general = register.0.index() < 31;
            register.0.class() == class && !is_general && (always || detail.all || register.1 != 0)
        };
        write_registers(text, vcpu.registers.iter().filter(shown))?;
    }
    Ok(())
}

/// `x0` to `x30`, four in a line.
fn general(text: &mut String, registers: &RegisterFile) -> fmt::Result {
    let values: Vec<(usize, u64)> = (0..31)
        .filter_map(|number| Some((number, registers.word(Register::general(number)?)?)))
        .collect();
    for line in values.chunks(4) {
        text.push(' ');
        for (number, value) in line {
            write!(text, " {:>4} {value:016x}", format!("x{number}"))?;
        }
        text.push('\n');
    }
    Ok(())
}

fn write_registers(
    text: &mut String,
    registers: impl Iterator<Item = (Register, u128)>,
) -> fmt::Result {
    for (register, value) in registers {
        writeln!(text, "  {}", line(register, value))?;
    }
    Ok(())
}

/// A register with its value and what that means.
pub fn line(register: Register, value: u128) -> String {
    let hexadecimal = words::hexadecimal(register, value);
    let fields = u64::try_from(value)
        .map(|value| fields::describe(register, value).join(" "))
        .unwrap_or_default();
    let text = format!("{:<18} {hexadecimal:<18} {fields}", register.name());
    text.trim_end().to_owned()
}

fn write_console(text: &mut String, state: &State) -> fmt::Result {
    let record = &state.vcpus.console;
    let console = &record.device;
    writeln!(
        text,
        "\nconsole: UARTCR {:#x}, UARTLCR_H {:#x}, UARTIMSC {:#x}, UARTRIS {:#x}, {} bytes received and not read, {} typed \
         and waiting for room, {} written and not sent",
        console.control,
        console.line_control,
        console.interrupt_mask,
        console.raw_interrupts,
        console.received.len(),
        record.waiting.len(),
        record.unsent.len()
    )
}

/// Whether there is something to be said of an interrupt.
fn is_busy(interrupt: &InterruptV1) -> bool {
    interrupt.enabled || interrupt.latched || interrupt.line || interrupt.active
}

fn write_interrupts(text: &mut String, state: &State, detail: Detail) -> fmt::Result {
    let vgic = &state.vgic;
    writeln!(
        text,
        "\ninterrupt controller: GICD_CTLR {}",
        words::distributor(vgic.control)
    )?;
    for (vcpu, banked) in vgic.vcpus.iter().enumerate() {
        writeln!(text, "  vCPU {vcpu}: {}", words::interface(banked))?;
        for number in 0..banked.private.len() {
            if detail.all || is_private_busy(banked, number) {
                let (name, state) = (
                    words::interrupt_name(number),
                    words::private_interrupt(banked, number),
                );
                writeln!(text, "    {name:<22} {state}")?;
            }
        }
    }
    let mut busy = String::new();
    for (number, interrupt) in (32..).zip(&vgic.shared) {
        let by = vgic
            .vcpus
            .iter()
            .position(|banked| words::is_acknowledged(banked, number));
        if detail.all || is_busy(interrupt) || by.is_some() {
            let by = by.map_or_else(String::new, |vcpu| format!(", acknowledged by vCPU {vcpu}"));
            let (name, state) = (
                words::interrupt_name(number),
                words::shared_interrupt(interrupt, vgic.vcpus.len()),
            );
            writeln!(busy, "    {name:<22} {state}{by}")?;
        }
    }
    if busy.is_empty() {
        return writeln!(text, "  shared: none enabled, pending or active");
    }
    write!(text, "  shared:\n{busy}")
}

/// Software generated interrupts are enabled all the time; they are busy when there is one.
fn is_private_busy(banked: &VcpuInterruptsV1, number: usize) -> bool {
    let sources = |list: &[u8]| list.get(number).is_some_and(|sources| *sources != 0);
    let software = sources(&banked.pending_sources) || sources(&banked.active_sources);
    let interrupt = banked.private.get(number);
    software || (number >= 16 && interrupt.is_some_and(is_busy))
}

fn write_timers(text: &mut String, state: &State) -> fmt::Result {
    let timer = &state.timer;
    let (count, frequency) = (timer.count, timer.frequency);
    writeln!(
        text,
        "\ntime: {count} ticks of {}.{:06} MHz, {:?}",
        frequency / 1_000_000,
        frequency % 1_000_000,
        words::time(count, frequency)
    )?;
    for (number, vcpu) in timer.vcpus.iter().enumerate() {
        // One that is off is never due.
        let due = match vcpu.control & 1 {
            0 => String::new(),
            _ => format!(", {}", words::due(vcpu, count, frequency)),
        };
        writeln!(
            text,
            "  vCPU {number}: {}, at {}{due}",
            words::timer(vcpu),
            vcpu.compare,
        )?;
        let kernel_control = vcpu.kernel_control.into();
        writeln!(text, "    {}", line(Register::CNTKCTL_EL1, kernel_control))?;
    }
    Ok(())
}

fn write_constants(text: &mut String, state: &State, detail: Detail) -> fmt::Result {
    writeln!(text, "\nthe processor, as the guest has seen it:")?;
    let shown = |(_, value): &(Register, u128)| detail.all || *value != 0;
    write_registers(text, state.machine.baseline.constants.iter().filter(shown))
}

fn write_memory(text: &mut String, file: &SnapshotFile) -> fmt::Result {
    let cells = map::cells(file);
    let counts = map::counts(&cells);
    writeln!(
        text,
        "\nmemory: {} pages of 4 KiB: {} zero, {} used, of which {} are like others; {} stored",
        counts.pages,
        counts.zero,
        counts.used,
        counts.identical,
        file.stored()
    )?;
    text.push_str(&map::picture(&cells, file.state().machine.ram_base));
    writeln!(
        text,
        "  · zero  ░ less than a quarter used  ▒ than half  ▓ than all  █ all used  = used, all like others"
    )
}
