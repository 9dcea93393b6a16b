// SPDX-License-Identifier: BSD-2-Clause
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

use crate::arch::FastRegisters;
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

macro_rules! user_context {
    ($($index:literal $field:ident)*) => {
        /// The registers of a thread, in the order in which the kernel transfers them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[allow(missing_docs, reason = "the registers' own names")]
        #[repr(C)]
        pub struct seL4_UserContext {
            $(pub $field: Word,)*
        }

        impl seL4_UserContext {
            /// The first `count` registers of a message.
            ///
            /// Written out rather than a loop: `count` is a constant where it matters, and then
            /// the registers beyond it cost nothing.
            #[inline(always)]
            pub(crate) fn take_message(count: Word, fast: &FastRegisters, slow: &[Word]) -> Self {
                Self { $($field: take_message($index, count, fast, slow),)* }
            }

            /// Puts the first `count` registers into a message, after `HEADER` other words.
            #[inline(always)]
            pub(crate) fn put_message<const HEADER: usize>(
                &self,
                count: Word,
                fast: &mut FastRegisters,
                slow: &mut [Word],
            ) {
                $(put_message::<HEADER>($index, self.$field, count, fast, slow);)*
            }
        }
    };
}

user_context! {
    0 pc 1 sp 2 spsr
    3 x0 4 x1 5 x2 6 x3 7 x4 8 x5 9 x6 10 x7 11 x8
    12 x16 13 x17 14 x18 15 x29 16 x30
    17 x9 18 x10 19 x11 20 x12 21 x13 22 x14 23 x15
    24 x19 25 x20 26 x21 27 x22 28 x23 29 x24 30 x25 31 x26 32 x27 33 x28
    34 tpidr_el0 35 tpidrro_el0
}

const _: () = assert!(size_of::<seL4_UserContext>() == context::COUNT * size_of::<Word>());

impl seL4_UserContext {
    /// The registers by the indices of [`sel4_sys::context`].
    #[inline(always)]
    pub(crate) const fn words(&self) -> &[Word; context::COUNT] {
        // SAFETY: the structure is as many words as the array, without padding (`repr(C)` and the
        // assertion above).
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// The registers by the indices of [`sel4_sys::context`].
    #[inline(always)]
    pub(crate) const fn words_mut(&mut self) -> &mut [Word; context::COUNT] {
        // SAFETY: as above.
        unsafe { &mut *core::ptr::from_mut(self).cast() }
    }
}

/// The word at an index of a message, and 0 from `count` on.
#[inline(always)]
fn take_message(index: usize, count: Word, fast: &FastRegisters, slow: &[Word]) -> Word {
    if index as Word >= count {
        0
    } else if index < fast.len() {
        fast[index]
    } else {
        slow[index]
    }
}

/// Puts a word into a message, unless its index is `count` or more.
#[inline(always)]
fn put_message<const HEADER: usize>(
    index: usize,
    word: Word,
    count: Word,
    fast: &mut FastRegisters,
    slow: &mut [Word],
) {
    if (index as Word) < count {
        match fast.get_mut(HEADER + index) {
            Some(fast) => *fast = word,
            None => slow[HEADER + index] = word,
        }
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
