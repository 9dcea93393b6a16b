// SPDX-License-Identifier: BSD-2-Clause
//! Translation tables of domains and VMs: stage 2 with 4 KiB granule and 40-bit input addresses.
//!
//! Responsible for the tables' contents (DDI 0487, D8 "The AArch64 Virtual Memory System
//! Architecture"). Must never map more than a mapping of the boot description says, nor change an
//! entry that is in use.
//!
//! With 40 bits the walk starts at two concatenated level 1 tables (D8.2.9), 8 KiB aligned, as on
//! seL4. That is why the tables are built here and not by `aarch64-paging`, which starts at one
//! table and otherwise supplies the attributes.

use aarch64_paging::descriptor::Stage2Attributes;
use kernel_image::{BLOCK_SIZE, Mapping, PAGE_SIZE};

/// Entries of a table.
const ENTRIES: usize = 512;

/// Level 1 tables that a walk starts at, one behind the other.
const ROOT_TABLES: usize = 2;

/// Address bits that select an entry of a table at each level.
const LEVEL_BITS: u32 = 9;

/// Bits of an address within a page.
const PAGE_BITS: u32 = 12;

/// The bits of a descriptor that hold an address.
const ADDRESS_MASK: u64 = 0x0000_ffff_ffff_f000;

/// A translation table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(4096))]
pub struct TranslationTable([u64; ENTRIES]);

impl TranslationTable {
    /// Without mappings.
    pub const EMPTY: Self = Self([0; ENTRIES]);
}

/// Why a mapping cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The pool has no more tables.
    #[error("the pool for translation tables is too small")]
    PoolExhausted,
    /// Something is mapped there already, or the address is out of range.
    #[error("address {address:#x} cannot be mapped")]
    Address {
        /// The first such address.
        address: u64,
    },
}

/// Memory for translation tables.
#[derive(Debug)]
pub struct TablePool<'a> {
    tables: &'a mut [TranslationTable],
    /// Physical address of the first.
    base: u64,
    used: usize,
}

/// An address space's first tables, by their index in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(usize);

impl<'a> TablePool<'a> {
    /// Takes `tables`, which lie at physical address `base`.
    pub fn new(tables: &'a mut [TranslationTable], base: u64) -> Self {
        Self {
            tables,
            base,
            used: 0,
        }
    }

    /// Makes an address space in which nothing is mapped.
    ///
    /// # Errors
    ///
    /// [`MapError::PoolExhausted`].
    pub fn create(&mut self) -> Result<Root, MapError> {
        while !self
            .address(self.used)
            .is_multiple_of(ROOT_TABLES as u64 * PAGE_SIZE)
        {
            self.allocate()?;
        }
        let first = self.allocate()?;
        for _ in 1..ROOT_TABLES {
            self.allocate()?;
        }
        Ok(Root(first))
    }

    /// The physical address of an address space, for `VTTBR_EL2`.
    #[must_use]
    pub fn physical(&self, root: Root) -> u64 {
        self.address(root.0)
    }

