// SPDX-License-Identifier: BSD-2-Clause
//! One accessor for all registers: by name or identifier, get and set.
//!
//! Responsible for: finding a register in whichever record holds it. Never: lets a constant be changed, which a restore
//! compares and does not write, or invents a register that was not captured.

use state::legal::{self, Illegal, Processor};
use state::{Class, Policy, REGISTER_COUNT, Register};
use thiserror::Error;

use crate::snapshot::State;

/// Why a register cannot be read or set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// No register of the table.
    #[error(
        "{given:?} is no register of the {REGISTER_COUNT} that a vCPU has: `godwit reg list` shows \
         names and identifiers"
    )]
    Unknown {
        /// What was given.
        given: String,
    },
    /// No such vCPU.
    #[error("there is no vCPU {vcpu}: the guest has {vcpus}, numbered from 0")]
    NoVcpu {
        /// What was given.
        vcpu: usize,
        /// How many there are.
        vcpus: usize,
    },
    /// It was not captured.
    #[error(
        "{} of vCPU {vcpu} was not captured: the vCPU is off, or the processor has no such register",
        register.name()
    )]
    Absent {
        /// The register.
        register: Register,
        /// The vCPU.
        vcpu: usize,
    },
    /// It is not for changing.
    #[error(
        "{} is compared by a restore and never written ({})", register.name(), register.reason()
    )]
    Constant {
        /// The register.
        register: Register,
    },
    /// No guest can have that value.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The value does not fit.
    #[error("{value:#x} is too wide for {}", register.name())]
    TooWide {
        /// The register.
        register: Register,
        /// The value.
        value: u128,
    },
}

/// The register with this name, in any case, or public identifier, in decimal or with `0x` in front.
///
/// # Errors
///
/// [`AccessError::Unknown`].
pub fn find(given: &str) -> Result<Register, AccessError> {
    let identifier = || {
        let number = number(given)?;
        Register::from_identifier(u64::try_from(number).ok()?)
    };
    Register::from_name(given)
        .or_else(identifier)
        .ok_or_else(|| AccessError::Unknown {
            given: given.to_owned(),
        })
}

/// A number, in decimal or with `0x` in front; underscores may divide it.
pub fn number(text: &str) -> Option<u128> {
    let digits = text.replace('_', "");
    match digits.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

/// The value of a register of a vCPU. Constants, and the machine's count, are the same for all.
///
/// # Errors
///
/// [`AccessError`].
pub fn get(state: &State, vcpu: usize, register: Register) -> Result<u128, AccessError> {
    let vcpus = &state.vcpus.vcpus;
    let this = vcpus.get(vcpu).ok_or(AccessError::NoVcpu {
        vcpu,
        vcpus: vcpus.len(),
    })?;
    let value = match register.class() {
        Class::Timer => state.timer.register(vcpu, register).map(u128::from),
        Class::Constant if register != Register::MPIDR_EL1 => {
            state.machine.baseline.constants.get(register)
        }
        _ => this.registers.get(register),
    };
    value.ok_or(AccessError::Absent { register, vcpu })
}

/// Sets a register of a vCPU.
///
/// # Errors
///
/// [`AccessError`]; nothing has changed then.
pub fn set(
    state: &mut State,
    vcpu: usize,
    register: Register,
    value: u128,
) -> Result<(), AccessError> {
    get(state, vcpu, register)?;
    if register.policy() != Policy::Write {
        return Err(AccessError::Constant { register });
    }
    if !register.width().holds(value) {
        return Err(AccessError::TooWide { register, value });
    }
    let done = if register.class() == Class::Timer {
        legal::check_timer_change(&state.timer, vcpu, register, value)?;
        state.timer.set_register(vcpu, register, value)
    } else {
        let processor = Processor::of(&state.machine.baseline.constants);
        let this = state.vcpus.vcpus.get_mut(vcpu);
        let this = this.ok_or(AccessError::Absent { register, vcpu })?;
        processor.check_change(vcpu, register, value, &this.registers)?;
        this.amend(register, value)
    };
    done.then_some(())
        .ok_or(AccessError::TooWide { register, value })
}

/// A register that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The register.
    pub register: Register,
    /// What it was.
    pub before: u128,
    /// What it is.
    pub after: u128,
}

/// Sets registers of a vCPU one after the other; says what they were.
///
/// # Errors
///
/// [`AccessError`]; those before have been set then.
pub fn set_all(
    state: &mut State,
    vcpu: usize,
    values: &[(Register, u128)],
) -> Result<Vec<Change>, AccessError> {
    let mut changes = Vec::new();
    for (register, after) in values {
        let before = get(state, vcpu, *register)?;
        set(state, vcpu, *register, *after)?;
        changes.push(Change {
            register: *register,
            before,
            after: *after,
        });
    }
    Ok(changes)
}
