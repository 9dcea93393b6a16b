//! Mutations of the capDL description: what a faulty or malicious tool could put into an image behind the description's
//! back. Each must be found, and blamed on the element that it betrays.

use serde_json::{Value, json};

use super::capdl_of::{self, endpoint, frame_cap, notification};
use super::*;

/// A capDL description that is being tampered with.
struct Image(Value);

impl Image {
    fn index(&self, name: &str) -> usize {
        let objects = self.0["objects"].as_array().unwrap();
        let found = objects.iter().position(|object| object["name"] == name);
        found.unwrap_or_else(|| panic!("no object {name}"))
    }

    fn slots(&mut self, name: &str) -> &mut Vec<Value> {
        let index = self.index(name);
        let object = self.0["objects"][index]["object"].as_object_mut().unwrap();
        let (_, body) = object.iter_mut().next().unwrap();
        body["slots"].as_array_mut().unwrap()
    }

    /// The capability in a slot.
    fn cap(&mut self, name: &str, slot: u64) -> &mut Value {
        let slots = self.slots(name);
        let entry = slots.iter_mut().find(|entry| entry["slot"] == slot);
        &mut entry.unwrap_or_else(|| panic!("{name} has no slot {slot}"))["cap"]
    }

    fn put(&mut self, name: &str, slot: u64, cap: Value) {
        self.slots(name).retain(|entry| entry["slot"] != slot);
        self.slots(name).push(json!({ "slot": slot, "cap": cap }));
    }

    fn remove(&mut self, name: &str, slot: u64) {
        let slots = self.slots(name);
        let before = slots.len();
        slots.retain(|entry| entry["slot"] != slot);
        assert_eq!(slots.len() + 1, before);
    }

    /// Maps a frame at 512 GiB, where no domain has anything.
    fn map(&mut self, space: &str, frame: &str, write: bool, execute: bool) {
        let frame = self.index(frame);
        let objects = self.0["objects"].as_array_mut().unwrap();
        let first = objects.len();
        let table = |level: u8, cap: Value| json!({ "name": format!("added_{level}"), "object": { "PageTable": { "slots": [{ "slot": 0, "cap": cap }] } } });
        objects.push(table(3, frame_cap(frame, write, execute, true)));
        objects.push(table(2, json!({ "PageTable": { "object": first } })));
        self.put(
            &format!("pud_{space}"),
            512,
            json!({ "PageTable": { "object": first + 1 } }),
        );
    }

    /// Every mapping of a frame, wherever it is, with other rights.
    fn remap(&mut self, frame: &str, change: impl Fn(&mut Value)) {
        let index = self.index(frame);
        let mut changed = 0;
        for object in self.0["objects"].as_array_mut().unwrap() {
            let slots = object["object"]
                .get_mut("PageTable")
                .map(|table| &mut table["slots"]);
            for entry in slots
                .into_iter()
                .flat_map(|slots| slots.as_array_mut().unwrap())
            {
                if entry["cap"]["Frame"]["object"] == index {
                    change(&mut entry["cap"]["Frame"]);
                    changed += 1;
                }
            }
        }
        assert!(changed > 0, "{frame}");
    }
}

type Change = fn(&mut Image);

/// What to do, the rule that must notice, the element to blame, and words that the message must have.
const MUTATIONS: &[(Change, Rule, &str, &str)] = &[
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
        "<protection_domain name=\"v",
        "stack_vmm_pd",
    ),
    (
        |image| image.map("timer_pd", "frame_ipcbuf_vmm_pd", true, false),
        Rule::Memory,
        "<protection_domain name=\"",
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
        "<protection_domain name=\"",
        "reply_vgic_pd",
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
        "<protection_domain name=\"",
        "pud_vmm_pd",
    ),
    (
        |image| {
            let root = image.index("cnode_vmm_pd_root");
            *image.cap("tcb_serial_pd", 0) = json!({ "CNode": { "object": root } });
        },
        Rule::Capability,
        "<protection_domain name=\"",
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
            let index = image.index("sched_context_migration_pd");
            image.0["objects"][index]["object"]["SchedContext"]["extra"]["budget"] = json!(10000);
        },
        Rule::Difference,
        "<protection_domain name=\"migration_pd\"",
        "9500 us in 10000 us",
    ),
    (
        |image| {
            let index = image.index("sched_context_migration_pd");
            image.0["objects"][index]["object"]["SchedContext"]["extra"]["budget"] = json!(9999);
        },
        Rule::Budget,
        "<protection_domain name=\"migration_pd\"",
        "9999 us",
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
                .push(json!({ "name": "tcb_stranger", "object": copy }));
        },
        Rule::Capability,
        "<system>",
        "tcb_stranger",
    ),
];

#[test]
fn every_mutation_of_the_image_is_found_and_blamed_on_its_element() {
    let xml = description(&board(BOARD));
    let system = System::parse("system.xml", &xml, &prefill(&xml)).unwrap();
    let original = capdl_of::capdl(&system);
    assert!(MUTATIONS.len() >= 40, "{}", MUTATIONS.len());
    for (number, (change, rule, culprit, words)) in MUTATIONS.iter().enumerate() {
        let mut image = Image(original.clone());
        change(&mut image);
        let findings = findings(&xml, Some(&image.0.to_string()));
        let found = findings.iter().any(|finding| {
            finding.rule == *rule
                && finding.source == Source::Sel4Image
                && finding.culprit.element.contains(culprit)
                && finding.what.contains(words)
        });
        assert!(
            found,
            "mutation {number}: {rule} should blame {culprit} ({words}): {findings:#?}"
        );
    }
}

#[test]
fn an_object_or_capability_of_an_unknown_kind_is_refused_not_overlooked() {
    let xml = description(&board(BOARD));
    let board = board(BOARD);
    let system = System::parse("system.xml", &xml, &prefill(&xml)).unwrap();
    let original = capdl_of::capdl(&system);
    let refused =
        |image: Image| capdl::facts(&image.0.to_string(), &system, &[board.ram.range()]).is_err();
    let mut image = Image(original.clone());
    image.put("cnode_link_pd", 458, json!({ "IOSpace": { "object": 0 } }));
    assert!(refused(image));
    let mut image = Image(original.clone());
    image.0["objects"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "x", "object": "IOSpace" }));
    assert!(refused(image));
    assert!(!refused(Image(original)));
}
