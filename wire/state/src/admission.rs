// SPDX-License-Identifier: BSD-2-Clause
//! Whether a machine may move: what a guest would notice is refused, what it cannot notice is allowed.
//!
//! Responsible for: comparing two descriptions, the machine's and the destination board's, by the policies of the
//! register table; and for the fields of the identification registers (DDI 0487, D24.2), each with the rule that makes
//! a destination good enough. Never: makes a board look like another.
//!
//! A guest looks at identification registers when it boots and builds on what it saw. A destination must therefore
//! offer at least that, whatever board the guest is on meanwhile: a feature that is missing there faults later, in the
//! middle of something. Features that only the destination has stay unused.
//!
//! Which core it is counts for more than its features: software chooses workarounds by it. Another one is admitted where
//! the guest has been told that it may run there, or the operator takes it upon himself ([`OtherCore`]).

use crate::coverage::{self, Feature};
use crate::register::{Policy, Register, Source};
use crate::{BaselineV1, ImplementationV1, MachineRecordV2};
use thiserror::Error;

/// Why a machine may not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Guest RAM is elsewhere.
    #[error("guest RAM begins at {source_base:#x} there and at {destination_base:#x} here")]
    RamBase {
        /// The machine's, an IPA.
        source_base: u64,
        /// The destination's, an IPA.
        destination_base: u64,
    },
    /// Guest RAM has another size. More would be as wrong as less: the guest's device tree tells the size.
    #[error("the guest has {needed} bytes of RAM, this board gives it {available}")]
    RamSize {
        /// The machine's, in bytes.
        needed: u64,
        /// The destination's, in bytes.
        available: u64,
    },
    /// Too few vCPUs.
    #[error("the guest has {needed} vCPUs, this board has {available}")]
    Vcpus {
        /// The machine's.
        needed: u8,
        /// The destination's.
        available: u8,
    },
    /// Another interrupt controller.
    #[error("the guest has a GICv{needed}, this board a GICv{available}")]
    Gic {
        /// The machine's version.
        needed: u8,
        /// The destination's version.
        available: u8,
    },
    /// Another number of shared interrupts, which the guest reads in `GICD_TYPER`.
    #[error("the guest has {needed} shared interrupts, this board {available}")]
    Interrupts {
        /// The machine's.
        needed: u16,
        /// The destination's.
        available: u16,
    },
    /// The guest has debug registers and a performance monitor, which the destination keeps from its guest. What is set
    /// in them would be lost, or stop the destination.
    #[error(
        "the guest has its processor's debug registers and performance monitor, and this board keeps them from its \
         guest; a board whose image is made with --guest-debug does not"
    )]
    GuestDebug,
    /// A processor has state that no record carries.
    #[error(
        "the {side} has {feature}, whose state is not in the records: a guest there is neither moved nor kept"
    )]
    State {
        /// Whose processor.
        side: Side,
        /// What it has.
        feature: Feature,
    },
    /// A description does not say what a register is.
    #[error("{register} is not in the description of the {side}")]
    Missing {
        /// The register's name.
        register: &'static str,
        /// Whose description.
        side: Side,
    },
    /// A register differs where it must not.
    #[error("{register} is {found:#x} here, the guest has seen {needed:#x}: {reason}")]
    Different {
        /// The register's name.
        register: &'static str,
        /// The machine's value.
        needed: u64,
        /// The destination's value.
        found: u64,
        /// Why it must not differ, from the table.
        reason: &'static str,
    },
    /// A field of a register promises the guest less, or something else.
    #[error(
        "{register}, bits {high} to {low}, is {found:#x} here, the guest has seen {needed:#x}: {reason}"
    )]
    Field {
        /// The register's name.
        register: &'static str,
        /// The field's highest bit.
        high: u32,
        /// The field's lowest bit.
        low: u32,
        /// The machine's value.
        needed: u64,
        /// The destination's value.
        found: u64,
        /// What the rule for the field is.
        reason: &'static str,
    },
}

/// What becomes of a core that the guest was not started on and does not know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtherCore {
    /// It is refused.
    #[default]
    Refused,
    /// It is taken, at the operator's word: the guest runs there without workarounds that it did not choose.
    Accepted,
}

/// One of the two descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The machine that wants to move.
    Source,
    /// The board that it wants to move to.
    Destination,
}

impl core::fmt::Display for Side {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Source => "machine",
            Self::Destination => "board",
        })
    }
}

