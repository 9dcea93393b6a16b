// SPDX-License-Identifier: BSD-2-Clause
//! What could be wrong with everything but memory: capabilities, interrupts, channels, threads.

use serde_json::json;

use super::super::capdl_of::{endpoint, frame_cap, notification};
use super::*;

pub(super) const MUTATIONS: &[Mutation] = &[
    // Capabilities.
    (
        |image| {
            let vcpu = image.index("vcpu_guest_1");
            image.put(
                "cnode_migration_pd",
                331,
                json!({ "VCpu": { "object": vcpu } }),
            );
        },
        Rule::Vcpu,
        "<vcpu id=\"1\"",
        "migration_pd",
    ),
    (
        |image| {
            let thread = image.index("tcb_guest_2");
            image.put("cnode_vgic_pd", 268, json!({ "Tcb": { "object": thread } }));
        },
        Rule::Vcpu,
        "<vcpu id=\"2\"",
        "vgic_pd",
    ),
    (
        |image| {
            let thread = image.index("tcb_timer_pd");
            image.put("cnode_vmm_pd", 202, json!({ "Tcb": { "object": thread } }));
        },
        Rule::Capability,
        "<protection_domain name=\"vmm_pd\"",
        "tcb_timer_pd",
    ),
    (
        |image| {
            let table = image.index("pud_guest");
            image.put(
                "cnode_migration_pd",
                458,
                json!({ "PageTable": { "object": table } }),
            );
        },
        Rule::Capability,
        "<protection_domain name=\"migration_pd\"",
        "pud_guest",
    ),
    (
        |image| {
            let node = image.index("cnode_vmm_pd");
            image.put("cnode_link_pd", 458, json!({ "CNode": { "object": node } }));
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "cnode_vmm_pd",
    ),
    (
        |image| image.put("cnode_vmm_pd", 7, json!({ "ArmSmc": { "object": 0 } })),
        Rule::Firmware,
        "<protection_domain name=\"vmm_pd\"",
        "firmware",
    ),
    (
        |image| image.put("cnode_link_pd", 459, json!({ "Untyped": { "object": 0 } })),
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "untyped",
    ),
    (
        |image| {
            let frame = image.index("frame_mr_guest_ram_000000000");
            image.put("cnode_serial_pd", 460, frame_cap(frame, false, false, true));
        },
        Rule::Capability,
        "<protection_domain name=\"serial_pd\"",
        "frame",
    ),
    (
        |image| {
            let reply = image.index("reply_vgic_pd");
            image.put(
                "cnode_migration_pd",
                4,
                json!({ "Reply": { "object": reply } }),
            );
        },
        Rule::Capability,
        "<protection_domain name=\"migration_pd\"",
        "reply_vgic_pd",
    ),
    (
        |image| {
            let reply = image.index("reply_monitor");
            image.put("cnode_link_pd", 4, json!({ "Reply": { "object": reply } }));
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "reply_monitor",
    ),
    (
        |image| {
            let vmm = image.index("ep_vmm_pd");
            *image.cap("cnode_link_pd", 1) = endpoint(vmm, 0);
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "ep_vmm_pd",
    ),
    (
        |image| {
            let timer = image.index("ep_timer_pd");
            *image.cap("cnode_vmm_pd", 1) = endpoint(timer, 0);
        },
        Rule::Capability,
        "<protection_domain name=\"vmm_pd\"",
        "ep_timer_pd",
    ),
    (
        |image| {
            let bound = image.index("ntfn_vmm_pd");
            *image.cap("tcb_link_pd", 8) = notification(bound, 0);
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "ntfn_vmm_pd",
    ),
    // Another's badge at the monitor: it would be taken for that one.
    (
        |image| {
            let monitor = image.index("ep_fault_monitor");
            *image.cap("tcb_link_pd", 5) = endpoint(monitor, 5);
            *image.cap("cnode_link_pd", 2) = endpoint(monitor, 5);
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "badge 0x5",
    ),
    (
        |image| {
            let monitor = image.index("ep_fault_monitor");
            image.put("cnode_link_pd", 5, endpoint(monitor, 2));
        },
        Rule::Budget,
        "<protection_domain name=\"link_pd\"",
        "callers' time",
    ),
    // Interrupts.
    (
        |image| {
            let handler = image.index("irq_33_serial_pd");
            image.put(
                "cnode_link_pd",
                149,
                json!({ "ArmIrqHandler": { "object": handler } }),
            );
        },
        Rule::Interrupt,
        "<protection_domain name=\"link_pd\"",
        "interrupt 33",
    ),
    (
        |image| {
            let other = image.index("ntfn_vmm_pd");
            *image.cap("irq_33_serial_pd", 0) = notification(other, 1 << 10);
        },
        Rule::Capability,
        "<protection_domain name=\"serial_pd\"",
        "delivered to vmm_pd",
    ),
    (
        |image| image.0["irqs"][0]["irq"] = json!(27),
        Rule::Interrupt,
        "<irq ",
        "interrupt 27",
    ),
    // Channels.
    (
        |image| {
            let vgic = image.index("ep_vgic_pd");
            *image.cap("cnode_vmm_pd", 76) = endpoint(vgic, 1 << 63 | 1);
        },
        Rule::Channel,
        "<end pd=\"vmm_pd\" id=\"2\"",
        "vgic_pd",
    ),
    (
        |image| {
            let vmm = image.index("ntfn_vmm_pd");
            *image.cap("cnode_serial_pd", 11) = notification(vmm, 1 << 2);
        },
        Rule::Channel,
        "<end pd=\"serial_pd\" id=\"1\"",
        "channel 2",
    ),
    (
        |image| {
            let vmm = image.index("ntfn_vmm_pd");
            *image.cap("cnode_serial_pd", 11) = notification(vmm, 0b11 << 4);
        },
        Rule::Capability,
        "<protection_domain name=\"serial_pd\"",
        "slot 11",
    ),
    (
        |image| {
            let vgic = image.index("ep_vgic_pd");
            *image.cap("cnode_migration_pd", 76) = endpoint(vgic, 1 << 62 | 3);
        },
        Rule::Capability,
        "<protection_domain name=\"migration_pd\"",
        "slot 76",
    ),
    (
        |image| {
            let timer = image.index("ep_timer_pd");
            image.put("cnode_link_pd", 80, endpoint(timer, 1 << 63 | 4));
        },
        Rule::Flow,
        "<protection_domain name=\"link_pd\"",
        "timer_pd",
    ),
    (
        |image| image.remove("cnode_vmm_pd", 76),
        Rule::Difference,
        "<end pd=\"vmm_pd\" id=\"2\"",
        "the image does not",
    ),
    // Threads.
    (
        |image| {
            let table = image.index("pud_vmm_pd");
            *image.cap("tcb_link_pd", 1) = json!({ "PageTable": { "object": table } });
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "pud_vmm_pd",
    ),
    (
        |image| {
            let root = image.index("cnode_vmm_pd_root");
            *image.cap("tcb_serial_pd", 0) = json!({ "CNode": { "object": root } });
        },
        Rule::Capability,
        "<protection_domain name=\"serial_pd\"",
        "cnode_vmm_pd_root",
    ),
    (
        |image| {
            let node = image.index("cnode_vmm_pd");
            *image.cap("cnode_link_pd_root", 0) = json!({ "CNode": { "object": node } });
        },
        Rule::Vcpu,
        "<vcpu id=\"0\"",
        "link_pd",
    ),
    (
        |image| {
            let node = image.index("cnode_vmm_pd");
            *image.cap("tcb_guest_0", 0) = json!({ "CNode": { "object": node } });
        },
        Rule::Capability,
        "<virtual_machine name=\"guest\"",
        "guest",
    ),
    (
        |image| {
            let index = image.index("tcb_migration_pd");
            image.0["objects"][index]["object"]["Tcb"]["extra"]["prio"] = json!(160);
        },
        Rule::CallOrder,
        "<protection_domain name=\"migration_pd\"",
        "migration_pd",
    ),
    (
        |image| {
            let index = image.index("tcb_vgic_pd");
            image.0["objects"][index]["object"]["Tcb"]["extra"]["prio"] = json!(120);
        },
        Rule::CallOrder,
        "<protection_domain name=\"vgic_pd\"",
        "vgic_pd",
    ),
    (
        |image| {
            let index = image.index("tcb_link_pd");
            image.0["objects"][index]["object"]["Tcb"]["extra"]["max_prio"] = json!(254);
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "254",
    ),
    (
        |image| {
            let index = image.index("sched_context_link_pd");
            image.0["objects"][index]["object"]["SchedContext"]["extra"]["budget"] = json!(2000);
        },
        Rule::Difference,
        "<protection_domain name=\"link_pd\"",
        "1600 us in 2000 us",
    ),
    (
        |image| {
            let index = image.index("sched_context_serial_pd");
            image.0["objects"][index]["object"]["SchedContext"]["extra"]["budget"] = json!(3999);
        },
        Rule::Budget,
        "<protection_domain name=\"serial_pd\"",
        "3999 us",
    ),
    (
        |image| {
            let migration = image.index("ep_timer_pd");
            *image.cap("tcb_guest_3", 5) = endpoint(migration, 1 << 62 | 3);
        },
        Rule::Vcpu,
        "<vcpu id=\"3\"",
        "timer_pd",
    ),
    (
        |image| {
            let vmm = image.index("ep_vmm_pd");
            *image.cap("tcb_link_pd", 5) = endpoint(vmm, 2);
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "vmm_pd",
    ),
    (
        |image| {
            let copy = image.0["objects"][image.index("tcb_vgic_pd")]["object"].clone();
            image.0["objects"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "name": "tcb_foreign", "object": copy }));
        },
        Rule::Capability,
        "<system>",
        "tcb_foreign",
    ),
    // One more that passes for a vCPU of the guest's.
    (
        |image| {
            let copy = image.0["objects"][image.index("tcb_guest_1")]["object"].clone();
            image.0["objects"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "name": "tcb_guest_01", "object": copy }));
        },
        Rule::Capability,
        "<virtual_machine name=\"guest\"",
        "two threads",
    ),
    // Where the kernel looks for whom to tell of a budget that has ended.
    (
        |image| {
            let vmm = image.index("ep_vmm_pd");
            image.put("tcb_link_pd", 7, endpoint(vmm, 1 << 62));
        },
        Rule::Capability,
        "<protection_domain name=\"link_pd\"",
        "endpoint as its thread's 7",
    ),
];
