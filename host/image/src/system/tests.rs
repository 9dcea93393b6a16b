// SPDX-License-Identifier: BSD-2-Clause
use std::path::Path;

use super::*;
use crate::Board;

const REPOSITORY: &str = include_str!("../../../../system.xml");

fn prefill() -> Prefill {
    Prefill::from([("guest.bundle".to_owned(), vec![1; 0x1800])])
}

fn error(xml: &str) -> SystemError {
    System::parse("t.xml", xml, &prefill()).unwrap_err()
}

fn kind(xml: &str) -> SystemErrorKind {
    *error(xml).kind
}

/// A correct system of two domains and a virtual machine, to be broken one way a test.
const SMALL: &str = r#"<system>
  <memory_region name="ram" size="0x200000" page_size="0x200000" />
  <memory_region name="shared" size="0x1000" />
  <memory_region name="uart" size="0x1000" phys_addr="0x9000000" />
  <protection_domain name="a" priority="10" stack_size="0x4000" fpu="false">
    <program_image path="a.elf" />
    <map mr="ram" vaddr="0x40000000" perms="rw" setvar_vaddr="ram" setvar_size="ram_size" />
    <map mr="shared" vaddr="0x2_000_000" perms="r" />
    <setvar symbol="shared_paddr" region_paddr="shared" />
    <irq irq="33" id="7" trigger="edge" setvar_id="uart_irq" />
    <virtual_machine name="vm" priority="5" budget="100" period="200">
      <vcpu id="0" />
      <vcpu id="3" />
      <map mr="ram" vaddr="0x40000000" perms="rwx" />
    </virtual_machine>
  </protection_domain>
  <protection_domain name="b" priority="20" passive="true">
    <program_image path="b.elf" />
    <map mr="shared" vaddr="0x2000000" />
    <map mr="uart" vaddr="0x3000000" perms="rw" cached="false" />
  </protection_domain>
  <channel><end pd="a" id="1" pp="true" notify="false" /><end pd="b" id="2" setvar_id="peer" /></channel>
</system>"#;

/// `SMALL` with one thing replaced, which must be there.
fn small(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

#[test]
fn the_systems_own_description_is_accepted() {
    let system = System::parse("system.xml", REPOSITORY, &prefill()).unwrap();
    assert_eq!(system.domains.len(), 7);
    let bundle = system.region("guest_bundle").unwrap();
    assert_eq!(bundle.size, 0x2000, "rounded up to what the guest needs");
    let machine = system.domain("vmm_pd").unwrap().machine.as_ref().unwrap();
    assert_eq!(machine.vcpus, [0, 1, 2, 3]);
    assert!(system.region("link_queues").unwrap().contiguous);
}

/// Its budget could end in the middle of the call, and others who call the same domain would wait until it comes back.
#[test]
fn who_has_a_budget_calls_nobody_who_runs_on_it() {
    let system = System::parse("system.xml", REPOSITORY, &prefill()).unwrap();
    let mut calls = 0;
    for (caller, callee) in system.channels.iter().flat_map(Channel::directions) {
        let [from, to] = [caller, callee].map(|end| &system.domains[end.domain]);
        if caller.call && from.scheduling.budget < from.scheduling.period {
            calls += 1;
            assert!(!to.passive, "{} calls {}", from.name, to.name);
        }
    }
    assert!(calls > 0, "nobody has a budget");
}

/// Longer, and what arrives meanwhile would be lost.
#[test]
fn a_driver_without_budget_waits_for_less_than_its_fifo_lasts() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let system = System::parse("system.xml", REPOSITORY, &prefill()).unwrap();
    let mut lines = 0;
    for board in ["odroidc2", "odroidc4", "zcu102"] {
        let board = Board::load(Path::new(root), board).unwrap();
        for (driver, device) in [("serial_pd", &board.console), ("link_pd", &board.link)] {
            // What a FIFO of 64 bytes still takes when it interrupts: `TRIGGER_LEVEL` of board/drivers.
            let bytes: u64 = match device.kind.as_str() {
                "cadence-uart" => 64 - 16,
                "meson-uart" => 64 - 1,
                other => panic!("{other}: how deep is its FIFO?"),
            };
            // Ten bits each, in microseconds.
            let lasts = bytes * 10 * 1_000_000 / u64::from(device.baud.unwrap());
            let scheduling = system.domain(driver).unwrap().scheduling;
            let waits = scheduling.period - scheduling.budget;
            assert!(
                waits < lasts,
                "{driver} of {}: {waits} us, {lasts} us",
                board.name
            );
            lines += 1;
        }
    }
    assert_eq!(lines, 6);
}

