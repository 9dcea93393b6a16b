// SPDX-License-Identifier: BSD-2-Clause
//! Registers' fields, where a person wants them apart (DDI 0487, D19 and D24).
//!
//! Responsible for: names and meanings of fields. Never: needed to restore anything.

use state::Register;

/// A field: its name, highest and lowest bit, and what its values mean where they have names.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Arm's name.
    pub name: &'static str,
    /// The highest bit.
    pub high: u32,
    /// The lowest bit.
    pub low: u32,
    /// Values with their meaning.
    meanings: &'static [(u64, &'static str)],
}

const fn bit(name: &'static str, bit: u32) -> Field {
    bits(name, bit, bit)
}

const fn bits(name: &'static str, high: u32, low: u32) -> Field {
    named(name, high, low, &[])
}

const fn named(
    name: &'static str,
    high: u32,
    low: u32,
    meanings: &'static [(u64, &'static str)],
) -> Field {
    Field {
        name,
        high,
        low,
        meanings,
    }
}

impl Field {
    /// The field's value in a register's.
    #[must_use]
    pub const fn of(&self, value: u64) -> u64 {
        let width = self.high - self.low + 1;
        (value >> self.low) & (u64::MAX >> (64 - width))
    }

    /// What the field's value means, if it has a name.
    #[must_use]
    pub fn meaning(&self, value: u64) -> Option<&'static str> {
        let of = self.of(value);
        let mut meanings = self.meanings.iter();
        meanings.find(|(key, _)| *key == of).map(|(_, name)| *name)
    }
}

/// The fields of a register that are not zero or whose zero has a name, as `NAME=value`.
#[must_use]
pub fn describe(register: Register, value: u64) -> Vec<String> {
    let shown = |field: &Field| match (field.meaning(value), field.of(value)) {
        (Some(meaning), _) => Some(format!("{}={meaning}", field.name)),
        (None, 0) => None,
        (None, 1) if field.high == field.low => Some(field.name.to_owned()),
        (None, value) => Some(format!("{}={value:#x}", field.name)),
    };
    let mut list: Vec<String> = fields(register).iter().filter_map(shown).collect();
    list.extend(in_words(register, value));
    list
}

/// What several fields say together.
fn in_words(register: Register, value: u64) -> Option<String> {
    let name = register.name();
    if name.starts_with("CCSIDR") {
        let line = 16 << (value & 7);
        let (ways, sets) = ((value >> 3 & 0x3ff) + 1, (value >> 13 & 0x7fff) + 1);
        let kib = line * ways * sets / 1024;
        return Some(format!("{kib} KiB, {ways} ways, lines of {line} bytes"));
    }
    match register {
        Register::CNTFRQ_EL0 => Some(format!(
            "{}.{:06} MHz",
            value / 1_000_000,
            value % 1_000_000
        )),
        Register::TCR_EL1 => {
            let bits = |size: u64| 64 - (size & 0x3f);
            let (low, high) = (bits(value), bits(value >> 16));
            Some(format!("addresses of {low} bits below, {high} above"))
        }
        Register::DCZID_EL0 if value & 1 << 4 == 0 => {
            Some(format!("blocks of {} bytes", 4_u64 << (value & 0xf)))
        }
        Register::MAIR_EL1 => {
            let attributes = value.to_le_bytes().map(memory_type);
            Some(attributes.join(", "))
        }
        _ => None,
    }
}

/// An attribute of `MAIR_EL1`.
const fn memory_type(attribute: u8) -> &'static str {
    match attribute {
        0x00 => "Device-nGnRnE",
        0x04 => "Device-nGnRE",
        0x08 => "Device-nGRE",
        0x0c => "Device-GRE",
        0x44 => "Normal-NC",
        0xbb => "Normal-WT",
        0xff => "Normal-WB",
        0xf0 => "Tagged",
        _ => "other",
    }
}

