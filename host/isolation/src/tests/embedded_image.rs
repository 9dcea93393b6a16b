// SPDX-License-Identifier: BSD-2-Clause
//! The embedded kernel's image: read back from its bytes, and compared with a description that it was not built from.

use std::ops::Range;

use kernel_image::builder::ImageBuilder;
use kernel_image::{
    Capability, Domain, KERNEL_BASE, Mapping, Object, Rights, Space, Vcpu, Vm, slot,
};

use super::*;
use image::layout::{Layout, Piece};
use image::system::{self, IPC_BUFFER, LARGE_PAGE, PAGE, STACK_TOP};

const RAM: Range<u64> = 0x6000_0000..0xc000_0000;
const POOL: Range<u64> = 0x6000_0000..0x6100_0000;
const CODE: u64 = 0x20_0000;

const READ_EXECUTE: Rights = Rights {
    read: true,
    write: false,
    execute: true,
};
const READ_WRITE: Rights = Rights {
    read: true,
    write: true,
    execute: false,
};

/// An image under construction, with the names of what lies where.
struct Assembly {
    builder: ImageBuilder,
    names: Layout,
    next: u64,
}

impl Assembly {
    fn place(&mut self, name: String, size: u64, fixed: Option<u64>) -> u64 {
        let start = fixed.unwrap_or(self.next);
        if fixed.is_none() {
            self.next = (self.next + size).next_multiple_of(LARGE_PAGE);
        }
        let ram = RAM.contains(&start);
        let range = start..start + size;
        self.names.pieces.push(Piece { name, range, ram });
        start
    }

    fn map(
        &mut self,
        space: Space,
        address: u64,
        physical: u64,
        length: u64,
        rights: Rights,
        cached: bool,
    ) {
        self.builder.add_mapping(&Mapping {
            space,
            address,
            physical,
            length,
            rights,
            cached,
        });
    }

    /// A page of a domain's own.
    fn own(&mut self, domain: usize, name: &str, address: u64, rights: Rights) -> u64 {
        let page = self.place(name.to_owned(), PAGE, None);
        self.map(Space::Domain(domain), address, page, PAGE, rights, true);
        page
    }
}

/// What the image builder makes of a description, with a page for each program.
fn image(system: &system::System) -> (Assembly, Vec<u64>) {
    let mut assembly = Assembly {
        builder: ImageBuilder::new(),
        names: Layout::default(),
        next: 0x8000_0000,
    };
    let regions: Vec<u64> = system
        .regions
        .iter()
        .map(|region| {
            assembly.place(
                format!("region {}", region.name),
                region.size,
                region.phys_addr,
            )
        })
        .collect();
    let map = |assembly: &mut Assembly, space, mapping: &system::Mapping| {
        let system::Rights {
            read,
            write,
            execute,
        } = mapping.rights;
        let rights = Rights {
            read,
            write,
            execute,
        };
        let size = system.regions[mapping.region].size;
        assembly.map(
            space,
            mapping.vaddr,
            regions[mapping.region],
            size,
            rights,
            mapping.cached,
        );
    };
    for (index, domain) in system.domains.iter().enumerate() {
        let name = &domain.name;
        assembly.own(index, &format!("{name}: code"), CODE, READ_EXECUTE);
        assembly.own(
            index,
            &format!("{name}: stack"),
            STACK_TOP - PAGE,
            READ_WRITE,
        );
        let buffer = assembly.own(
            index,
            &format!("{name}: IPC buffer"),
            IPC_BUFFER,
            READ_WRITE,
        );
        for mapping in &domain.mappings {
            map(&mut assembly, Space::Domain(index), mapping);
        }
        let entry = Domain {
            name,
            priority: domain.scheduling.priority,
            passive: domain.passive,
            fpu: domain.fpu,
            budget: domain.scheduling.budget,
            period: domain.scheduling.period,
            entry: CODE,
            stack_top: STACK_TOP,
            ipc_buffer: IPC_BUFFER,
            ipc_buffer_physical: buffer,
            parent: None,
        };
        assembly.builder.add_domain(&entry).unwrap();
    }
    for (owner, domain) in system.domains.iter().enumerate() {
        let mut grant = |base: u32, id: u8, object| {
            let slot = base + u32::from(id);
            assembly.builder.add_capability(&Capability {
                owner,
                slot,
                object,
            });
        };
        for (end, other) in system.ends_of(owner) {
            let domain = other.domain;
            if end.notify {
                let badge = 1 << other.id;
                grant(
                    slot::NOTIFICATIONS,
                    end.id,
                    Object::Notification { domain, badge },
                );
            }
            if end.call {
                let badge = 1 << 63 | u64::from(other.id);
                grant(slot::ENDPOINTS, end.id, Object::Endpoint { domain, badge });
            }
        }
        for interrupt in &domain.interrupts {
            let object = Object::Interrupt {
                intid: interrupt.intid,
                trigger: kernel_image::Trigger::Level,
                badge: 1 << interrupt.id,
            };
            grant(slot::INTERRUPTS, interrupt.id, object);
        }
        let Some(machine) = &domain.machine else {
            continue;
        };
        let vm = assembly
            .builder
            .add_vm(&Vm {
                name: &machine.name,
                owner,
            })
            .unwrap();
        for mapping in &machine.mappings {
            map(&mut assembly, Space::Vm(vm), mapping);
        }
        for &id in &machine.vcpus {
            let system::Scheduling {
                priority,
                budget,
                period,
            } = machine.scheduling;
            let vcpu = assembly.builder.add_vcpu(&Vcpu {
                vm,
                id: id.into(),
                priority,
                budget,
                period,
            });
            for (base, object) in [
                (slot::VM_THREADS, Object::VmThread { vcpu }),
                (slot::VCPUS, Object::Vcpu { vcpu }),
            ] {
                let slot = base + u32::from(id);
                assembly.builder.add_capability(&Capability {
                    owner,
                    slot,
                    object,
                });
            }
        }
    }
    (assembly, regions)
}

