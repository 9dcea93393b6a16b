// SPDX-License-Identifier: BSD-2-Clause
//! The table against what KVM lists for a vCPU of a Cortex-A53 class CPU: each identifier is in the table, or absent for
//! a reason that stands here.
//!
//! The list is what Linux's selftest `get-reg-list` expects of every arm64 host: its lists *base*, *vregs* and *pmu*, as
//! of its commit 1f4a10ff9090. It leaves the demultiplexed `CCSIDR` identifiers out, because they depend on the host's caches; those
//! are checked against their definition.

use crate::{Class, Register};
use std::collections::BTreeMap;

/// `KVM_REG_ARM_CORE`, 64 bits wide; the offset in `struct kvm_regs` counts 32-bit words.
const CORE: u64 = 0x6030_0000_0010_0000;
/// The same, 32 bits wide.
const CORE_32: u64 = 0x6020_0000_0010_0000;
/// The same, 128 bits wide.
const CORE_128: u64 = 0x6040_0000_0010_0000;
/// `KVM_REG_ARM_DEMUX`, 32 bits wide.
const DEMULTIPLEXED: u64 = 0x6020_0000_0011_0000;
/// `KVM_REG_ARM64_SYSREG`, 64 bits wide.
const SYSTEM: u64 = 0x6030_0000_0013_0000;
/// `KVM_REG_ARM_FW`, 64 bits wide.
const FIRMWARE: u64 = 0x6030_0000_0014_0000;
/// `KVM_REG_ARM_FW_FEAT_BMAP`, 64 bits wide.
const HYPERCALLS: u64 = 0x6030_0000_0016_0000;

