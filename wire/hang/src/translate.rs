// SPDX-License-Identifier: BSD-2-Clause
//! A stage-1 translation table walk in software, for the instructions that the guest aborts with.
//!
//! Responsible for: finding the intermediate physical address of a guest's virtual address, as the
//! guest's own tables have it (DDI 0487, chapter D8). Must never: be trusted for permissions; it
//! says where an instruction is that the vCPU has just fetched, nothing more.

/// The registers that say how a guest translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Regime {
    /// `SCTLR_EL1`.
    pub control: u64,
    /// `TCR_EL1`.
    pub translation_control: u64,
    /// `TTBR0_EL1`, `TTBR1_EL1`.
    pub tables: [u64; 2],
}

/// The bits of a descriptor or of `TTBRn_EL1` that hold an address of up to 48 bits.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The same for the first table, which may be smaller than 4 KiB.
const ADDRESS_OF_FIRST: u64 = 0x0000_ffff_ffff_fff8;
/// The level of the tables that hold pages.
const LAST_LEVEL: u32 = 3;
/// `SCTLR_EL1.EE`.
pub const EXCEPTION_ENDIANNESS: u64 = 1 << 25;

/// Why a walk finds no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkError {
    /// There is no memory where the table of this level is to be.
    NoTable {
        /// 0 to 3.
        level: u32,
    },
    /// The tables, or the registers, say that there is nothing.
    Fault,
}

/// Half of the address space: its size field, granule and top-byte-ignore in `TCR_EL1`.
struct Half {
    size: u64,
    granule_shift: u32,
    table: u64,
}

impl Regime {
    /// The guest has switched its stage 1 on (`SCTLR_EL1.M`).
    pub const fn enabled(&self) -> bool {
        self.control & 1 != 0
    }

    fn half(&self, upper: bool) -> Option<Half> {
        let control = self.translation_control;
        let [lower_table, upper_table] = self.tables;
        // The granule's encoding differs between TG0 and TG1 (DDI 0487, TCR_EL1).
        let (size, granule, table) = if upper {
            let granule = match (control >> 30) & 3 {
                1 => 14,
                2 => 12,
                3 => 16,
                _ => return None,
            };
            ((control >> 16) & 0x3f, granule, upper_table)
        } else {
            let granule = match (control >> 14) & 3 {
                0 => 12,
                1 => 16,
                2 => 14,
                _ => return None,
            };
            (control & 0x3f, granule, lower_table)
        };
        Some(Half {
            size,
            granule_shift: granule,
            table,
        })
    }

    /// Where `address` is, if the tables say; `read` fetches eight bytes of guest RAM, the first lowest.
    pub fn translate(&self, address: u64, read: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        self.walk(address, read).ok()
    }

    /// The same; or why not.
    pub fn walk(&self, address: u64, read: impl Fn(u64) -> Option<u64>) -> Result<u64, WalkError> {
        if !self.enabled() {
            return Ok(address);
        }
        let half = self.half(address & 1 << 55 != 0).ok_or(WalkError::Fault)?;
        let stride = half.granule_shift - 3;
        let bits = u32::try_from(64 - half.size)
            .ok()
            .filter(|bits| (16..=48).contains(bits))
            .ok_or(WalkError::Fault)?;
        let levels = (bits - half.granule_shift).div_ceil(stride);
        let top = half.granule_shift + levels.checked_sub(1).ok_or(WalkError::Fault)? * stride;
        let offset = address & (u64::MAX >> half.size);
        // The first table may be smaller than a page, and is aligned to its size.
        let mut table = half.table & ADDRESS_OF_FIRST & !((8 << (bits - top)) - 1);
        for (shift, level) in (0..levels).map(|level| (top - level * stride, level)) {
            // The top level resolves what is left of the address, which may be less than a stride.
            let index = (offset >> shift) & ((1 << stride) - 1);
            let level = LAST_LEVEL + 1 + level - levels;
            let descriptor = read(table + 8 * index).ok_or(WalkError::NoTable { level })?;
            let descriptor = self.in_tables_order(descriptor);
            match descriptor & 3 {
                3 if level == LAST_LEVEL => return Ok(output(descriptor, shift, address)),
                3 => table = descriptor & ADDRESS & !((1 << half.granule_shift) - 1),
                1 if level < LAST_LEVEL => return Ok(output(descriptor, shift, address)),
                _ => return Err(WalkError::Fault),
            }
        }
        Err(WalkError::Fault)
    }

    /// The instruction at a virtual address. Instructions are little-endian, whatever data is.
    pub fn instruction(&self, address: u64, read: impl Fn(u64) -> Option<u64>) -> Option<u32> {
        let ipa = self.translate(address, &read)?;
        let word = read(ipa & !7)?;
        u32::try_from(word >> (8 * (ipa & 4)) & 0xffff_ffff).ok()
    }

    /// A descriptor as the processor reads it: walks are big-endian if `SCTLR_EL1.EE` says so.
    const fn in_tables_order(&self, descriptor: u64) -> u64 {
        if self.control & EXCEPTION_ENDIANNESS != 0 {
            descriptor.swap_bytes()
        } else {
            descriptor
        }
    }
}

