//! System registers of the processor and of a virtual CPU.
//!
//! Responsible for the one table of virtual CPU registers, from which reading, writing, saving and
//! loading are generated, and for the values that `HCR_EL2` and its like have for domains and for
//! guests. Those are seL4's (`HCR_NATIVE`, `HCR_VCPU`, `SCTLR_EL1_NATIVE` of its AArch64 hypervisor
//! configuration), so that a guest meets the same traps on both kernels.

use core::arch::asm;

use aarch64_cpu::registers::{HCR_EL2, Writeable};
use kernel::machine::VcpuRegisters;
use kernel::vcpu::is_saved_early;
use sel4_sys::VCpuRegister;

/// Reads a system register by name.
macro_rules! read_register {
    ($name:literal) => {{
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
    ($name:literal, $value:expr) => {{
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

/// `CNTHCTL_EL2`: the same for EL1, which includes guests. seL4 does not tell them apart.
pub(crate) const CNTHCTL: u64 = 1 << 0 | 1 << 1;

macro_rules! vcpu_registers {
    ($($register:ident $name:literal $mask:expr,)*) => {
        /// Reads a register of the guest that is loaded.
        #[inline(always)]
        pub(crate) fn read_vcpu_register(register: VCpuRegister) -> u64 {
            match register {
                $(VCpuRegister::$register => read_register!($name) & $mask,)*
            }
        }

        /// Writes a register of the guest that is loaded.
        #[inline(always)]
        pub(crate) fn write_vcpu_register(register: VCpuRegister, value: u64) {
            match register {
                // SAFETY: these registers affect EL1, EL0 and their timer only, and what those can
                // reach is limited by stage 2 whatever the value.
                $(VCpuRegister::$register => unsafe { write_register!($name, value & $mask) },)*
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

/// A register of 64 bits.
const WIDE: u64 = u64::MAX;
/// A register that seL4 reads and writes with 32 bits.
const NARROW: u64 = 0xffff_ffff;

vcpu_registers! {
    SCTLR "sctlr_el1" WIDE,
    CPACR "cpacr_el1" WIDE,
    TTBR0 "ttbr0_el1" WIDE,
    TTBR1 "ttbr1_el1" WIDE,
    TCR "tcr_el1" WIDE,
    MAIR "mair_el1" WIDE,
    AMAIR "amair_el1" WIDE,
    CIDR "contextidr_el1" NARROW,
    ACTLR "actlr_el1" WIDE,
    AFSR0 "afsr0_el1" NARROW,
    AFSR1 "afsr1_el1" NARROW,
    ESR "esr_el1" NARROW,
    FAR "far_el1" WIDE,
    PAR "par_el1" WIDE,
    VBAR "vbar_el1" WIDE,
    TPIDR_EL1 "tpidr_el1" WIDE,
    VMPIDR_EL2 "vmpidr_el2" WIDE,
    SP_EL1 "sp_el1" WIDE,
    ELR_EL1 "elr_el1" WIDE,
    SPSR_EL1 "spsr_el1" WIDE,
    CNTV_CVAL "cntv_cval_el0" WIDE,
    CNTVOFF "cntvoff_el2" WIDE,
    CNTKCTL_EL1 "cntkctl_el1" WIDE,
    // Last: it switches the timer on.
    CNTV_CTL "cntv_ctl_el0" WIDE,
}

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
