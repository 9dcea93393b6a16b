// SPDX-License-Identifier: BSD-2-Clause
//! The capDL description that Microkit 2.3.0 would emit for a description: the same objects, slots and rights.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use image::system::{LARGE_PAGE, Mapping, PAGE, Scheduling, System};

/// A capDL description under construction.
#[derive(Default)]
struct Builder {
    objects: Vec<Value>,
    /// Frames of each region.
    regions: Vec<Vec<usize>>,
}

impl Builder {
    fn add(&mut self, name: &str, object: Value) -> usize {
        self.objects.push(json!({ "name": name, "object": object }));
        self.objects.len() - 1
    }

    fn table(&mut self, name: &str, level: u8) -> usize {
        let table = json!({ "PageTable": { "is_root": level == 1, "level": level, "slots": [] } });
        self.add(name, table)
    }

    fn frame(&mut self, name: &str, size: u64, paddr: Option<u64>) -> usize {
        let frame = json!({ "size_bits": size.trailing_zeros(), "paddr": paddr, "init": { "entries": [] } });
        self.add(name, json!({ "Frame": frame }))
    }

    fn put(&mut self, object: usize, kind: &str, slot: u64, cap: Value) {
        let slots = &mut self.objects[object]["object"][kind]["slots"];
        slots
            .as_array_mut()
            .unwrap()
            .push(json!({ "slot": slot, "cap": cap }));
    }
}

/// Page tables of one address space.
struct Space {
    root: usize,
    /// By the first address that they cover.
    directories: BTreeMap<u64, usize>,
    tables: BTreeMap<u64, usize>,
}

