// SPDX-License-Identifier: BSD-2-Clause
use std::collections::BTreeMap;

use kernel_image::{Description, MachineLimits};
use proptest::prelude::*;

use super::super::elf::tests::synthetic;
use super::super::system::Prefill;
use super::*;

const RAM: Range<u64> = 0x6000_0000..0xc000_0000;
const XML: &str = include_str!("../../../../system.xml");

/// A program with every symbol that the repository's description writes, at `vaddr`.
fn program(vaddr: u64, system: &System, domain: usize) -> Program {
    let mut symbols = vec![
        ("microkit_name", vaddr, 64),
        ("microkit_passive", vaddr + 64, 1),
    ];
    let mut next = vaddr + 72;
    let variables = system.domains[domain]
        .variables
        .iter()
        .map(|variable| variable.symbol.as_str());
    for name in ["microkit_irqs", "microkit_notifications", "microkit_pps"]
        .into_iter()
        .chain(variables)
    {
        symbols.push((name, next, 8));
        next += 8;
    }
    Program::parse(
        &system.domains[domain].program,
        synthetic(vaddr, &[0xaa; 0x1800], &symbols),
    )
    .unwrap()
}

fn kernel() -> Program {
    Program::parse("kernel", synthetic(KERNEL_BASE, b"kernel", &[])).unwrap()
}

fn build(xml: &str, vaddr: u64, ram: Range<u64>) -> Result<(System, Assembled), ImageError> {
    let prefill = Prefill::from([("guest.bundle".to_owned(), vec![0x5b; 0x1234])]);
    let system = System::parse("system.xml", xml, &prefill)?;
    let programs: Vec<_> = (0..system.domains.len())
        .map(|index| program(vaddr, &system, index))
        .collect();
    assemble(&system, &programs, &kernel(), ram).map(|assembled| (system, assembled))
}

fn repository() -> (System, Assembled) {
    build(XML, 0x20_0000, RAM).unwrap()
}

/// The boot description behind the synthetic kernel, which takes one page.
fn description(assembled: &Assembled) -> Description<'_> {
    Description::parse(&assembled.bytes[0x1000..]).unwrap()
}

#[test]
fn the_kernel_accepts_the_image_of_the_repositorys_system() {
    let (_, assembled) = repository();
    assert!(assembled.bytes.starts_with(b"kernel\0"));
    let description = description(&assembled);
    description
        .check(&MachineLimits::qemu_virt(assembled.layout.image.clone()))
        .unwrap();
    assert_eq!(description.domains().len(), 7);
    assert_eq!(description.vcpus().len(), 4);
}

#[test]
fn domains_find_stack_and_ipc_buffer_where_microkit_puts_them() {
    let (system, assembled) = repository();
    for (index, domain) in description(&assembled).domains().enumerate() {
        let domain = domain.unwrap();
        assert_eq!(domain.name, system.domains[index].name);
        assert_eq!(
            (domain.entry, domain.ipc_buffer, domain.stack_top),
            (0x20_0000, 0xff_ffff_f000, 0xff_ffff_e000)
        );
        let stack = assembled.layout.mappings.iter().find(|mapping| {
            mapping.space == Space::Domain(index)
                && mapping.address + mapping.length == domain.stack_top
        });
        assert_eq!(stack.unwrap().length, system.domains[index].stack_size);
    }
}

#[test]
fn every_domain_gets_the_capabilities_of_its_channels_and_no_other() {
    let (_, assembled) = repository();
    let layout = &assembled.layout;
    let of = |name: &str| {
        let owner = layout
            .domains
            .iter()
            .position(|domain| domain == name)
            .unwrap();
        let held = layout
            .capabilities
            .iter()
            .filter(move |capability| capability.owner == owner);
        held.map(|capability| (capability.slot, capability.object))
            .collect::<BTreeMap<_, _>>()
    };
    let vgic = layout
        .domains
        .iter()
        .position(|domain| domain == "vgic_pd")
        .unwrap();
    assert!(of("vgic_pd").is_empty(), "it only answers");
    assert_eq!(
        of("serial_pd").keys().copied().collect::<Vec<_>>(),
        [11, 148]
    );
    let vmm = of("vmm_pd");
    assert_eq!(
        vmm[&75],
        Object::Endpoint {
            domain: vgic,
            badge: 1 << 63 | 1
        }
    );
    assert_eq!(vmm[&266], Object::VmThread { vcpu: 0 });
    assert_eq!(vmm[&333], Object::Vcpu { vcpu: 3 });
    let timer = of("timer_pd");
    let trigger = kernel_image::Trigger::Level;
    assert_eq!(
        timer[&148],
        Object::Interrupt {
            intid: 30,
            trigger,
            badge: 1 << 10
        }
    );
}

