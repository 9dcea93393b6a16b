// SPDX-License-Identifier: BSD-2-Clause
//! What several processors have in common, for a guest that is to go between them.
//!
//! Responsible for: the baseline that a guest is promised, what that costs it, and how it is kept from using the rest: no
//! kernel here can hide an identification register from a guest, so that it sees what its board has whatever it was
//! promised. Linux is told by options of its command line (Documentation/admin-guide/kernel-parameters.txt) where there
//! are such; where there are none, the promise is refused, or the operator answers for the guest. Never: promises what the
//! board that it starts on lacks; that board looks again.

use std::fmt;

use state::admission::{self, OtherCore, Refusal};
use state::machine::MAX_PROMISE;
use state::record::{self, RecordError};
use state::{BaselineV1, ImplementationV1, MachineRecordV2, Register};

use super::{Named, set};

/// Why nothing can be promised.
#[derive(Debug, thiserror::Error)]
pub enum PromiseError {
    /// Two processors have nothing in common that a guest could be promised.
    #[error(
        "no guest can go between {own} and {other}: {refusal}{}",
        counter(refusal)
    )]
    Nothing {
        /// Where it starts.
        own: String,
        /// The other one.
        other: String,
        /// What differs.
        refusal: Refusal,
    },
    /// A guest cannot be kept from using something.
    #[error(
        "{own} has what not all of {others} have, and {whose} cannot be told not to use it:\n{}\n\
         Start it where none of that is. Or, if it never uses any of it, neither its kernel nor its programs: --promise",
        lines(costs)
    )]
    Unavoidable {
        /// Where it starts.
        own: String,
        /// All others.
        others: String,
        /// Linux, or a program of which nothing is known.
        whose: &'static str,
        /// What cannot be switched off.
        costs: Vec<Cost>,
    },
    /// More kinds of processors than a guest can learn of.
    #[error(
        "{found} different cores; a guest can learn of {}",
        state::baseline::MAX_IMPLEMENTATIONS
    )]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// The record cannot be written.
    #[error("the guest's promise: {0}")]
    Record(#[from] RecordError),
}

/// What helps where counters differ, under QEMU.
fn counter(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Different {
            register, found, ..
        } if *register == Register::CNTFRQ_EL0.name() => {
            format!("; QEMU's virt can count as often: --counter-frequency {found}")
        }
        _ => String::new(),
    }
}

fn lines(costs: &[Cost]) -> String {
    let lines: Vec<_> = costs.iter().map(|cost| format!("  {cost}")).collect();
    lines.join("\n")
}

/// Something that the board has, and the guest is not to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The field that says so.
    pub register: Register,
    /// Its highest bit.
    pub high: u32,
    /// Its lowest bit.
    pub low: u32,
    /// What it is on the board that the guest starts on.
    pub own: u64,
    /// What it may rely on.
    pub promised: u64,
    /// What keeps the guest from using the rest.
    pub avoided: Avoided,
}

/// What keeps a guest from using a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Avoided {
    /// An option of Linux's.
    Option(&'static str),
    /// The hypervisor, or what it says why that is so.
    Anyway(&'static str),
    /// Nothing.
    No,
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(feature) = Feature::of(self.register, self.low) {
            write!(formatter, "{}: ", feature.name)?;
        }
        let Self {
            register,
            high,
            low,
            own,
            promised,
            ..
        } = self;
        write!(
            formatter,
            "{}, bits {high} to {low}, is {own:#x}, {promised:#x} is promised",
            register.name()
        )?;
        match self.avoided {
            Avoided::Option(option) => write!(formatter, "; Linux is told {option}"),
            Avoided::Anyway(why) => write!(formatter, "; {why}"),
            Avoided::No => Ok(()),
        }
    }
}

/// What people call a field.
struct Feature {
    register: Register,
    low: u32,
    name: &'static str,
    /// What tells Linux not to use it.
    option: Option<&'static str>,
}

const fn feature(register: Register, low: u32, name: &'static str) -> Feature {
    Feature {
        register,
        low,
        name,
        option: None,
    }
}