/// The fields that are known of a register, highest first; none of most.
#[must_use]
pub fn fields(register: Register) -> &'static [Field] {
    match register {
        Register::PSTATE | Register::SPSR_EL1 => &PSTATE,
        Register::SCTLR_EL1 => &SCTLR,
        Register::TCR_EL1 => &TCR,
        Register::TTBR0_EL1 | Register::TTBR1_EL1 => &TTBR,
        Register::ESR_EL1 => &ESR,
        Register::CPACR_EL1 => &CPACR,
        Register::FPCR => &FPCR,
        Register::FPSR => &FPSR,
        Register::MDSCR_EL1 => &MDSCR,
        Register::OSLSR_EL1 => &OSLSR,
        Register::PMCR_EL0 => &PMCR,
        Register::CNTV_CTL_EL0 => &CNTV_CTL,
        Register::CNTKCTL_EL1 => &CNTKCTL,
        Register::CSSELR_EL1 => &CSSELR,
        Register::MPIDR_EL1 => &MPIDR,
        Register::MIDR_EL1 => &MIDR,
        Register::CTR_EL0 => &CTR,
        Register::CLIDR_EL1 => &CLIDR,
        Register::DCZID_EL0 => &DCZID,
        Register::ID_AA64PFR0_EL1 => &PFR0,
        Register::ID_AA64DFR0_EL1 => &DFR0,
        Register::ID_AA64ISAR0_EL1 => &ISAR0,
        Register::ID_AA64MMFR0_EL1 => &MMFR0,
        other => by_name(other.name()),
    }
}

/// Registers of which there are many.
fn by_name(name: &str) -> &'static [Field] {
    if name.starts_with("DBGBCR") {
        &DBGBCR
    } else if name.starts_with("DBGWCR") {
        &DBGWCR
    } else if name.starts_with("PMEVTYPER") || name == "PMCCFILTR_EL0" {
        &PMEVTYPER
    } else {
        &[]
    }
}

const PSTATE: [Field; 11] = [
    bit("N", 31),
    bit("Z", 30),
    bit("C", 29),
    bit("V", 28),
    bit("SS", 21),
    bit("IL", 20),
    bit("D", 9),
    bit("A", 8),
    bit("I", 7),
    bit("F", 6),
    named(
        "M",
        4,
        0,
        &[
            (0, "EL0t"),
            (4, "EL1t"),
            (5, "EL1h"),
            (0x10, "User of AArch32"),
        ],
    ),
];

const SCTLR: [Field; 20] = [
    bit("UCI", 26),
    bit("EE", 25),
    bit("E0E", 24),
    bit("SPAN", 23),
    bit("WXN", 19),
    bit("nTWE", 18),
    bit("nTWI", 16),
    bit("UCT", 15),
    bit("DZE", 14),
    bit("I", 12),
    bit("UMA", 9),
    bit("SED", 8),
    bit("ITD", 7),
    bit("nAA", 6),
    bit("CP15BEN", 5),
    bit("SA0", 4),
    bit("SA", 3),
    bit("C", 2),
    bit("A", 1),
    named("M", 0, 0, &[(0, "off"), (1, "on")]),
];

/// `TCR_EL1.SHn`.
const SHAREABILITY: [(u64, &str); 3] = [(0, "no"), (2, "outer"), (3, "inner")];
/// `TCR_EL1.{ORGNn, IRGNn}`.
const CACHEABILITY: [(u64, &str); 4] = [(0, "NC"), (1, "WBWA"), (2, "WT"), (3, "WB")];

const TCR: [Field; 17] = [
    bit("TBI1", 38),
    bit("TBI0", 37),
    bit("AS", 36),
    named(
        "IPS",
        34,
        32,
        &[
            (0, "32"),
            (1, "36"),
            (2, "40"),
            (3, "42"),
            (4, "44"),
            (5, "48"),
        ],
    ),
    named("TG1", 31, 30, &[(1, "16K"), (2, "4K"), (3, "64K")]),
    named("SH1", 29, 28, &SHAREABILITY),
    named("ORGN1", 27, 26, &CACHEABILITY),
    named("IRGN1", 25, 24, &CACHEABILITY),
    bit("EPD1", 23),
    bit("A1", 22),
    bits("T1SZ", 21, 16),
    named("TG0", 15, 14, &[(0, "4K"), (1, "64K"), (2, "16K")]),
    named("SH0", 13, 12, &SHAREABILITY),
    named("ORGN0", 11, 10, &CACHEABILITY),
    named("IRGN0", 9, 8, &CACHEABILITY),
    bit("EPD0", 7),
    bits("T0SZ", 5, 0),
];

