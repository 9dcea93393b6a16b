// SPDX-License-Identifier: BSD-2-Clause
//! The MMU, on with an identity map or off.
//!
//! Each vCPU has a table of its own and different values in all registers, so that none can be mistaken for another's.

use core::arch::asm;
use core::cell::UnsafeCell;

use guest_runtime::MAX_VCPUS;
use guest_runtime::pattern::mix;

/// Entries of a level 1 table with 4 KiB granule: 1 GiB each (Arm ARM D5.3.1).
const ENTRIES: usize = 512;

/// `SCTLR_EL1` with MMU, alignment check and caches off: the RES1 bits of Armv8.0 (Arm ARM D13.2.118).
const SCTLR_OFF: u64 = 0x30d0_0800;
/// `M`, `C`, `I`.
const SCTLR_ON: u64 = SCTLR_OFF | 1 << 0 | 1 << 2 | 1 << 12;

/// `TCR_EL1`: 39-bit addresses (so that walks begin at level 1), 4 KiB granule, inner shareable write-back walks,
/// `TTBR1_EL1` unused (`EPD1`), 40-bit physical addresses, 16-bit ASIDs (D13.2.131).
const TCR: u64 = 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 25 << 16 | 2 << 30 | 2 << 32 | 1 << 36;

/// A block descriptor: valid, accessed (D5.3.3).
const BLOCK: u64 = 1 << 0 | 1 << 10;
/// Attribute 0, Device: never executed.
const DEVICE: u64 = BLOCK | 1 << 53 | 1 << 54;
/// Attribute 1, inner shareable.
const MEMORY: u64 = BLOCK | 1 << 2 | 3 << 8;
/// Attribute 0 is Device-nGnRnE, attribute 1 is write-back memory; the others are free for patterns.
const MAIR: u64 = 0xff00;

#[repr(C, align(4096))]
struct Table([u64; ENTRIES]);

struct Tables(UnsafeCell<[Table; MAX_VCPUS]>);

// SAFETY: each vCPU writes the table of its own number only, before its MMU is on.
unsafe impl Sync for Tables {}

static TABLES: Tables = Tables(UnsafeCell::new([const { Table([0; ENTRIES]) }; MAX_VCPUS]));

/// Switches the calling vCPU's MMU and caches on: devices in the first GiB, memory in the second.
pub(crate) fn enable(vcpu: usize) {
    // SAFETY: the table of this vCPU's own number, which nothing uses yet.
    let table = unsafe { &mut (*TABLES.0.get())[vcpu] };
    table.0[0] = DEVICE;
    table.0[1] = 1 << 30 | MEMORY;
    let random = mix(vcpu as u64 + 1);
    let root = &raw const table.0 as u64 | (random & 0xffff) << 48;
    let attributes = MAIR | random << 16;
    // SAFETY: the map is the identity for everything that the guest uses, and the table is in memory: it was written
    // past the caches, from which anything older is removed first.
    unsafe {
        asm!(
            "dc ivac, {table}",
            "dsb sy",
            "msr mair_el1, {attributes}",
            "msr tcr_el1, {tcr}",
            "msr ttbr0_el1, {root}",
            "isb",
            "tlbi vmalle1",
            "ic iallu",
            "dsb sy",
            "isb",
            "msr sctlr_el1, {control}",
            "isb",
            table = in(reg) &raw const table.0,
            attributes = in(reg) attributes,
            tcr = in(reg) TCR,
            root = in(reg) root,
            control = in(reg) SCTLR_ON,
            options(nostack),
        );
    }
}

/// Where vCPU 0 sees the first GiB, which is the devices', as memory after [`enable_with_gaps`].
pub(crate) const DEVICES_AS_MEMORY: u64 = 4 << 30;
/// Addresses for which there is no table after [`enable_with_gaps`], and its level.
pub(crate) const GAPS: [(u64, u64); 3] = [
    (1, 0xffff_ff80_0000_0008),
    (2, 2 << 30 | 0x1008),
    (3, 3 << 30 | 0x20_0008),
];
/// `TCR_EL1.EPD1`: no walks for the upper half.
const NO_UPPER_HALF: u64 = 1 << 23;
/// A table descriptor for a table where nothing is.
const NO_TABLE: u64 = 0x9000_0000 | 3;

/// A level 2 table that leads nowhere.
static LEVEL_2: Tables = Tables(UnsafeCell::new(
    [const { Table([NO_TABLE; ENTRIES]) }; MAX_VCPUS],
));

/// Switches vCPU 0's MMU on, with the map of [`enable`], and besides [`DEVICES_AS_MEMORY`] and [`GAPS`].
pub(crate) fn enable_with_gaps() {
    // SAFETY: vCPU 0's table, while its MMU is off.
    let table = unsafe { &mut (*TABLES.0.get())[0] };
    table.0[0] = DEVICE;
    table.0[1] = 1 << 30 | MEMORY;
    table.0[2] = NO_TABLE;
    table.0[3] = LEVEL_2.0.get() as u64 | 3;
    table.0[4] = MEMORY;
    // SAFETY: as in `enable`; caches stay off, so that nothing is left in them.
    unsafe {
        asm!(
            "dsb sy",
            "msr mair_el1, {attributes}",
            "msr tcr_el1, {tcr}",
            "msr ttbr0_el1, {lower}",
            "msr ttbr1_el1, {upper}",
            "isb",
            "tlbi vmalle1",
            "dsb sy",
            "isb",
            "msr sctlr_el1, {control}",
            "isb",
            attributes = in(reg) MAIR,
            tcr = in(reg) TCR & !NO_UPPER_HALF,
            lower = in(reg) &raw const table.0 as u64,
            upper = in(reg) NO_TABLE & !3,
            control = in(reg) SCTLR_OFF | 1,
            options(nostack),
        );
    }
}

/// Makes sure that the MMU is off and nothing of `SCTLR_EL1` is left from a pattern.
pub(crate) fn disable() {
    // SAFETY: the MMU was off before; the RES1 bits are set.
    unsafe {
        asm!("msr sctlr_el1, {control}", "isb", control = in(reg) SCTLR_OFF, options(nostack));
    }
}