const fn optional(
    register: Register,
    low: u32,
    name: &'static str,
    option: &'static str,
) -> Feature {
    Feature {
        option: Some(option),
        ..feature(register, low, name)
    }
}

const NO_POINTER_AUTHENTICATION: &str = "arm64.nopauth";
/// Linux then runs no 32-bit programs, which are all that reads their registers.
const NO_32_BIT_PROGRAMS: &str = "arm64.no32bit_el0";
/// `ID_AA64PFR0_EL1.EL0` without AArch32.
const AARCH64_ONLY: u64 = 1;

#[rustfmt::skip]
const FEATURES: [Feature; 49] = {
    use Register as R;
    [
        feature(R::ID_AA64ISAR0_EL1, 4, "AES instructions"),
        feature(R::ID_AA64ISAR0_EL1, 8, "SHA-1 instructions"),
        feature(R::ID_AA64ISAR0_EL1, 12, "SHA-2 instructions"),
        feature(R::ID_AA64ISAR0_EL1, 16, "CRC-32 instructions"),
        feature(R::ID_AA64ISAR0_EL1, 20, "LSE atomics"),
        feature(R::ID_AA64ISAR0_EL1, 28, "rounding multiplications (SQRDMLAH)"),
        feature(R::ID_AA64ISAR0_EL1, 32, "SHA-3 instructions"),
        feature(R::ID_AA64ISAR0_EL1, 44, "dot products"),
        feature(R::ID_AA64ISAR0_EL1, 48, "half-precision multiplications (FMLAL)"),
        feature(R::ID_AA64ISAR0_EL1, 52, "flag manipulation"),
        feature(R::ID_AA64ISAR0_EL1, 56, "TLB invalidation of ranges"),
        feature(R::ID_AA64ISAR0_EL1, 60, "random numbers (RNDR)"),
        feature(R::ID_AA64ISAR1_EL1, 0, "cleaning to the point of persistence (DC CVAP)"),
        optional(R::ID_AA64ISAR1_EL1, 4, "pointer authentication", NO_POINTER_AUTHENTICATION),
        optional(R::ID_AA64ISAR1_EL1, 8, "pointer authentication", NO_POINTER_AUTHENTICATION),
        feature(R::ID_AA64ISAR1_EL1, 12, "conversion for JavaScript (FJCVTZS)"),
        feature(R::ID_AA64ISAR1_EL1, 16, "complex numbers (FCMLA)"),
        feature(R::ID_AA64ISAR1_EL1, 20, "weaker acquiring loads (LDAPR)"),
        optional(R::ID_AA64ISAR1_EL1, 24, "pointer authentication", NO_POINTER_AUTHENTICATION),
        optional(R::ID_AA64ISAR1_EL1, 28, "pointer authentication", NO_POINTER_AUTHENTICATION),
        feature(R::ID_AA64ISAR1_EL1, 36, "speculation barrier (SB)"),
        feature(R::ID_AA64ISAR1_EL1, 44, "BFloat16"),
        feature(R::ID_AA64ISAR1_EL1, 52, "8-bit matrix multiplication"),
        optional(R::ID_AA64ISAR2_EL1, 8, "pointer authentication", NO_POINTER_AUTHENTICATION),
        optional(R::ID_AA64ISAR2_EL1, 12, "pointer authentication", NO_POINTER_AUTHENTICATION),
        optional(R::ID_AA64ISAR2_EL1, 16, "memory copy instructions", "arm64.nomops"),
        optional(R::ID_AA64PFR0_EL1, 0, "32-bit programs", NO_32_BIT_PROGRAMS),
        feature(R::ID_AA64PFR0_EL1, 16, "half precision"),
        feature(R::ID_AA64PFR0_EL1, 20, "half precision of vectors"),
        feature(R::ID_AA64PFR0_EL1, 28, "RAS"),
        optional(R::ID_AA64PFR0_EL1, 32, "SVE", "arm64.nosve"),
        feature(R::ID_AA64PFR0_EL1, 48, "data-independent timing"),
        feature(R::ID_AA64PFR0_EL1, 56, "branch prediction that other contexts cannot train (CSV2)"),
        feature(R::ID_AA64PFR0_EL1, 60, "no speculation with faulting loads' data (CSV3)"),
        optional(R::ID_AA64PFR1_EL1, 0, "branch target identification", "arm64.nobti"),
        feature(R::ID_AA64PFR1_EL1, 4, "speculative store bypass control (SSBS)"),
        optional(R::ID_AA64PFR1_EL1, 8, "memory tagging", "arm64.nomte"),
        optional(R::ID_AA64PFR1_EL1, 24, "SME", "arm64.nosme"),
        feature(R::ID_AA64MMFR0_EL1, 0, "bits of physical addresses"),
        feature(R::ID_AA64MMFR0_EL1, 20, "pages of 16 KiB"),
        feature(R::ID_AA64MMFR1_EL1, 0, "hardware's access flags and dirty bits"),
        feature(R::ID_AA64MMFR1_EL1, 12, "permissions that tables leave out (HPDS)"),
        feature(R::ID_AA64MMFR1_EL1, 16, "limited ordering regions"),
        feature(R::ID_AA64MMFR1_EL1, 20, "privileged access never (PAN)"),
        feature(R::ID_AA64MMFR2_EL1, 0, "common translations of several cores (CnP)"),
        feature(R::ID_AA64MMFR2_EL1, 4, "user access override (UAO)"),
        feature(R::ID_AA64MMFR2_EL1, 12, "implicit error barriers (IESB)"),
        feature(R::CTR_EL0, 14, "an instruction cache without aliases (L1Ip)"),
        feature(R::CTR_EL0, 28, "a data cache that need not be cleaned for instructions (IDC)"),
    ]
};