const fn system(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> u64 {
    SYSTEM | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// Every identifier of the three lists.
fn listed() -> Vec<u64> {
    let core = (0..=0x42).step_by(2).chain((0x44..=0x50).step_by(2));
    let mut list: Vec<u64> = core.map(|offset| CORE | offset).collect();
    list.extend([CORE_32 | 0xd4, CORE_32 | 0xd5]);
    list.extend((0..32).map(|vector| CORE_128 | (0x54 + 4 * vector)));
    list.extend((0..4).map(|number| FIRMWARE | number));
    list.extend((0..4).map(|number| HYPERCALLS | number));
    list.extend(debug());
    list.extend(identification());
    list.extend(el1_and_el0());
    list.extend(performance_monitor());
    list
}

fn debug() -> impl Iterator<Item = u64> {
    let pairs = (0..16).flat_map(|crm| (4..8).map(move |op2| system(2, 0, 0, crm, op2)));
    pairs.chain([
        system(2, 0, 0, 2, 0),
        system(2, 0, 0, 2, 2),
        system(2, 0, 1, 1, 4),
        system(2, 4, 0, 7, 0),
    ])
}

fn identification() -> impl Iterator<Item = u64> {
    let features = (1..8).flat_map(|crm| (0..8).map(move |op2| system(3, 0, 0, crm, op2)));
    features.chain([
        system(3, 0, 0, 0, 0),
        system(3, 0, 0, 0, 5),
        system(3, 0, 0, 0, 6),
        system(3, 1, 0, 0, 1),
        system(3, 1, 0, 0, 7),
        system(3, 3, 0, 0, 1),
    ])
}

fn el1_and_el0() -> [u64; 36] {
    [
        system(3, 0, 1, 0, 0),
        system(3, 0, 1, 0, 1),
        system(3, 0, 1, 0, 2),
        system(3, 0, 1, 0, 3),
        system(3, 0, 2, 0, 0),
        system(3, 0, 2, 0, 1),
        system(3, 0, 2, 0, 2),
        system(3, 0, 2, 0, 3),
        system(3, 0, 5, 1, 0),
        system(3, 0, 5, 1, 1),
        system(3, 0, 5, 2, 0),
        system(3, 0, 6, 0, 0),
        system(3, 0, 7, 4, 0),
        system(3, 0, 10, 2, 0),
        system(3, 0, 10, 2, 2),
        system(3, 0, 10, 2, 3),
        system(3, 0, 10, 2, 4),
        system(3, 0, 10, 3, 0),
        system(3, 0, 12, 0, 0),
        system(3, 0, 12, 1, 1),
        system(3, 0, 13, 0, 1),
        system(3, 0, 13, 0, 4),
        system(3, 0, 14, 1, 0),
        system(3, 2, 0, 0, 0),
        system(3, 3, 10, 2, 4),
        system(3, 3, 13, 0, 2),
        system(3, 3, 13, 0, 3),
        system(3, 3, 14, 0, 1),
        system(3, 3, 14, 0, 2),
        system(3, 3, 14, 2, 1),
        system(3, 3, 14, 2, 2),
        system(3, 3, 14, 3, 1),
        system(3, 3, 14, 3, 2),
        system(3, 4, 3, 0, 0),
        system(3, 4, 5, 0, 1),
        system(3, 4, 5, 3, 0),
    ]
}

fn performance_monitor() -> impl Iterator<Item = u64> {
    let counters = (8..16)
        .flat_map(|crm| (0..8).map(move |op2| system(3, 3, 14, crm, op2)))
        // Where an event counter 31 would be.
        .filter(|identifier| *identifier != system(3, 3, 14, 11, 7));
    let controls = (0..6).map(|op2| system(3, 3, 9, 12, op2));
    counters.chain(controls).chain([
        system(3, 0, 9, 14, 1),
        system(3, 0, 9, 14, 2),
        system(3, 3, 9, 13, 0),
        system(3, 3, 9, 14, 0),
        system(3, 3, 9, 14, 3),
    ])
}

const AARCH32: &str = "AArch32, which no guest here can enter";
const FIRMWARE_VERSION: &str = "what SMC calls answer is vmm-pd's program, the same on every board";
const NO_HYPERCALLS: &str = "there are no hypercalls to be chosen from";
const NOT_THIS_CPU: &str =
    "of a feature that a Cortex-A53 class CPU does not have; a CPU with it is not supported yet";
const RESERVED: &str = "unallocated: reads as zero everywhere";
const ALIAS: &str = "clears what its set register holds; the table has the state once, absolute";
const NO_STATE: &str = "write-only: it increments counters, and has no state";
const NOT_THE_GUESTS: &str = "the physical counter and timer are the board's: the guest's device tree has only the \
    virtual timer, and what a guest does to the physical one where a kernel lets it is lost";

/// The identifiers that are not in the table, with the reason.
fn absent() -> BTreeMap<u64, &'static str> {
    let spsr = [0x4a, 0x4c, 0x4e, 0x50].map(|offset| (CORE | offset, AARCH32));
    let others = [
        (system(2, 4, 0, 7, 0), AARCH32),
        (system(3, 4, 3, 0, 0), AARCH32),
        (system(3, 4, 5, 0, 1), AARCH32),
        (system(3, 4, 5, 3, 0), AARCH32),
        // SCTLR2_EL1, TCR2_EL1, PIRE0_EL1, PIR_EL1, POR_EL1, DISR_EL1, POR_EL0.
        (system(3, 0, 1, 0, 3), NOT_THIS_CPU),
        (system(3, 0, 2, 0, 3), NOT_THIS_CPU),
        (system(3, 0, 10, 2, 2), NOT_THIS_CPU),
        (system(3, 0, 10, 2, 3), NOT_THIS_CPU),
        (system(3, 0, 10, 2, 4), NOT_THIS_CPU),
        (system(3, 0, 12, 1, 1), NOT_THIS_CPU),
        (system(3, 3, 10, 2, 4), NOT_THIS_CPU),
        // CNTPCT_EL0, CNTP_CTL_EL0, CNTP_CVAL_EL0.
        (system(3, 3, 14, 0, 1), NOT_THE_GUESTS),
        (system(3, 3, 14, 2, 1), NOT_THE_GUESTS),
        (system(3, 3, 14, 2, 2), NOT_THE_GUESTS),
        // PMINTENCLR_EL1, PMCNTENCLR_EL0, PMOVSCLR_EL0, PMSWINC_EL0.
        (system(3, 0, 9, 14, 2), ALIAS),
        (system(3, 3, 9, 12, 2), ALIAS),
        (system(3, 3, 9, 12, 3), ALIAS),
        (system(3, 3, 9, 12, 4), NO_STATE),
    ];
    // CRm and op2 of the identification space where DDI 0487 allocates nothing.
    let reserved: [(u64, &[u64]); 5] = [
        (3, &[3, 7]),
        (4, &[3, 6]),
        (5, &[3, 6, 7]),
        (6, &[4, 5, 6, 7]),
        (7, &[5, 6, 7]),
    ];
    let reserved = reserved
        .into_iter()
        .flat_map(|(crm, list)| list.iter().map(move |op2| system(3, 0, 0, crm, *op2)));
    let firmware = (0..4).map(|number| (FIRMWARE | number, FIRMWARE_VERSION));
    let hypercalls = (0..4).map(|number| (HYPERCALLS | number, NO_HYPERCALLS));
    spsr.into_iter()
        .chain(others)
        .chain(reserved.map(|identifier| (identifier, RESERVED)))
        .chain(firmware)
        .chain(hypercalls)
        .collect()
}

/// Registers of the table that KVM does not list: constants that it does not let anybody write, so that it has no use
/// for them, and that we compare or show.
const OURS: [Register; 5] = [
    Register::CNTFRQ_EL0,
    Register::DCZID_EL0,
    Register::MDRAR_EL1,
    Register::PMCEID0_EL0,
    Register::PMCEID1_EL0,
];

#[test]
fn every_register_that_kvm_lists_is_in_the_table_or_absent_for_a_reason() {
    let absent = absent();
    for identifier in listed() {
        let register = Register::from_identifier(identifier);
        let reason = absent.get(&identifier);
        assert!(
            register.is_some() != reason.is_some(),
            "{identifier:#x}: {register:?}, {reason:?}"
        );
    }
    let listed = listed();
    for (identifier, reason) in absent {
        assert!(
            listed.contains(&identifier),
            "{identifier:#x} ({reason}) is not in KVM's list"
        );
    }
}

#[test]
fn every_register_of_the_table_is_listed_by_kvm_or_a_constant_of_ours() {
    let listed = listed();
    for register in Register::ALL {
        let identifier = register.identifier().value();
        let by_kvm = listed.contains(&identifier) || identifier & !0xf == DEMULTIPLEXED;
        assert_eq!(by_kvm, !OURS.contains(&register), "{register:?}");
    }
    assert!(OURS.iter().all(|ours| ours.class() == Class::Constant));
}

#[test]
fn each_cache_level_has_its_demultiplexed_identifier() {
    for selector in 0..14 {
        let register = Register::from_identifier(DEMULTIPLEXED | selector).unwrap();
        let (level, kind) = (selector / 2 + 1, ['D', 'I'][usize::from(selector % 2 == 1)]);
        assert_eq!(register.name(), format!("CCSIDR_L{level}{kind}"));
    }
    assert_eq!(Register::from_identifier(DEMULTIPLEXED | 14), None);
}
