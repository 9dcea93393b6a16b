// SPDX-License-Identifier: BSD-2-Clause
//! What the machine needs from the outside: the kernel, the peer domains, memory.
//!
//! Responsible for: the one boundary between deciding and doing. The shell implements it with
//! capabilities and shared memory, the tests with a model. Must never: contain a decision.

use channel::vgic::Injection;
use channel::{Message, ProtocolError, VcpuId, timer, vgic};
use thiserror::Error;

use crate::capture::DataPage;
use crate::lifecycle::machine::Boot;

/// The kernel refused an invocation, with seL4's error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the kernel refused {operation} with error {code}")]
pub struct KernelError {
    /// What was asked.
    pub operation: Operation,
    /// `seL4_Error`.
    pub code: u64,
}

/// An invocation of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Reading a thread's registers.
    ReadThread = 1,
    /// Writing a thread's registers.
    WriteThread,
    /// Letting a thread run.
    Resume,
    /// Stopping a thread.
    Suspend,
    /// Reading a vCPU register.
    ReadVcpu,
    /// Writing a vCPU register.
    WriteVcpu,
    /// Filling a list register.
    Inject,
    /// Unmasking the virtual timer's interrupt.
    AcknowledgeTimer,
}

impl core::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::ReadThread => "reading a thread's registers",
            Self::WriteThread => "writing a thread's registers",
            Self::Resume => "resuming a thread",
            Self::Suspend => "suspending a thread",
            Self::ReadVcpu => "reading a vCPU register",
            Self::WriteVcpu => "writing a vCPU register",
            Self::Inject => "injecting an interrupt",
            Self::AcknowledgeTimer => "acknowledging the virtual timer",
        })
    }
}

/// The vCPU registers that seL4 answers truthfully whatever else is loaded (see `capture`), and
/// the exception registers, which are read and written only for a vCPU that has just exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the architecture's own names")]
pub enum VcpuRegister {
    SCTLR,
    CPACR,
    TTBR0,
    TTBR1,
    TCR,
    ESR,
    FAR,
    VBAR,
    VMPIDR,
    SpEl1,
    ElrEl1,
    SpsrEl1,
    CntvCtl,
    CntvCval,
    Cntvoff,
    Cntkctl,
}

/// A vCPU thread's registers, of which as many are valid as were asked for.
///
/// The order, and with it what a count covers, is that of seL4's `seL4_UserContext`:
/// `pc sp spsr x0–x8 x16–x18 x29 x30 x9–x15 x19–x28 tpidr_el0 tpidrro_el0`.
pub trait Frame: Default {
    /// The program counter; always valid.
    fn program_counter(&self) -> u64;
    /// Sets it.
    fn set_program_counter(&mut self, value: u64);
    /// `SP_EL0`.
    fn stack_pointer(&self) -> u64;
    /// Sets it.
    fn set_stack_pointer(&mut self, value: u64);
    /// `SPSR`: the guest's `PSTATE`.
    fn state(&self) -> u64;
    /// Sets it.
    fn set_state(&mut self, value: u64);
    /// General register 0–30.
    fn general(&self, register: u8) -> u64;
    /// Sets it.
    fn set_general(&mut self, register: u8, value: u64);
    /// `TPIDR_EL0` and `TPIDRRO_EL0`.
    fn thread_pointers(&self) -> [u64; 2];
    /// Sets them.
    fn set_thread_pointers(&mut self, values: [u64; 2]);
}

/// How many registers to read or write so that general register `register` is among them.
/// Register 31, the zero register, needs only the first three.
#[inline]
pub const fn count_for(register: u8) -> usize {
    let register = register as usize;
    match register {
        0..=8 => 4 + register,
        16..=18 => register - 16 + 13,
        29..=30 => register - 29 + 16,
        9..=15 => register - 9 + 18,
        19..=28 => register - 19 + 25,
        _ => COUNT_STATE,
    }
}

/// Only the program counter.
pub const COUNT_PROGRAM_COUNTER: usize = 1;
/// Up to and including `SPSR`.
pub const COUNT_STATE: usize = 3;
/// All registers.
pub const COUNT_ALL: usize = 36;

/// The kernel, the peer domains and memory, as the machine uses them.
pub trait Port: DataPage {
    /// A thread's registers.
    type Frame: Frame;

