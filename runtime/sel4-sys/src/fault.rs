// SPDX-License-Identifier: BSD-2-Clause
//! Faults: the labels of fault messages, and which word of a message is what.
//!
//! Labels from `enum seL4_Fault_tag` of a kernel with MCS and hypervisor support and without the
//! hardware debug interface (whose fault would have number 4 either way); layouts from
//! `sel4/sel4_arch/constants.h` and `sel4/shared_types.h`.
//!
//! Replying to a fault restarts the thread at its program counter, which is the instruction that
//! faulted: a guest's `smc` or `hvc` is repeated unless the program counter was advanced before.
//! Only for an unknown system call, a user exception and a timeout do the words of the reply change
//! registers (as many as it has; and if its label is not 0, the thread stays stopped). For a vCPU,
//! registers are written by [`crate::Invocation::TcbWriteRegisters`] before the reply.
//!
//! A guest's `hvc` is a system call of its own, with `x7` as the number and an empty capability
//! space. Found by running all of them: `Call` returns an error to the guest, `Send`, `NBSend` and
//! `Yield` return as if done, everything that receives is a [`FaultLabel::CapFault`] (missing
//! capability, five words), any other number a [`FaultLabel::UnknownSyscall`].

use crate::Word;

/// The label of a fault message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum FaultLabel {
    /// No fault.
    NullFault = 0,
    /// A capability could not be found; layout [`cap_fault`].
    CapFault = 1,
    /// A system call that does not exist; layout [`unknown_syscall`].
    UnknownSyscall = 2,
    /// An exception that is nothing else, such as an undefined instruction; layout
    /// [`user_exception`].
    UserException = 3,
    /// The budget ran out; layout [`timeout`].
    Timeout = 5,
    /// An abort; layout [`vm_fault`].
    VmFault = 6,
    /// A list register became empty after an end of interrupt; layout [`vgic_maintenance`].
    VgicMaintenance = 7,
    /// An exception that a vCPU took to EL2; layout [`vcpu_fault`].
    VcpuFault = 8,
    /// A private interrupt of the vCPU became pending; layout [`vppi_event`].
    VppiEvent = 9,
}

impl FaultLabel {
    /// The fault that a message's label stands for.
    #[must_use]
    #[inline(always)]
    pub const fn from_label(label: Word) -> Option<Self> {
        Some(match label {
            0 => Self::NullFault,
            1 => Self::CapFault,
            2 => Self::UnknownSyscall,
            3 => Self::UserException,
            5 => Self::Timeout,
            6 => Self::VmFault,
            7 => Self::VgicMaintenance,
            8 => Self::VcpuFault,
            9 => Self::VppiEvent,
            _ => return None,
        })
    }

    /// The label of the message.
    #[must_use]
    #[inline(always)]
    pub const fn label(self) -> Word {
        self as Word
    }
}

/// Words of a capability fault. Its length is 4 to 7, by the kind of failed lookup.
pub mod cap_fault {
    /// The instruction to restart at.
    pub const IP: usize = 0;
    /// The address of the capability.
    pub const ADDR: usize = 1;
    /// 1 if receiving, 0 if sending.
    pub const IN_RECV_PHASE: usize = 2;
    /// The kind of failed lookup; the words after it depend on it.
    pub const LOOKUP_FAILURE_TYPE: usize = 3;
}

/// Words of an unknown system call: `x0` to `x7` come first.
pub mod unknown_syscall {
    /// `x0`; `x1` to `x7` follow.
    pub const X0: usize = 0;
    /// The address of the `svc` or `hvc` instruction.
    pub const FAULT_IP: usize = 8;
    /// `SP_EL0`.
    pub const SP: usize = 9;
    /// The address to continue at. seL4 calls it `LR`, but it is the exception's link register.
    pub const LR: usize = 10;
    /// The processor state.
    pub const SPSR: usize = 11;
    /// The number asked for.
    pub const SYSCALL: usize = 12;
    /// How many words there are.
    pub const LENGTH: usize = 13;
    /// How many words a reply may set, from the first on.
    pub const REPLY_LENGTH: usize = 12;
}

/// Words of a user exception.
pub mod user_exception {
    /// The instruction that caused it.
    pub const FAULT_IP: usize = 0;
    /// `SP_EL0`.
    pub const SP: usize = 1;
    /// The processor state.
    pub const SPSR: usize = 2;
    /// The syndrome, `ESR_EL2`.
    pub const NUMBER: usize = 3;
    /// Always 0.
    pub const CODE: usize = 4;
    /// How many words there are.
    pub const LENGTH: usize = 5;
    /// How many words a reply may set, from the first on.
    pub const REPLY_LENGTH: usize = 3;
}

/// Words of a timeout.
pub mod timeout {
    /// The badge of the scheduling context.
    pub const DATA: usize = 0;
    /// How much it had consumed, in microseconds.
    pub const CONSUMED: usize = 1;
    /// How many words there are.
    pub const LENGTH: usize = 2;
}

/// Words of an abort.
pub mod vm_fault {
    /// The instruction that caused it.
    pub const IP: usize = 0;
    /// The address: a domain's virtual address, or for a vCPU the intermediate physical address.
    pub const ADDR: usize = 1;
    /// 1 if fetching the instruction failed, 0 if its access did.
    pub const PREFETCH_FAULT: usize = 2;
    /// The syndrome, `ESR_EL2`.
    pub const FSR: usize = 3;
    /// How many words there are.
    pub const LENGTH: usize = 4;
}

/// Words of a virtual GIC's maintenance.
pub mod vgic_maintenance {
    /// The list register, or all ones if the kernel does not know.
    pub const IDX: usize = 0;
    /// How many words there are.
    pub const LENGTH: usize = 1;
}

/// Words of a vCPU's fault.
pub mod vcpu_fault {
    /// The syndrome, `ESR_EL2`.
    pub const HSR: usize = 0;
    /// How many words there are.
    pub const LENGTH: usize = 1;
}

/// Words of a vCPU's private interrupt.
pub mod vppi_event {
    /// The INTID.
    pub const IRQ: usize = 0;
    /// How many words there are.
    pub const LENGTH: usize = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_decodes_to_the_fault_that_has_it() {
        for label in 0..=9 {
            match FaultLabel::from_label(label) {
                Some(fault) => assert_eq!(fault.label(), label),
                None => assert_eq!(label, 4),
            }
        }
        assert_eq!(FaultLabel::from_label(10), None);
    }
}