/// What makes a destination's field good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The same.
    Same,
    /// At least as high (DDI 0487, D24.1.3: a higher value has all of a lower one's features).
    AtLeast,
    /// At least as high, read as a signed number: all ones means that there is none.
    AtLeastSigned,
    /// Every bit that is set.
    Superset,
    /// Anything: the guest cannot use it.
    Any,
}

/// A field of a register.
#[derive(Debug, Clone, Copy)]
struct Field {
    low: u32,
    width: u32,
    rule: Rule,
}

const fn field(low: u32, width: u32, rule: Rule) -> Field {
    Field { low, width, rule }
}

impl Rule {
    const fn reason(self) -> &'static str {
        match self {
            Self::Same => "must be the same",
            Self::AtLeast | Self::AtLeastSigned => "must be no less",
            Self::Superset => "must have every bit",
            Self::Any => "may be anything",
        }
    }

    fn admits(self, width: u32, needed: u64, found: u64) -> bool {
        match self {
            Self::Same => needed == found,
            Self::AtLeast => found >= needed,
            Self::AtLeastSigned => biased(width, found) >= biased(width, needed),
            Self::Superset => found & needed == needed,
            Self::Any => true,
        }
    }

    /// The most that both admit, if there is such.
    fn common(self, width: u32, one: u64, other: u64) -> Option<u64> {
        match self {
            Self::Same => (one == other).then_some(one),
            Self::AtLeast => Some(one.min(other)),
            Self::AtLeastSigned if biased(width, other) < biased(width, one) => Some(other),
            Self::AtLeastSigned | Self::Any => Some(one),
            Self::Superset => Some(one & other),
        }
    }
}

/// Adding half of the range turns the order of signed numbers into that of unsigned ones.
const fn biased(width: u32, value: u64) -> u64 {
    (value + (1 << (width - 1))) & ((1 << width) - 1)
}

/// The fields whose rule is not what the register's other fields have, by their lowest bit.
fn exceptions(register: Register) -> &'static [Field] {
    match register {
        // Exception levels: at EL0 a guest may have seen that 32-bit programs run; at EL1 it runs in AArch64 on every
        // board, and has no other. EL2 of the Secure state and realms are not the guest's.
        Register::ID_AA64PFR0_EL1 => {
            &const {
                [
                    field(0, 4, Rule::AtLeast),
                    field(4, 4, Rule::Any),
                    field(8, 4, Rule::Any),
                    field(12, 4, Rule::Any),
                    field(16, 4, Rule::AtLeastSigned),
                    field(20, 4, Rule::AtLeastSigned),
                    field(36, 4, Rule::Any),
                    field(52, 4, Rule::Any),
                ]
            }
        }
        // Breakpoints that match contexts are the highest-numbered ones, so their number must be
        // the same; of the PMU's versions, the OS double lock and the counters of many threads, all ones is none.
        Register::ID_AA64DFR0_EL1 => {
            &const {
                [
                    field(8, 4, Rule::AtLeastSigned),
                    field(12, 4, Rule::Same),
                    field(28, 4, Rule::Same),
                    field(36, 4, Rule::AtLeastSigned),
                    field(48, 4, Rule::AtLeastSigned),
                ]
            }
        }
        // Of the granules, all ones is none; those of stage 2 and the security state are not the guest's.
        Register::ID_AA64MMFR0_EL1 => {
            &const {
                [
                    field(12, 4, Rule::Any),
                    field(24, 4, Rule::AtLeastSigned),
                    field(28, 4, Rule::AtLeastSigned),
                    field(32, 4, Rule::Any),
                    field(36, 4, Rule::Any),
                    field(40, 4, Rule::Any),
                    field(56, 4, Rule::Any),
                ]
            }
        }
        // What EL2 has: VMIDs, its host extensions, execution rights at stage 2, delayed traps, HCRX_EL2.
        Register::ID_AA64MMFR1_EL1 => {
            &const {
                [
                    field(4, 4, Rule::Any),
                    field(8, 4, Rule::Any),
                    field(28, 4, Rule::Any),
                    field(32, 4, Rule::Any),
                    field(40, 4, Rule::Any),
                ]
            }
        }
        // The format of CCSIDR_EL1 is another, not a better one. Nested virtualization, forced write-back and traps are
        // EL2's.
        Register::ID_AA64MMFR2_EL1 => {
            &const {
                [
                    field(20, 4, Rule::Same),
                    field(24, 4, Rule::Any),
                    field(40, 4, Rule::Any),
                    field(56, 4, Rule::Any),
                ]
            }
        }
        // Pointer authentication: a pointer signed by one algorithm does not authenticate by another.
        Register::ID_AA64ISAR1_EL1 => {
            &const {
                [
                    field(4, 4, Rule::Same),
                    field(8, 4, Rule::Same),
                    field(24, 4, Rule::Same),
                    field(28, 4, Rule::Same),
                ]
            }
        }
        Register::ID_AA64ISAR2_EL1 => {
            &const { [field(8, 4, Rule::Same), field(12, 4, Rule::Same)] }
        }
        // Of AArch32, what only privileged modes have, and no guest is in one: returns from and to exceptions, PSRs, SMC.
        Register::ID_ISAR1_EL1 => &const { [field(4, 4, Rule::Any), field(8, 4, Rule::Any)] },
        Register::ID_ISAR2_EL1 => &const { [field(24, 4, Rule::Any)] },
        Register::ID_ISAR4_EL1 => &const { [field(12, 4, Rule::Any), field(24, 4, Rule::Any)] },
        _ => &[],
    }
}