/// What a review of the repository's description finds when an image was built from `built`, then tampered with.
fn review(built: &str, tamper: impl FnOnce(&mut Assembly, &[u64])) -> Vec<Finding> {
    let (policy, board) = (policy(), board(BOARD));
    let xml = description(&board);
    let mut review = Review::of_description("system.xml", &xml, &board, &policy).unwrap();
    let system = system::System::parse("system.xml", built, &prefill(built)).unwrap();
    let (mut assembly, regions) = image(&system);
    tamper(&mut assembly, &regions);
    let kernel = vec![0; 0x1000];
    let bytes = assembly.builder.finish(&kernel, RAM, POOL).unwrap();
    assert!(KERNEL_BASE + bytes.len() as u64 <= 0x8000_0000);
    review.add(embedded::facts(&bytes, &assembly.names).unwrap());
    review.findings
}

fn blamed(findings: &[Finding], rule: Rule, culprit: &str, words: &str) {
    let found = findings.iter().any(|finding| {
        finding.rule == rule
            && finding.source == Source::EmbeddedImage
            && finding.culprit.element.contains(culprit)
            && finding.what.contains(words)
    });
    assert!(
        found,
        "{rule} should blame {culprit} ({words}): {findings:#?}"
    );
}

#[test]
fn an_image_that_is_as_described_keeps_the_policy() {
    let xml = description(&board(BOARD));
    assert_eq!(review(&xml, |_, _| {}), []);
}

#[test]
fn an_image_that_is_not_as_described_is_found_out() {
    let xml = description(&board(BOARD));
    for (from, to, rule, culprit, words) in [
        (
            r#"perms="r" setvar_vaddr="vmm_to_serial""#,
            r#"perms="rw" setvar_vaddr="vmm_to_serial""#,
            Rule::Shared,
            r#"<map mr="vmm_to_serial""#,
            "vmm_to_serial",
        ),
        (
            r#"perms="rw" setvar_vaddr="migration_heap""#,
            r#"perms="rwx" setvar_vaddr="migration_heap""#,
            Rule::WriteExecute,
            r#"<map mr="migration_heap""#,
            "migration_heap",
        ),
        (
            r#"<vcpu id="3" />"#,
            "",
            Rule::Difference,
            r#"<vcpu id="3""#,
            "vCPU 3",
        ),
        (
            r#"<irq irq="33""#,
            r#"<irq irq="40""#,
            Rule::Interrupt,
            r#"<irq irq="33""#,
            "interrupt 40",
        ),
        (
            r#"name="timer_pd" priority="180""#,
            r#"name="timer_pd" priority="181""#,
            Rule::Difference,
            r#"name="timer_pd""#,
            "priority 181",
        ),
        (
            r#"name="vgic_pd" priority="170""#,
            r#"name="vgic_pd" passive="true" priority="170""#,
            Rule::Budget,
            r#"name="vgic_pd""#,
            "callers' time",
        ),
        (
            r#"<memory_region name="console_uart" size="0x1000""#,
            r#"<memory_region name="console_uart" size="0x11000""#,
            Rule::Device,
            r#"<memory_region name="console_uart""#,
            "0x11000 bytes",
        ),
        (
            r#"phys_addr="0x9000000""#,
            r#"phys_addr="0x9030000""#,
            Rule::Device,
            r#"name="console_uart""#,
            "0x9030000",
        ),
        (
            r#"<end pd="vgic_pd" id="1" notify="false" />"#,
            r#"<end pd="vgic_pd" id="1" />"#,
            Rule::Channel,
            r#"<end pd="vgic_pd" id="1""#,
            "notify",
        ),
    ] {
        assert!(xml.contains(from), "{from}");
        let findings = review(&xml.replacen(from, to, 1), |_, _| {});
        blamed(&findings, rule, culprit, words);
    }
}

