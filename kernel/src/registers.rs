// SPDX-License-Identifier: BSD-2-Clause
//! System registers of the processor and of a virtual CPU.
//!
//! Responsible for reading, writing, saving and loading virtual CPU registers, generated from
//! [`kernel::switched_registers!`] and the encodings of the register table, and for the values that `HCR_EL2` and its like have for domains and for
//! guests. Those are seL4's (`HCR_NATIVE`, `HCR_VCPU`, `SCTLR_EL1_NATIVE` of its AArch64 hypervisor
//! configuration), so that a guest meets the same traps on both kernels, but for the physical timer's.

use core::arch::asm;

use aarch64_cpu::registers::{HCR_EL2, Writeable};
use kernel::machine::VcpuRegisters;
use kernel::vcpu::is_saved_early;
use register_table::{instruction_name, register_table};
use sel4_sys::VCpuRegister;

/// Reads a system register by name.
macro_rules! read_register {
    ($name:expr) => {{
        let value: u64;
        // SAFETY: reading this register has no side effects and touches no memory.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags));
        }
        value
    }};
}

/// Writes a system register by name. The caller says in a safety comment why the value is right.
macro_rules! write_register {
    ($name:expr, $value:expr) => {{
        let value: u64 = $value;
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags));
    }};
}

pub(crate) use {read_register, write_register};

/// Waits until earlier register writes have taken effect.
#[inline(always)]
pub(crate) fn synchronise() {
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) }
}

/// What domains and guests have in common: stage 2, AArch64 at EL1, interrupts to EL2, no SMC.
const HCR_COMMON: u64 = HCR_EL2::VM::SET.value
    | HCR_EL2::RW::SET.value
    | HCR_EL2::AMO::SET.value
    | HCR_EL2::IMO::SET.value
    | HCR_EL2::FMO::SET.value
    | HCR_EL2::TSC::SET.value;

/// Domains run at EL0 without an EL1: their exceptions come to EL2.
const HCR_DOMAIN: u64 = HCR_COMMON
    | HCR_EL2::TGE::SET.value
    | HCR_EL2::TVM::SET.value
    | HCR_EL2::TTLB::SET.value
    | HCR_EL2::DC::SET.value
    | HCR_EL2::TACR::SET.value
    | HCR_EL2::SWIO::SET.value;

/// Guests have an EL1 of their own; waiting for an interrupt or event is their VMM's business.
const HCR_GUEST: u64 = HCR_COMMON | HCR_EL2::TWI::SET.value | HCR_EL2::TWE::SET.value;

/// `SCTLR_EL1` for domains: reserved bits, `CP15BEN`, `nTWI`, `nTWE`, caches on, and cache
/// maintenance and `CTR_EL0` at EL0 (`UCI`, `UCT`).
const SCTLR_DOMAIN: u64 =
    0x30d0_0800 | 1 << 5 | 1 << 16 | 1 << 18 | 1 << 2 | 1 << 12 | 1 << 26 | 1 << 15;

/// `CPACR_EL1.FPEN`: FP and SIMD are not trapped to EL1, so that the trap to EL2 decides.
const CPACR_DOMAIN: u64 = 3 << 20;

/// `CNTKCTL_EL1` for domains: `EL0PCTEN` and `EL0PTEN`, the physical counter and timer, as seL4
/// grants on `qemu_virt_aarch64` (`EXPORT_PCNT_USER`, `EXPORT_PTMR_USER`); not the virtual ones.
const CNTKCTL_DOMAIN: u64 = 1 << 0 | 1 << 9;

/// `CNTHCTL_EL2` for domains: `EL1PCTEN` and `EL1PCEN`, the physical counter and timer are not trapped.
const CNTHCTL_DOMAIN: u64 = 1 << 0 | 1 << 1;

/// `CNTHCTL_EL2` for guests: the counter only. The timer is `timer-pd`'s: a guest that tries it is told that there is none.
/// seL4 does not tell guests and domains apart here.
const CNTHCTL_GUEST: u64 = 1 << 0;

/// Keeps debug registers and performance monitor from guests, and has none of theirs enabled.
pub(crate) fn close_debug() {
    // SAFETY: nothing that the kernel uses; it runs at EL2.
    unsafe {
        asm!(
            el2_stage::close_debug!(),
            out("x9") _, out("x10") _, out("x11") _, out("x12") _,
            options(nostack),
        );
    }
}

/// Leaves them to guests after all, of which [`crate::own_registers`] then keeps each one's own.
#[cfg(feature = "guest-debug")]
pub(crate) fn open_debug() {
    /// `MDCR_EL2.HPMN`.
    const COUNTERS: u64 = 0x1f;
    let control = read_register!("mdcr_el2");
    // SAFETY: guests trap less.
    unsafe { write_register!("mdcr_el2", control & COUNTERS) }
}

/// A macro for each system register of the table, of its name, that gives what an instruction calls it.
macro_rules! name_all {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident $identifier:tt;)*
    })*) => {
        $($(name_one!($name $kind $identifier);)*)*
    };
}

