// SPDX-License-Identifier: BSD-2-Clause
//! The symbols that image builders write into any of the domains, so that this program can stand in for each.

use sel4_microkit::var;

/// A function from a symbol's name to what was written there.
macro_rules! regions {
    ($($symbol:ident)*) => {
        /// Where a region is, or how large it is, by the name of the symbol in `system.xml`; 0 in a domain without it.
        pub(crate) fn region(symbol: &str) -> usize {
            match symbol {
                $(stringify!($symbol) => *var!($symbol: usize = 0),)*
                _ => 0,
            }
        }
    };
}

regions! {
    console_uart serial_to_vmm vmm_to_serial
    link_device link_queues link_queues_paddr migration_to_link_paddr
    link_to_migration link_to_migration_size migration_to_link migration_to_link_size
    timer_device timer_export timer_import
    vgic_view vgic_export vgic_import
    guest_ram guest_ram_size guest_rom guest_rom_size guest_bundle guest_bundle_size bundle_store bundle_store_size capture_code capture_data vmm_export vmm_import
    migration_heap migration_heap_size
}