/// `CTR_EL0`: a guest that steps by its lines must not step over smaller ones; a cache that needs less maintenance may
/// not become one that needs more. The granules of exclusives and of write-back bind no guest without DMA.
const CACHE_TYPE: [Field; 5] = [
    field(0, 4, Rule::AtLeast),
    field(14, 2, Rule::AtLeast),
    field(16, 4, Rule::AtLeast),
    field(28, 1, Rule::AtLeast),
    field(29, 1, Rule::AtLeast),
];

/// `DCZID_EL0`: programs remember how much one `DC ZVA` clears.
const ZERO_BLOCK: [Field; 1] = [field(0, 5, Rule::Same)];

/// `PMCEID<n>_EL0`: a bit for each event.
const EVENTS: [Field; 1] = [field(0, 32, Rule::Superset)];

fn fields(register: Register) -> impl Iterator<Item = Field> {
    let (listed, nibbles): (&'static [Field], u32) = match register {
        Register::CTR_EL0 => (&CACHE_TYPE, 0),
        Register::DCZID_EL0 => (&ZERO_BLOCK, 0),
        Register::PMCEID0_EL0 | Register::PMCEID1_EL0 => (&EVENTS, 0),
        _ => (exceptions(register), 16),
    };
    let regular = (0..nibbles)
        .map(|nibble| field(4 * nibble, 4, Rule::AtLeast))
        .filter(|regular| listed.iter().all(|listed| listed.low != regular.low));
    listed.iter().copied().chain(regular)
}

/// Whether a machine described by `source` may move to a board described by `destination`.
///
/// The board's name, how long it has been up, where its memory is, and everything else that a description does not
/// hold, may differ.
pub fn compare(
    source: &MachineRecordV2,
    destination: &MachineRecordV2,
    other_core: OtherCore,
) -> Result<(), Refusal> {
    layout(source, destination)?;
    compare_processors(&source.baseline, &destination.baseline, other_core)
}

/// Whether a guest that relies on `source` may run where `destination` is what there is.
pub fn compare_processors(
    source: &BaselineV1,
    destination: &BaselineV1,
    other_core: OtherCore,
) -> Result<(), Refusal> {
    differences(source, destination, other_core)
        .next()
        .map_or(Ok(()), Err)
}

/// Everything that keeps a guest which relies on `source` from where `destination` is what there is.
pub fn differences<'a>(
    source: &'a BaselineV1,
    destination: &'a BaselineV1,
    other_core: OtherCore,
) -> impl Iterator<Item = Refusal> + 'a {
    let sides = [(Side::Source, source), (Side::Destination, destination)];
    let states = sides.into_iter().filter_map(|(side, baseline)| {
        let feature = coverage::beyond_records(&baseline.constants)?;
        Some(Refusal::State { side, feature })
    });
    let debug = |baseline: &BaselineV1| baseline.constants.contains(Register::MDRAR_EL1);
    let debug = (debug(source) && !debug(destination)).then_some(Refusal::GuestDebug);
    let known = other_core == OtherCore::Accepted || knows(source, destination);
    let registers = Register::ALL
        .into_iter()
        .filter(move |register| !(known && ImplementationV1::includes(*register)))
        .filter(|register| is_compared(*register))
        .flat_map(|register| register_differences(register, source, destination));
    states.chain(debug).chain(registers)
}

/// Whether it is one of those that say what a processor is.
fn is_compared(register: Register) -> bool {
    matches!(
        register.source(),
        Source::Probe | Source::ProbeCaches | Source::ProbeDebug | Source::ProbePmu
    )
}