const TTBR: [Field; 2] = [bits("ASID", 63, 48), bits("BADDR", 47, 0)];

const ESR: [Field; 3] = [
    named(
        "EC",
        31,
        26,
        &[
            (0x00, "unknown"),
            (0x01, "WFx"),
            (0x07, "FP/SIMD"),
            (0x0e, "illegal-state"),
            (0x15, "SVC"),
            (0x16, "HVC"),
            (0x17, "SMC"),
            (0x18, "system-register"),
            (0x20, "instruction-abort-EL0"),
            (0x21, "instruction-abort"),
            (0x22, "PC-alignment"),
            (0x24, "data-abort-EL0"),
            (0x25, "data-abort"),
            (0x26, "SP-alignment"),
            (0x2c, "FP-exception"),
            (0x2f, "SError"),
            (0x30, "breakpoint-EL0"),
            (0x31, "breakpoint"),
            (0x32, "step-EL0"),
            (0x33, "step"),
            (0x34, "watchpoint-EL0"),
            (0x35, "watchpoint"),
            (0x3c, "BRK"),
        ],
    ),
    bit("IL", 25),
    bits("ISS", 24, 0),
];

const CPACR: [Field; 1] = [named(
    "FPEN",
    21,
    20,
    &[
        (0, "trapped"),
        (1, "trapped-at-EL0"),
        (2, "trapped"),
        (3, "free"),
    ],
)];

const FPCR: [Field; 4] = [
    bit("AHP", 26),
    bit("DN", 25),
    bit("FZ", 24),
    named(
        "RMode",
        23,
        22,
        &[(0, "nearest"), (1, "up"), (2, "down"), (3, "zero")],
    ),
];

const FPSR: [Field; 7] = [
    bit("QC", 27),
    bit("IDC", 7),
    bit("IXC", 4),
    bit("UFC", 3),
    bit("OFC", 2),
    bit("DZC", 1),
    bit("IOC", 0),
];

const MDSCR: [Field; 4] = [
    bit("MDE", 15),
    bit("KDE", 13),
    bit("TDCC", 12),
    bit("SS", 0),
];

const OSLSR: [Field; 1] = [named("OSLK", 1, 1, &[(0, "unlocked"), (1, "locked")])];

const PMCR: [Field; 7] = [
    bits("IMP", 31, 24),
    bits("N", 15, 11),
    bit("LC", 6),
    bit("DP", 5),
    bit("X", 4),
    bit("D", 3),
    named("E", 0, 0, &[(0, "off"), (1, "on")]),
];

const PMEVTYPER: [Field; 4] = [
    bit("P", 31),
    bit("U", 30),
    bit("NSH", 27),
    bits("evtCount", 15, 0),
];

const CNTV_CTL: [Field; 2] = [
    named("IMASK", 1, 1, &[(1, "masked")]),
    named("ENABLE", 0, 0, &[(0, "off"), (1, "on")]),
];

const CNTKCTL: [Field; 7] = [
    bit("EL0PTEN", 9),
    bit("EL0VTEN", 8),
    bits("EVNTI", 7, 4),
    bit("EVNTDIR", 3),
    bit("EVNTEN", 2),
    bit("EL0VCTEN", 1),
    bit("EL0PCTEN", 0),
];

const CSSELR: [Field; 2] = [bits("Level", 3, 1), bit("InD", 0)];

const MPIDR: [Field; 6] = [
    bits("Aff3", 39, 32),
    bit("U", 30),
    bit("MT", 24),
    bits("Aff2", 23, 16),
    bits("Aff1", 15, 8),
    bits("Aff0", 7, 0),
];

