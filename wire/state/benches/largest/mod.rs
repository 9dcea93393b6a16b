// SPDX-License-Identifier: BSD-2-Clause
//! The largest records that a machine on a Cortex-A53 can have, for whoever measures records.
//!
//! Responsible for: four vCPUs, 256 shared interrupts, every register that such a processor has (DDI 0500) with all bits
//! set, every list full: no encoding of any field could be longer. The one exception is said where it is.

use state::baseline::MAX_IMPLEMENTATIONS;
use state::vgic::{BITMAP, CpuInterfaceV1, InterruptV1, SOFTWARE_GENERATED};
use state::{
    BaselineV1, Class, ClockRecordV1, ConsoleRecordV1, ConsoleRecordV2, ImplementationV1,
    MAX_VCPUS, MachineRecordV2, PowerV1, Register, RegisterFile, Source, TimerRecordV1,
    VcpuInterruptsV1, VcpuTimerV1, VcpuV1, VcpusRecordV4, VgicRecordV1,
};

/// Whether a Cortex-A53 has so many breakpoints, watchpoints and event counters (DDI 0500); the architecture has room
/// for more.
fn exists(register: Register) -> bool {
    let pair = |first: Register| (register.index() - first.index()) / 2;
    match register.source() {
        Source::StubBreakpoints => pair(Register::DBGBVR0_EL1) < 6,
        Source::StubWatchpoints => pair(Register::DBGWVR0_EL1) < 4,
        Source::StubCounters => pair(Register::PMEVCNTR0_EL0) < 6,
        _ => true,
    }
}

/// All the registers for which `belongs` holds, all ones.
fn registers(belongs: impl Fn(Register) -> bool) -> RegisterFile {
    let mut file = RegisterFile::default();
    for register in Register::ALL {
        if belongs(register) && exists(register) {
            let value = u128::MAX >> (128 - register.width().bits());
            assert!(file.set(register, value), "{}", register.name());
        }
    }
    file
}

/// Nothing of what waits for room in it, which takes a byte each.
fn console() -> ConsoleRecordV2 {
    let device = ConsoleRecordV1 {
        control: u16::MAX,
        line_control: u8::MAX,
        integer_baud_rate: u16::MAX,
        fractional_baud_rate: 0x3f,
        fifo_levels: 0x3f,
        interrupt_mask: 0x7ff,
        raw_interrupts: 0x7ff,
        dma_control: 7,
        low_power: u8::MAX,
        receive_status: 0xf,
        received: core::iter::repeat_n(0xfff, 16).collect(),
    };
    ConsoleRecordV2 {
        device,
        unsent: core::iter::repeat_n(u8::MAX, 16).collect(),
        ..ConsoleRecordV2::default()
    }
}

/// So many vCPUs that are on. One in [`PowerV1::OnPending`] takes 18 bytes more; `vmm-pd` writes none.
pub(crate) fn vcpus(count: usize) -> VcpusRecordV4 {
    let vcpu = VcpuV1 {
        power: PowerV1::On,
        waiting: true,
        registers: registers(|register| {
            let own = !matches!(register.class(), Class::Constant | Class::Timer);
            own || register == Register::MPIDR_EL1
        }),
        ..VcpuV1::default()
    };
    VcpusRecordV4 {
        vcpus: core::iter::repeat_n(vcpu, count).collect(),
        console: console(),
        bundle: u64::MAX,
        clock: ClockRecordV1 {
            ahead: u64::MAX,
            matching: u32::MAX,
            loaded: u32::MAX,
            due: Some(u64::MAX),
            unmasked: true,
            raised: true,
        },
        baseline: baseline(),
    }
}

/// The interrupts of so many vCPUs, and so many shared ones.
pub(crate) fn vgic(vcpus: usize, shared: usize) -> VgicRecordV1 {
    let interrupt = InterruptV1 {
        enabled: true,
        latched: true,
        line: true,
        active: true,
        group1: true,
        edge: true,
        priority: u8::MAX,
        targets: 0,
    };
    let software_generated = InterruptV1 {
        latched: false,
        active: false,
        ..interrupt
    };
    let mut private = [interrupt; 32];
    private[..SOFTWARE_GENERATED].fill(software_generated);
    // A shared interrupt is acknowledged by one vCPU alone: here the first.
    let banked = |vcpu| {
        let shared = if vcpu == 0 { u32::MAX } else { 0 };
        let mut acknowledged = [shared; BITMAP];
        acknowledged[0] = u32::MAX;
        VcpuInterruptsV1 {
            private,
            pending_sources: [1; SOFTWARE_GENERATED],
            active_sources: [1; SOFTWARE_GENERATED],
            acknowledged,
            interface: CpuInterfaceV1 {
                control: u32::MAX,
                priority_mask: u8::MAX,
                binary_point: u8::MAX,
                aliased_binary_point: u8::MAX,
                active_priorities: u32::MAX,
            },
        }
    };
    VgicRecordV1 {
        control: u32::MAX,
        vcpus: (0..vcpus).map(banked).collect(),
        shared: core::iter::repeat_n(interrupt, shared).collect(),
    }
}

/// The time of four vCPUs.
pub(crate) fn timer() -> TimerRecordV1 {
    let vcpu = VcpuTimerV1 {
        control: 3,
        compare: u64::MAX,
        kernel_control: u32::MAX,
        asserted: true,
    };
    TimerRecordV1 {
        frequency: u32::MAX,
        count: u64::MAX,
        vcpus: core::iter::repeat_n(vcpu, MAX_VCPUS).collect(),
    }
}

/// A description.
pub(crate) fn machine() -> MachineRecordV2 {
    MachineRecordV2 {
        board: "b"
            .repeat(state::machine::MAX_BOARD_NAME)
            .parse()
            .unwrap_or_default(),
        ram_base: u64::MAX / 2,
        ram_size: u64::MAX / 2,
        vcpus: 4,
        gic_version: 2,
        shared_interrupts: u16::MAX,
        baseline: baseline(),
    }
}

/// What a guest may rely on, with as many implementations as there is room for.
fn baseline() -> BaselineV1 {
    let implementation = ImplementationV1 {
        midr: u64::MAX,
        revidr: u64::MAX,
        aidr: u64::MAX,
    };
    BaselineV1 {
        constants: registers(|register| register.class() == Class::Constant),
        implementations: core::iter::repeat_n(implementation, MAX_IMPLEMENTATIONS).collect(),
        told: true,
    }
}