    /// Reads the first `count` registers of a vCPU's thread.
    fn read(&mut self, vcpu: VcpuId, count: usize) -> Result<Self::Frame, KernelError>;
    /// Writes them; with `resume`, the thread then runs.
    fn write(
        &mut self,
        vcpu: VcpuId,
        frame: &mut Self::Frame,
        count: usize,
        resume: bool,
    ) -> Result<(), KernelError>;
    /// Lets a vCPU's thread run.
    fn resume(&mut self, vcpu: VcpuId) -> Result<(), KernelError>;
    /// Stops a vCPU's thread.
    fn suspend(&mut self, vcpu: VcpuId) -> Result<(), KernelError>;
    /// Reads a vCPU register.
    fn read_vcpu(&mut self, vcpu: VcpuId, register: VcpuRegister) -> Result<u64, KernelError>;
    /// Writes a vCPU register.
    fn write_vcpu(
        &mut self,
        vcpu: VcpuId,
        register: VcpuRegister,
        value: u64,
    ) -> Result<(), KernelError>;
    /// Fills a list register.
    fn inject(&mut self, injection: Injection) -> Result<(), KernelError>;
    /// Unmasks the virtual timer's interrupt of a vCPU.
    fn acknowledge_timer(&mut self, vcpu: VcpuId) -> Result<(), KernelError>;

    /// Calls `vgic-pd`.
    fn vgic(&mut self, request: &vgic::Request) -> Result<Message, ProtocolError>;
    /// Calls `timer-pd`.
    fn timer(&mut self, request: &timer::Request) -> Result<Message, ProtocolError>;
    /// The word at `offset` of the distributor as `vgic-pd` publishes it for `vcpu`.
    fn view(&self, vcpu: VcpuId, offset: u32) -> u32;
    /// Tells `migration-pd` that the phase has changed.
    fn phase_changed(&mut self);

    /// The region that records are exported into.
    fn export_region(&mut self) -> &mut [u8];
    /// A copy of the first `length` bytes of the region that records are imported from, if it has
    /// as many.
    fn import_region(&mut self, length: usize) -> Option<&[u8]>;

    /// The board's name; empty if nobody gave it one.
    fn board(&self) -> &str;
    /// The time of day when the board's count was zero, in seconds since 1970, as far as whoever made its image knew.
    fn time_of_day(&self) -> u64;
    /// The record of what the guest that this image has is promised of its processor; none if it is promised nothing but
    /// this board.
    fn promise(&self) -> Option<&[u8]>;
    /// The size of guest RAM in bytes.
    fn ram_size(&self) -> u64;
    /// The 8 aligned bytes at `ipa`, if that is RAM or firmware memory.
    fn ram_read(&self, ipa: u64) -> Option<u64>;
    /// Every copy of a record that this domain holds, and every vCPU's data page, becomes all zero.
    fn clear_copies(&mut self);
    /// Writes a slice of guest RAM, by its number, back from the caches and drops it there, as a reset of the board
    /// would; false if RAM ends before it.
    fn ram_flush(&mut self, slice: usize) -> bool;
    /// What to start a guest from that was started from the bundle of this identity, if that is on this board. What is
    /// loaded next is of that.
    fn boot(&mut self, identity: u64) -> Option<Boot>;
    /// Copies a slice, by its number, of segment `index` of the guest bundle to where it belongs in RAM and makes it visible
    /// to a vCPU that runs with its caches off; false if the segment ends before it, or is not for RAM.
    fn load_segment(&mut self, index: usize, slice: usize) -> bool;

    /// Firmware memory becomes what the guest bundle has for it, or that of a guest without firmware.
    fn set_rom(&mut self, from_bundle: bool);

    /// Room for console output, in bytes. After 0, `serial-pd` notifies when there is some.
    fn console_room(&mut self) -> usize;
    /// Puts a byte of console output into the ring; there is room.
    fn console_put(&mut self, byte: u8);
    /// Whether all console output has left the board. After false, `serial-pd` notifies when it has.
    fn console_is_sent(&mut self) -> bool;
    /// Takes a byte of console input out of the ring. After `None`, `serial-pd` notifies when
    /// there is one.
    fn console_take(&mut self) -> Option<u8>;
    /// Copies console input that waits in the ring, oldest first, and takes none; returns how much.
    fn console_look(&mut self, into: &mut [u8]) -> usize;
    /// Takes all console input out of the ring, unseen; `serial-pd` notifies when there is more.
    fn console_drop(&mut self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_cover_each_register_once_and_in_sel4s_order() {
        let order = (0..=8)
            .chain(16..=18)
            .chain(29..=30)
            .chain(9..=15)
            .chain(19..=28);
        for (position, register) in order.enumerate() {
            assert_eq!(count_for(register), position + 4, "x{register}");
        }
        assert_eq!(count_for(28) + 2, COUNT_ALL);
    }
}