// rustfmt moves a macro within a macro further to the right each time.
#[rustfmt::skip]
macro_rules! name_one {
    ($name:ident core $identifier:tt) => {};
    ($name:ident vector $identifier:tt) => {};
    ($name:ident cache $identifier:tt) => {};
    ($name:ident $kind:ident $identifier:tt) => {
        #[allow(unused_macros, reason = "the table has more registers than the kernel switches")]
        macro_rules! $name { () => { instruction_name!($kind $identifier) }; }
    };
}

register_table!(name_all);

/// What an instruction of the kernel's calls a register that it switches.
macro_rules! name {
    ($row:ident) => {
        $row!()
    };
    ($row:ident $name:literal) => {
        $name
    };
}

/// The bits that seL4 reads and writes.
const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

macro_rules! vcpu_registers {
    ($($register:ident $row:ident ($($name:literal)?) $bits:literal,)*) => {
        /// Reads a register of the guest that is loaded.
        #[inline(always)]
        pub(crate) fn read_vcpu_register(register: VCpuRegister) -> u64 {
            match register {
                $(VCpuRegister::$register => read_register!(name!($row $($name)?)) & mask($bits),)*
            }
        }

        /// Writes a register of the guest that is loaded.
        #[inline(always)]
        pub(crate) fn write_vcpu_register(register: VCpuRegister, value: u64) {
            match register {
                // SAFETY: these registers affect EL1, EL0 and their timer only, and what those can
                // reach is limited by stage 2 whatever the value.
                $(VCpuRegister::$register => unsafe {
                    write_register!(name!($row $($name)?), value & mask($bits))
                },)*
            }
        }

        /// Saves the registers that stay loaded while domains run.
        pub(crate) fn save_vcpu_registers(registers: &mut VcpuRegisters) {
            $(if !is_saved_early(VCpuRegister::$register) {
                registers[VCpuRegister::$register as usize] =
                    read_vcpu_register(VCpuRegister::$register);
            })*
        }

        /// Loads them.
        pub(crate) fn load_vcpu_registers(registers: &VcpuRegisters) {
            $(if !is_saved_early(VCpuRegister::$register) {
                write_vcpu_register(
                    VCpuRegister::$register,
                    registers[VCpuRegister::$register as usize],
                );
            })*
        }
    };
}

kernel::switched_registers!(vcpu_registers);

/// Has EL1 and EL0 run as a guest, with the registers that were saved when it was left.
#[inline(always)]
pub(crate) fn enter_guest(registers: &VcpuRegisters) {
    macro_rules! load {
        ($register:ident) => {
            write_vcpu_register(
                VCpuRegister::$register,
                registers[VCpuRegister::$register as usize],
            )
        };
    }
    load!(SCTLR);
    HCR_EL2.set(HCR_GUEST);
    synchronise();
    // SAFETY: traps more than for domains; what is trapped goes to the guest's VMM.
    unsafe { write_register!("cnthctl_el2", CNTHCTL_GUEST) }
    load!(CPACR);
    load!(CNTKCTL_EL1);
}

/// Saves what domains have their own value of and has EL0 run domains. The guest's translation is
/// off before its mode is.
#[inline(always)]
pub(crate) fn leave_guest(registers: &mut VcpuRegisters) {
    macro_rules! save {
        ($register:ident) => {
            registers[VCpuRegister::$register as usize] =
                read_vcpu_register(VCpuRegister::$register)
        };
    }
    save!(SCTLR);
    save!(CPACR);
    save!(CNTKCTL_EL1);
    enter_domains();
}

/// Has EL0 run domains.
#[inline(always)]
pub(crate) fn enter_domains() {
    // SAFETY: these are the values for domains; what they can reach is limited by stage 2.
    unsafe {
        write_register!("sctlr_el1", SCTLR_DOMAIN);
        synchronise();
        HCR_EL2.set(HCR_DOMAIN);
        synchronise();
        write_register!("cpacr_el1", CPACR_DOMAIN);
        write_register!("cntkctl_el1", CNTKCTL_DOMAIN);
        write_register!("cnthctl_el2", CNTHCTL_DOMAIN);
    }
}

/// The intermediate physical address that the loaded guest's translation gives for `address`, as
/// seL4 reports it: whatever `PAR_EL1` holds, even if the translation fails.
pub(crate) fn translate_guest(address: u64) -> u64 {
    const PAGE_MASK: u64 = 0xfff;
    const PAR_ADDRESS: u64 = 0x0000_ffff_ffff_f000;
    let saved = read_register!("par_el1");
    // SAFETY: the translation changes nothing but PAR_EL1, which is put back.
    unsafe {
        asm!("at s1e1r, {}", in(reg) address, options(nostack, preserves_flags));
    }
    synchronise();
    let result = read_register!("par_el1");
    // SAFETY: the guest's own value.
    unsafe { write_register!("par_el1", saved) }
    result & PAR_ADDRESS | address & PAGE_MASK
}
