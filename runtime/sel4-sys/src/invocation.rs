// SPDX-License-Identifier: BSD-2-Clause
//! Invocations: the operations of kernel objects, and the labels that select them.
//!
//! The labels are an enumeration in seL4's build, so they differ between configurations: a debug
//! kernel has more of them, in the middle of the list. A domain therefore carries them in a table
//! in its ELF file, under the symbol [`INVOCATION_LABELS_SYMBOL`], and whoever builds an image
//! fills the table from the SDK's `invocations_all.json`. Unpatched, the table fits the release
//! configuration of `qemu_virt_aarch64`, which is also what the embedded kernel implements.

use crate::Word;

/// The ELF symbol of the table: [`Invocation::COUNT`] little-endian 64-bit labels, in the order of
/// [`INVOCATIONS`].
pub const INVOCATION_LABELS_SYMBOL: &str = "sel4_invocation_labels";

/// An invocation that the domains use.
///
/// The doc comments give the message: words in, then words out. Registers are in the order of
/// [`crate::context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Invocation {
    /// On a thread. In: flags (bit 0: suspend it first), number of registers (1 to 36).
    /// Out: that many registers.
    TcbReadRegisters,
    /// On a thread, which must not be the caller. In: flags (bit 0: resume it after), number of
    /// registers, the registers.
    TcbWriteRegisters,
    /// On a thread. In: nothing.
    TcbSuspend,
    /// On a thread. In: nothing.
    TcbResume,
    /// On an interrupt handler: unmasks the interrupt. In: nothing.
    IrqAckIrq,
    /// On a vCPU. In: one word of INTID (bits 15:0), priority 0 to 31 (23:16), group (31:24) and
    /// list register (39:32).
    ArmVcpuInjectIrq,
    /// On a vCPU. In: register index. Out: its value.
    ArmVcpuReadReg,
    /// On a vCPU. In: register index, value.
    ArmVcpuWriteReg,
    /// On a vCPU: unmasks a private interrupt. In: INTID.
    ArmVcpuAckVppi,
}

/// Where an invocation's message has its parameters, as seL4's stubs pack them
/// (`interfaces/object-api*.xml`).
pub mod parameters {
    /// Reading and writing a thread's registers: the word of flags.
    pub const FLAGS: usize = 0;
    /// Reading and writing a thread's registers: the word that counts them.
    pub const COUNT: usize = 1;
    /// Writing a thread's registers: the first of them.
    pub const REGISTERS: usize = 2;
    /// Injecting an interrupt: the lowest bit of the INTID in the one word.
    pub const INJECT_INTID: u32 = 0;
    /// Injecting an interrupt: the lowest bit of the priority.
    pub const INJECT_PRIORITY: u32 = 16;
    /// Injecting an interrupt: the lowest bit of the group.
    pub const INJECT_GROUP: u32 = 24;
    /// Injecting an interrupt: the lowest bit of the list register's number.
    pub const INJECT_INDEX: u32 = 32;
}

/// seL4's names of the invocations in the order of the table, as in `invocations_all.json`.
pub const INVOCATIONS: [&str; Invocation::COUNT] = [
    "TCBReadRegisters",
    "TCBWriteRegisters",
    "TCBSuspend",
    "TCBResume",
    "IRQAckIRQ",
    "ARMVCPUInjectIRQ",
    "ARMVCPUReadReg",
    "ARMVCPUWriteReg",
    "ARMVCPUAckVPPI",
];

impl Invocation {
    /// How many invocations the table has.
    pub const COUNT: usize = 9;

    /// All invocations, in the order of the table.
    pub const ALL: [Self; Self::COUNT] = [
        Self::TcbReadRegisters,
        Self::TcbWriteRegisters,
        Self::TcbSuspend,
        Self::TcbResume,
        Self::IrqAckIrq,
        Self::ArmVcpuInjectIrq,
        Self::ArmVcpuReadReg,
        Self::ArmVcpuWriteReg,
        Self::ArmVcpuAckVppi,
    ];

    /// The index into the table.
    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// seL4's name of the invocation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        INVOCATIONS[self.index()]
    }
}

/// The labels of one kernel configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct InvocationLabels([Word; Invocation::COUNT]);

/// A kernel configuration has no invocation of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownInvocation(pub &'static str);

impl core::fmt::Display for UnknownInvocation {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "the kernel has no invocation {}", self.0)
    }
}

impl core::error::Error for UnknownInvocation {}

impl InvocationLabels {
    /// The labels of `qemu_virt_aarch64` release, and of the embedded kernel.
    pub const DEFAULT: Self = Self([2, 3, 12, 13, 27, 56, 57, 58, 59]);

    /// The number of bytes of the table in an ELF file.
    pub const SIZE: usize = Invocation::COUNT * size_of::<Word>();

    /// Collects the labels of a configuration, given what looks one up by seL4's name.
    ///
    /// # Errors
    ///
    /// The configuration lacks an invocation that the domains need.
    pub fn from_names(
        mut lookup: impl FnMut(&str) -> Option<Word>,
    ) -> Result<Self, UnknownInvocation> {
        let mut labels = [0; Invocation::COUNT];
        for (label, name) in labels.iter_mut().zip(INVOCATIONS) {
            *label = lookup(name).ok_or(UnknownInvocation(name))?;
        }
        Ok(Self(labels))
    }

    /// The label of an invocation.
    #[must_use]
    #[inline(always)]
    pub const fn label(&self, invocation: Invocation) -> Word {
        self.0[invocation.index()]
    }

    /// The invocation that has a label.
    #[must_use]
    pub fn invocation(&self, label: Word) -> Option<Invocation> {
        Invocation::ALL
            .into_iter()
            .find(|&invocation| self.label(invocation) == label)
    }

    /// The table as it stands in an ELF file.
    #[must_use]
    pub fn to_le_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (bytes, label) in bytes.chunks_exact_mut(size_of::<Word>()).zip(self.0) {
            bytes.copy_from_slice(&label.to_le_bytes());
        }
        bytes
    }
}

impl Default for InvocationLabels {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_names() {
        let labels = InvocationLabels::from_names(|name| {
            INVOCATIONS
                .iter()
                .position(|&other| other == name)
                .map(|index| index as Word)
        })
        .unwrap();
        for (index, invocation) in Invocation::ALL.into_iter().enumerate() {
            assert_eq!(invocation.index(), index);
            assert_eq!(labels.label(invocation), index as Word);
            assert_eq!(labels.invocation(index as Word), Some(invocation));
            assert_eq!(usize::from(labels.to_le_bytes()[index * 8]), index);
        }
    }

    #[test]
    fn a_configuration_without_an_invocation_is_refused_by_its_name() {
        let result = InvocationLabels::from_names(|name| (name != "TCBResume").then_some(1));
        assert_eq!(result, Err(UnknownInvocation("TCBResume")));
    }
}