#[test]
fn what_a_builder_maps_behind_the_descriptions_back_is_found_out() {
    let xml = description(&board(BOARD));
    let free = 0x40_0000_0000;
    let system = system::System::parse("system.xml", &xml, &prefill(&xml)).unwrap();
    let domain = |name: &str| {
        system
            .domains
            .iter()
            .position(|domain| domain.name == name)
            .unwrap()
    };
    let region = |name: &str| {
        system
            .regions
            .iter()
            .position(|region| region.name == name)
            .unwrap()
    };
    let (link, vgic, ram) = (domain("link_pd"), domain("vgic_pd"), region("guest_ram"));
    let readable = Rights {
        write: false,
        ..READ_WRITE
    };
    let findings = review(&xml, |assembly, regions| {
        assembly.map(
            Space::Domain(link),
            free,
            regions[ram],
            PAGE,
            readable,
            true,
        );
    });
    for rule in [
        Rule::Memory,
        Rule::Shared,
        Rule::Difference,
        Rule::Flow,
        Rule::Barrier,
    ] {
        blamed(&findings, rule, "name=\"link_pd\"", "link_pd");
    }
    let piece = |assembly: &Assembly, name: &str| {
        let found = assembly
            .names
            .pieces
            .iter()
            .find(|piece| piece.name == name);
        found.unwrap().range.start
    };
    let queues = region("link_queues");
    let findings = review(&xml, |assembly, regions| {
        let second = regions[queues] + PAGE;
        assembly.map(Space::Domain(link), free, second, PAGE, READ_WRITE, true);
    });
    blamed(
        &findings,
        Rule::Memory,
        "<map mr=\"link_queues\"",
        "more than one address",
    );
    let findings = review(&xml, |assembly, _| {
        let stack = piece(assembly, "vmm_pd: stack");
        assembly.map(Space::Domain(link), free, stack, PAGE, readable, true);
    });
    blamed(&findings, Rule::Memory, "name=\"link_pd\"", "vmm_pd: stack");
    let findings = review(&xml, |assembly, _| {
        let code = piece(assembly, "vgic_pd: code");
        assembly.map(Space::Domain(vgic), free, code, PAGE, READ_WRITE, true);
    });
    blamed(
        &findings,
        Rule::WriteExecute,
        "name=\"vgic_pd\"",
        "own memory",
    );
    let findings = review(&xml, |assembly, _| {
        assembly.map(
            Space::Domain(link),
            free,
            0xb000_0000,
            PAGE,
            READ_WRITE,
            true,
        );
    });
    blamed(
        &findings,
        Rule::Capability,
        "name=\"link_pd\"",
        "not all something known",
    );
}

#[test]
fn an_image_without_an_intact_description_is_refused() {
    let xml = description(&board(BOARD));
    let system = system::System::parse("system.xml", &xml, &prefill(&xml)).unwrap();
    let (assembly, _) = image(&system);
    let mut bytes = assembly.builder.finish(&[0; 0x1000], RAM, POOL).unwrap();
    assert!(embedded::facts(&bytes[..0x1000], &assembly.names).is_err());
    let table = 0x1000 + 0x100;
    bytes[table] ^= 1;
    assert!(embedded::facts(&bytes, &assembly.names).is_err());
}
