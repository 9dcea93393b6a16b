// SPDX-License-Identifier: BSD-2-Clause
//! Faults: what a fault message says.

use sel4_sys::fault::{
    self, FaultLabel, timeout, unknown_syscall, user_exception, vcpu_fault, vgic_maintenance,
    vm_fault, vppi_event,
};

use crate::{IpcBuffer, MessageInfo, Word};

/// A fault of a child or of a vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    NullFault(NullFault),
    /// A capability could not be found.
    CapFault(CapFault),
    /// A system call that does not exist.
    UnknownSyscall(UnknownSyscall),
    /// An exception that is nothing else, such as an undefined instruction.
    UserException(UserException),
    /// An abort.
    VmFault(VmFault),
    /// The budget ran out.
    Timeout(Timeout),
    /// A list register of the vCPU became empty after an end of interrupt.
    VGicMaintenance(VGicMaintenance),
    /// The vCPU trapped.
    VCpuFault(VCpuFault),
    /// A private interrupt of the vCPU became pending.
    VPpiEvent(VPpiEvent),
}

impl Fault {
    /// What the message in the IPC buffer says, which must be a fault's.
    ///
    /// # Panics
    ///
    /// The kernel sent a fault that it cannot have: an unknown label or the wrong length.
    #[inline]
    pub fn new(ipc_buffer: &IpcBuffer, info: &MessageInfo) -> Self {
        let words = ipc_buffer.msg_regs();
        let Some(label) = FaultLabel::from_label(info.label()) else {
            panic!("Unparsed fault label: {}", info.label());
        };
        match label {
            FaultLabel::NullFault => Self::NullFault(NullFault(())),
            FaultLabel::CapFault => Self::CapFault(CapFault {
                ip: words[fault::cap_fault::IP],
                addr: words[fault::cap_fault::ADDR],
            }),
            FaultLabel::UnknownSyscall => {
                Self::UnknownSyscall(UnknownSyscall(take(words, info, unknown_syscall::LENGTH)))
            }
            FaultLabel::UserException => {
                Self::UserException(UserException(take(words, info, user_exception::LENGTH)))
            }
            FaultLabel::Timeout => Self::Timeout(Timeout(take(words, info, timeout::LENGTH))),
            FaultLabel::VmFault => Self::VmFault(VmFault(take(words, info, vm_fault::LENGTH))),
            FaultLabel::VgicMaintenance => {
                let words = take(words, info, vgic_maintenance::LENGTH);
                Self::VGicMaintenance(VGicMaintenance(words))
            }
            FaultLabel::VcpuFault => {
                Self::VCpuFault(VCpuFault(take(words, info, vcpu_fault::LENGTH)))
            }
            FaultLabel::VppiEvent => {
                Self::VPpiEvent(VPpiEvent(take(words, info, vppi_event::LENGTH)))
            }
        }
    }
}

/// The words of a fault's message.
#[inline(always)]
fn take<const N: usize>(words: &[Word], info: &MessageInfo, length: usize) -> [Word; N] {
    assert!(info.length() == length);
    core::array::from_fn(|index| words[index])
}

/// No fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NullFault(());

/// A capability could not be found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "the original has no accessors either; printed by Debug"
)]
pub struct CapFault {
    ip: Word,
    addr: Word,
}

/// A system call that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSyscall([Word; unknown_syscall::LENGTH]);

impl UnknownSyscall {
    /// The address of the instruction that made it.
    #[inline(always)]
    pub fn fault_ip(&self) -> Word {
        self.0[unknown_syscall::FAULT_IP]
    }

    /// `SP_EL0`.
    #[inline(always)]
    pub fn sp(&self) -> Word {
        self.0[unknown_syscall::SP]
    }

    /// The address to continue at.
    #[inline(always)]
    pub fn lr(&self) -> Word {
        self.0[unknown_syscall::LR]
    }

    /// The processor state.
    #[inline(always)]
    pub fn spsr(&self) -> Word {
        self.0[unknown_syscall::SPSR]
    }

    /// The number asked for, `x7`.
    #[inline(always)]
    pub fn syscall(&self) -> Word {
        self.0[unknown_syscall::SYSCALL]
    }

    /// The register `x<ix>`.
    ///
    /// # Panics
    ///
    /// `ix` is above 7.
    #[inline(always)]
    pub fn gpr(&self, ix: usize) -> Word {
        assert!(ix < 8);
        self.0[unknown_syscall::X0 + ix]
    }
}

