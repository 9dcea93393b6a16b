// SPDX-License-Identifier: BSD-2-Clause
//! A snapshot as JSON.
//!
//! Values of registers are strings in hexadecimal, because JSON's numbers end at 53 bits. Names are those of the records
//! (`docs/state.md`).

use hang::Hang;
use serde_json::{Map, Value, json};
use state::vgic::InterruptV1;
use state::{RegisterFile, TimerRecordV1, VcpuInterruptsV1, VcpuV1, VgicRecordV1};
use vm::PAGE_SIZE;

use super::{fields, map, words};
use crate::snapshot::{SnapshotFile, State};

/// Everything but the contents of memory.
pub fn snapshot(file: &SnapshotFile) -> Value {
    let state = file.state();
    let cells = map::cells(file);
    json!({
        "taken_us": state.taken_us,
        "running": state.running,
        "machine": machine(state),
        "bundle": {
            "identity": format!("{:#x}", state.vcpus.bundle),
            "bytes": file.bundle().map(|bundle| u64::from(bundle.pages) * PAGE_SIZE as u64),
        },
        "vcpus": (0..).zip(&state.vcpus.vcpus).map(|(number, it)| vcpu(it, file.hang(number))).collect::<Vec<_>>(),
        "console": console(state),
        "interrupts": controller(&state.vgic),
        "timer": timer(&state.timer),
        "memory": {
            "counts": map::counts(&cells),
            "stored": file.stored(),
            "used": map::ranges(&cells),
        },
    })
}

fn machine(state: &State) -> Value {
    let machine = &state.machine;
    json!({
        "board": machine.board.as_str(),
        "ram_base": format!("{:#x}", machine.ram_base),
        "ram_size": machine.ram_size,
        "vcpus": machine.vcpus,
        "gic_version": machine.gic_version,
        "shared_interrupts": machine.shared_interrupts,
        "constants": registers(&machine.baseline.constants),
    })
}

fn vcpu(vcpu: &VcpuV1, hang: Option<Hang>) -> Value {
    json!({
        "power": words::power(vcpu.power),
        "waiting": vcpu.waiting,
        "hangs": hang.map(|hang| hang.to_string()),
        "pending_exception": Value::Null,
        "registers": registers(&vcpu.registers),
    })
}

fn registers(file: &RegisterFile) -> Value {
    let register = |(register, value): (state::Register, u128)| {
        let fields = u64::try_from(value).map(|value| fields::describe(register, value));
        let about = json!({
            "id": format!("{:#018x}", register.identifier().value()),
            "value": words::hexadecimal(register, value),
            "fields": fields.unwrap_or_default(),
        });
        (register.name().to_owned(), about)
    };
    Value::Object(file.iter().map(register).collect::<Map<_, _>>())
}

fn console(state: &State) -> Value {
    let record = &state.vcpus.console;
    let console = &record.device;
    json!({
        "UARTCR": console.control,
        "UARTLCR_H": console.line_control,
        "UARTIBRD": console.integer_baud_rate,
        "UARTFBRD": console.fractional_baud_rate,
        "UARTIFLS": console.fifo_levels,
        "UARTIMSC": console.interrupt_mask,
        "UARTRIS": console.raw_interrupts,
        "UARTDMACR": console.dma_control,
        "UARTILPR": console.low_power,
        "UARTRSR": console.receive_status,
        "received": console.received.as_slice(),
        "unsent": record.unsent.as_slice(),
        "waiting": record.waiting.as_slice(),
    })
}

fn controller(vgic: &VgicRecordV1) -> Value {
    let shared = (32..).zip(&vgic.shared);
    json!({
        "control": vgic.control,
        "vcpus": vgic.vcpus.iter().map(banked).collect::<Vec<_>>(),
        "shared": shared.map(|(number, it)| interrupt(number, it)).collect::<Vec<_>>(),
    })
}

fn banked(banked: &VcpuInterruptsV1) -> Value {
    let private = (0..).zip(&banked.private);
    let acknowledged: Vec<usize> = (0..32 * banked.acknowledged.len())
        .filter(|number| words::is_acknowledged(banked, *number))
        .collect();
    let interface = &banked.interface;
    json!({
        "private": private.map(|(number, it)| interrupt(number, it)).collect::<Vec<_>>(),
        "pending_sources": banked.pending_sources,
        "active_sources": banked.active_sources,
        "acknowledged": acknowledged,
        "interface": {
            "control": interface.control,
            "priority_mask": interface.priority_mask,
            "binary_point": interface.binary_point,
            "aliased_binary_point": interface.aliased_binary_point,
            "active_priorities": interface.active_priorities,
        },
    })
}

fn interrupt(number: usize, interrupt: &InterruptV1) -> Value {
    json!({
        "intid": number,
        "enabled": interrupt.enabled,
        "latched": interrupt.latched,
        "line": interrupt.line,
        "active": interrupt.active,
        "group1": interrupt.group1,
        "edge": interrupt.edge,
        "priority": interrupt.priority,
        "targets": interrupt.targets,
    })
}

fn timer(timer: &TimerRecordV1) -> Value {
    let vcpu = |it: &state::VcpuTimerV1| {
        let ticks_left = it.compare.wrapping_sub(timer.count).cast_signed();
        json!({
            "control": it.control,
            "compare": it.compare,
            "ticks_left": ticks_left,
            "kernel_control": it.kernel_control,
            "asserted": it.asserted,
        })
    };
    json!({
        "frequency": timer.frequency,
        "count": timer.count,
        "seconds": words::time(timer.count, timer.frequency).as_secs_f64(),
        "vcpus": timer.vcpus.iter().map(vcpu).collect::<Vec<_>>(),
    })
}