impl Space {
    fn new(builder: &mut Builder, name: &str) -> Self {
        Self {
            root: builder.table(&format!("pud_{name}"), 1),
            directories: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    fn map(&mut self, builder: &mut Builder, vaddr: u64, size: u64, cap: Value) {
        let gib = vaddr >> 30;
        let root = self.root;
        let directory = *self.directories.entry(gib).or_insert_with(|| {
            let directory = builder.table(&format!("pd_{root}_{gib:#x}"), 2);
            builder.put(
                root,
                "PageTable",
                gib,
                json!({ "PageTable": { "object": directory } }),
            );
            directory
        });
        let large = vaddr >> 21;
        if size == LARGE_PAGE {
            builder.put(directory, "PageTable", large & 511, cap);
            return;
        }
        let table = *self.tables.entry(large).or_insert_with(|| {
            let table = builder.table(&format!("pt_{root}_{large:#x}"), 3);
            builder.put(
                directory,
                "PageTable",
                large & 511,
                json!({ "PageTable": { "object": table } }),
            );
            table
        });
        builder.put(table, "PageTable", (vaddr >> 12) & 511, cap);
    }

    fn regions(&mut self, builder: &mut Builder, system: &System, mappings: &[Mapping]) {
        for mapping in mappings {
            let page = system.regions[mapping.region].page_size;
            for (frame, vaddr) in builder.regions[mapping.region]
                .clone()
                .into_iter()
                .zip((mapping.vaddr..).step_by(usize::try_from(page).unwrap()))
            {
                let cap = frame_cap(
                    frame,
                    mapping.rights.write,
                    mapping.rights.execute,
                    mapping.cached,
                );
                self.map(builder, vaddr, page, cap);
            }
        }
    }
}

pub(super) fn rights(write: bool, grant: bool) -> Value {
    json!({ "read": true, "write": write, "grant": grant, "grant_reply": false })
}

pub(super) fn frame_cap(object: usize, write: bool, executable: bool, cached: bool) -> Value {
    json!({ "Frame": { "object": object, "rights": rights(write, false), "cached": cached, "executable": executable } })
}

pub(super) fn endpoint(object: usize, badge: u64) -> Value {
    json!({ "Endpoint": { "object": object, "badge": badge, "rights": rights(true, true) } })
}

pub(super) fn notification(object: usize, badge: u64) -> Value {
    json!({ "Notification": { "object": object, "badge": badge, "rights": rights(true, false) } })
}

fn tcb(priority: u8) -> Value {
    json!({ "Tcb": { "slots": [], "extra": { "prio": priority, "max_prio": priority } } })
}

/// Objects of a domain that others refer to.
#[derive(Clone, Copy)]
struct Objects {
    cnode: usize,
    tcb: usize,
    notification: usize,
    endpoint: Option<usize>,
}

fn cnode(builder: &mut Builder, name: &str, bits: u8) -> usize {
    builder.add(name, json!({ "CNode": { "size_bits": bits, "slots": [] } }))
}

/// The description of what the tool would build.
pub(super) fn capdl(system: &System) -> Value {
    let mut builder = Builder::default();
    for region in &system.regions {
        let frames = (0..region.size / region.page_size).map(|index| {
            let paddr = region
                .phys_addr
                .map(|start| start + index * region.page_size);
            builder.frame(
                &format!("frame_mr_{}_{index:09}", region.name),
                region.page_size,
                paddr,
            )
        });
        let frames = frames.collect();
        builder.regions.push(frames);
    }
    let monitor = builder.add("ep_fault_monitor", json!("Endpoint"));
    let objects: Vec<Objects> = system
        .domains
        .iter()
        .enumerate()
        .map(|(index, domain)| Objects {
            cnode: cnode(&mut builder, &format!("cnode_{}", domain.name), 9),
            tcb: builder.add(
                &format!("tcb_{}", domain.name),
                tcb(domain.scheduling.priority),
            ),
            notification: builder.add(&format!("ntfn_{}", domain.name), json!("Notification")),
            endpoint: system
                .has_endpoint(index)
                .then(|| builder.add(&format!("ep_{}", domain.name), json!("Endpoint"))),
        })
        .collect();
    let mut irqs = Vec::new();
    for index in 0..system.domains.len() {
        domain(&mut builder, system, index, &objects, monitor);
        interrupts(&mut builder, system, index, objects[index], &mut irqs);
        machine(&mut builder, system, index, objects[index]);
    }
    watcher(&mut builder, monitor, &objects);
    json!({ "objects": builder.objects, "irqs": irqs })
}

fn domain(builder: &mut Builder, system: &System, index: usize, all: &[Objects], monitor: usize) {
    let domain = &system.domains[index];
    let (name, own) = (&domain.name, all[index]);
    let badge = index as u64 + 1;
    let mut space = Space::new(builder, name);
    space.regions(builder, system, &domain.mappings);
    for (frame, vaddr, write, execute) in [
        ("elf", 0x20_0000, false, true),
        ("elf_data", 0x20_1000, true, false),
        ("stack", domain.stack_bottom(), true, false),
    ] {
        let frame = builder.frame(&format!("frame_{frame}_{name}"), PAGE, None);
        space.map(builder, vaddr, PAGE, frame_cap(frame, write, execute, true));
    }
    let buffer = builder.frame(&format!("frame_ipcbuf_{name}"), PAGE, None);
    space.map(
        builder,
        image::system::IPC_BUFFER,
        PAGE,
        frame_cap(buffer, true, false, true),
    );
    let root = cnode(builder, &format!("cnode_{name}_root"), 6);
    builder.put(
        root,
        "CNode",
        0,
        json!({ "CNode": { "object": own.cnode } }),
    );
    let context = builder.add(
        &format!("sched_context_{name}"),
        scheduling_context(domain.scheduling),
    );
    let reply = builder.add(&format!("reply_{name}"), json!("Reply"));
    for (slot, cap) in [
        (0, json!({ "CNode": { "object": root } })),
        (1, json!({ "PageTable": { "object": space.root } })),
        (4, frame_cap(buffer, true, false, true)),
        (5, endpoint(monitor, badge)),
        (6, json!({ "SchedContext": { "object": context } })),
        (8, notification(own.notification, 0)),
    ] {
        builder.put(own.tcb, "Tcb", slot, cap);
    }
    let input = own.endpoint.map_or_else(
        || notification(own.notification, 0),
        |object| endpoint(object, 0),
    );
    let mut caps = vec![
        (1, input),
        (2, endpoint(monitor, badge)),
        (3, json!({ "PageTable": { "object": space.root } })),
        (4, json!({ "Reply": { "object": reply } })),
    ];
    if domain.firmware {
        caps.push((7, json!({ "ArmSmc": { "object": monitor } })));
    }
    if domain.passive {
        caps.push((5, endpoint(monitor, badge)));
    }
    for (end, other) in system.ends_of(index) {
        let peer = all[other.domain];
        if end.notify {
            caps.push((
                10 + u64::from(end.id),
                notification(peer.notification, 1 << other.id),
            ));
        }
        if end.call {
            caps.push((
                74 + u64::from(end.id),
                endpoint(peer.endpoint.unwrap(), 1 << 63 | u64::from(other.id)),
            ));
        }
    }
    for (slot, cap) in caps {
        builder.put(own.cnode, "CNode", slot, cap);
    }
}

fn interrupts(
    builder: &mut Builder,
    system: &System,
    index: usize,
    own: Objects,
    irqs: &mut Vec<Value>,
) {
    for interrupt in &system.domains[index].interrupts {
        let name = format!("irq_{}_{}", interrupt.intid, system.domains[index].name);
        let handler = builder.add(&name, json!({ "ArmIrq": { "slots": [] } }));
        builder.put(
            handler,
            "ArmIrq",
            0,
            notification(own.notification, 1 << interrupt.id),
        );
        builder.put(
            own.cnode,
            "CNode",
            138 + u64::from(interrupt.id),
            json!({ "ArmIrqHandler": { "object": handler } }),
        );
        irqs.push(json!({ "irq": interrupt.intid, "handler": handler }));
    }
}

fn scheduling_context(scheduling: Scheduling) -> Value {
    let Scheduling { budget, period, .. } = scheduling;
    json!({ "SchedContext": { "size_bits": 8, "extra": { "budget": budget, "period": period } } })
}

fn machine(builder: &mut Builder, system: &System, index: usize, own: Objects) {
    let Some(machine) = &system.domains[index].machine else {
        return;
    };
    let mut space = Space::new(builder, &machine.name);
    space.regions(builder, system, &machine.mappings);
    for &id in &machine.vcpus {
        let name = format!("{}_{id}", machine.name);
        let thread = builder.add(&format!("tcb_{name}"), tcb(machine.scheduling.priority));
        let vcpu = builder.add(&format!("vcpu_{name}"), json!("VCpu"));
        let node = cnode(builder, &format!("cnode_{name}"), 9);
        let context = builder.add(
            &format!("sched_context_{name}"),
            scheduling_context(machine.scheduling),
        );
        let buffer = builder.frame(&format!("frame_ipcbuf_{name}"), PAGE, None);
        for (slot, cap) in [
            (1, json!({ "PageTable": { "object": space.root } })),
            (0, json!({ "CNode": { "object": node } })),
            (4, frame_cap(buffer, true, false, true)),
            (5, endpoint(own.endpoint.unwrap(), 1 << 62 | u64::from(id))),
            (6, json!({ "SchedContext": { "object": context } })),
            (9, json!({ "VCpu": { "object": vcpu } })),
        ] {
            builder.put(thread, "Tcb", slot, cap);
        }
        builder.put(
            own.cnode,
            "CNode",
            266 + u64::from(id),
            json!({ "Tcb": { "object": thread } }),
        );
        builder.put(
            own.cnode,
            "CNode",
            330 + u64::from(id),
            json!({ "VCpu": { "object": vcpu } }),
        );
    }
}

/// Microkit's monitor.
fn watcher(builder: &mut Builder, endpoint_object: usize, domains: &[Objects]) {
    let node = cnode(builder, "cnode_monitor", 9);
    let mut space = Space::new(builder, "monitor");
    let frame = builder.frame("frame_elf_monitor", PAGE, None);
    space.map(
        builder,
        0x20_0000,
        PAGE,
        frame_cap(frame, false, true, true),
    );
    let thread = builder.add("tcb_monitor", tcb(255));
    builder.put(thread, "Tcb", 0, json!({ "CNode": { "object": node } }));
    builder.put(
        thread,
        "Tcb",
        1,
        json!({ "PageTable": { "object": space.root } }),
    );
    builder.put(node, "CNode", 1, endpoint(endpoint_object, 0));
    let reply = builder.add("reply_monitor", json!("Reply"));
    builder.put(node, "CNode", 2, json!({ "Reply": { "object": reply } }));
    for (slot, domain) in (10..).zip(domains) {
        builder.put(
            node,
            "CNode",
            slot,
            json!({ "Tcb": { "object": domain.tcb } }),
        );
    }
}
