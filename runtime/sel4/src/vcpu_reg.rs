// SPDX-License-Identifier: BSD-2-Clause
//! System registers of a vCPU.

use sel4_sys::VCpuRegister;

use crate::sys;

/// A system register of a vCPU.
///
/// These are the ones that the original names for a kernel of one core. The kernel has more
/// (`PAR_EL1`, `CNTKCTL_EL1`, and `VMPIDR_EL2`, which the original has for several cores only): read
/// and write those by number through
/// [`sys::seL4_IPCBuffer::seL4_ARM_VCPU_ReadRegs`] and
/// [`sys::seL4_IPCBuffer::seL4_ARM_VCPU_WriteRegs`].
#[repr(u64)]
#[allow(non_camel_case_types, missing_docs, reason = "Arm's names")]
pub enum VCpuReg {
    SCTLR = VCpuRegister::SCTLR as u64,
    TTBR0 = VCpuRegister::TTBR0 as u64,
    TTBR1 = VCpuRegister::TTBR1 as u64,
    TCR = VCpuRegister::TCR as u64,
    MAIR = VCpuRegister::MAIR as u64,
    AMAIR = VCpuRegister::AMAIR as u64,
    CIDR = VCpuRegister::CIDR as u64,
    ACTLR = VCpuRegister::ACTLR as u64,
    CPACR = VCpuRegister::CPACR as u64,
    AFSR0 = VCpuRegister::AFSR0 as u64,
    AFSR1 = VCpuRegister::AFSR1 as u64,
    ESR = VCpuRegister::ESR as u64,
    FAR = VCpuRegister::FAR as u64,
    VBAR = VCpuRegister::VBAR as u64,
    TPIDR_EL1 = VCpuRegister::TPIDR_EL1 as u64,
    SP_EL1 = VCpuRegister::SP_EL1 as u64,
    ELR_EL1 = VCpuRegister::ELR_EL1 as u64,
    SPSR_EL1 = VCpuRegister::SPSR_EL1 as u64,
    CNTV_CTL = VCpuRegister::CNTV_CTL as u64,
    CNTV_CVAL = VCpuRegister::CNTV_CVAL as u64,
    CNTVOFF = VCpuRegister::CNTVOFF as u64,
}

impl VCpuReg {
    /// seL4's number of the register.
    #[inline(always)]
    pub const fn into_sys(self) -> sys::seL4_VCPUReg::Type {
        self as sys::seL4_VCPUReg::Type
    }
}