#[test]
fn a_shared_region_is_the_same_memory_everywhere() {
    let (system, assembled) = repository();
    let guest_ram = system
        .regions
        .iter()
        .position(|region| region.name == "guest_ram")
        .unwrap();
    let size = system.regions[guest_ram].size;
    let spaces: Vec<_> = assembled
        .layout
        .mappings
        .iter()
        .filter(|mapping| mapping.length == size)
        .collect();
    assert_eq!(spaces.len(), 3, "vmm_pd, migration_pd and the guest");
    assert!(
        spaces
            .iter()
            .all(|mapping| mapping.physical == spaces[0].physical)
    );
}

#[test]
fn values_and_contents_reach_the_programs_memory() {
    let (_, assembled) = repository();
    let description = description(&assembled);
    let piece = |name: &str| {
        assembled
            .layout
            .pieces
            .iter()
            .find(|piece| piece.name == name)
            .unwrap()
            .range
            .clone()
    };
    let load = |start: u64| {
        description
            .loads()
            .map(Result::unwrap)
            .find(|load| load.physical == start)
            .unwrap()
    };
    let bundle = load(piece("region guest_bundle").start);
    assert_eq!((bundle.length, bundle.bytes.len()), (0x2000, 0x1234));
    let link = load(piece("link_pd: link-pd.elf at 0x200000").start);
    assert!(link.bytes.starts_with(b"link_pd"));
    let queues = piece("region link_queues").start.to_le_bytes();
    assert!(
        link.bytes.windows(8).any(|window| window == queues),
        "region_paddr"
    );
    let ram = load(piece("region guest_ram").start);
    assert!(
        ram.bytes.is_empty() && ram.length == 128 << 20,
        "a guest's memory begins as zeros"
    );
    let devices = assembled.layout.pieces.iter().filter(|piece| !piece.ram);
    assert_eq!(
        devices.map(|piece| piece.range.start).collect::<Vec<_>>(),
        [0x804_0000, 0x900_0000, 0xa00_3000]
    );
}

#[test]
fn a_fixed_place_for_guest_ram_is_honoured_or_refused() {
    let at = |address: &str| {
        let from = r#"name="guest_ram" size"#;
        assert!(XML.contains(from));
        build(
            &XML.replace(
                from,
                &format!(r#"name="guest_ram" phys_addr="{address}" size"#),
            ),
            0x20_0000,
            RAM,
        )
    };
    let (_, assembled) = at("0xa0000000").unwrap();
    assert!(
        assembled
            .layout
            .pieces
            .iter()
            .any(|piece| piece.range == (0xa000_0000..0xa800_0000))
    );
    assert!(
        matches!(at("0x70000000"), Err(ImageError::Taken { .. })),
        "over the kernel"
    );
    assert!(
        matches!(at("0x5fe00000"), Err(ImageError::Taken { .. })),
        "partly outside the board's RAM"
    );
}

#[test]
fn programs_that_overlap_their_mappings_are_refused() {
    let error = build(XML, 0x2000_0000, RAM).unwrap_err();
    assert!(matches!(error, ImageError::SharedPages { .. }), "{error}");
}

#[test]
fn a_board_with_too_little_memory_is_refused() {
    let error = build(XML, 0x20_0000, 0x6f00_0000..0x7400_0000).unwrap_err();
    assert!(
        matches!(error, ImageError::NoRoom { size, .. } if size == 128 << 20),
        "{error}"
    );
}

#[test]
fn the_report_names_every_region_and_domain() {
    let (system, assembled) = repository();
    let report = assembled.layout.to_string();
    for region in &system.regions {
        assert!(
            report.contains(&format!("region {}", region.name)),
            "{}",
            region.name
        );
    }
    for domain in &system.domains {
        assert!(
            report.contains(&format!("Domain {}", domain.name)),
            "{}",
            domain.name
        );
    }
    assert!(
        report.contains("call vgic_pd (channel 1 there)"),
        "{report}"
    );
}

proptest! {
    #[test]
    fn no_two_pieces_share_memory(sizes in prop::collection::vec((1u64..600, any::<bool>()), 1..12)) {
        let mut xml = "<system>".to_owned();
        let mut domain = String::new();
        for (index, (pages, large)) in sizes.iter().enumerate() {
            let (page, count) = if *large { (0x20_0000, pages % 8 + 1) } else { (0x1000, *pages) };
            xml += &format!(r#"<memory_region name="r{index}" size="{:#x}" page_size="{page:#x}" />"#, count * page);
            domain += &format!(r#"<map mr="r{index}" vaddr="{:#x}" />"#, 0x1_0000_0000 * (index as u64 + 1));
        }
        xml += &format!(r#"<protection_domain name="d"><program_image path="d.elf" />{domain}</protection_domain></system>"#);
        let (_, assembled) = build(&xml, 0x20_0000, RAM).unwrap();
        let mut ranges: Vec<_> = assembled.layout.pieces.iter().map(|piece| piece.range.clone()).collect();
        ranges.extend([assembled.layout.image.clone(), assembled.layout.pool.clone()]);
        ranges.sort_by_key(|range| range.start);
        for pair in ranges.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start, "{:x?}", pair);
        }
        prop_assert!(ranges.iter().all(|range| RAM.start <= range.start && range.end <= RAM.end));
    }
}
