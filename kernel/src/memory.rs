// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's own address space: physical addresses, each page with what it needs and no more.
//!
//! Responsible for EL2's stage 1. Nothing is both writable and executable, and what the kernel has
//! no business with is not mapped: the image, the RAM that the boot description names, the GIC and
//! the console.

use core::ops::Range;
use core::ptr::NonNull;

use aarch64_cpu::registers::{MAIR_EL2, SCTLR_EL2, TCR_EL2, Writeable};
use aarch64_paging::descriptor::{El23Attributes, PhysicalAddress};
use aarch64_paging::paging::{Constraints, El2, MemoryRegion, PageTable, Translation};
use aarch64_paging::{MapError, Mapping};
use kernel::stage2::TranslationTable;

use crate::registers::synchronise;

/// Level that a walk starts at: 39 bits of address.
const ROOT_LEVEL: usize = 1;
/// `TCR_EL2.T0SZ` for 39 bits.
const T0SZ: u64 = 64 - 39;

const NORMAL: El23Attributes = El23Attributes::VALID
    .union(El23Attributes::ACCESSED)
    .union(El23Attributes::USER_RES1)
    .union(El23Attributes::INNER_SHAREABLE)
    .union(El23Attributes::ATTRIBUTE_INDEX_1);

/// Memory that code is fetched from.
pub(crate) const CODE: El23Attributes = NORMAL.union(El23Attributes::READ_ONLY);
/// Memory that is read.
pub(crate) const CONSTANT: El23Attributes = CODE.union(El23Attributes::XN);
/// Memory that is read and written.
pub(crate) const DATA: El23Attributes = NORMAL.union(El23Attributes::XN);
/// A device's registers.
pub(crate) const DEVICE: El23Attributes = El23Attributes::VALID
    .union(El23Attributes::ACCESSED)
    .union(El23Attributes::USER_RES1)
    .union(El23Attributes::XN)
    .union(El23Attributes::ATTRIBUTE_INDEX_0);

/// Hands out the kernel's tables. Virtual and physical addresses are the same.
pub(crate) struct Pool {
    tables: &'static mut [TranslationTable],
    used: usize,
}

impl Translation<El23Attributes> for Pool {
    fn allocate_table(&mut self) -> (NonNull<PageTable<El23Attributes>>, PhysicalAddress) {
        let table = self.tables.get_mut(self.used);
        let table = table.expect("enough tables for the kernel's own address space");
        *table = TranslationTable::EMPTY;
        self.used += 1;
        let table = NonNull::from(table);
        (table.cast(), PhysicalAddress(table.addr().get()))
    }

    unsafe fn deallocate_table(&mut self, _table: NonNull<PageTable<El23Attributes>>) {
        panic!("the kernel's address space only grows");
    }

    fn physical_to_virtual(&self, address: PhysicalAddress) -> NonNull<PageTable<El23Attributes>> {
        let table = core::ptr::with_exposed_provenance_mut(address.0);
        NonNull::new(table).expect("a table is not at address 0")
    }
}

/// The kernel's own address space.
pub(crate) struct AddressSpace(Mapping<Pool, El2>);

impl AddressSpace {
    /// One without mappings.
    pub(crate) fn new(tables: &'static mut [TranslationTable]) -> Self {
        Self(Mapping::new(Pool { tables, used: 0 }, ROOT_LEVEL, El2))
    }

    /// Maps a range to itself, over what was mapped there before.
    pub(crate) fn map(
        &mut self,
        range: &Range<usize>,
        attributes: El23Attributes,
    ) -> Result<(), MapError> {
        let region = MemoryRegion::new(range.start, range.end);
        let physical = PhysicalAddress(range.start);
        self.0
            .map_range(&region, physical, attributes, Constraints::empty())
    }

    /// Switches the MMU on.
    ///
    /// # Safety
    ///
    /// Code, data and stack of the kernel must be mapped.
    pub(crate) unsafe fn activate(self) {
        MAIR_EL2.write(
            MAIR_EL2::Attr0_Device::nonGathering_nonReordering_noEarlyWriteAck
                + MAIR_EL2::Attr1_Normal_Outer::WriteBack_NonTransient_ReadWriteAlloc
                + MAIR_EL2::Attr1_Normal_Inner::WriteBack_NonTransient_ReadWriteAlloc,
        );
        // Bits 31 and 23 are reserved as 1.
        let reserved = 1 << 31 | 1 << 23;
        let control = TCR_EL2::T0SZ.val(T0SZ)
            + TCR_EL2::PS::Bits_40
            + TCR_EL2::TG0::KiB_4
            + TCR_EL2::SH0::Inner
            + TCR_EL2::ORGN0::WriteBack_ReadAlloc_WriteAlloc_Cacheable
            + TCR_EL2::IRGN0::WriteBack_ReadAlloc_WriteAlloc_Cacheable;
        TCR_EL2.set(control.value | reserved);
        // SAFETY: the tables stay: they are static, and this value is never dropped.
        unsafe { self.0.activate() };
        core::mem::forget(self);
        // SAFETY: no entry of an earlier owner of EL2 is needed.
        unsafe {
            core::arch::asm!(
                "tlbi alle2",
                "dsb nsh",
                "isb",
                options(nostack, preserves_flags)
            );
        }
        // Bits 29, 28, 23, 22, 18, 16, 11, 5 and 4 are reserved as 1.
        let reserved = 0x30c5_0830;
        let control = SCTLR_EL2::M::Enable
            + SCTLR_EL2::C::Cacheable
            + SCTLR_EL2::I::Cacheable
            + SCTLR_EL2::SA::Enable
            + SCTLR_EL2::WXN::Enable;
        SCTLR_EL2.set(control.value | reserved);
        synchronise();
    }
}
