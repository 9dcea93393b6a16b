// SPDX-License-Identifier: BSD-2-Clause
//! Why a request is refused, and why a move does not take place, as it travels.

use super::MoveId;
use super::management::Phase;
use core::fmt;
use serde::{Deserialize, Serialize};
use state::Register;
use state::coverage::{Feature, announced_by};
use state::legal::Illegal;
use thiserror::Error;
use vm::{Refusal, codes};

codes! {
    /// A domain that has a record.
    pub enum Domain {
        /// `vmm-pd`: the vCPUs and the console.
        Vmm = 1,
        /// `vgic-pd`: the interrupt controller.
        Vgic = 2,
        /// `timer-pd`: the count and the virtual timers.
        Timer = 3,
    }
}

impl core::fmt::Display for Domain {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Vmm => "vmm-pd",
            Self::Vgic => "vgic-pd",
            Self::Timer => "timer-pd",
        })
    }
}

/// Why a board refuses a request of the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(into = "Coded", try_from = "Coded")]
pub enum RequestError {
    /// Not while the machine is in this phase.
    #[error("not while the guest is {phase}")]
    WrongPhase {
        /// The phase it is in.
        phase: Phase,
    },
    /// Not while this move is under way.
    #[error("not while move {id} is under way")]
    Moving {
        /// The move.
        id: MoveId,
    },
    /// Not while this board does not know whether that move took place: who would resume the guest, or drop it,
    /// has to give a [`Verdict`](super::management::Verdict).
    #[error("not while move {id} is in doubt")]
    InDoubt {
        /// The move.
        id: MoveId,
    },
    /// There is no such move under way, or no such doubt.
    #[error("there is no such move under way")]
    NoSuchMove,
    /// The move's number is not greater than that of the last move.
    #[error("a move's number must be greater than {newest}")]
    StaleMove {
        /// The greatest number this board knows.
        newest: MoveId,
    },
    /// `migration_heap` in `system.xml` is too small for the guest's RAM.
    #[error("migration_heap has {available} bytes; a guest of this size needs {needed}")]
    HeapTooSmall {
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// A domain of the board did not do what was asked.
    #[error("{domain} refused or did not understand (reason {reason})")]
    PeerDomain {
        /// The domain.
        domain: Domain,
        /// Its reason, as its channel numbers it; 0 if it was not understood.
        reason: u64,
    },
    /// A register that cannot be set.
    #[error(
        "vCPU {vcpu} has no register {register:#x} that can be set to this: it was not captured, a \
         restore does not write it, or the value is too wide"
    )]
    BadRegister {
        /// The vCPU.
        vcpu: u8,
        /// The register's key.
        register: u32,
    },
    /// A register cannot have the value that it is to be given.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The request was not understood.
    #[error("the board does not understand the request")]
    NotUnderstood,
}

