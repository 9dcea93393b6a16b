// SPDX-License-Identifier: BSD-2-Clause
//! Doing something that may be answered with an exception, and seeing which.

use core::cell::UnsafeCell;

use guest_runtime::exception::{Frame, Vector};

/// `ESR_EL1.EC`: unknown reason, what an undefined instruction gives (Arm ARM D13.2.37).
pub(crate) const UNDEFINED: u64 = 0x00;
/// `EC`: instruction abort from the same exception level.
pub(crate) const INSTRUCTION_ABORT: u64 = 0x21;
/// `EC`: data abort from the same exception level.
pub(crate) const DATA_ABORT: u64 = 0x25;
/// `DFSC` and `IFSC`: synchronous external abort, not on a table walk.
pub(crate) const EXTERNAL_ABORT: u64 = 0x10;

/// An exception as it was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    /// `ESR_EL1`.
    pub(crate) esr: u64,
    /// `FAR_EL1`.
    pub(crate) far: u64,
    /// `ELR_EL1`.
    pub(crate) elr: u64,
}

impl Trap {
    /// `ESR_EL1.EC`.
    pub(crate) const fn class(&self) -> u64 {
        self.esr >> 26
    }

    /// The status code of an abort.
    pub(crate) const fn status(&self) -> u64 {
        self.esr & 0x3f
    }

    /// Whether a data abort was a write.
    pub(crate) const fn write(&self) -> bool {
        self.esr & 1 << 6 != 0
    }
}

struct State {
    armed: bool,
    trap: Option<Trap>,
}

struct Shared(UnsafeCell<State>);

// SAFETY: only vCPU 0 attempts anything, and its exceptions are its own.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    armed: false,
    trap: None,
}));

/// Runs `operation`; the first synchronous exception that it causes. The instruction is skipped, a call into nowhere
/// returns.
pub(crate) fn attempt(operation: impl FnOnce()) -> Option<Trap> {
    let state = STATE.0.get();
    // SAFETY: vCPU 0 only, and no exception is under way.
    unsafe {
        state.write_volatile(State {
            armed: true,
            trap: None,
        })
    };
    operation();
    // SAFETY: likewise.
    let found = unsafe { state.read_volatile() };
    // SAFETY: likewise.
    unsafe {
        state.write_volatile(State {
            armed: false,
            trap: None,
        })
    };
    found.trap
}

/// Takes an exception; whether it was expected.
pub(crate) fn exception(vector: Vector, frame: &mut Frame) -> bool {
    let state = STATE.0.get();
    // SAFETY: vCPU 0 only; `attempt` waits for the exception to return.
    let State { armed, trap } = unsafe { state.read_volatile() };
    if !armed || vector != Vector::SYNCHRONOUS {
        return false;
    }
    let far;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mrs {far}, far_el1", far = out(reg) far, options(nostack, nomem, preserves_flags))
    };
    let taken = Trap {
        esr: frame.esr,
        far,
        elr: frame.elr,
    };
    // SAFETY: as above.
    unsafe {
        state.write_volatile(State {
            armed,
            trap: trap.or(Some(taken)),
        });
    }
    // Of a fetch from nowhere the caller is in the link register.
    frame.elr = if taken.class() == INSTRUCTION_ABORT {
        frame.x[30]
    } else {
        frame.elr + 4
    };
    true
}