const MIDR: [Field; 4] = [
    named("Implementer", 31, 24, &[(0x41, "Arm")]),
    bits("Variant", 23, 20),
    named(
        "PartNum",
        15,
        4,
        &[
            (0xd03, "Cortex-A53"),
            (0xd04, "Cortex-A35"),
            (0xd05, "Cortex-A55"),
            (0xd07, "Cortex-A57"),
            (0xd08, "Cortex-A72"),
            (0xd09, "Cortex-A73"),
            (0xd0b, "Cortex-A76"),
        ],
    ),
    bits("Revision", 3, 0),
];

const CTR: [Field; 7] = [
    bit("DIC", 29),
    bit("IDC", 28),
    bits("CWG", 27, 24),
    bits("ERG", 23, 20),
    bits("DminLine", 19, 16),
    named("L1Ip", 15, 14, &[(2, "VIPT"), (3, "PIPT")]),
    bits("IminLine", 3, 0),
];

/// What there is at a level (`CLIDR_EL1.Ctype<n>`).
const CACHES: [(u64, &str); 4] = [(1, "I"), (2, "D"), (3, "I+D"), (4, "unified")];

const CLIDR: [Field; 10] = [
    bits("LoUU", 29, 27),
    bits("LoC", 26, 24),
    bits("LoUIS", 23, 21),
    named("L7", 20, 18, &CACHES),
    named("L6", 17, 15, &CACHES),
    named("L5", 14, 12, &CACHES),
    named("L4", 11, 9, &CACHES),
    named("L3", 8, 6, &CACHES),
    named("L2", 5, 3, &CACHES),
    named("L1", 2, 0, &CACHES),
];

const DCZID: [Field; 2] = [bit("DZP", 4), bits("BS", 3, 0)];

const PFR0: [Field; 9] = [
    bits("SVE", 35, 32),
    bits("RAS", 31, 28),
    bits("GIC", 27, 24),
    named(
        "AdvSIMD",
        23,
        20,
        &[(0, "yes"), (1, "yes-with-half"), (15, "no")],
    ),
    named(
        "FP",
        19,
        16,
        &[(0, "yes"), (1, "yes-with-half"), (15, "no")],
    ),
    bits("EL3", 15, 12),
    bits("EL2", 11, 8),
    bits("EL1", 7, 4),
    bits("EL0", 3, 0),
];

const DFR0: [Field; 5] = [
    bits("CTX_CMPs", 31, 28),
    bits("WRPs", 23, 20),
    bits("BRPs", 15, 12),
    bits("PMUVer", 11, 8),
    bits("DebugVer", 3, 0),
];

const ISAR0: [Field; 6] = [
    bits("RDM", 31, 28),
    bits("Atomic", 23, 20),
    bits("CRC32", 19, 16),
    bits("SHA2", 15, 12),
    bits("SHA1", 11, 8),
    bits("AES", 7, 4),
];

const MMFR0: [Field; 6] = [
    named("TGran4", 31, 28, &[(0, "yes"), (15, "no")]),
    named("TGran64", 27, 24, &[(0, "yes"), (15, "no")]),
    named("TGran16", 23, 20, &[(0, "no"), (1, "yes")]),
    bits("BigEnd", 11, 8),
    named("ASIDBits", 7, 4, &[(0, "8"), (2, "16")]),
    named(
        "PARange",
        3,
        0,
        &[
            (0, "32"),
            (1, "36"),
            (2, "40"),
            (3, "42"),
            (4, "44"),
            (5, "48"),
        ],
    ),
];

const DBGBCR: [Field; 7] = [
    bits("BT", 23, 20),
    bits("LBN", 19, 16),
    bits("SSC", 15, 14),
    bit("HMC", 13),
    bits("BAS", 8, 5),
    bits("PMC", 2, 1),
    bit("E", 0),
];

const DBGWCR: [Field; 9] = [
    bits("MASK", 28, 24),
    bit("WT", 20),
    bits("LBN", 19, 16),
    bits("SSC", 15, 14),
    bit("HMC", 13),
    bits("BAS", 12, 5),
    bits("LSC", 4, 3),
    bits("PAC", 2, 1),
    bit("E", 0),
];
