// SPDX-License-Identifier: BSD-2-Clause
//! Why a vCPU left the guest: seL4's fault messages, decoded.
//!
//! Responsible for: one type for every exit, with the syndrome's fields taken apart (DDI 0487,
//! D24.2.40 `ESR_EL2`). Must never: act on an exit.
//!
//! Labels and message layouts are seL4's for AArch64 with hypervisor support (`sel4-sys` names
//! them); they are the same in every configuration.

/// A fault message's label, as seL4 numbers them.
pub mod label {
    /// A system call that named a capability which the (empty) capability space does not have.
    pub const CAPABILITY: u64 = 1;
    /// A system call with an unknown number: `HVC` from the guest.
    pub const UNKNOWN_SYSCALL: u64 = 2;
    /// An exception whose syndrome says nothing (class 0), as a processor may report a register that EL2 keeps from EL1.
    pub const USER_EXCEPTION: u64 = 3;
    /// A stage-2 abort.
    pub const VM_FAULT: u64 = 6;
    /// The end of an interrupt in a list register.
    pub const VGIC_MAINTENANCE: u64 = 7;
    /// A trapped instruction.
    pub const VCPU_FAULT: u64 = 8;
    /// The virtual timer's private interrupt.
    pub const VPPI_EVENT: u64 = 9;
}

/// The index of the program counter among the message registers of a capability fault
/// (`seL4_CapFault_IP`) and of an unknown system call (`seL4_UnknownSyscall_FaultIP`).
mod program_counter_word {
    pub(super) const CAPABILITY: usize = 0;
    pub(super) const UNKNOWN_SYSCALL: usize = 8;
}

/// `ESR_ELx.EC`, DDI 0487 table D24-18.
pub mod class {
    /// Trapped `WFI` or `WFE`.
    pub const WAIT: u64 = 0x01;
    /// `SMC` executed in AArch64.
    pub const SMC: u64 = 0x17;
    /// Trapped `MSR`, `MRS` or system instruction in AArch64.
    pub const SYSTEM_REGISTER: u64 = 0x18;
    /// Instruction abort from a lower exception level.
    pub const INSTRUCTION_ABORT_LOWER: u64 = 0x20;
    /// Instruction abort from the same exception level.
    pub const INSTRUCTION_ABORT_SAME: u64 = 0x21;
    /// Data abort from a lower exception level.
    pub const DATA_ABORT_LOWER: u64 = 0x24;
    /// Data abort from the same exception level.
    pub const DATA_ABORT_SAME: u64 = 0x25;
    /// Breakpoint, software step and watchpoint from a lower exception level; one more is from the same.
    pub const BREAKPOINT_LOWER: u64 = 0x30;
    /// See [`BREAKPOINT_LOWER`].
    pub const STEP_LOWER: u64 = 0x32;
    /// See [`BREAKPOINT_LOWER`].
    pub const WATCHPOINT_LOWER: u64 = 0x34;
    /// `BRK` executed in AArch64.
    pub const BRK: u64 = 0x3c;
}

/// A syndrome, as `ESR_EL2` holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syndrome(pub u64);

impl Syndrome {
    /// The exception class.
    #[inline]
    pub const fn class(self) -> u64 {
        (self.0 >> 26) & 0x3f
    }

    /// The trapped instruction is 32 bits long.
    #[inline]
    pub const fn is_32_bit(self) -> bool {
        self.0 & 1 << 25 != 0
    }

    /// A data abort whose remaining fields describe the access (`ISV`).
    #[inline]
    pub const fn describes_access(self) -> bool {
        self.0 & 1 << 24 != 0
    }

    /// The access as a data abort with [`Self::describes_access`] gives it.
    #[inline]
    pub const fn access(self) -> Access {
        Access {
            write: self.0 & 1 << 6 != 0,
            width: 1 << ((self.0 >> 22) & 3),
            register: ((self.0 >> 16) & 0x1f) as u8,
            sign_extend: self.0 & 1 << 21 != 0,
            is_64_bit: self.0 & 1 << 15 != 0,
        }
    }

    /// A data abort by a write (`WnR`); also valid without [`Self::describes_access`].
    #[inline]
    pub const fn is_write(self) -> bool {
        self.0 & 1 << 6 != 0
    }

    /// A data abort by a cache maintenance instruction (`CM`).
    #[inline]
    pub const fn is_cache_maintenance(self) -> bool {
        self.0 & 1 << 8 != 0
    }

    /// The stage-2 abort struck a stage-1 translation table walk (`S1PTW`).
    #[inline]
    pub const fn is_table_walk(self) -> bool {
        self.0 & 1 << 7 != 0
    }

    /// A trapped wait is `WFE`, not `WFI`.
    #[inline]
    pub const fn is_wait_for_event(self) -> bool {
        self.0 & 1 != 0
    }

    /// The immediate of an `SMC`.
    #[inline]
    pub const fn immediate(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// A single register's load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// A store.
    pub write: bool,
    /// Bytes: 1, 2, 4 or 8.
    pub width: u8,
    /// The transferred register, 0–30; 31 is the zero register.
    pub register: u8,
    /// A load extends the sign.
    pub sign_extend: bool,
    /// A load writes all 64 bits of the register, not only the lower 32.
    pub is_64_bit: bool,
}

impl Access {
    /// What a load of `value` leaves in the register.
    #[inline]
    pub const fn extend(self, value: u64) -> u64 {
        let unused = 64 - 8 * self.width as u32;
        #[expect(
            clippy::cast_possible_wrap,
            clippy::cast_sign_loss,
            reason = "sign extension"
        )]
        let extended = if self.sign_extend {
            (((value << unused) as i64) >> unused) as u64
        } else {
            (value << unused) >> unused
        };
        if self.is_64_bit {
            extended
        } else {
            extended & 0xffff_ffff
        }
    }
}

