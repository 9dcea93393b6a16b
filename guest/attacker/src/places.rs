// SPDX-License-Identifier: BSD-2-Clause
//! Addresses and values that a program's registers start with.
//!
//! Memory that a program may write is a scratch area, far enough from everything else of the guest's that no offset in
//! an instruction reaches further: what it destroys there is nobody's.

use guest_runtime::pattern::Pattern;

use crate::Level;

/// The middle of the scratch area.
pub const SCRATCH: u64 = 0x4210_0000;
/// Bytes of it that registers point into; offsets in instructions reach 64 KiB further.
pub const SCRATCH_SIZE: u64 = 0x1_0000;
/// Where programs are.
pub const CODE: u64 = 0x4230_0000;

/// The distributor (`docs/guest-calls.md`: QEMU's `virt` map).
const DISTRIBUTOR: u64 = 0x0800_0000;
/// The CPU interface.
const INTERFACE: u64 = 0x0801_0000;
/// The console.
const CONSOLE: u64 = 0x0900_0000;
/// The capture stub's code page (`vmm-pd/src/capture/layout.rs`).
pub const STUB: u64 = 0x0c00_0000;
/// Its data pages, one a vCPU.
const STUB_DATA: u64 = 0x0c01_0000;
/// Where domains have their programs (`board/*.toml`, Microkit's convention), for breakpoints aimed at them.
const DOMAIN_TEXT: u64 = 0x0020_0000;

/// What lies below the first GiB a second time, through a Normal mapping; only where there is a translation.
pub const NORMAL_ALIAS: u64 = 0x8000_0000;
/// What RAM is moved by for EL0, whose memory EL1 cannot execute (DDI 0487, D8.4.1); only where there is a translation.
pub const EL0_ALIAS: u64 = 0x1_0000_0000;

/// Where things are for a program.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    ram: u64,
    normal: u64,
}

impl Places {
    /// For programs at a level, with a translation or without.
    #[must_use]
    pub const fn new(level: Level, translated: bool) -> Self {
        Self {
            ram: match (level, translated) {
                (Level::El0, true) => EL0_ALIAS,
                _ => 0,
            },
            normal: if translated { NORMAL_ALIAS } else { 0 },
        }
    }

    /// Where programs are.
    #[must_use]
    pub const fn code(self) -> u64 {
        CODE + self.ram
    }

    /// A stack pointer.
    #[must_use]
    pub const fn stack(self) -> u64 {
        SCRATCH + SCRATCH_SIZE / 2 + self.ram
    }

    /// An address in the scratch area.
    pub const fn scratch(self, random: &mut Pattern) -> u64 {
        SCRATCH + self.ram + aligned(random, SCRATCH_SIZE)
    }

    /// An address of a device, or of what else lies among them but the stub's code.
    pub const fn device(self, random: &mut Pattern) -> u64 {
        let address = match random.below(16) {
            0..=4 => DISTRIBUTOR + aligned(random, 0x1000),
            5 => DISTRIBUTOR + aligned(random, 0x1_0000),
            6..=8 => INTERFACE + aligned(random, 0x100),
            9 => INTERFACE + aligned(random, 0x2000),
            10..=13 => CONSOLE + aligned(random, 0x1000),
            14 => STUB_DATA + aligned(random, 0x4000),
            _ => STUB + aligned(random, 0x1000),
        };
        // Through a Normal mapping an access need not be aligned.
        if random.below(4) == 0 {
            address + self.normal
        } else {
            address
        }
    }

    /// An address where nothing is.
    pub const fn nowhere(random: &mut Pattern) -> u64 {
        match random.below(4) {
            0 => random.below(DISTRIBUTOR),
            1 => 0x9000_0000 + random.below(1 << 30),
            2 => random.below(1 << 40) | 1 << 33,
            _ => random.next(),
        }
    }

    /// What a general register starts with.
    pub const fn value(self, random: &mut Pattern) -> u64 {
        match random.below(16) {
            0..=5 => self.scratch(random),
            6..=10 => self.device(random),
            11 => Self::nowhere(random),
            _ => Self::number(random),
        }
    }

    /// A number: any, or one whose bits mean something to many registers.
    pub const fn number(random: &mut Pattern) -> u64 {
        match random.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << random.below(64),
            3 => !(1 << random.below(64)),
            4 => random.below(0x100),
            5 => random.next() & 0xffff_ffff,
            _ => random.next(),
        }
    }

    /// An address in a domain's program.
    pub const fn domain(random: &mut Pattern) -> u64 {
        DOMAIN_TEXT + (random.below(0x2_0000) & !3)
    }
}

/// An offset below `size`, aligned more often than not.
const fn aligned(random: &mut Pattern, size: u64) -> u64 {
    let offset = random.below(size);
    match random.below(8) {
        0 => offset,
        1 => offset & !1,
        2 => offset & !7,
        _ => offset & !3,
    }
}