impl Feature {
    fn of(register: Register, low: u32) -> Option<&'static Self> {
        let mut features = FEATURES.iter();
        features.find(|feature| feature.register == register && feature.low == low)
    }
}

/// What people call what a field announces.
#[must_use]
pub fn feature_name(register: Register, low: u32) -> Option<&'static str> {
    Feature::of(register, low).map(|feature| feature.name)
}

/// What is known of a guest that is to be promised something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guest {
    /// It is Linux, and heeds its command line.
    pub linux: bool,
    /// It has debug registers, and perhaps a performance monitor.
    pub debug: bool,
    /// Its operator answers for it: it does not use what it was not promised.
    pub answered_for: bool,
}

/// What a guest is promised.
#[derive(Clone, Debug)]
pub struct Promise {
    /// What it may rely on, and the implementations that it learns of, its own first.
    pub baseline: BaselineV1,
    /// What its board has besides.
    pub costs: Vec<Cost>,
}

impl Promise {
    /// What has to be in its command line.
    #[must_use]
    pub fn options(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        for cost in &self.costs {
            if let Avoided::Option(option) = cost.avoided
                && !options.contains(&option)
            {
                options.push(option);
            }
        }
        options
    }

    /// The record that its image has.
    ///
    /// # Errors
    ///
    /// There is no room for it.
    pub fn record(&self) -> Result<Vec<u8>, RecordError> {
        // Of a machine, only its baseline counts there; the rest has to be legal.
        let machine = MachineRecordV2 {
            vcpus: 1,
            gic_version: 2,
            baseline: self.baseline.clone(),
            ..MachineRecordV2::default()
        };
        let mut bytes = vec![0; MAX_PROMISE];
        let length = record::encode(&machine, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// What a guest that starts on `own` is promised so that it can go to all of `others`, and back.
///
/// # Errors
///
/// They have too little in common, or the guest cannot be kept from using the rest.
pub fn promise(own: &Named, others: &[Named], guest: Guest) -> Result<Promise, PromiseError> {
    let mut baseline = own.baseline.clone();
    for other in others {
        lower(&mut baseline, &other.baseline).map_err(|refusal| PromiseError::Nothing {
            own: own.name.clone(),
            other: other.name.clone(),
            refusal,
        })?;
    }
    if guest.linux {
        without_32_bit_programs(own, &mut baseline);
    }
    let implementations = implementations(own, others);
    let found = implementations.len();
    baseline.implementations.clear();
    for implementation in implementations {
        (baseline.implementations.push(implementation))
            .map_err(|_| PromiseError::TooMany { found })?;
    }
    let costs = costs(own, &baseline, guest);
    let unavoidable: Vec<_> = costs
        .iter()
        .filter(|cost| cost.avoided == Avoided::No)
        .copied()
        .collect();
    if !unavoidable.is_empty() && !guest.answered_for {
        let names: Vec<_> = others.iter().map(|other| other.name.as_str()).collect();
        return Err(PromiseError::Unavoidable {
            own: own.name.clone(),
            others: names.join(", "),
            whose: match guest.linux {
                true => "Linux",
                false => "a program of which nothing is known",
            },
            costs: unavoidable,
        });
    }
    Ok(Promise { baseline, costs })
}

/// Leaves of a baseline what another processor has as well.
fn lower(baseline: &mut BaselineV1, other: &BaselineV1) -> Result<(), Refusal> {
    let values: Vec<_> = (baseline.constants.iter())
        .filter(|(register, _)| !ImplementationV1::includes(*register))
        .filter_map(|(register, _)| {
            let one = baseline.constants.word(register)?;
            Some((register, one, other.constants.word(register)?))
        })
        .collect();
    for (register, one, other) in values {
        let common = admission::common(register, one, other)?;
        set(&mut baseline.constants, register, common);
    }
    Ok(())
}

/// Where 32-bit programs would miss something, Linux runs none: then nobody reads what is there for them.
fn without_32_bit_programs(own: &Named, baseline: &mut BaselineV1) {
    let refusals = admission::differences(&own.baseline, baseline, OtherCore::Accepted);
    let fields = refusals.filter_map(|refusal| field(&refusal));
    let misses = fields
        .into_iter()
        .any(|(register, ..)| admission::is_of_32_bit_programs(register));
    if misses && let Some(levels) = baseline.constants.word(Register::ID_AA64PFR0_EL1) {
        let levels = levels & !0xf | AARCH64_ONLY;
        set(&mut baseline.constants, Register::ID_AA64PFR0_EL1, levels);
    }
}

/// All implementations, none twice, that of the board that the guest starts on first.
fn implementations(own: &Named, others: &[Named]) -> Vec<ImplementationV1> {
    let mut implementations = Vec::new();
    for named in [own].into_iter().chain(others) {
        for implementation in &named.baseline.implementations {
            if !implementations.contains(implementation) {
                implementations.push(*implementation);
            }
        }
    }
    implementations
}

fn field(refusal: &Refusal) -> Option<(Register, u32, u32, u64, u64)> {
    match *refusal {
        Refusal::Field {
            register,
            high,
            low,
            needed,
            found,
            ..
        } => Some((Register::from_name(register)?, high, low, needed, found)),
        _ => None,
    }
}

fn costs(own: &Named, baseline: &BaselineV1, guest: Guest) -> Vec<Cost> {
    let refusals = admission::differences(&own.baseline, baseline, OtherCore::Accepted);
    let fields = refusals.filter_map(|refusal| field(&refusal));
    let no_32_bit_programs = !admission::runs_32_bit_programs(baseline);
    fields
        .filter(|(register, ..)| {
            !(no_32_bit_programs && admission::is_of_32_bit_programs(*register))
        })
        .map(|(register, high, low, own, promised)| Cost {
            register,
            high,
            low,
            own,
            promised,
            avoided: avoided(register, low, guest),
        })
        .collect()
}

fn avoided(register: Register, low: u32, guest: Guest) -> Avoided {
    if register == Register::ID_AA64DFR0_EL1 && !guest.debug {
        return Avoided::Anyway("the guest has no debug registers and no performance monitor");
    }
    let option = Feature::of(register, low).and_then(|feature| feature.option);
    match option {
        Some(option) if guest.linux => Avoided::Option(option),
        _ => Avoided::No,
    }
}

#[cfg(test)]
mod tests;
