// SPDX-License-Identifier: BSD-2-Clause
//! What the kernel's decisions need of the hardware.
//!
//! Responsible for the line between what decides (this library, without `unsafe`, tested on the
//! host) and what touches the machine (the kernel's binary). Must never let a decision cross it:
//! each function does one thing that a register access or two would.

use sel4_sys::VCpuRegister;

use crate::budget::Ticks;
use crate::identifier::{DomainId, VmId};
use crate::own::OwnRegisters;
#[cfg(feature = "guest-debug")]
use crate::own::Switches;
use crate::report::Report;

/// An address space with a stage 2 of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// A domain's.
    Domain(DomainId),
    /// A VM's.
    Vm(VmId),
}

/// The values of a virtual CPU's registers by their number in seL4's `seL4_VCPUReg`.
pub type VcpuRegisters = [u64; VCpuRegister::COUNT];

/// How many list registers a virtual CPU interface may have (IHI 0048B, `GICH_VTR.ListRegs`: up
/// to 64; seL4's limit).
pub const MOST_LIST_REGISTERS: usize = 64;

/// A thread's FP and SIMD registers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct FloatingPoint {
    /// `V0` to `V31`, low half first.
    pub vectors: [[u64; 2]; 32],
    /// `FPSR`.
    pub status: u64,
    /// `FPCR`.
    pub control: u64,
}

impl FloatingPoint {
    /// All registers zero.
    pub const ZERO: Self = Self {
        vectors: [[0; 2]; 32],
        status: 0,
        control: 0,
    };
}

/// The hardware.
pub trait Machine {
    /// The system counter, `CNTPCT_EL0`.
    fn time(&mut self) -> Ticks;
    /// Has the EL2 timer interrupt when the counter reaches `deadline`.
    fn set_deadline(&mut self, deadline: Ticks);

    /// Reads word `index` of the message in a domain's IPC buffer. 0 beyond its end.
    fn message_word(&self, domain: DomainId, index: usize) -> u64;
    /// Writes it. Nothing happens beyond its end.
    fn set_message_word(&mut self, domain: DomainId, index: usize, value: u64);

    /// Reads words of a domain's message from word [`FAST_MESSAGE_REGISTERS`] on.
    ///
    /// [`FAST_MESSAGE_REGISTERS`]: sel4_sys::FAST_MESSAGE_REGISTERS
    fn message_words(&self, domain: DomainId, words: &mut [u64]);
    /// Writes the words of a domain's message, of which the first
    /// [`FAST_MESSAGE_REGISTERS`](sel4_sys::FAST_MESSAGE_REGISTERS) travel in registers instead.
    fn set_message_words(&mut self, domain: DomainId, words: &[u64]);

    /// Lets an interrupt be signalled.
    fn unmask_interrupt(&mut self, intid: u32);
    /// Keeps an interrupt from being signalled.
    fn mask_interrupt(&mut self, intid: u32);
    /// Takes the pending interrupt of highest priority, if there is one.
    fn acknowledge_interrupt(&mut self) -> Option<u32>;
    /// Ends an interrupt that was taken.
    fn end_interrupt(&mut self, intid: u32);

    /// Makes a space the one that EL0 and EL1 run in.
    fn enter_space(&mut self, space: Space);
    /// Reads `TPIDR_EL0` and `TPIDRRO_EL0`.
    fn thread_pointers(&mut self) -> (u64, u64);
    /// Writes them.
    fn set_thread_pointers(&mut self, read_write: u64, read_only: u64);
    /// Has FP and SIMD instructions of EL0 and EL1 trap, or not.
    fn trap_floating_point(&mut self, trap: bool);
    /// Saves the FP and SIMD registers.
    fn save_floating_point(&mut self, registers: &mut FloatingPoint);
    /// Loads them.
    fn load_floating_point(&mut self, registers: &FloatingPoint);

    /// Has EL1 and EL0 run as a guest: `HCR_EL2` as seL4's `HCR_VCPU`, and the registers that were
    /// saved when it was left.
    fn enter_guest(&mut self, registers: &VcpuRegisters);
    /// Has EL0 run domains: `HCR_EL2` as seL4's `HCR_NATIVE`, `SCTLR_EL1`, `CPACR_EL1` and
    /// `CNTKCTL_EL1` as they are for domains. What the last three, those that
    /// [`crate::vcpu::is_saved_early`] names, were for the guest is saved.
    fn leave_guest(&mut self, registers: &mut VcpuRegisters);
    /// Reads a register of the guest that is loaded.
    fn vcpu_register(&mut self, register: VCpuRegister) -> u64;
    /// Writes it.
    fn set_vcpu_register(&mut self, register: VCpuRegister, value: u64);
    /// Saves every register that stays loaded while domains run (not those that
    /// [`crate::vcpu::is_saved_early`] names).
    fn save_vcpu_registers(&mut self, registers: &mut VcpuRegisters);
    /// Loads them.
    fn load_vcpu_registers(&mut self, registers: &VcpuRegisters);
    /// Saves the registers of the guest that is loaded that seL4's object for it does not have.
    fn save_own_registers(&mut self, own: &mut OwnRegisters);
    /// Loads them.
    fn load_own_registers(&mut self, own: &OwnRegisters);
    /// Saves what a guest that was just left has switched on of debug exceptions and counters, and switches it off.
    #[cfg(feature = "guest-debug")]
    fn disarm(&mut self, switches: &mut Switches);
    /// Switches it on again, for a guest that is about to run.
    #[cfg(feature = "guest-debug")]
    fn arm(&mut self, switches: &Switches);

    /// How many list registers there are.
    fn list_registers(&self) -> usize;
    /// Writes `GICH_HCR`.
    fn set_interface_control(&mut self, value: u32);
    /// Reads `GICH_VMCR` and `GICH_APR`.
    fn interface_state(&mut self) -> (u32, u32);
    /// Writes them.
    fn set_interface_state(&mut self, control: u32, active_priorities: u32);
    /// Reads `GICH_LR<index>`.
    fn list_register(&mut self, index: usize) -> u32;
    /// Writes it.
    fn set_list_register(&mut self, index: usize, value: u32);
    /// Reads `GICH_MISR` and `GICH_EISR0` with `GICH_EISR1` above it.
    fn maintenance_status(&mut self) -> (u32, u64);

    /// Prints what the processor holds of the virtual CPU that is loaded, whose thread was suspended.
    #[cfg(feature = "witness")]
    fn bear_witness(&mut self) {}

    /// Prints a report on the console.
    fn report(&mut self, report: &Report);
}