#[test]
fn everything_that_is_written_is_read() {
    let system = System::parse("t.xml", SMALL, &prefill()).unwrap();
    let a = system.domain("a").unwrap();
    assert_eq!((a.stack_size, a.fpu, a.passive), (0x4000, false, false));
    assert_eq!(
        a.scheduling,
        Scheduling {
            priority: 10,
            budget: DEFAULT_BUDGET,
            period: DEFAULT_BUDGET
        }
    );
    assert_eq!(
        a.mappings[1].vaddr, 0x2_000_000,
        "underscores may stand in numbers"
    );
    assert_eq!(
        a.mappings[1].rights,
        Rights {
            read: true,
            write: false,
            execute: false
        }
    );
    let interrupt = &a.interrupts[0];
    assert_eq!(
        (interrupt.id, interrupt.intid, interrupt.trigger),
        (7, 33, Trigger::Edge)
    );
    let variables: Vec<_> = a
        .variables
        .iter()
        .map(|variable| (variable.symbol.as_str(), variable.value))
        .collect();
    assert_eq!(
        variables,
        [
            ("ram", Value::Number(0x4000_0000)),
            ("ram_size", Value::Size(0)),
            ("shared_paddr", Value::PhysicalAddress(1)),
            ("uart_irq", Value::Number(7)),
        ]
    );
    let machine = a.machine.as_ref().unwrap();
    assert_eq!(machine.vcpus, [0, 3]);
    assert_eq!(
        machine.scheduling,
        Scheduling {
            priority: 5,
            budget: 100,
            period: 200
        }
    );
    let b = system.domain("b").unwrap();
    assert!(b.passive && b.fpu && !b.mappings[1].cached);
    assert_eq!(b.mappings[0].rights.to_string(), "rw-", "the default");
    assert_eq!(b.variables[0].symbol, "peer");
    assert_eq!(
        (system.channel_masks(0), system.channel_masks(1)),
        ((0, 2), (4, 0))
    );
    assert!(system.has_endpoint(0) && system.has_endpoint(1));
}

#[test]
fn an_error_names_line_and_element() {
    let error = error(&small(
        r#"<map mr="shared" vaddr="0x2000000" />"#,
        r#"<map mr="shared" vaddr="0x2000001" />"#,
    ));
    assert_eq!(
        error.position,
        Position {
            line: 19,
            column: 5
        }
    );
    assert_eq!(
        error.to_string(),
        "t.xml:19:5: <map>: vaddr is 0x2000001, must be a multiple of 0x1000"
    );
}