/// Why a move did not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
#[serde(into = "Coded", try_from = "Coded")]
pub enum MoveFailure {
    /// The operator called it off.
    #[error("the operator called it off")]
    Operator,
    /// Nothing was heard from the other board for too long.
    #[error("nothing was heard from the other board")]
    Silence,
    /// The destination has a guest already.
    #[error("the destination is not empty (its guest is {phase})")]
    Occupied {
        /// The phase of the destination's machine.
        phase: Phase,
    },
    /// The destination takes part in another move, or has not resolved the last one.
    #[error("the destination is busy with move {id}")]
    Busy {
        /// That move.
        id: MoveId,
    },
    /// The move's number is not greater than that of the destination's last move.
    #[error("the destination has seen move {newest} already, and this one is older")]
    StaleMove {
        /// The greatest number that the destination knows.
        newest: MoveId,
    },
    /// The boards were not built for guests with the same RAM.
    #[error("the guest has {source_bytes} bytes of RAM and the destination {destination_bytes}")]
    RamSize {
        /// The source's, in bytes.
        source_bytes: u64,
        /// The destination's, in bytes.
        destination_bytes: u64,
    },
    /// The destination is not what the guest has seen. Comparing the two boards' descriptions with
    /// `state::admission` says it in words.
    #[error("the boards differ in {item:#x}: {found:#x} there, the guest has seen {needed:#x}")]
    Machine {
        /// What differs: a register's public identifier, or one of [`layout`].
        item: u64,
        /// What the guest has seen, of the field that differs.
        needed: u64,
        /// The destination's.
        found: u64,
    },
    /// A message is missing or came twice.
    #[error("message {found} came where {expected} was due")]
    Sequence {
        /// The number due.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// A message of the move could not be understood.
    #[error("message {kind:#04x} of the move was malformed")]
    Malformed {
        /// The frame's kind.
        kind: u8,
    },
    /// After everything was sent, the two boards' memory differs.
    #[error("the memory that arrived is not the memory that was sent")]
    Digest,
    /// A domain of the destination refused its record.
    #[error("the destination's {domain} refused its record ({})", refusal(*domain, *reason))]
    Record {
        /// The domain.
        domain: Domain,
        /// Its reason, as its channel numbers it; 0 if it was not understood.
        reason: u64,
    },
    /// No guest on the destination's processor can have a value that is in the records.
    #[error("the destination refuses a record: {0}")]
    Illegal(#[from] Illegal),
    /// A processor has state that no record carries.
    #[error(
        "the processor has {0}, whose state is not in the records: a guest there is neither moved nor kept"
    )]
    State(Feature),
    /// A domain of the source did not give out its record.
    #[error("the source's {domain} gave out no record (reason {reason})")]
    Export {
        /// The domain.
        domain: Domain,
        /// Its reason, as its channel numbers it; 0 if it was not understood.
        reason: u64,
    },
    /// The guest itself ended meanwhile.
    #[error("the guest is {phase}")]
    GuestEnded {
        /// What became of it.
        phase: Phase,
    },
    /// `migration_heap` of the destination is too small for the guest's RAM.
    #[error("the destination's migration_heap has {available} bytes and needs {needed}")]
    HeapTooSmall {
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// The destination was asked about a move that it has no part in (any more).
    #[error("the destination knows of no such move")]
    NotKnown,
    /// The destination keeps a copy, and the guest continues at its source: it was a snapshot.
    #[error("the guest was only to be copied")]
    Copied,
    /// The guest would be paused for longer than the operator allows, or has.
    #[error(
        "with {pages} dirty pages to be sent the guest would be paused for some {expected_ms} ms in all, longer than \
         the {allowed_ms} ms allowed"
    )]
    Downtime {
        /// Dirty pages.
        pages: u32,
        /// For how long it would be paused, as far as known, in ms.
        expected_ms: u32,
        /// What the operator allows, in ms.
        allowed_ms: u32,
    },
    /// What the guest is started from did not arrive as it was offered.
    #[error("what the guest starts from (bundle {identity:#x}) did not arrive as it was offered")]
    Bundle {
        /// The identity of the bundle offered.
        identity: u64,
    },
    /// The destination has no room for what the guest is started from.
    #[error(
        "what the guest starts from has {needed} bytes, and the destination has room for {available}"
    )]
    BundleRoom {
        /// The bundle's bytes, in whole pages.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
}

/// Why a domain refuses a record, in words.
fn refusal(domain: Domain, reason: u64) -> Words {
    if domain == Domain::Vmm && reason == Refusal::NoFirmware as u64 {
        Words::NoFirmware
    } else {
        Words::Number(reason)
    }
}

#[derive(Debug)]
enum Words {
    NoFirmware,
    Number(u64),
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFirmware => formatter.write_str(
                "the guest has firmware, and its bundle is not there: restore it to a board that was started with it",
            ),
            Self::Number(reason) => write!(formatter, "reason {reason}"),
        }
    }
}

