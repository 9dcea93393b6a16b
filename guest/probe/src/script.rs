// SPDX-License-Identifier: BSD-2-Clause
//! Mode `script`: a fixed sequence of what a guest does to its interrupts, with a rest after every step.
//!
//! After each step the probe says what the CPU interface answers and waits for a key, so that it can be stopped and
//! moved between any two steps: the words of a run that was cut everywhere are those of one that was not. It masks its
//! own interrupts throughout, so that nothing is taken but by a step.
//!
//! Lines: `probe: step N STEP: IAR=… RPR=… HPPIR=…`, of which `IAR` is missing if the step does not read it.

use guest_runtime::console::Console;
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::power_off;
use guest_runtime::println;

/// `GICC_CTLR.EnableGrp1` and `AckCtl`: `GICC_IAR` answers for both groups.
const BOTH_GROUPS: u32 = gic::ENABLE_GROUP_0 | 1 << 1 | 1 << 2;
/// `GICC_CTLR.CBPR`: `GICC_BPR` is for both groups.
const COMMON_BINARY_POINT: u32 = 1 << 4;
/// `GICD_IGROUPRn`.
const IGROUPR: usize = 0x080;

/// A step.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// `GICC_CTLR`.
    Control(u32),
    /// `GICC_PMR`.
    Mask(u32),
    /// `GICC_BPR`.
    Point(u32),
    /// An SGI to itself, or `GICD_ISPENDR`.
    Raise(u32),
    /// `GICC_IAR`.
    Acknowledge,
    /// `GICC_EOIR`.
    End(u32),
    /// `GICC_DIR`.
    Deactivate(u32),
}

use Step::{Acknowledge, Control, Deactivate, End, Mask, Point, Raise};

/// The interrupts: number, priority, group. No two are equally urgent.
const INTERRUPTS: [(u32, u8, u32); 7] = [
    (1, 0x20, 0),
    (40, 0x40, 1),
    (2, 0x50, 0),
    (20, 0x60, 1),
    (41, 0x70, 0),
    (3, 0x80, 1),
    (42, 0x90, 0),
];

/// First more interrupts than list registers, in both groups, some of them nested, some masked; then a few that are
/// dropped and deactivated in another order; then group priorities that let nothing nest.
static STEPS: [Step; 45] = [
    Control(BOTH_GROUPS),
    Raise(42),
    Acknowledge,
    Raise(40),
    Raise(2),
    Raise(20),
    Raise(41),
    Raise(3),
    Mask(0x40),
    Acknowledge,
    Mask(0xf8),
    Acknowledge,
    Raise(40),
    Raise(1),
    Acknowledge,
    End(1),
    End(40),
    Acknowledge,
    End(40),
    Acknowledge,
    End(2),
    Acknowledge,
    End(20),
    Acknowledge,
    Acknowledge,
    End(41),
    Acknowledge,
    End(3),
    End(42),
    Control(BOTH_GROUPS | gic::EOI_MODE | COMMON_BINARY_POINT),
    Raise(41),
    Acknowledge,
    Raise(20),
    Acknowledge,
    End(20),
    End(41),
    Deactivate(41),
    Raise(3),
    Acknowledge,
    Deactivate(20),
    Point(6),
    Raise(40),
    Acknowledge,
    End(3),
    Deactivate(3),
];

/// Runs the mode on vCPU 0, the only one.
pub(crate) fn run(vcpu: usize) -> ! {
    if vcpu == 0 {
        set_up();
        for (number, step) in STEPS.iter().enumerate() {
            take(number, *step);
            while Console::receive().is_none() {}
        }
        println!("probe: done, all ok");
    }
    power_off()
}

fn set_up() {
    gic::write(distributor::CTLR, 0b11);
    for (intid, priority, group) in INTERRUPTS {
        gic::set_byte(distributor::IPRIORITYR, intid, priority);
        let word = IGROUPR + 4 * (intid as usize / 32);
        gic::write(word, gic::read(word) | group << (intid % 32));
        gic::set_bit(distributor::ISENABLER, intid);
    }
    for word in [2, 3] {
        // All of these edge-triggered, so that what is raised stays so until it is taken.
        gic::write(distributor::ICFGR + 4 * word, 0xaaaa_aaaa);
    }
    gic::write_interface(cpu_interface::PMR, 0xf8);
    gic::write_interface(cpu_interface::BPR, 2);
}

fn take(number: usize, step: Step) {
    let mut acknowledged = None;
    match step {
        Control(value) => gic::write_interface(cpu_interface::CTLR, value),
        Mask(value) => gic::write_interface(cpu_interface::PMR, value),
        Point(value) => gic::write_interface(cpu_interface::BPR, value),
        Raise(intid @ 0..16) => gic::send(intid, 1),
        Raise(intid) => gic::set_bit(distributor::ISPENDR, intid),
        Acknowledge => acknowledged = Some(gic::read_interface(cpu_interface::IAR)),
        End(intid) => gic::write_interface(cpu_interface::EOIR, intid),
        Deactivate(intid) => gic::write_interface(cpu_interface::DIR, intid),
    }
    // Whoever emulates the distributor learns of an end by an interrupt of its own, at the latest when asked something.
    let _ = gic::read(distributor::ISPENDR);
    let running = gic::read_interface(cpu_interface::RPR);
    let pending = gic::read_interface(cpu_interface::HPPIR);
    match acknowledged {
        Some(taken) => {
            println!("probe: step {number} {step:?}: IAR={taken} RPR={running:#x} HPPIR={pending}")
        }
        None => println!("probe: step {number} {step:?}: RPR={running:#x} HPPIR={pending}"),
    }
}
