// SPDX-License-Identifier: BSD-2-Clause
//! What could be wrong with memory: a mapping too many, a right too wide, a frame in another place.

use serde_json::json;

use super::super::capdl_of::frame_cap;
use super::*;

pub(super) const MUTATIONS: &[Mutation] = &[
    // Memory behind the description's back.
    (
        |image| image.map("link_pd", "frame_mr_guest_ram_000000003", false, false),
        Rule::Memory,
        "<protection_domain name=\"link_pd\"",
        "guest_ram",
    ),
    (
        |image| image.map("link_pd", "frame_mr_guest_ram_000000003", false, false),
        Rule::Difference,
        "<protection_domain name=\"link_pd\"",
        "guest_ram",
    ),
    (
        |image| image.map("link_pd", "frame_mr_guest_ram_000000003", true, false),
        Rule::Barrier,
        "<protection_domain name=\"link_pd\"",
        "link_pd -> guest",
    ),
    (
        |image| {
            image.map(
                "serial_pd",
                "frame_mr_migration_heap_000000001",
                false,
                false,
            )
        },
        Rule::Shared,
        "<protection_domain name=\"serial_pd\"",
        "migration_heap",
    ),
    (
        |image| image.map("guest", "frame_mr_vmm_import_000000000", true, false),
        Rule::Memory,
        "<virtual_machine name=\"guest\"",
        "vmm_import",
    ),
    (
        |image| image.map("vgic_pd", "frame_stack_vmm_pd", false, false),
        Rule::Memory,
        "<protection_domain name=\"vgic_pd\"",
        "stack_vmm_pd",
    ),
    (
        |image| image.map("timer_pd", "frame_ipcbuf_vmm_pd", true, false),
        Rule::Memory,
        "<protection_domain name=\"timer_pd\"",
        "ipcbuf_vmm_pd",
    ),
    (
        |image| image.map("timer_pd", "frame_mr_console_uart_000000000", true, false),
        Rule::Device,
        "<protection_domain name=\"timer_pd\"",
        "console_uart",
    ),
    (
        |image| image.map("monitor", "frame_mr_guest_ram_000000000", false, false),
        Rule::Memory,
        "<system>",
        "monitor",
    ),
    // Wider rights.
    (
        |image| {
            image.remap("frame_mr_vmm_export_000000007", |cap| {
                cap["rights"]["write"] = json!(true)
            })
        },
        Rule::Memory,
        "<map mr=\"vmm_export\" vaddr=\"0x20000000\"",
        "migration_pd",
    ),
    (
        |image| {
            image.remap("frame_mr_migration_heap_000000000", |cap| {
                cap["executable"] = json!(true)
            })
        },
        Rule::WriteExecute,
        "<map mr=\"migration_heap\"",
        "execute",
    ),
    (
        |image| {
            image.remap("frame_elf_data_vgic_pd", |cap| {
                cap["executable"] = json!(true)
            })
        },
        Rule::WriteExecute,
        "<protection_domain name=\"vgic_pd\"",
        "own memory",
    ),
    (
        |image| {
            image.remap("frame_elf_vmm_pd", |cap| {
                cap["rights"]["write"] = json!(true)
            })
        },
        Rule::WriteExecute,
        "<protection_domain name=\"vmm_pd\"",
        "own memory",
    ),
    (
        |image| image.map("vgic_pd", "frame_elf_vgic_pd", true, false),
        Rule::WriteExecute,
        "<protection_domain name=\"vgic_pd\"",
        "own memory",
    ),
    (
        |image| {
            image.remap("frame_mr_link_device_000000000", |cap| {
                cap["cached"] = json!(true)
            })
        },
        Rule::Memory,
        "<map mr=\"link_device\"",
        "link_device",
    ),
    // Another device at the same place.
    (
        |image| {
            let index = image.index("frame_mr_console_uart_000000000");
            image.0["objects"][index]["object"]["Frame"]["paddr"] = json!(0x800_0000);
        },
        Rule::Device,
        "<memory_region name=\"console_uart\"",
        "0x8000000",
    ),
    (
        |image| {
            let index = image.index("frame_mr_vgic_view_000000000");
            image.0["objects"][index]["object"]["Frame"]["paddr"] = json!(0x803_0000);
        },
        Rule::Device,
        "<memory_region name=\"vgic_view\"",
        "0x8030000",
    ),
    // More of a device than the description says, a device as somebody's own memory, and memory under two names.
    (
        |image| {
            image.map("serial_pd", "frame_stack_serial_pd", true, false);
            let index = image.index("frame_stack_serial_pd");
            image.0["objects"][index]["name"] = json!("frame_mr_console_uart_000000001");
            image.0["objects"][index]["object"]["Frame"]["paddr"] = json!(0x900_1000);
        },
        Rule::Device,
        "<memory_region name=\"console_uart\"",
        "0x2000 bytes",
    ),
    (
        |image| image.place("frame_stack_link_pd", 0x900_0000),
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "as its own memory",
    ),
    (
        |image| {
            image.place("frame_mr_guest_ram_000000003", 0x8000_0000);
            image.place("frame_mr_link_queues_000000001", 0x8000_1000);
        },
        Rule::Capability,
        "<memory_region name=\"link_queues\"",
        "frame_mr_guest_ram_000000003 are the same memory",
    ),
    (
        |image| {
            image.place("frame_mr_guest_ram_000000003", 0x8000_0000);
            image.place("frame_stack_link_pd", 0x801f_f000);
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "frame_mr_guest_ram_000000003 are the same memory",
    ),
    (
        |image| {
            let queues = "frame_mr_link_queues_000000000";
            image.map("link_pd", queues, true, false);
        },
        Rule::Memory,
        "<map mr=\"link_queues\"",
        "at more than one address",
    ),
    (
        |image| {
            let frame = image.index("frame_mr_guest_ram_000000000");
            *image.cap("tcb_link_pd", 4) = frame_cap(frame, true, false, true);
        },
        Rule::Memory,
        "<protection_domain name=\"link_pd\"",
        "guest_ram",
    ),
];