#[test]
fn unknown_elements_and_attributes_are_refused() {
    assert!(matches!(
        kind("<system><foo/></system>"),
        SystemErrorKind::UnknownElement
    ));
    assert!(matches!(
        kind(&small(r#"<vcpu id="3" />"#, "<vcpus/>")),
        SystemErrorKind::UnknownElement
    ));
    assert!(matches!(
        kind(&small(
            r#"<vcpu id="3" />"#,
            r#"<vcpu id="3"><map/></vcpu>"#
        )),
        SystemErrorKind::UnknownElement
    ));
    let attribute = kind(&small(r#"perms="rwx""#, r#"perm="rwx""#));
    assert_eq!(
        attribute,
        SystemErrorKind::UnknownAttribute("perm".to_owned())
    );
    // Ignored by Microkit 2.3.0 on a vCPU, so refused here.
    let ignored = kind(&small(
        r#"<vcpu id="3" />"#,
        r#"<vcpu id="3" setvar_id="x" />"#,
    ));
    assert_eq!(
        ignored,
        SystemErrorKind::UnknownAttribute("setvar_id".to_owned())
    );
    assert!(matches!(
        kind(&small(r#"<vcpu id="3" />"#, "hello")),
        SystemErrorKind::Text
    ));
    assert!(matches!(
        kind("<system><domains/></system>"),
        SystemErrorKind::Unsupported
    ));
    assert!(matches!(kind("<system>"), SystemErrorKind::Xml(_)));
    assert!(matches!(kind("<sys/>"), SystemErrorKind::UnknownElement));
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (from, to) in [
        (r#"priority="20""#, r#"priority="255""#),
        (r#"id="7""#, r#"id="62""#),
        (r#"irq="33""#, r#"irq="1020""#),
        (r#"irq="33""#, r#"irq="15""#),
        (r#"id="3""#, r#"id="62""#),
        (r#"stack_size="0x4000""#, r#"stack_size="0x1000001""#),
        (r#"size="0x1000""#, r#"size="0""#),
        (r#"vaddr="0x3000000""#, r#"vaddr="0x10000000000""#),
    ] {
        assert!(
            matches!(kind(&small(from, to)), SystemErrorKind::Range { .. }),
            "{to}"
        );
    }
    for (from, to) in [
        (r#"priority="20""#, r#"priority="-1""#),
        (r#"id="7""#, r#"id="0x7""#),
        (r#"perms="rwx""#, r#"perms="w""#),
        (r#"perms="rwx""#, r#"perms="rq""#),
        (r#"trigger="edge""#, r#"trigger="falling""#),
        (r#"passive="true""#, r#"passive="yes""#),
        (r#"page_size="0x200000""#, r#"page_size="0x4000""#),
        (r#"region name="shared""#, r#"region name="own memory""#),
        (r#"domain name="b""#, r#"domain name="a: stack""#),
        (r#"machine name="vm""#, r#"machine name="""#),
    ] {
        assert!(
            matches!(kind(&small(from, to)), SystemErrorKind::Value { .. }),
            "{to}"
        );
    }
    let missing = kind(&small(r#"vaddr="0x3000000""#, ""));
    assert_eq!(missing, SystemErrorKind::MissingAttribute("vaddr"));
    assert!(matches!(
        kind(&small(r#"period="200""#, r#"period="99""#)),
        SystemErrorKind::Budget {
            budget: 100,
            period: 99
        }
    ));
}

#[test]
fn duplicates_are_refused() {
    for (from, to) in [
        (
            r#"<memory_region name="ram""#,
            r#"<memory_region name="uart" size="0x1000" /><memory_region name="ram""#,
        ),
        (
            "<channel>",
            r#"<protection_domain name="a"><program_image path="c.elf" /></protection_domain><channel>"#,
        ),
        (
            "<channel>",
            r#"<protection_domain name="monitor"><program_image path="c.elf" /></protection_domain><channel>"#,
        ),
        (
            "<channel>",
            r#"<protection_domain name="vm"><program_image path="c.elf" /></protection_domain><channel>"#,
        ),
        (
            r#"<virtual_machine name="vm""#,
            r#"<virtual_machine name="b""#,
        ),
        (r#"<vcpu id="3" />"#, r#"<vcpu id="0" />"#),
        (r#"setvar_size="ram_size""#, r#"setvar_size="ram""#),
        (r#"id="7" trigger"#, r#"id="1" trigger"#),
        (
            "<virtual_machine",
            r#"<irq irq="33" id="8" /><virtual_machine"#,
        ),
        (
            "<virtual_machine",
            r#"<irq irq="34" id="7" /><virtual_machine"#,
        ),
    ] {
        assert!(
            matches!(kind(&small(from, to)), SystemErrorKind::Duplicate { .. }),
            "{to}"
        );
    }
    let twice = small(
        r#"<program_image path="b.elf" />"#,
        r#"<program_image path="b.elf" /><program_image path="b.elf" />"#,
    );
    assert_eq!(kind(&twice), SystemErrorKind::Repeated("program_image"));
}

#[test]
fn names_must_exist() {
    for (from, to) in [
        (r#"mr="uart""#, r#"mr="nothing""#),
        (r#"region_paddr="shared""#, r#"region_paddr="nothing""#),
        (r#"end pd="b""#, r#"end pd="nobody""#),
    ] {
        assert!(
            matches!(kind(&small(from, to)), SystemErrorKind::Unknown { .. }),
            "{to}"
        );
    }
}

#[test]
fn calls_go_to_a_higher_priority_only() {
    for priority in ["10", "9"] {
        let downwards = small(r#"priority="20""#, &format!(r#"priority="{priority}""#));
        assert!(matches!(
            kind(&downwards),
            SystemErrorKind::CallDownwards {
                caller_priority: 10,
                ..
            }
        ));
    }
    let both = small(r#"setvar_id="peer""#, r#"pp="true""#);
    assert!(matches!(
        kind(&both),
        SystemErrorKind::Value {
            attribute: "pp",
            ..
        }
    ));
    assert!(matches!(
        kind(&small(r#"priority="5""#, r#"priority="10""#)),
        SystemErrorKind::MachinePriority { .. }
    ));
}

#[test]
fn overlaps_are_refused() {
    let within_domain = small(r#"vaddr="0x3000000""#, r#"vaddr="0x2000000""#);
    assert!(matches!(
        kind(&within_domain),
        SystemErrorKind::Overlap { .. }
    ));
    let physical = small(
        r#"name="shared" size="0x1000""#,
        r#"name="shared" size="0x2000" phys_addr="0x8fff000""#,
    );
    assert!(matches!(kind(&physical), SystemErrorKind::Overlap { .. }));
    let into_stack = small(r#"vaddr="0x3000000""#, r#"vaddr="0xffffffc000""#);
    assert!(matches!(
        kind(&into_stack),
        SystemErrorKind::Range {
            attribute: "vaddr",
            ..
        }
    ));
    let across_stack = small(
        r#"vaddr="0x40000000" perms="rw""#,
        r#"vaddr="0xffffe00000" perms="rw""#,
    );
    assert!(matches!(
        kind(&across_stack),
        SystemErrorKind::AddressSpace { .. }
    ));
}

#[test]
fn an_unused_region_is_refused() {
    let unused = small(
        "<memory_region",
        r#"<memory_region name="spare" size="0x1000" /><memory_region"#,
    );
    assert_eq!(kind(&unused), SystemErrorKind::Unused("spare".to_owned()));
}

#[test]
fn prefilled_regions_need_their_content() {
    let filled = |rest: &str| {
        small(
            r#"name="shared" size="0x1000""#,
            &format!(r#"name="shared" {rest}"#),
        )
    };
    let system = System::parse(
        "t.xml",
        &filled(r#"prefill_path="guest.bundle""#),
        &prefill(),
    )
    .unwrap();
    assert_eq!(system.region("shared").unwrap().size, 0x2000);
    let absent = kind(&filled(r#"prefill_path="other""#));
    assert_eq!(absent, SystemErrorKind::Prefill("other".to_owned()));
    let too_small = kind(&filled(r#"prefill_path="guest.bundle" size="0x1000""#));
    assert!(matches!(
        too_small,
        SystemErrorKind::PrefillSize {
            length: 0x1800,
            size: 0x1000,
            ..
        }
    ));
    let empty = Prefill::from([("guest.bundle".to_owned(), Vec::new())]);
    assert!(System::parse("t.xml", &filled(r#"prefill_path="guest.bundle""#), &empty).is_err());
}

#[test]
fn regions_get_large_pages_where_all_addresses_allow() {
    let at = |vaddr: &str| {
        let xml = small(
            r#"name="shared" size="0x1000""#,
            r#"name="shared" size="0x200000""#,
        )
        .replace(r#""0x2_000_000""#, vaddr)
        .replace(r#"vaddr="0x3000000""#, r#"vaddr="0x5000000""#);
        System::parse("t.xml", &xml, &prefill())
            .unwrap()
            .region("shared")
            .unwrap()
            .page_size
    };
    assert_eq!(at(r#""0x2000000""#), LARGE_PAGE);
    assert_eq!(at(r#""0x2001000""#), PAGE);
}