/// The most that a guest can be promised of a register which is `one` on one board and `other` on another.
pub fn common(register: Register, one: u64, other: u64) -> Result<u64, Refusal> {
    match register.policy() {
        Policy::Ignore | Policy::Write => Ok(one),
        Policy::Exact if one == other => Ok(one),
        Policy::Exact => Err(Refusal::Different {
            register: register.name(),
            needed: one,
            found: other,
            reason: register.reason(),
        }),
        Policy::Fields => fields(register).try_fold(one, |value, field| {
            let (needed, found) = (field.of(one), field.of(other));
            let common = field.rule.common(field.width, needed, found);
            let common = common.ok_or_else(|| field.refusal(register, needed, found))?;
            Ok(value & !(field.mask() << field.low) | common << field.low)
        }),
    }
}

/// Whether the guest has been told of the destination's core.
fn knows(source: &BaselineV1, destination: &BaselineV1) -> bool {
    let found = ImplementationV1::of(&destination.constants);
    found.is_some_and(|found| source.knows(found))
}

fn layout(source: &MachineRecordV2, destination: &MachineRecordV2) -> Result<(), Refusal> {
    if source.ram_base != destination.ram_base {
        return Err(Refusal::RamBase {
            source_base: source.ram_base,
            destination_base: destination.ram_base,
        });
    }
    if source.ram_size != destination.ram_size {
        return Err(Refusal::RamSize {
            needed: source.ram_size,
            available: destination.ram_size,
        });
    }
    if source.vcpus > destination.vcpus {
        return Err(Refusal::Vcpus {
            needed: source.vcpus,
            available: destination.vcpus,
        });
    }
    if source.gic_version != destination.gic_version {
        return Err(Refusal::Gic {
            needed: source.gic_version,
            available: destination.gic_version,
        });
    }
    if source.shared_interrupts != destination.shared_interrupts {
        return Err(Refusal::Interrupts {
            needed: source.shared_interrupts,
            available: destination.shared_interrupts,
        });
    }
    Ok(())
}

/// The identification registers of AArch32 (DDI 0487, D24.2, `CRm` 1 to 3): where there is no AArch32, they say nothing.
pub fn is_of_32_bit_programs(register: Register) -> bool {
    matches!(register.encoding(), Some([3, 0, 0, 1..=3, _]))
}

/// Whether a guest may rely on 32-bit programs being run.
pub fn runs_32_bit_programs(baseline: &BaselineV1) -> bool {
    let levels = baseline.constants.word(Register::ID_AA64PFR0_EL1);
    levels.is_some_and(|levels| levels & 0xf == 2)
}

fn register_differences(
    register: Register,
    source: &BaselineV1,
    destination: &BaselineV1,
) -> impl Iterator<Item = Refusal> + use<> {
    let missing = |side| Refusal::Missing {
        register: register.name(),
        side,
    };
    let optional = register.source() != Source::Probe;
    let (needed, found) = (
        source.constants.word(register),
        destination.constants.word(register),
    );
    let unused = is_of_32_bit_programs(register) && !runs_32_bit_programs(source);
    let (whole, values) = match (register.policy(), needed, found) {
        _ if unused => (None, None),
        (Policy::Ignore | Policy::Write, ..) => (None, None),
        (_, None, _) if optional => (None, None),
        (_, None, _) => (Some(missing(Side::Source)), None),
        (_, _, None) => (Some(missing(Side::Destination)), None),
        (Policy::Exact, Some(needed), Some(found)) if needed == found => (None, None),
        (Policy::Exact, Some(needed), Some(found)) => {
            let different = Refusal::Different {
                register: register.name(),
                needed,
                found,
                reason: register.reason(),
            };
            (Some(different), None)
        }
        (Policy::Fields, Some(needed), Some(found)) => (None, Some((needed, found))),
    };
    let fields = values.into_iter().flat_map(move |(needed, found)| {
        fields(register).filter_map(move |field| {
            let (needed, found) = (field.of(needed), field.of(found));
            let admitted = field.rule.admits(field.width, needed, found);
            (!admitted).then(|| field.refusal(register, needed, found))
        })
    });
    whole.into_iter().chain(fields)
}

impl Field {
    const fn mask(self) -> u64 {
        (1 << self.width) - 1
    }

    const fn of(self, value: u64) -> u64 {
        value >> self.low & self.mask()
    }

    fn refusal(self, register: Register, needed: u64, found: u64) -> Refusal {
        Refusal::Field {
            register: register.name(),
            high: self.low + self.width - 1,
            low: self.low,
            needed,
            found,
            reason: self.rule.reason(),
        }
    }
}