/// What of a machine can differ besides registers, whose identifiers are far greater.
pub mod layout {
    /// Where guest RAM begins.
    pub const RAM_BASE: u64 = 1;
    /// How much there is.
    pub const RAM_SIZE: u64 = 2;
    /// How many vCPUs there are.
    pub const VCPUS: u64 = 3;
    /// The GIC's version.
    pub const GIC: u64 = 4;
    /// How many shared interrupts it has.
    pub const INTERRUPTS: u64 = 5;
}

/// A reason as it travels: its number and three details, zero where it has none.
#[derive(Serialize, Deserialize)]
struct Coded(u8, u64, u64, u64);

impl From<RequestError> for Coded {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::WrongPhase { phase } => Self(1, u8::from(phase).into(), 0, 0),
            RequestError::Moving { id } => Self(2, id.0, 0, 0),
            RequestError::NoSuchMove => Self(3, 0, 0, 0),
            RequestError::StaleMove { newest } => Self(4, newest.0, 0, 0),
            RequestError::HeapTooSmall { needed, available } => Self(5, needed, available, 0),
            RequestError::PeerDomain { domain, reason } => {
                Self(6, u8::from(domain).into(), reason, 0)
            }
            RequestError::NotUnderstood => Self(7, 0, 0, 0),
            RequestError::BadRegister { vcpu, register } => {
                Self(8, vcpu.into(), register.into(), 0)
            }
            RequestError::InDoubt { id } => Self(9, id.0, 0, 0),
            RequestError::Illegal(illegal) => illegal_value(10, illegal),
        }
    }
}

impl TryFrom<Coded> for RequestError {
    type Error = &'static str;

    fn try_from(Coded(code, first, second, third): Coded) -> Result<Self, Self::Error> {
        Ok(match code {
            1 => Self::WrongPhase {
                phase: code_of(first)?,
            },
            2 => Self::Moving { id: MoveId(first) },
            3 => Self::NoSuchMove,
            4 => Self::StaleMove {
                newest: MoveId(first),
            },
            5 => Self::HeapTooSmall {
                needed: first,
                available: second,
            },
            6 => Self::PeerDomain {
                domain: code_of(first)?,
                reason: second,
            },
            7 => Self::NotUnderstood,
            8 => Self::BadRegister {
                vcpu: u8::try_from(first).map_err(|_| "a vCPU out of range")?,
                register: u32::try_from(second).map_err(|_| "a register out of range")?,
            },
            9 => Self::InDoubt { id: MoveId(first) },
            10 => Self::Illegal(illegal_of(first, second, third)?),
            _ => return Err("unknown RequestError"),
        })
    }
}

impl From<MoveFailure> for Coded {
    fn from(failure: MoveFailure) -> Self {
        match failure {
            MoveFailure::Operator => Self(1, 0, 0, 0),
            MoveFailure::Silence => Self(2, 0, 0, 0),
            MoveFailure::Occupied { phase } => Self(3, u8::from(phase).into(), 0, 0),
            MoveFailure::Busy { id } => Self(4, id.0, 0, 0),
            MoveFailure::StaleMove { newest } => Self(5, newest.0, 0, 0),
            MoveFailure::RamSize {
                source_bytes,
                destination_bytes,
            } => Self(6, source_bytes, destination_bytes, 0),
            MoveFailure::Machine {
                item,
                needed,
                found,
            } => Self(7, item, needed, found),
            MoveFailure::Sequence { expected, found } => Self(8, expected.into(), found.into(), 0),
            MoveFailure::Malformed { kind } => Self(9, kind.into(), 0, 0),
            MoveFailure::Digest => Self(10, 0, 0, 0),
            MoveFailure::Record { domain, reason } => Self(11, u8::from(domain).into(), reason, 0),
            MoveFailure::Export { domain, reason } => Self(12, u8::from(domain).into(), reason, 0),
            MoveFailure::GuestEnded { phase } => Self(13, u8::from(phase).into(), 0, 0),
            MoveFailure::HeapTooSmall { needed, available } => Self(14, needed, available, 0),
            MoveFailure::NotKnown => Self(15, 0, 0, 0),
            MoveFailure::Copied => Self(16, 0, 0, 0),
            MoveFailure::Downtime {
                pages,
                expected_ms,
                allowed_ms,
            } => Self(17, pages.into(), expected_ms.into(), allowed_ms.into()),
            MoveFailure::Illegal(illegal) => illegal_value(18, illegal),
            MoveFailure::State(feature) => {
                let register = feature.register.identifier().value();
                Self(19, register, feature.low.into(), 0)
            }
            MoveFailure::Bundle { identity } => Self(20, identity, 0, 0),
            MoveFailure::BundleRoom { needed, available } => Self(21, needed, available, 0),
        }
    }
}

