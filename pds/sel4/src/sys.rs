//! The lower level that the original exposes as `sel4::sys`, with seL4's own names.
//!
//! Only what the domains cannot do above it: vCPU registers by number, and all registers of a
//! thread by name.

#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    reason = "seL4's names"
)]

use sel4_sys::context;

use crate::{IpcBuffer, Word, invocations};

/// A word.
pub type seL4_Word = Word;

/// A capability pointer.
pub type seL4_CPtr = Word;

/// Errors of invocations.
pub mod seL4_Error {
    /// The type of an error.
    pub type Type = u32;

    /// It was done.
    pub const seL4_NoError: Type = 0;
}

/// Numbers of a vCPU's registers.
#[allow(missing_docs, reason = "Arm's names")]
pub mod seL4_VCPUReg {
    use sel4_sys::VCpuRegister;

    /// The type of a number.
    pub type Type = u64;

    pub const seL4_VCPUReg_SCTLR: Type = VCpuRegister::SCTLR.number();
    pub const seL4_VCPUReg_CPACR: Type = VCpuRegister::CPACR.number();
    pub const seL4_VCPUReg_TTBR0: Type = VCpuRegister::TTBR0.number();
    pub const seL4_VCPUReg_TTBR1: Type = VCpuRegister::TTBR1.number();
    pub const seL4_VCPUReg_TCR: Type = VCpuRegister::TCR.number();
    pub const seL4_VCPUReg_MAIR: Type = VCpuRegister::MAIR.number();
    pub const seL4_VCPUReg_AMAIR: Type = VCpuRegister::AMAIR.number();
    pub const seL4_VCPUReg_CIDR: Type = VCpuRegister::CIDR.number();
    pub const seL4_VCPUReg_ACTLR: Type = VCpuRegister::ACTLR.number();
    pub const seL4_VCPUReg_AFSR0: Type = VCpuRegister::AFSR0.number();
    pub const seL4_VCPUReg_AFSR1: Type = VCpuRegister::AFSR1.number();
    pub const seL4_VCPUReg_ESR: Type = VCpuRegister::ESR.number();
    pub const seL4_VCPUReg_FAR: Type = VCpuRegister::FAR.number();
    pub const seL4_VCPUReg_PAR: Type = VCpuRegister::PAR.number();
    pub const seL4_VCPUReg_VBAR: Type = VCpuRegister::VBAR.number();
    pub const seL4_VCPUReg_TPIDR_EL1: Type = VCpuRegister::TPIDR_EL1.number();
    pub const seL4_VCPUReg_VMPIDR_EL2: Type = VCpuRegister::VMPIDR_EL2.number();
    pub const seL4_VCPUReg_SP_EL1: Type = VCpuRegister::SP_EL1.number();
    pub const seL4_VCPUReg_ELR_EL1: Type = VCpuRegister::ELR_EL1.number();
    pub const seL4_VCPUReg_SPSR_EL1: Type = VCpuRegister::SPSR_EL1.number();
    pub const seL4_VCPUReg_CNTV_CTL: Type = VCpuRegister::CNTV_CTL.number();
    pub const seL4_VCPUReg_CNTV_CVAL: Type = VCpuRegister::CNTV_CVAL.number();
    pub const seL4_VCPUReg_CNTVOFF: Type = VCpuRegister::CNTVOFF.number();
    pub const seL4_VCPUReg_CNTKCTL_EL1: Type = VCpuRegister::CNTKCTL_EL1.number();
}

/// The registers of a thread, in the order in which the kernel transfers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the registers' own names")]
#[repr(C)]
pub struct seL4_UserContext {
    pub pc: Word,
    pub sp: Word,
    pub spsr: Word,
    pub x0: Word,
    pub x1: Word,
    pub x2: Word,
    pub x3: Word,
    pub x4: Word,
    pub x5: Word,
    pub x6: Word,
    pub x7: Word,
    pub x8: Word,
    pub x16: Word,
    pub x17: Word,
    pub x18: Word,
    pub x29: Word,
    pub x30: Word,
    pub x9: Word,
    pub x10: Word,
    pub x11: Word,
    pub x12: Word,
    pub x13: Word,
    pub x14: Word,
    pub x15: Word,
    pub x19: Word,
    pub x20: Word,
    pub x21: Word,
    pub x22: Word,
    pub x23: Word,
    pub x24: Word,
    pub x25: Word,
    pub x26: Word,
    pub x27: Word,
    pub x28: Word,
    pub tpidr_el0: Word,
    pub tpidrro_el0: Word,
}

const _: () = assert!(size_of::<seL4_UserContext>() == context::COUNT * size_of::<Word>());

impl seL4_UserContext {
    /// The registers as the words of a message.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[Word; context::COUNT] {
        // SAFETY: the structure is as many words as the array, without padding (`repr(C)` and the
        // assertion above).
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// The registers as the words of a message.
    #[inline(always)]
    pub(crate) fn words_mut(&mut self) -> &mut [Word; context::COUNT] {
        // SAFETY: as above.
        unsafe { &mut *core::ptr::from_mut(self).cast() }
    }
}

/// What [`seL4_IPCBuffer::seL4_ARM_VCPU_ReadRegs`] returns.
#[derive(Default)]
pub struct seL4_ARM_VCPU_ReadRegs {
    /// How it went.
    pub error: seL4_Error::Type,
    /// The value of the register, if there was no error.
    pub value: seL4_Word,
}

/// The IPC buffer.
#[derive(Default)]
#[repr(transparent)]
pub struct seL4_IPCBuffer(sel4_sys::IpcBuffer);

impl seL4_IPCBuffer {
    #[inline(always)]
    pub(crate) const fn raw(&self) -> &sel4_sys::IpcBuffer {
        &self.0
    }

    #[inline(always)]
    pub(crate) const fn raw_mut(&mut self) -> &mut sel4_sys::IpcBuffer {
        &mut self.0
    }

    /// Reads the system register of a vCPU that has a number of [`seL4_VCPUReg`].
    #[inline(always)]
    pub fn seL4_ARM_VCPU_ReadRegs(
        &mut self,
        service: seL4_CPtr,
        field: seL4_VCPUReg::Type,
    ) -> seL4_ARM_VCPU_ReadRegs {
        match invocations::read_vcpu_register(self.buffer(), service, field) {
            Ok(value) => seL4_ARM_VCPU_ReadRegs {
                error: seL4_Error::seL4_NoError,
                value,
            },
            Err(error) => seL4_ARM_VCPU_ReadRegs {
                error: error.into_sys(),
                value: 0,
            },
        }
    }

    /// Writes the system register of a vCPU that has a number of [`seL4_VCPUReg`].
    #[inline(always)]
    pub fn seL4_ARM_VCPU_WriteRegs(
        &mut self,
        service: seL4_CPtr,
        field: seL4_VCPUReg::Type,
        value: seL4_Word,
    ) -> seL4_Error::Type {
        match invocations::write_vcpu_register(self.buffer(), service, field, value) {
            Ok(()) => seL4_Error::seL4_NoError,
            Err(error) => error.into_sys(),
        }
    }

    #[inline(always)]
    fn buffer(&mut self) -> &mut IpcBuffer {
        // SAFETY: an `IpcBuffer` is nothing but a `seL4_IPCBuffer` (`repr(transparent)`).
        unsafe { &mut *core::ptr::from_mut(self).cast() }
    }
}