/// The address that a page or block descriptor of `1 << shift` bytes gives.
const fn output(descriptor: u64, shift: u32, address: u64) -> u64 {
    let within = (1 << shift) - 1;
    descriptor & ADDRESS & !within | address & within
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn walk(regime: &Regime, tables: &BTreeMap<u64, u64>, address: u64) -> Option<u64> {
        regime.translate(address, |ipa| tables.get(&ipa).copied())
    }

    #[test]
    fn without_stage_1_addresses_are_what_they_say() {
        assert_eq!(
            walk(&Regime::default(), &BTreeMap::new(), 0x1234_5678),
            Some(0x1234_5678)
        );
    }

    #[test]
    fn a_kernel_page_of_linux_is_found() {
        // 48-bit upper half, 4 KiB granule: TG1 = 2, T1SZ = 16.
        let regime = Regime {
            control: 1,
            translation_control: 2 << 30 | 16 << 16,
            tables: [0, 0x4100_0000 | 7 << 48],
        };
        let address = 0xffff_8000_0801_2345_u64;
        let index = |shift: u32| (address >> shift) & 0x1ff;
        let mut tables = BTreeMap::new();
        tables.insert(0x4100_0000 + 8 * index(39), 0x4100_1000 | 3);
        tables.insert(0x4100_1000 + 8 * index(30), 0x4100_2000 | 3);
        tables.insert(0x4100_2000 + 8 * index(21), 0x4100_3000 | 3);
        tables.insert(0x4100_3000 + 8 * index(12), 0x0040_0000_4567_8703 | 1 << 54);
        assert_eq!(walk(&regime, &tables, address), Some(0x4567_8345));
        // The same as a 2 MiB block.
        tables.insert(0x4100_2000 + 8 * index(21), 0x4560_0701);
        assert_eq!(walk(&regime, &tables, address), Some(0x4561_2345));
        tables.remove(&(0x4100_1000 + 8 * index(30)));
        assert_eq!(walk(&regime, &tables, address), None);
    }

    #[test]
    fn a_64_kib_granule_is_walked() {
        // 42 bits, 64 KiB granule in the lower half: two levels.
        let regime = Regime {
            control: 1,
            translation_control: 1 << 14 | 22,
            tables: [0x4200_0000, 0],
        };
        let address = 0x123_4567_89ab_u64 & ((1 << 42) - 1);
        let mut tables = BTreeMap::new();
        tables.insert(0x4200_0000 + 8 * (address >> 29), 0x4201_0000 | 3);
        tables.insert(
            0x4201_0000 + 8 * ((address >> 16) & 0x1fff),
            0x4777_0000 | 3,
        );
        assert_eq!(
            walk(&regime, &tables, address),
            Some(0x4777_0000 | address & 0xffff)
        );
    }

    #[test]
    fn a_walk_says_at_which_level_there_is_no_table() {
        // 39-bit lower half, 4 KiB granule: three levels, from 1 to 3.
        let regime = Regime {
            control: 1,
            translation_control: 25,
            tables: [0x4100_0000, 0],
        };
        let mut tables = BTreeMap::new();
        let at = |tables: &BTreeMap<u64, u64>, address| {
            regime.walk(address, |ipa| tables.get(&ipa).copied())
        };
        for (level, table) in [(1, 0x4100_0000_u64), (2, 0x4100_1000), (3, 0x4100_2000)] {
            assert_eq!(at(&tables, 0), Err(WalkError::NoTable { level }));
            tables.insert(table, (table + 0x1000) | 3);
        }
        assert_eq!(at(&tables, 0x123), Ok(0x4100_3123));
        tables.insert(0x4100_2000, 0);
        assert_eq!(at(&tables, 0), Err(WalkError::Fault));
        let four_levels = Regime {
            translation_control: 16,
            ..regime
        };
        let nothing = four_levels.walk(0, |_| None);
        assert_eq!(nothing, Err(WalkError::NoTable { level: 0 }));
    }

    #[test]
    fn tables_of_a_big_endian_guest_are_big_endian() {
        let regime = Regime {
            control: 1 | EXCEPTION_ENDIANNESS,
            translation_control: 25,
            tables: [0x4100_0000, 0],
        };
        let block = (0x4000_0000_u64 | 0x701).swap_bytes();
        let tables = BTreeMap::from([(0x4100_0008, block)]);
        assert_eq!(walk(&regime, &tables, 0x4012_3456), Some(0x4012_3456));
    }

    #[test]
    fn a_first_table_smaller_than_a_page_is_where_it_says() {
        // 32-bit lower half: four entries at level 1.
        let regime = Regime {
            control: 1,
            translation_control: 32,
            tables: [0x4100_0060, 0],
        };
        let tables = BTreeMap::from([(0x4100_0068, 0x4000_0000_u64 | 0x701)]);
        assert_eq!(walk(&regime, &tables, 0x4000_0010), Some(0x4000_0010));
    }

    #[test]
    fn senseless_sizes_are_refused_not_followed() {
        for translation_control in [0x3f, 0, 3 << 14 | 16, 5] {
            let regime = Regime {
                control: 1,
                translation_control,
                tables: [0x1000; 2],
            };
            assert_eq!(walk(&regime, &BTreeMap::new(), 0x1000), None);
        }
    }
}
