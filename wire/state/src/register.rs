// SPDX-License-Identifier: BSD-2-Clause
//! A register of the table: its name, public identifier, and what is done with it.
//!
//! Responsible for: turning the table's rows into values. Identifiers are those of Linux's `KVM_GET_ONE_REG`
//! (`arch/arm64/include/uapi/asm/kvm.h`), so that people can compare. Never: reads or writes a register.

use register_table::register_table;

/// What kind of state a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// General registers, program counter, processor state.
    Core,
    /// System registers of EL1 and EL0.
    System,
    /// The 128-bit vector registers with their control and status.
    FloatingPoint,
    /// Self-hosted debug.
    Debug,
    /// The performance monitor.
    Pmu,
    /// The generic timer.
    Timer,
    /// What the processor is: identification, cache geometry, frequency.
    Constant,
}

/// Where a register is captured, and where a restore puts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The thread's registers, from the kernel.
    Thread,
    /// The kernel's vCPU object.
    Object,
    /// The capture stub, by the group's one sequence.
    Stub,
    /// The capture stub, by an instruction of its own: it needs the register itself.
    StubOwn,
    /// The capture stub, vector registers.
    StubVectors,
    /// The capture stub, if the processor has so many breakpoints.
    StubBreakpoints,
    /// The capture stub, if the processor has so many watchpoints.
    StubWatchpoints,
    /// The capture stub, if there is a performance monitor.
    StubPmu,
    /// The capture stub, if the performance monitor has so many event counters.
    StubCounters,
    /// `timer-pd`, in its own record.
    TimerDomain,
    /// The capture stub once at start-up: the board's constants.
    Probe,
    /// The same, by selecting each cache.
    ProbeCaches,
    /// The same, if the debug registers can be reached.
    ProbeDebug,
    /// The same, if there is a performance monitor and it can be reached.
    ProbePmu,
}

/// What a restore does with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Writes it, as state and not as a guest's write.
    Write,
    /// Refuses a destination where it differs.
    Exact,
    /// Refuses a destination where one of its fields promises the guest less.
    Fields,
    /// Nothing; it is there to be looked at.
    Ignore,
}

/// How wide a register is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
    /// 128 bits.
    W128,
}

/// The public identifier of a register, `KVM_REG_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(u64);

/// `KVM_REG_ARM64`.
const ARCHITECTURE: u64 = 0x6000_0000_0000_0000;
/// Where the size stands in an identifier (`KVM_REG_SIZE_SHIFT`): log2 of its bytes.
const SIZE_SHIFT: u32 = 52;
/// `KVM_REG_ARM_CORE`.
const CORE: u32 = 0x0010_0000;
/// `KVM_REG_ARM_DEMUX` with `KVM_REG_ARM_DEMUX_ID_CCSIDR`.
const CACHE: u32 = 0x0011_0000;
/// `KVM_REG_ARM64_SYSREG`.
const SYSTEM: u32 = 0x0013_0000;

const fn system(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    SYSTEM | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

impl Width {
    /// How many bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::W32 => 32,
            Self::W64 => 64,
            Self::W128 => 128,
        }
    }

    /// Whether `value` fits.
    pub const fn holds(self, value: u128) -> bool {
        matches!(self, Self::W128) || value >> self.bits() == 0
    }
}

impl Identifier {
    const fn new(key: u32, width: Width) -> Self {
        let size = width.bits().trailing_zeros() as u64 - 3;
        Self(ARCHITECTURE | size << SIZE_SHIFT | key as u64)
    }

    /// The number, as `KVM_GET_ONE_REG` takes it.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// Its low 32 bits, which tell registers apart: what records carry. The rest is architecture and size.
    pub const fn key(self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low half is what is meant"
        )]
        let key = self.0 as u32;
        key
    }
}

/// Everything the table says about a register.
struct Row {
    name: &'static str,
    identifier: Identifier,
    encoding: Option<[u8; 5]>,
    width: Width,
    class: Class,
    source: Source,
    policy: Policy,
    reason: &'static str,
}

