// SPDX-License-Identifier: BSD-2-Clause
//! Mutations of `system.xml`: each widens, moves or loses a right, and must be blamed on the element that does so.

use super::*;

/// What to replace by what, the rule that must notice, and the element to blame.
struct Mutation {
    from: &'static str,
    to: &'static str,
    rule: Rule,
    culprit: &'static str,
}

const fn mutation(
    from: &'static str,
    to: &'static str,
    rule: Rule,
    culprit: &'static str,
) -> Mutation {
    Mutation {
        from,
        to,
        rule,
        culprit,
    }
}

const VGIC_VIEW: &str =
    r#"<map mr="vgic_view" vaddr="0x20000000" perms="rw" setvar_vaddr="vgic_view" />"#;
const UART: &str = r#"<map mr="console_uart" vaddr="0x20000000" perms="rw" cached="false" setvar_vaddr="console_uart" />"#;
const LINK_QUEUES: &str =
    r#"<map mr="link_queues" vaddr="0x20100000" perms="rw" setvar_vaddr="link_queues" />"#;
const RAM_OF_GUEST: &str = r#"<map mr="guest_ram" vaddr="0x40000000" perms="rwx" />"#;
const CAPTURE_CODE: &str = r#"<map mr="capture_code" vaddr="0xc000000" perms="rx" />"#;

/// Adds an element after another.
macro_rules! after {
    ($from:expr, $added:literal, $rule:ident) => {
        Mutation {
            from: $from,
            to: concat!("\u{1}\n        ", $added),
            rule: Rule::$rule,
            culprit: $added,
        }
    };
}

