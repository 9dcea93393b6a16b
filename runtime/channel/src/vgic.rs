// SPDX-License-Identifier: BSD-2-Clause
//! Calls to `vgic-pd`.
//!
//! `vmm-pd` forwards what the guest does to its interrupt controller and carries out the
//! [`Injection`]s that come back; `vgic-pd` alone decides what is pending where, and keeps the
//! shadow of which interrupt sits in which list register, because seL4's own copy is stale while a
//! vCPU is loaded.

mod answer;

pub use answer::{Answer, Injection, ListRegisterEntries, MAX_INJECTIONS, RestorePlan};

use crate::request::{fields, requests};
use crate::{Intid, VcpuId};

/// How many list registers `vgic-pd` uses on each vCPU: what every board's virtual CPU interface
/// has (`GICH_VTR.ListRegs` of the GIC-400 and of QEMU's GICv2 is four).
pub const LIST_REGISTERS: usize = 4;

/// Bytes of the distributor's register map (IHI 0048B, table 4-1), and of a vCPU's page of the
/// published view. What the guest's machine maps beyond reads as zero and ignores writes.
pub const DISTRIBUTOR_SIZE: u32 = 0x1000;

/// Whether a read at `offset` may be answered from the vCPU's page of the published view, which
/// holds each register at its own offset. All but the state of interrupts that comes and goes by
/// itself: pending, active, and the sources of SGIs.
#[inline]
pub const fn view_readable(offset: u32) -> bool {
    !matches!(offset, 0x200..0x400 | 0xf10..0xf30) && offset < DISTRIBUTOR_SIZE
}

/// The state of a GICv2 CPU interface as the architecture defines it, apart from its interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuInterface {
    /// `GICC_CTLR`.
    pub control: u32,
    /// `GICC_PMR`.
    pub priority_mask: u32,
    /// `GICC_BPR`.
    pub binary_point: u32,
    /// `GICC_ABPR`.
    pub aliased_binary_point: u32,
    /// `GICC_APR0`.
    pub active_priorities: u32,
}

/// What a capture found in the list registers of a vCPU, one bit a list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListRegisterState {
    /// Acknowledged by the capture stub: it was pending.
    pub pending: u8,
    /// Deactivated by the capture stub and not acknowledged before: it was active.
    pub active: u8,
}

requests! {
    /// A request to `vgic-pd`.
    pub enum Request {
        /// The guest reads `width` bytes (1, 2 or 4, aligned; `vgic-pd` refuses others) of the distributor at `offset`,
        /// which is below 64 KiB. An interrupt in a list register reads as active; a capture first makes
        /// the answer exact.
        Read {
            vcpu: VcpuId,
            offset: u32,
            width: u8,
        } = 1,
        /// The guest writes. Where an interrupt in a list register is one that the distributor would no
        /// longer forward, or that the guest has just deactivated through `GICD_ICACTIVER`, the answer
        /// says which vCPUs to rearrange; see [`Answer::rearrange`].
        Write {
            vcpu: VcpuId,
            offset: u32,
            width: u8,
            value: u32,
        } = 2,
        /// An interrupt line of a device or of a vCPU's timer changes. For a shared interrupt, `vcpu`
        /// only says on whose behalf. SGIs have no line.
        SetLine {
            vcpu: VcpuId,
            intid: Intid,
            level: bool,
        } = 3,
        /// The kernel reported the end of the interrupt in a list register. For the virtual timer,
        /// this lowers its line as well: acknowledge it to the kernel, and it is reported again if it
        /// is still due. Not to be sent for an end that is reported during a capture: that one shows
        /// in [`Request::Captured`] as neither pending nor active.
        Maintenance { vcpu: VcpuId, list_register: u8 } = 4,
        /// Does the vCPU have an interrupt to take, so that WFI must not sleep? Answer's value: 0, 1.
        /// Also reports injections that are due; after a [`Request::Restore`] the first of these, and
        /// before it none.
        Refill { vcpu: VcpuId } = 5,
        /// The vCPU is switched on or off. One that is off gets nothing, what is pending in its list
        /// registers is to be withdrawn ([`Answer::rearrange`]), and shared interrupts go to other
        /// targets, if they have any. All are on after a reset or an import.
        Power { vcpu: VcpuId, on: bool } = 12,
        /// The vCPU waits for an interrupt. A shared one that may be pending in a list register of
        /// another vCPU, and could as well come here, is to be withdrawn there
        /// ([`Answer::rearrange`]) and then comes here.
        Offer { vcpu: VcpuId } = 13,
        /// Which INTIDs sit in the list registers; see [`ListRegisterEntries`]. With `hold` the vCPU is about to be captured: nothing
        /// more is injected into it from here to its restore and refill. Without, nothing changes.
        ListRegisterEntries { vcpu: VcpuId, hold: bool } = 6,
        /// A capture emptied the vCPU's list registers; this is what it found. To be sent for every
        /// vCPU of a machine that stops, with the interface zero for one that has never run, or for
        /// one alone that is [`Answer::rearrange`] and restored at once. Nothing is injected into this
        /// vCPU from here to its restore and refill. Answer's value: one bit for each list register
        /// whose interrupt had ended, with the same effect as [`Request::Maintenance`].
        Captured {
            vcpu: VcpuId,
            interface: CpuInterface,
            found: ListRegisterState,
        } = 7,
        /// The vCPU's CPU interface, to be restored; see [`CpuInterface`]. Answered with its five
        /// words. The injections are the *active* interrupts, to be injected, acknowledged and
        /// dropped by the stub before anything else; pending ones come with [`Request::Refill`].
        /// Refused unless the vCPU was captured or imported, or has not run since reset.
        Restore { vcpu: VcpuId } = 8,
        /// Writes the record into the export region. Only while no vCPU has anything in its list
        /// registers. Answer's value: the record's length in bytes.
        Export = 9,
        /// Takes over the record of `length` bytes in the import region, all or nothing, vCPUs
        /// included. Only with no machine ([`Request::Reset`] to zero vCPUs) or all of it captured.
        Import { length: u32 } = 10,
        /// Back to the state after reset, for a machine of `vcpus` vCPUs; zero for none. The shadow is
        /// forgotten: empty the list registers first if anything has run.
        Reset { vcpus: u8 } = 11,
    }
}

/// Why `vgic-pd` refuses a request that it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// No such list register, vCPU, interrupt or distributor offset in this machine.
    OutOfRange = 1,
    /// Export, import or restore while interrupts are, or may at any time be, in list registers.
    NotCaptured = 2,
    /// The record to import is not one, or describes another machine.
    BadRecord = 3,
    /// The request is not for this caller: `migration-pd` may only export and import.
    NotYours = 4,
}

impl CpuInterface {
    /// Its registers in the order in which messages and the capture stub's page hold them.
    pub const fn words(&self) -> [u32; 5] {
        [
            self.control,
            self.priority_mask,
            self.binary_point,
            self.aliased_binary_point,
            self.active_priorities,
        ]
    }

    /// The inverse of [`Self::words`].
    pub const fn from_words(words: [u32; 5]) -> Self {
        let [
            control,
            priority_mask,
            binary_point,
            aliased_binary_point,
            active_priorities,
        ] = words;
        Self {
            control,
            priority_mask,
            binary_point,
            aliased_binary_point,
            active_priorities,
        }
    }
}

fields! {
    CpuInterface { control, priority_mask, binary_point, aliased_binary_point, active_priorities }
}

fields! {
    ListRegisterState { pending, active }
}
