// SPDX-License-Identifier: BSD-2-Clause
//! With the MMU on: unaligned access to a device, and tables that are not there.

use core::arch::asm;

use guest_runtime::gic::{DISTRIBUTOR, distributor};

use super::Checker;
use super::traps::{DATA_ABORT, EXTERNAL_ABORT, INSTRUCTION_ABORT, Trap, attempt};
use crate::controller::Controller;
use crate::mmu;

/// `DFSC` and `IFSC`: synchronous external abort on a table walk, level 0; levels 1 to 3 follow.
const ON_WALK: u64 = 0x14;

fn load(address: u64) {
    // SAFETY: the access is answered with an exception; what it loads is given up.
    unsafe { asm!("ldr w11, [x10]", in("x10") address, out("x11") _, options(nostack)) };
}

fn store_vector(address: u64) {
    // SAFETY: likewise. Nothing of this guest uses vector registers; they are on for nobody.
    unsafe {
        asm!(
            "mrs x11, cpacr_el1", "orr x12, x11, {vectors}", "msr cpacr_el1, x12", "isb",
            ".arch_extension fp", "str q0, [x10, #16]",
            "msr cpacr_el1, x11", "isb",
            vectors = const 3_u64 << 20,
            in("x10") address.wrapping_sub(16), out("x11") _, out("x12") _, options(nostack)
        );
    }
}

fn call(address: u64) {
    // SAFETY: the fetch is answered with an exception, whose handler returns to the caller.
    unsafe { asm!("blr {target}", target = in(reg) address, clobber_abi("C")) };
}

fn expect(
    checker: &mut Checker,
    name: &str,
    trap: Option<Trap>,
    [class, status, address]: [u64; 3],
) {
    let Some(trap) = trap else {
        checker.fail(format_args!("{name} of {address:#x}: no exception"));
        return;
    };
    checker.expect(format_args!("{name}: ESR_EL1.EC"), class, trap.class());
    checker.expect(
        format_args!("{name} of {address:#x}: ESR_EL1 status"),
        status,
        trap.status(),
    );
    checker.expect(format_args!("{name}: FAR_EL1"), address, trap.far);
}

/// A device that is mapped as memory answers an unaligned access with a value or an abort; one that is emulated with an abort.
pub(super) fn unaligned(checker: &mut Checker) {
    let registers = mmu::DEVICES_AS_MEMORY + DISTRIBUTOR as u64 + distributor::IPRIORITYR as u64;
    mmu::enable_with_gaps();
    let traps = [1, 2, 3].map(|offset| attempt(|| load(registers + offset)));
    mmu::disable();
    let physical = checker.controller == Controller::Physical;
    let answered = |trap: &Option<Trap>| physical && trap.is_none();
    for (trap, offset) in traps
        .into_iter()
        .zip(1..)
        .filter(|(trap, _)| !answered(trap))
    {
        let expected = [DATA_ABORT, EXTERNAL_ABORT, registers + offset];
        expect(checker, "ldr", trap, expected);
    }
}

/// Where a table is to be and nothing is, the abort says at which level.
pub(super) fn no_table(checker: &mut Checker) {
    for (level, address) in mmu::GAPS {
        mmu::enable_with_gaps();
        let traps = [load, store_vector, call].map(|access| attempt(|| access(address)));
        mmu::disable();
        let [loaded, stored, called] = traps;
        let status = ON_WALK | level;
        expect(checker, "ldr", loaded, [DATA_ABORT, status, address]);
        expect(checker, "str q", stored, [DATA_ABORT, status, address]);
        let write = stored.is_some_and(|trap| trap.write());
        checker.expect("str q: ESR_EL1.WnR", 1, u8::from(write));
        expect(checker, "blr", called, [INSTRUCTION_ABORT, status, address]);
    }
}
