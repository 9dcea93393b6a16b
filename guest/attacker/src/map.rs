// SPDX-License-Identifier: BSD-2-Clause
//! The translation that programs have, if they have one.
//!
//! The first two GiB are where they are, for EL1; above come the devices once more as Normal memory, addresses where
//! nothing is, and RAM once more for EL0. Everything is Non-cacheable: the guest itself runs with its caches off.

use core::cell::UnsafeCell;

use attacker::Level;
use attacker::places::{EL0_ALIAS, NORMAL_ALIAS};

/// Entries of a level 1 table with 4 KiB granule: 1 GiB each (DDI 0487, D8.2).
const ENTRIES: usize = 512;

/// `TCR_EL1`: 39-bit addresses (so that walks begin at level 1), 4 KiB granule, Non-cacheable walks, `TTBR1_EL1` unused
/// (`EPD1`), 40-bit physical addresses (D17.2.131).
pub(crate) const CONTROL: u64 = 25 | 1 << 23 | 25 << 16 | 2 << 30 | 2 << 32;
/// `MAIR_EL1`: attribute 0 is Device-nGnRnE, attribute 1 Normal Non-cacheable.
pub(crate) const ATTRIBUTES: u64 = 0x4400;

/// A block descriptor: valid, accessed (D8.3).
const BLOCK: u64 = 1 << 0 | 1 << 10;
/// Attribute 1.
const NORMAL: u64 = 1 << 2;
/// `AP[1]`: EL0 may read and write, and EL1 not execute.
const EL0: u64 = 1 << 6;
/// Where RAM begins.
const RAM: u64 = 1 << 30;
/// An address beyond everything.
const NOWHERE: u64 = 0xff_c000_0000;

#[repr(C, align(4096))]
struct Table([u64; ENTRIES]);

struct Shared(UnsafeCell<Table>);

// SAFETY: only vCPU 0 uses it.
unsafe impl Sync for Shared {}

static TABLE: Shared = Shared(UnsafeCell::new(Table([0; ENTRIES])));

/// Where the table is.
pub(crate) fn root() -> u64 {
    TABLE.0.get() as u64
}

/// Writes the table for programs at a level.
pub(crate) fn prepare(level: Level) {
    let devices = match level {
        Level::El0 => EL0,
        Level::El1 => 0,
    };
    for (place, output, attributes) in [
        (0, 0, devices),
        (RAM, RAM, NORMAL),
        (NORMAL_ALIAS, 0, NORMAL | devices),
        (NORMAL_ALIAS + RAM, NOWHERE, devices),
        (EL0_ALIAS, NOWHERE, NORMAL | devices),
        (EL0_ALIAS + RAM, RAM, NORMAL | EL0),
    ] {
        let entry = (place >> 30) as usize;
        // SAFETY: only vCPU 0 comes here, and its MMU is off.
        unsafe { (*TABLE.0.get()).0[entry] = output | attributes | BLOCK };
    }
}