impl TryFrom<Coded> for MoveFailure {
    type Error = &'static str;

    fn try_from(Coded(code, first, second, third): Coded) -> Result<Self, Self::Error> {
        let narrow = |value: u64| u32::try_from(value).map_err(|_| "a number out of range");
        Ok(match code {
            1 => Self::Operator,
            2 => Self::Silence,
            3 => Self::Occupied {
                phase: code_of(first)?,
            },
            4 => Self::Busy { id: MoveId(first) },
            5 => Self::StaleMove {
                newest: MoveId(first),
            },
            6 => Self::RamSize {
                source_bytes: first,
                destination_bytes: second,
            },
            7 => Self::Machine {
                item: first,
                needed: second,
                found: third,
            },
            8 => Self::Sequence {
                expected: narrow(first)?,
                found: narrow(second)?,
            },
            9 => Self::Malformed {
                kind: u8::try_from(first).map_err(|_| "a kind out of range")?,
            },
            10 => Self::Digest,
            11 => Self::Record {
                domain: code_of(first)?,
                reason: second,
            },
            12 => Self::Export {
                domain: code_of(first)?,
                reason: second,
            },
            13 => Self::GuestEnded {
                phase: code_of(first)?,
            },
            14 => Self::HeapTooSmall {
                needed: first,
                available: second,
            },
            15 => Self::NotKnown,
            16 => Self::Copied,
            17 => Self::Downtime {
                pages: narrow(first)?,
                expected_ms: narrow(second)?,
                allowed_ms: narrow(third)?,
            },
            18 => Self::Illegal(illegal_of(first, second, third)?),
            19 => Self::State(feature_of(first, second)?),
            20 => Self::Bundle { identity: first },
            21 => Self::BundleRoom {
                needed: first,
                available: second,
            },
            _ => return Err("unknown MoveFailure"),
        })
    }
}

/// vCPU and key share the first detail.
fn illegal_value(code: u8, illegal: Illegal) -> Coded {
    let Illegal {
        vcpu,
        register,
        value,
        bits,
    } = illegal;
    Coded(
        code,
        (vcpu as u64) << 32 | u64::from(register.key()),
        value,
        bits,
    )
}

fn feature_of(register: u64, low: u64) -> Result<Feature, &'static str> {
    let register = Register::from_identifier(register).ok_or("an unknown register")?;
    let low = u32::try_from(low).map_err(|_| "a bit out of range")?;
    announced_by(register, low).ok_or("an unknown feature")
}

fn illegal_of(first: u64, value: u64, bits: u64) -> Result<Illegal, &'static str> {
    let vcpu = u8::try_from(first >> 32).map_err(|_| "a vCPU out of range")?;
    let key = u32::try_from(first & 0xffff_ffff).map_err(|_| "a register out of range")?;
    Ok(Illegal {
        vcpu: vcpu.into(),
        register: Register::from_key(key).ok_or("an unknown register")?,
        value,
        bits,
    })
}

/// A value of an enumeration with codes of one byte.
fn code_of<T: TryFrom<u8, Error = &'static str>>(code: u64) -> Result<T, &'static str> {
    u8::try_from(code)
        .map_err(|_| "a code out of range")
        .and_then(T::try_from)
}