/// An exception that is nothing else.
///
/// Its message: instruction, `SP_EL0`, processor state, syndrome, 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "the original has no accessors either; printed by Debug"
)]
pub struct UserException([Word; user_exception::LENGTH]);

/// The budget ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    dead_code,
    reason = "the original has no accessors either; printed by Debug"
)]
pub struct Timeout([Word; timeout::LENGTH]);

/// An abort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFault([Word; vm_fault::LENGTH]);

impl VmFault {
    /// The address of the instruction.
    #[inline(always)]
    pub fn ip(&self) -> Word {
        self.0[vm_fault::IP]
    }

    /// The address that it accessed: for a vCPU, the intermediate physical one.
    #[inline(always)]
    pub fn addr(&self) -> Word {
        self.0[vm_fault::ADDR]
    }

    /// Whether fetching the instruction failed.
    #[inline(always)]
    pub fn is_prefetch(&self) -> bool {
        self.0[vm_fault::PREFETCH_FAULT] != 0
    }

    /// The syndrome, as `ESR_EL2` gives it.
    #[inline(always)]
    pub fn fsr(&self) -> Word {
        self.0[vm_fault::FSR]
    }
}

/// A list register of the vCPU became empty after an end of interrupt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VGicMaintenance([Word; vgic_maintenance::LENGTH]);

impl VGicMaintenance {
    /// The list register, if the kernel knows which.
    #[inline(always)]
    pub fn idx(&self) -> Option<Word> {
        let [index] = self.0;
        (index != Word::MAX).then_some(index)
    }
}

/// The vCPU trapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VCpuFault([Word; vcpu_fault::LENGTH]);

impl VCpuFault {
    /// The syndrome, as `ESR_EL2` gives it.
    #[inline(always)]
    pub fn hsr(&self) -> Word {
        self.0[vcpu_fault::HSR]
    }
}

/// A private interrupt of the vCPU became pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VPpiEvent([Word; vppi_event::LENGTH]);

impl VPpiEvent {
    /// The INTID.
    #[inline(always)]
    pub fn irq(&self) -> Word {
        self.0[vppi_event::IRQ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(label: FaultLabel, words: &[Word]) -> Fault {
        let mut buffer = IpcBuffer::default();
        buffer.msg_regs_mut()[..words.len()].copy_from_slice(words);
        Fault::new(&buffer, &MessageInfo::new(label.label(), 0, 0, words.len()))
    }

    #[test]
    fn an_abort_says_where_and_why() {
        let Fault::VmFault(abort) = fault(FaultLabel::VmFault, &[1, 2, 0, 4]) else {
            panic!("not an abort");
        };
        assert_eq!(
            (abort.ip(), abort.addr(), abort.is_prefetch(), abort.fsr()),
            (1, 2, false, 4)
        );
    }

    #[test]
    fn an_unknown_system_call_has_its_registers() {
        let words: [Word; 13] = core::array::from_fn(|index| index as Word);
        let Fault::UnknownSyscall(call) = fault(FaultLabel::UnknownSyscall, &words) else {
            panic!("not a system call");
        };
        assert_eq!(
            (call.gpr(0), call.gpr(7), call.fault_ip(), call.sp()),
            (0, 7, 8, 9)
        );
        assert_eq!((call.lr(), call.spsr(), call.syscall()), (10, 11, 12));
    }

    #[test]
    fn maintenance_of_an_unknown_list_register_has_no_index() {
        let index = |word| match fault(FaultLabel::VgicMaintenance, &[word]) {
            Fault::VGicMaintenance(maintenance) => maintenance.idx(),
            other => panic!("{other:?}"),
        };
        assert_eq!(index(3), Some(3));
        assert_eq!(index(Word::MAX), None);
    }

    #[test]
    fn a_trap_and_a_private_interrupt_are_one_word() {
        let Fault::VCpuFault(trap) = fault(FaultLabel::VcpuFault, &[0x5e00_0000]) else {
            panic!("not a trap");
        };
        assert_eq!(trap.hsr(), 0x5e00_0000);
        let Fault::VPpiEvent(event) = fault(FaultLabel::VppiEvent, &[27]) else {
            panic!("not a private interrupt");
        };
        assert_eq!(event.irq(), 27);
    }
}
