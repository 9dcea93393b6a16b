// SPDX-License-Identifier: BSD-2-Clause
//! The interrupt controller: GICv2 (Arm IHI 0048B), by register.
//!
//! Nothing is remembered here: what a guest wants to know, it reads.

use crate::mmio;

/// The distributor, from the guest's machine as documented (QEMU's `virt` map).
pub const DISTRIBUTOR: usize = 0x0800_0000;
/// The CPU interface, likewise.
pub const CPU_INTERFACE: usize = 0x0801_0000;

/// The virtual timer's private interrupt.
pub const TIMER_INTID: u32 = 27;
/// What `GICC_IAR` answers when nothing is pending (IHI 0048B, 3.2.5).
pub const SPURIOUS: u32 = 1023;

/// Offsets of distributor registers (IHI 0048B, table 4-1).
pub mod distributor {
    /// `GICD_CTLR`.
    pub const CTLR: usize = 0x000;
    /// `GICD_TYPER`.
    pub const TYPER: usize = 0x004;
    /// `GICD_IIDR`.
    pub const IIDR: usize = 0x008;
    /// `GICD_ISENABLERn`.
    pub const ISENABLER: usize = 0x100;
    /// `GICD_ICENABLERn`.
    pub const ICENABLER: usize = 0x180;
    /// `GICD_ISPENDRn`.
    pub const ISPENDR: usize = 0x200;
    /// `GICD_ICPENDRn`.
    pub const ICPENDR: usize = 0x280;
    /// `GICD_ISACTIVERn`.
    pub const ISACTIVER: usize = 0x300;
    /// `GICD_ICACTIVERn`.
    pub const ICACTIVER: usize = 0x380;
    /// `GICD_IPRIORITYRn`, a byte an interrupt.
    pub const IPRIORITYR: usize = 0x400;
    /// `GICD_ITARGETSRn`, a byte an interrupt.
    pub const ITARGETSR: usize = 0x800;
    /// `GICD_ICFGRn`, two bits an interrupt.
    pub const ICFGR: usize = 0xc00;
    /// `GICD_SGIR`.
    pub const SGIR: usize = 0xf00;
    /// `GICD_CPENDSGIRn`, a byte an SGI.
    pub const CPENDSGIR: usize = 0xf10;
    /// `GICD_SPENDSGIRn`, a byte an SGI.
    pub const SPENDSGIR: usize = 0xf20;
}

/// Offsets of CPU-interface registers (IHI 0048B, table 4-2).
pub mod cpu_interface {
    /// `GICC_CTLR`.
    pub const CTLR: usize = 0x000;
    /// `GICC_PMR`.
    pub const PMR: usize = 0x004;
    /// `GICC_BPR`.
    pub const BPR: usize = 0x008;
    /// `GICC_IAR`.
    pub const IAR: usize = 0x00c;
    /// `GICC_EOIR`.
    pub const EOIR: usize = 0x010;
    /// `GICC_RPR`.
    pub const RPR: usize = 0x014;
    /// `GICC_HPPIR`.
    pub const HPPIR: usize = 0x018;
    /// `GICC_APR0`.
    pub const APR0: usize = 0x0d0;
    /// `GICC_DIR`.
    pub const DIR: usize = 0x1000;
}

/// `GICC_CTLR.EnableGrp0`.
pub const ENABLE_GROUP_0: u32 = 1 << 0;
/// `GICC_CTLR.EOImode`: `EOIR` drops the priority only, `DIR` deactivates.
pub const EOI_MODE: u32 = 1 << 9;

/// Reads a distributor register.
#[must_use]
pub fn read(offset: usize) -> u32 {
    mmio::read(DISTRIBUTOR + offset)
}

/// Writes a distributor register.
pub fn write(offset: usize, value: u32) {
    mmio::write(DISTRIBUTOR + offset, value);
}

/// Reads a register of the calling vCPU's interface.
#[must_use]
pub fn read_interface(offset: usize) -> u32 {
    mmio::read(CPU_INTERFACE + offset)
}

/// Writes a register of the calling vCPU's interface.
pub fn write_interface(offset: usize, value: u32) {
    mmio::write(CPU_INTERFACE + offset, value);
}

/// Whether `intid`'s bit is set in the bitmap register family at `base`.
#[must_use]
pub fn bit(base: usize, intid: u32) -> bool {
    read(base + bitmap_offset(intid)) & bitmap_mask(intid) != 0
}

/// Writes `intid`'s bit, and no other, to the bitmap register family at `base`.
pub fn set_bit(base: usize, intid: u32) {
    write(base + bitmap_offset(intid), bitmap_mask(intid));
}

/// Reads `intid`'s byte of the register family at `base`.
#[must_use]
pub fn byte(base: usize, intid: u32) -> u8 {
    mmio::read_byte(DISTRIBUTOR + base + intid as usize)
}

/// Writes `intid`'s byte of the register family at `base`.
pub fn set_byte(base: usize, intid: u32, value: u8) {
    mmio::write_byte(DISTRIBUTOR + base + intid as usize, value);
}

/// Sends software-generated interrupt `intid` to the vCPUs in `targets`, a bit each.
pub fn send(intid: u32, targets: u32) {
    write(distributor::SGIR, targets << 16 | intid);
}

const fn bitmap_offset(intid: u32) -> usize {
    (intid as usize / 32) * 4
}

const fn bitmap_mask(intid: u32) -> u32 {
    1 << (intid % 32)
}