/// Why a vCPU left the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// `SMC`.
    SecureMonitorCall(Syndrome),
    /// `WFI`.
    WaitForInterrupt,
    /// `WFE`.
    WaitForEvent,
    /// `WFI` or `WFE` in 16 bits, which only 32-bit programs have.
    NarrowWait(Syndrome),
    /// A trapped system register access.
    SystemRegister(Syndrome),
    /// A stage-2 abort.
    Abort {
        /// Where the instruction is, a virtual address of the guest's.
        program_counter: u64,
        /// What it touched, an intermediate physical address.
        ipa: u64,
        /// The fetch of the instruction itself aborted.
        fetch: bool,
        /// The syndrome.
        syndrome: Syndrome,
    },
    /// The end of an interrupt in this list register.
    Maintenance(u64),
    /// The virtual timer's private interrupt.
    Timer,
    /// `HVC`, which seL4 takes for a system call of the VM's empty capability space.
    HypervisorCall {
        /// Where the instruction is.
        program_counter: u64,
    },
    /// A debug exception of the guest's own, which nobody but the guest is to handle.
    DebugException(Syndrome),
    /// A trapped instruction of a class that this machine has nothing for, or of none.
    OtherTrap,
    /// A fault that no guest can cause.
    Unexpected {
        /// The fault's label.
        label: u64,
        /// Its first message register.
        detail: u64,
    },
}

impl Exit {
    /// The exit that a fault message reports; `word` reads its message registers.
    #[inline]
    pub fn decode(label: u64, word: impl Fn(usize) -> u64) -> Self {
        match label {
            label::VCPU_FAULT => Self::trapped(Syndrome(word(0))),
            label::VM_FAULT => Self::Abort {
                program_counter: word(0),
                ipa: word(1),
                fetch: word(2) != 0,
                syndrome: Syndrome(word(3)),
            },
            label::VGIC_MAINTENANCE => Self::Maintenance(word(0)),
            label::VPPI_EVENT => Self::Timer,
            label::UNKNOWN_SYSCALL => Self::HypervisorCall {
                program_counter: word(program_counter_word::UNKNOWN_SYSCALL),
            },
            label::CAPABILITY => Self::HypervisorCall {
                program_counter: word(program_counter_word::CAPABILITY),
            },
            label::USER_EXCEPTION => Self::OtherTrap,
            label => Self::Unexpected {
                label,
                detail: word(0),
            },
        }
    }

    #[inline]
    fn trapped(syndrome: Syndrome) -> Self {
        match syndrome.class() {
            class::SMC => Self::SecureMonitorCall(syndrome),
            class::WAIT if !syndrome.is_32_bit() => Self::NarrowWait(syndrome),
            class::WAIT if syndrome.is_wait_for_event() => Self::WaitForEvent,
            class::WAIT => Self::WaitForInterrupt,
            class::SYSTEM_REGISTER => Self::SystemRegister(syndrome),
            class::BREAKPOINT_LOWER | class::STEP_LOWER | class::WATCHPOINT_LOWER | class::BRK => {
                Self::DebugException(syndrome)
            }
            _ => Self::OtherTrap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_extends_as_its_syndrome_says() {
        let access = |width, sign_extend, is_64_bit| Access {
            write: false,
            width,
            register: 0,
            sign_extend,
            is_64_bit,
        };
        assert_eq!(access(1, false, false).extend(0xffff_ff80), 0x80);
        assert_eq!(access(1, true, false).extend(0x80), 0xffff_ff80);
        assert_eq!(access(1, true, true).extend(0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(access(2, true, true).extend(0x7fff), 0x7fff);
        assert_eq!(access(4, false, false).extend(u64::MAX), 0xffff_ffff);
        assert_eq!(access(8, false, true).extend(u64::MAX), u64::MAX);
    }

    #[test]
    fn the_syndrome_of_a_byte_store_of_x5_is_taken_apart() {
        // EC 0x24, IL, ISV, SAS byte, SRT 5, WnR, translation fault level 1.
        let syndrome = Syndrome(0x24 << 26 | 1 << 25 | 1 << 24 | 5 << 16 | 1 << 6 | 5);
        assert!(syndrome.describes_access() && syndrome.is_write());
        assert_eq!(
            syndrome.access(),
            Access {
                write: true,
                width: 1,
                register: 5,
                sign_extend: false,
                is_64_bit: false
            }
        );
    }

    #[test]
    fn what_traps_without_a_reason_is_the_guests_affair() {
        let unknown = Exit::decode(label::USER_EXCEPTION, |_| 0x0200_0000);
        assert_eq!(unknown, Exit::OtherTrap);
        let other = Exit::decode(10, |_| 7);
        assert_eq!(
            other,
            Exit::Unexpected {
                label: 10,
                detail: 7
            }
        );
    }

    #[test]
    fn waits_are_told_apart() {
        let trapped = |syndrome| Exit::decode(label::VCPU_FAULT, |_| syndrome);
        assert_eq!(trapped(0x07e0_0000), Exit::WaitForInterrupt);
        assert_eq!(trapped(0x07e0_0001), Exit::WaitForEvent);
    }
}