const MUTATIONS: &[Mutation] = &[
    // More memory.
    after!(
        LINK_QUEUES,
        r#"<map mr="guest_ram" vaddr="0x100000000" perms="r" />"#,
        Memory
    ),
    after!(
        LINK_QUEUES,
        r#"<map mr="guest_ram" vaddr="0x100000000" perms="rw" />"#,
        Shared
    ),
    after!(
        LINK_QUEUES,
        r#"<map mr="guest_ram" vaddr="0x100000000" perms="r" />"#,
        Flow
    ),
    after!(
        LINK_QUEUES,
        r#"<map mr="guest_ram" vaddr="0x100000000" perms="rw" />"#,
        Barrier
    ),
    after!(
        LINK_QUEUES,
        r#"<map mr="vmm_export" vaddr="0x20800000" perms="r" />"#,
        Memory
    ),
    after!(
        VGIC_VIEW,
        r#"<map mr="guest_ram" vaddr="0x100000000" perms="r" />"#,
        Memory
    ),
    after!(
        VGIC_VIEW,
        r#"<map mr="timer_export" vaddr="0x20800000" perms="r" />"#,
        Shared
    ),
    after!(
        UART,
        r#"<map mr="vgic_export" vaddr="0x20800000" perms="r" />"#,
        Flow
    ),
    after!(
        UART,
        r#"<map mr="migration_heap" vaddr="0x40000000" perms="rw" />"#,
        Shared
    ),
    after!(
        UART,
        r#"<map mr="link_to_migration" vaddr="0x20800000" perms="r" />"#,
        Barrier
    ),
    after!(
        RAM_OF_GUEST,
        r#"<map mr="vgic_view" vaddr="0x8100000" perms="r" />"#,
        Memory
    ),
    after!(
        RAM_OF_GUEST,
        r#"<map mr="vmm_import" vaddr="0x8100000" perms="r" />"#,
        Memory
    ),
    // Devices.
    after!(
        VGIC_VIEW,
        r#"<map mr="console_uart" vaddr="0x20800000" perms="rw" cached="false" />"#,
        Device
    ),
    after!(
        RAM_OF_GUEST,
        r#"<map mr="console_uart" vaddr="0x9000000" perms="rw" cached="false" />"#,
        Device
    ),
    after!(
        RAM_OF_GUEST,
        r#"<map mr="link_device" vaddr="0xa003000" perms="rw" cached="false" />"#,
        Device
    ),
    mutation(
        r#"size="0x1000" phys_addr="0x9000000""#,
        r#"size="0x1000" phys_addr="0x9030000""#,
        Rule::Device,
        r#"phys_addr="0x9030000""#,
    ),
    mutation(
        r#"size="0x2000" phys_addr="0x8040000""#,
        r#"size="0x2000" phys_addr="0x8000000""#,
        Rule::Device,
        r#"phys_addr="0x8000000""#,
    ),
    mutation(
        r#"<memory_region name="vgic_view" size="0x4000""#,
        r#"<memory_region name="vgic_view" phys_addr="0x8030000" size="0x4000""#,
        Rule::Device,
        r#"phys_addr="0x8030000""#,
    ),
    mutation(
        r#"perms="rw" cached="false" setvar_vaddr="link_device""#,
        r#"perms="rw" setvar_vaddr="link_device""#,
        Rule::Memory,
        r#"setvar_vaddr="link_device""#,
    ),
    mutation(
        r#"vaddr="0x20300000" perms="rw" setvar_vaddr="vmm_export""#,
        r#"vaddr="0x20300000" perms="rw" cached="false" setvar_vaddr="vmm_export""#,
        Rule::Memory,
        r#"cached="false" setvar_vaddr="vmm_export""#,
    ),
    mutation(
        r#"name="console_uart" size="0x1000""#,
        r#"name="console_uart" size="0x11000""#,
        Rule::Device,
        r#"<memory_region name="console_uart""#,
    ),
    mutation(
        r#"name="gic_vcpu_interface" size="0x2000""#,
        r#"name="gic_vcpu_interface" size="0x4000""#,
        Rule::Device,
        r#"<memory_region name="gic_vcpu_interface""#,
    ),
    mutation(
        r#"<memory_region name="migration_heap" size="0x400000""#,
        r#"<memory_region name="migration_heap" phys_addr="0xbfe00000" size="0x400000""#,
        Rule::Device,
        r#"phys_addr="0xbfe00000""#,
    ),
    mutation(
        r#"name="timer_device" size="0x1000""#,
        r#"name="timer_device" phys_addr="0x9000000" size="0x1000""#,
        Rule::Description,
        r#"<memory_region name="timer_device""#,
    ),
    mutation(
        r#"name="guest_ram" size="0x8000000" page_size="0x200000" />"#,
        r#"name="guest_ram" phys_addr="0x80000000" size="0x8000000" page_size="0x200000" />
    <memory_region name="alias" phys_addr="0x80001000" size="0x1000" />"#,
        Rule::Description,
        r#"<memory_region name="alias""#,
    ),
    // Once more what one has.
    after!(
        LINK_QUEUES,
        r#"<map mr="link_queues" vaddr="0x21000000" perms="rw" />"#,
        Memory
    ),
    after!(
        LINK_QUEUES,
        r#"<map mr="link_queues" vaddr="0x21000000" perms="xr" />"#,
        WriteExecute
    ),
    after!(
        RAM_OF_GUEST,
        r#"<map mr="guest_ram" vaddr="0x80000000" perms="rwx" />"#,
        Memory
    ),
    // Wider rights.
    mutation(
        r#"perms="r" setvar_vaddr="vmm_to_serial""#,
        r#"perms="rw" setvar_vaddr="vmm_to_serial""#,
        Rule::Memory,
        r#"<map mr="vmm_to_serial" vaddr="0x20200000""#,
    ),
    mutation(
        r#"perms="r" setvar_vaddr="vmm_to_serial""#,
        r#"perms="rw" setvar_vaddr="vmm_to_serial""#,
        Rule::Shared,
        r#"<map mr="vmm_to_serial" vaddr="0x20200000""#,
    ),
    mutation(
        r#"perms="r" setvar_vaddr="timer_import""#,
        r#"setvar_vaddr="timer_import""#,
        Rule::Memory,
        r#"<map mr="timer_import" vaddr="0x20100000" setvar"#,
    ),
    mutation(
        r#"perms="r" setvar_vaddr="vgic_export""#,
        r#"perms="rw" setvar_vaddr="vgic_export""#,
        Rule::Shared,
        r#"<map mr="vgic_export" vaddr="0x20200000" perms="rw""#,
    ),
    mutation(
        r#"perms="r" setvar_vaddr="migration_to_link""#,
        r#"perms="rw" setvar_vaddr="migration_to_link""#,
        Rule::Shared,
        r#"<map mr="migration_to_link" vaddr="0x20400000""#,
    ),
    mutation(
        CAPTURE_CODE,
        r#"<map mr="capture_code" vaddr="0xc000000" perms="rwx" />"#,
        Rule::Memory,
        r#"vaddr="0xc000000""#,
    ),
    // Write and execute.
    mutation(
        r#"perms="rw" setvar_vaddr="migration_heap""#,
        r#"perms="rwx" setvar_vaddr="migration_heap""#,
        Rule::WriteExecute,
        r#"<map mr="migration_heap""#,
    ),
    mutation(
        r#"perms="rw" setvar_vaddr="guest_ram" setvar_size="guest_ram_size" />
        <map mr="guest_bundle""#,
        r#"perms="rwx" setvar_vaddr="guest_ram" setvar_size="guest_ram_size" />
        <map mr="guest_bundle""#,
        Rule::WriteExecute,
        r#"<map mr="guest_ram" vaddr="0x100000000" perms="rwx""#,
    ),
    mutation(
        r#"perms="r" setvar_vaddr="vmm_import""#,
        r#"perms="rx" setvar_vaddr="vmm_import""#,
        Rule::WriteExecute,
        r#"<map mr="vmm_import" vaddr="0x20400000""#,
    ),
    // Narrower, or lost: the policy must not keep what nobody has.
    mutation(
        RAM_OF_GUEST,
        r#"<map mr="guest_ram" vaddr="0x40000000" perms="rw" />"#,
        Rule::Memory,
        r#"vaddr="0x40000000""#,
    ),
    mutation(
        r#"<map mr="migration_heap" vaddr="0x200000000" perms="rw""#,
        r#"<map mr="link_queues" vaddr="0x200000000" perms="rw""#,
        Rule::Description,
        r#"<memory_region name="migration_heap""#,
    ),
    mutation(
        r#"perms="r" setvar_vaddr="bundle_store""#,
        r#"perms="rw" setvar_vaddr="bundle_store""#,
        Rule::Shared,
        r#"<map mr="bundle_store" vaddr="0x400000000""#,
    ),
    mutation(
        r#"<setvar symbol="link_queues_paddr" region_paddr="link_queues" />"#,
        "",
        Rule::Unused,
        r#"<protection_domain name="link_pd""#,
    ),
    mutation(
        r#"            <vcpu id="3" />
"#,
        "",
        Rule::Unused,
        r#"<virtual_machine name="guest""#,
    ),
    // Physical addresses.
    after!(
        LINK_QUEUES,
        r#"<setvar symbol="ram_paddr" region_paddr="guest_ram" />"#,
        PhysicalAddress
    ),
    after!(
        VGIC_VIEW,
        r#"<setvar symbol="queues_paddr" region_paddr="link_queues" />"#,
        PhysicalAddress
    ),
    // Interrupts.
    mutation(
        r#"<irq irq="33" id="10" />"#,
        r#"<irq irq="34" id="10" />"#,
        Rule::Interrupt,
        r#"<irq irq="34""#,
    ),
    mutation(
        r#"<irq irq="33" id="10" />"#,
        r#"<irq irq="33" id="11" />"#,
        Rule::Interrupt,
        r#"<irq irq="33" id="11""#,
    ),
    after!(VGIC_VIEW, r#"<irq irq="80" id="10" />"#, Interrupt),
    after!(LINK_QUEUES, r#"<irq irq="33" id="12" />"#, Description),
    // Firmware.
    mutation(
        r#"name="link_pd" priority="200" budget="1600"#,
        r#"name="link_pd" smc="true" priority="200" budget="1600"#,
        Rule::Firmware,
        r#"name="link_pd""#,
    ),
    // Programs.
    mutation(
        r#"<program_image path="link-pd.elf" />"#,
        r#"<program_image path="vmm-pd.elf" />"#,
        Rule::Program,
        r#"<program_image path="vmm-pd.elf" />"#,
    ),
    // Names that stand for something else.
    mutation(
        r#"<memory_region name="link_queues""#,
        r#"<memory_region name="own memory""#,
        Rule::Description,
        r#"<memory_region name="own memory""#,
    ),
    mutation(
        r#"<protection_domain name="vgic_pd""#,
        r#"<protection_domain name="guest" priority="50"><program_image path="vgic-pd.elf" /></protection_domain>
    <protection_domain name="vgic_pd""#,
        Rule::Description,
        r#"<protection_domain name="guest""#,
    ),
    // Budgets.
    mutation(
        r#"name="vgic_pd" priority="170""#,
        r#"name="vgic_pd" passive="true" priority="170""#,
        Rule::Budget,
        r#"name="vgic_pd""#,
    ),
    mutation(
        r#"name="link_pd" priority="200" budget="1600""#,
        r#"name="link_pd" priority="200" budget="2000""#,
        Rule::Budget,
        r#"name="link_pd""#,
    ),
    mutation(
        r#"name="serial_pd" priority="200" budget="400""#,
        r#"name="serial_pd" priority="200" budget="1100""#,
        Rule::Budget,
        r#"name="serial_pd""#,
    ),
    mutation(
        r#"name="guest" priority="50""#,
        r#"name="guest" budget="100" period="1000" priority="50""#,
        Rule::Budget,
        r#"<virtual_machine name="guest""#,
    ),
    // vCPUs.
    mutation(
        VGIC_VIEW,
        r#"<map mr="vgic_view" vaddr="0x20000000" perms="rw" setvar_vaddr="vgic_view" />
        <virtual_machine name="other" priority="50"><vcpu id="7" /></virtual_machine>"#,
        Rule::Vcpu,
        r#"<vcpu id="7" />"#,
    ),
    after!(r#"            <vcpu id="3" />"#, r#"<vcpu id="4" />"#, Vcpu),
    // Channels.
    mutation(
        r#"<end pd="vmm_pd" id="4" />"#,
        r#"<end pd="vgic_pd" id="4" />"#,
        Rule::Channel,
        r#"<end pd="vgic_pd" id="4""#,
    ),
    mutation(
        r#"<end pd="link_pd" id="1" />"#,
        r#"<end pd="vmm_pd" id="5" />"#,
        Rule::Channel,
        r#"<end pd="vmm_pd" id="5""#,
    ),
    mutation(
        r#"<end pd="vgic_pd" id="1" notify="false" />"#,
        r#"<end pd="vgic_pd" id="1" />"#,
        Rule::Channel,
        r#"<end pd="vgic_pd" id="1""#,
    ),
    mutation(
        r#"<end pd="vgic_pd" id="3" notify="false" />"#,
        r#"<end pd="vgic_pd" id="2" notify="false" />"#,
        Rule::Channel,
        r#"<end pd="migration_pd" id="2""#,
    ),
    mutation(
        r#"<end pd="migration_pd" id="4" />"#,
        r#"<end pd="migration_pd" id="4" pp="true" />"#,
        Rule::Channel,
        r#"<end pd="migration_pd" id="4""#,
    ),
    mutation(
        r#"<end pd="serial_pd" id="1" />
    </channel>"#,
        r#"<end pd="serial_pd" id="1" />
    </channel>
    <channel>
        <end pd="link_pd" id="5" />
        <end pd="serial_pd" id="5" notify="false" />
    </channel>"#,
        Rule::Flow,
        r#"<end pd="link_pd" id="5""#,
    ),
    mutation(
        r#"<end pd="serial_pd" id="1" />
    </channel>"#,
        r#"<end pd="serial_pd" id="1" />
    </channel>
    <channel>
        <end pd="timer_pd" id="5" />
        <end pd="link_pd" id="5" notify="false" />
    </channel>"#,
        Rule::Channel,
        r#"<end pd="timer_pd" id="5""#,
    ),
    // Priorities.
    mutation(
        r#"name="vgic_pd" priority="170""#,
        r#"name="vgic_pd" priority="90""#,
        Rule::Description,
        "<channel>",
    ),
    mutation(
        r#"name="timer_pd" priority="180""#,
        r#"name="timer_pd" priority="175""#,
        Rule::Priority,
        r#"name="timer_pd""#,
    ),
    mutation(
        r#"name="guest" priority="50""#,
        r#"name="guest" priority="140""#,
        Rule::Priority,
        r#"<virtual_machine name="guest""#,
    ),
    mutation(
        r#"name="guest" priority="50""#,
        r#"name="guest" priority="160""#,
        Rule::Description,
        r#"<protection_domain name="vmm_pd""#,
    ),
];

#[test]
fn every_mutation_is_found_and_blamed_on_its_element() {
    let original = description(&board(BOARD));
    assert!(MUTATIONS.len() >= 40, "{}", MUTATIONS.len());
    let mut missed = Vec::new();
    for Mutation {
        from,
        to,
        rule,
        culprit,
    } in MUTATIONS
    {
        let to = to.replace('\u{1}', from);
        assert!(original.contains(from), "nothing to mutate: {from}");
        let xml = original.replacen(from, &to, 1);
        let findings = findings(&xml, None);
        let found = findings
            .iter()
            .any(|finding| finding.rule == *rule && blames(finding, &xml, culprit));
        if !found {
            missed.push(format!("{rule} should blame {culprit}: {findings:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_domain_that_nobody_knows_has_no_rights() {
    let xml = description(&board(BOARD)).replace(
        "    <protection_domain name=\"link_pd\"",
        "    <protection_domain name=\"spy_pd\" priority=\"10\">\n        <program_image path=\"spy.elf\" />\n        \
         <map mr=\"guest_ram\" vaddr=\"0x100000000\" perms=\"r\" />\n    </protection_domain>\n    \
         <protection_domain name=\"link_pd\"",
    );
    let findings = findings(&xml, None);
    for rule in [Rule::Memory, Rule::Shared, Rule::Flow, Rule::Priority] {
        let spy = findings
            .iter()
            .any(|finding| finding.rule == rule && finding.what.contains("spy_pd"));
        assert!(spy, "{rule}: {findings:#?}");
    }
}