    /// Adds a mapping to an address space, with blocks of 2 MiB where addresses permit.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn map(&mut self, root: Root, mapping: &Mapping) -> Result<(), MapError> {
        let attributes = attributes(mapping);
        let mut offset = 0;
        while offset < mapping.length {
            let address = mapping.address + offset;
            let physical = mapping.physical + offset;
            let whole = address.is_multiple_of(BLOCK_SIZE)
                && physical.is_multiple_of(BLOCK_SIZE)
                && mapping.length - offset >= BLOCK_SIZE;
            if whole {
                self.set(root, address, 2, physical | attributes)?;
                offset += BLOCK_SIZE;
            } else {
                let page = Stage2Attributes::TABLE_OR_PAGE.bits() as u64;
                self.set(root, address, 3, physical | attributes | page)?;
                offset += PAGE_SIZE;
            }
        }
        Ok(())
    }

    /// Writes the descriptor for `address` at `level`, with the tables above it.
    fn set(
        &mut self,
        root: Root,
        address: u64,
        level: u32,
        descriptor: u64,
    ) -> Result<(), MapError> {
        let failure = MapError::Address { address };
        // The concatenated tables are one of twice the size.
        let index = address >> (PAGE_BITS + 2 * LEVEL_BITS);
        let index = usize::try_from(index).map_err(|_| failure)?;
        if index >= ROOT_TABLES * ENTRIES {
            return Err(failure);
        }
        let (mut table, mut index) = (root.0 + index / ENTRIES, index % ENTRIES);
        for next in 2..=level {
            let entry = self.entry(table, index).copied().ok_or(failure)?;
            table = if entry == 0 {
                let new = self.allocate()?;
                let link = Stage2Attributes::VALID | Stage2Attributes::TABLE_OR_PAGE;
                let value = self.address(new) | link.bits() as u64;
                *self.entry(table, index).ok_or(failure)? = value;
                new
            } else if next == 3 && entry & Stage2Attributes::TABLE_OR_PAGE.bits() as u64 == 0 {
                return Err(failure);
            } else {
                let offset = (entry & ADDRESS_MASK) - self.base;
                usize::try_from(offset / PAGE_SIZE).map_err(|_| failure)?
            };
            let shift = PAGE_BITS + (3 - next) * LEVEL_BITS;
            index = usize::try_from(address >> shift).map_err(|_| failure)? % ENTRIES;
        }
        match self.entry(table, index) {
            Some(entry) if *entry == 0 => {
                *entry = descriptor;
                Ok(())
            }
            _ => Err(failure),
        }
    }

    fn entry(&mut self, table: usize, index: usize) -> Option<&mut u64> {
        self.tables.get_mut(table)?.0.get_mut(index)
    }

    fn allocate(&mut self) -> Result<usize, MapError> {
        let table = self
            .tables
            .get_mut(self.used)
            .ok_or(MapError::PoolExhausted)?;
        *table = TranslationTable::EMPTY;
        self.used += 1;
        Ok(self.used - 1)
    }

    fn address(&self, table: usize) -> u64 {
        self.base + table as u64 * PAGE_SIZE
    }
}

/// The attributes of a mapping's pages and blocks.
fn attributes(mapping: &Mapping) -> u64 {
    let memory = if mapping.cached {
        Stage2Attributes::MEMATTR_NORMAL_INNER_WB
            | Stage2Attributes::MEMATTR_NORMAL_OUTER_WB
            | Stage2Attributes::SH_INNER
    } else {
        Stage2Attributes::MEMATTR_DEVICE_nGnRnE
    };
    let access = if mapping.rights.write {
        Stage2Attributes::S2AP_ACCESS_RW
    } else {
        Stage2Attributes::S2AP_ACCESS_RO
    };
    let execute = if mapping.rights.execute {
        Stage2Attributes::empty()
    } else {
        Stage2Attributes::XN
    };
    let all = memory | access | execute | Stage2Attributes::ACCESS_FLAG | Stage2Attributes::VALID;
    all.bits() as u64
}

#[cfg(test)]
mod tests {
    use kernel_image::{Rights, Space};

    use super::*;

    const BASE: u64 = 0x6000_1000;
    const READ_WRITE: Rights = Rights {
        read: true,
        write: true,
        execute: false,
    };

    fn mapping(address: u64, physical: u64, length: u64) -> Mapping {
        let space = Space::Domain(0);
        Mapping {
            space,
            address,
            physical,
            length,
            rights: READ_WRITE,
            cached: true,
        }
    }

    /// Walks as the hardware does: the leaf's output address and attributes.
    fn walk(pool: &TablePool<'_>, root: Root, address: u64) -> Option<(u64, u64)> {
        let index = |value: u64| usize::try_from(value).unwrap();
        let table = |physical: u64| index((physical - BASE) / PAGE_SIZE);
        let top = index(address >> 30);
        let mut entry = pool.tables[table(pool.physical(root)) + top / 512].0[top % 512];
        for (level, shift) in [(1, 30), (2, 21), (3, 12)] {
            if entry & 1 == 0 {
                return None;
            }
            let is_table = entry & 2 != 0;
            if level == 3 || !is_table {
                assert_eq!(is_table, level == 3);
                let mask = (1 << shift) - 1;
                let output = entry & ADDRESS_MASK & !mask | address & mask;
                return Some((output, entry & !ADDRESS_MASK));
            }
            entry = pool.tables[table(entry & ADDRESS_MASK)].0[index(address >> (shift - 9)) % 512];
        }
        None
    }

