// SPDX-License-Identifier: BSD-2-Clause
//! Access where nothing is, and to registers that a guest need not have.

use core::arch::asm;

use super::Checker;
use super::traps::{DATA_ABORT, EXTERNAL_ABORT, INSTRUCTION_ABORT, Trap, UNDEFINED, attempt};

/// Beyond the RAM of any guest that runs this, and no device.
const NOWHERE: u64 = 0x9000_0000;

/// An instruction, and how to run it with an address in `x10`.
type Access = (&'static str, fn(u64));

macro_rules! access {
    ($instruction:literal) => {
        (
            $instruction,
            (|address: u64| {
                // SAFETY: the access is answered with an exception; what it loads is given up.
                unsafe {
                    asm!($instruction, in("x10") address, out("x11") _, out("x12") _, options(nostack));
                }
            }) as fn(u64),
        )
    };
}

/// Loads get an external abort that names the address.
pub(super) fn read_outside(checker: &mut Checker) {
    data_aborts(
        checker,
        false,
        &[
            access!("ldr w11, [x10]"),
            access!("ldr x11, [x10]"),
            access!("ldrb w11, [x10]"),
            access!("ldrsh x11, [x10]"),
            access!("ldp x11, x12, [x10]"),
        ],
    );
}

/// Stores likewise.
pub(super) fn write_outside(checker: &mut Checker) {
    data_aborts(
        checker,
        true,
        &[
            access!("str wzr, [x10]"),
            access!("str xzr, [x10]"),
            access!("strb wzr, [x10]"),
            access!("strh wzr, [x10]"),
            access!("stp xzr, xzr, [x10]"),
        ],
    );
}

fn data_aborts(checker: &mut Checker, write: bool, accesses: &[Access]) {
    for (name, access) in accesses {
        let address = NOWHERE + 0x120;
        let Some(trap) = attempt(|| access(address)) else {
            checker.fail(format_args!("{name}: no exception"));
            continue;
        };
        abort(checker, name, &trap, DATA_ABORT, address);
        checker.expect(
            format_args!("{name}: ESR_EL1.WnR"),
            u8::from(write),
            u8::from(trap.write()),
        );
    }
}

fn abort(checker: &mut Checker, name: &str, trap: &Trap, class: u64, address: u64) {
    checker.expect(format_args!("{name}: ESR_EL1.EC"), class, trap.class());
    checker.expect(
        format_args!("{name}: ESR_EL1 status"),
        EXTERNAL_ABORT,
        trap.status(),
    );
    checker.expect(format_args!("{name}: FAR_EL1"), address, trap.far);
}

/// A call into nowhere likewise.
pub(super) fn fetch_outside(checker: &mut Checker) {
    let trap = attempt(|| {
        // SAFETY: the fetch is answered with an exception, whose handler returns to the caller.
        unsafe { asm!("blr {target}", target = in(reg) NOWHERE, clobber_abi("C")) };
    });
    match trap {
        Some(trap) => {
            abort(checker, "blr", &trap, INSTRUCTION_ABORT, NOWHERE);
            checker.expect("blr: ELR_EL1", NOWHERE, trap.elr);
        }
        None => checker.fail("no exception"),
    }
}

/// Registers that may be there or not: a value, or an undefined instruction, and on it goes.
pub(super) fn system_registers(checker: &mut Checker) {
    for (name, access) in [
        access!("mrs x11, pmcr_el0"),
        access!("mrs x11, pmccntr_el0"),
        access!("msr pmuserenr_el0, xzr"),
        access!("mrs x11, mdscr_el1"),
        access!("msr oslar_el1, xzr"),
        access!("msr osdlr_el1, xzr"),
        access!("mrs x11, oslsr_el1"),
        access!("mrs x11, dbgauthstatus_el1"),
        access!("mrs x11, cntp_ctl_el0"),
        access!("mrs x11, cntpct_el0"),
        access!("mrs x11, actlr_el1"),
        access!("mrs x11, icc_sre_el1"),
        access!("mrs x11, S3_1_C15_C2_0"),
        access!("mrs x11, S3_1_C11_C0_2"),
        access!("mrs x11, sctlr_el2"),
        access!("mrs x11, S3_0_C12_C8_4"),
        access!("dc isw, xzr"),
        access!("dc cisw, xzr"),
    ] {
        if let Some(trap) = attempt(|| access(0)) {
            checker.expect(format_args!("{name}: ESR_EL1.EC"), UNDEFINED, trap.class());
        }
    }
}