/// The identifier's key, the width and the encoding of a row.
macro_rules! identify {
    (core($offset:literal)) => {
        (CORE | $offset, Width::W64, None)
    };
    (vector($offset:literal)) => {
        (CORE | $offset, Width::W128, None)
    };
    (core_system($offset:literal, $($field:literal),*)) => {
        (CORE | $offset, Width::W64, Some([$($field),*]))
    };
    (core_system32($offset:literal, $($field:literal),*)) => {
        (CORE | $offset, Width::W32, Some([$($field),*]))
    };
    (system($($field:literal),*)) => {
        (system($($field),*), Width::W64, Some([$($field),*]))
    };
    (cache($selector:literal)) => {
        (CACHE | $selector, Width::W32, None)
    };
    (alias($($known:literal),*; $($field:literal),*)) => {
        (system($($known),*), Width::W64, Some([$($field),*]))
    };
}

macro_rules! registers {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident($($identifier:tt)*);)*
    })*) => {
        /// A register of the table, by Arm's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(non_camel_case_types, reason = "Arm's names")]
        #[allow(missing_docs, reason = "Arm documents them; the table says what is done with each")]
        #[repr(u16)]
        pub enum Register { $($($name,)*)* }

        impl Register {
            /// All of them, in the order of the table.
            pub const ALL: [Self; REGISTER_COUNT] = [$($(Self::$name,)*)*];
        }

        /// How many registers the table has.
        pub const REGISTER_COUNT: usize = [$($(stringify!($name),)*)*].len();

        static ROWS: [Row; REGISTER_COUNT] = [$($({
            let (key, width, encoding) = identify!($kind($($identifier)*));
            Row {
                name: stringify!($name),
                identifier: Identifier::new(key, width),
                encoding,
                width,
                class: Class::$class,
                source: Source::$source,
                policy: Policy::$policy,
                reason: $reason,
            }
        },)*)*];
    };
}

register_table!(registers);

/// The registers in the order of their keys.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse it"
)]
static BY_KEY: [Register; REGISTER_COUNT] = {
    let mut sorted = Register::ALL;
    let mut next = 1;
    while next < REGISTER_COUNT {
        let mut at = next;
        while at > 0 && sorted[at].key() < sorted[at - 1].key() {
            sorted.swap(at, at - 1);
            at -= 1;
        }
        next += 1;
    }
    sorted
};

impl Register {
    #[expect(clippy::indexing_slicing, reason = "there is a row for each register")]
    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Its place in the table.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Arm's name.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The public identifier.
    pub const fn identifier(self) -> Identifier {
        self.row().identifier
    }

    /// What records carry of the identifier.
    pub const fn key(self) -> u32 {
        self.row().identifier.key()
    }

    /// `op0, op1, CRn, CRm, op2` of the instruction that accesses it, if it is a system register.
    pub const fn encoding(self) -> Option<[u8; 5]> {
        self.row().encoding
    }

    /// How wide it is.
    pub const fn width(self) -> Width {
        self.row().width
    }

    /// What kind of state it is.
    pub const fn class(self) -> Class {
        self.row().class
    }

    /// Where it is captured.
    pub const fn source(self) -> Source {
        self.row().source
    }

    /// What a restore does with it.
    pub const fn policy(self) -> Policy {
        self.row().policy
    }

    /// Why.
    pub const fn reason(self) -> &'static str {
        self.row().reason
    }

    /// All registers in ascending order of their keys, which is their order in records.
    pub fn by_key() -> impl ExactSizeIterator<Item = Self> {
        BY_KEY.iter().copied()
    }

    /// The register that has a key.
    pub fn from_key(key: u32) -> Option<Self> {
        let position = BY_KEY
            .binary_search_by_key(&key, |register| register.key())
            .ok()?;
        BY_KEY.get(position).copied()
    }

    /// The register that has a public identifier, size and architecture included.
    pub fn from_identifier(identifier: u64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the rest is compared")]
        let register = Self::from_key(identifier as u32)?;
        (register.identifier().value() == identifier).then_some(register)
    }

    /// The register that has a name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|register| register.name().eq_ignore_ascii_case(name))
    }

    /// General register `x0` to `x30`.
    pub fn general(number: usize) -> Option<Self> {
        Self::ALL.get(..31)?.get(number).copied()
    }

    /// Vector register `v0` to `v31`.
    pub fn vector(number: usize) -> Option<Self> {
        Self::ALL.get(Self::V0.index()..)?.get(number).copied()
    }
}