    #[test]
    fn what_is_mapped_is_found_and_nothing_else() {
        let mut tables = vec![TranslationTable::EMPTY; 32];
        let mut pool = TablePool::new(&mut tables, BASE);
        let root = pool.create().unwrap();
        assert!(pool.physical(root).is_multiple_of(2 * PAGE_SIZE));
        let mappings = [
            mapping(0x20_0000, 0x6010_0000, 3 * PAGE_SIZE),
            mapping(0x4000_0000, 0x9000_0000, 2 * BLOCK_SIZE + PAGE_SIZE),
            mapping(0xff_ffff_f000, 0x6020_0000, PAGE_SIZE),
            mapping(0x80_0000_0000, 0x6030_1000, PAGE_SIZE),
        ];
        for mapping in &mappings {
            pool.map(root, mapping).unwrap();
        }
        for mapping in &mappings {
            for offset in [0, mapping.length / 2, mapping.length - 1] {
                let found = walk(&pool, root, mapping.address + offset).unwrap();
                assert_eq!(found.0, mapping.physical + offset);
            }
            assert_eq!(walk(&pool, root, mapping.address - 1), None);
            let end = mapping.address + mapping.length;
            assert!(end == 1 << 40 || walk(&pool, root, end).is_none());
        }
    }

    #[test]
    fn rights_and_memory_type_are_those_of_the_mapping() {
        const XN: u64 = 1 << 54;
        let attributes = |rights, cached| {
            attributes(&Mapping {
                rights,
                cached,
                ..mapping(0, 0, PAGE_SIZE)
            })
        };
        let read = Rights {
            read: true,
            write: false,
            execute: false,
        };
        assert_eq!(attributes(read, true) >> 6 & 3, 1);
        assert_eq!(attributes(READ_WRITE, true) >> 6 & 3, 3);
        assert_ne!(attributes(READ_WRITE, true) & XN, 0);
        assert_eq!(
            attributes(
                Rights {
                    execute: true,
                    ..read
                },
                true
            ) & XN,
            0
        );
        assert_eq!(attributes(read, true) >> 2 & 0xf, 0xf);
        assert_eq!(attributes(read, false) >> 2 & 0xf, 0);
    }

    #[test]
    fn what_is_mapped_is_not_mapped_again() {
        let mut tables = vec![TranslationTable::EMPTY; 16];
        let mut pool = TablePool::new(&mut tables, BASE);
        let root = pool.create().unwrap();
        pool.map(root, &mapping(0x4000_0000, 0x8000_0000, BLOCK_SIZE))
            .unwrap();
        let page = mapping(0x4000_1000, 0x9000_0000, PAGE_SIZE);
        assert_eq!(
            pool.map(root, &page),
            Err(MapError::Address {
                address: 0x4000_1000
            })
        );
        let block = mapping(0x4000_0000, 0x9000_0000, BLOCK_SIZE);
        assert_eq!(
            pool.map(root, &block),
            Err(MapError::Address {
                address: 0x4000_0000
            })
        );
        let outside = mapping(1 << 40, 0x9000_0000, PAGE_SIZE);
        assert_eq!(
            pool.map(root, &outside),
            Err(MapError::Address { address: 1 << 40 })
        );
    }

    #[test]
    fn a_pool_that_is_too_small_is_noticed() {
        let mut tables = vec![TranslationTable::EMPTY; 4];
        let mut pool = TablePool::new(&mut tables, BASE);
        let root = pool.create().unwrap();
        let page = mapping(0x1000, 0x9000_0000, PAGE_SIZE);
        assert_eq!(pool.map(root, &page), Err(MapError::PoolExhausted));
        assert_eq!(pool.create(), Err(MapError::PoolExhausted));
    }

    #[test]
    fn the_builder_reserves_enough_tables() {
        use kernel_image::builder::ImageBuilder;
        let mappings = [
            mapping(0x20_0000, 0x6010_0000, 0x3000),
            mapping(0x4000_0000, 0x9000_0000, 0x80_0000),
            mapping(0x1_0000_0000, 0x9000_1000, 0x80_0000),
            mapping(0xff_ffff_f000, 0x6020_0000, 0x1000),
        ];
        let mut builder = ImageBuilder::new();
        let domain = kernel_image::Domain {
            name: "domain",
            priority: 0,
            passive: false,
            fpu: false,
            budget: 1,
            period: 1,
            entry: 0,
            stack_top: 0,
            ipc_buffer: 0,
            ipc_buffer_physical: 0,
            parent: None,
        };
        builder.add_domain(&domain).unwrap();
        for mapping in &mappings {
            builder.add_mapping(mapping);
        }
        let count = usize::try_from(builder.pool_length() / PAGE_SIZE).unwrap();
        let mut tables = vec![TranslationTable::EMPTY; count];
        // An odd page first, so that one is lost to alignment.
        let mut pool = TablePool::new(&mut tables, BASE);
        let root = pool.create().unwrap();
        for mapping in &mappings {
            pool.map(root, mapping).unwrap();
        }
    }
}
