//! Calls from `migration-pd` to `vmm-pd`.
//!
//! Stopping needs the vCPUs to run the capture stub, so a call cannot wait for it: the request is
//! accepted at once, and `vmm-pd` notifies the channel whenever [`Status::phase`] has changed.

use hang::Hang;

use crate::message::ANSWER;
use crate::{Message, ProtocolError, VcpuId};

/// What the machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// `vmm-pd` reads this board's constants through the capture stub; soon another phase.
    Starting = 0,
    /// No guest; ready to receive one.
    Empty = 1,
    /// The guest runs.
    Running = 2,
    /// On the way to [`Self::Stopped`].
    Stopping = 3,
    /// All vCPUs stand still, captured; time is frozen; records can be exported.
    Stopped = 4,
    /// On the way to [`Self::Running`].
    Resuming = 5,
    /// The guest switched itself off (PSCI `SYSTEM_OFF`).
    Off = 6,
    /// The guest was stopped for a fault; [`Status::detail`] says which.
    Failed = 7,
    /// Records were imported; [`Request::Resume`] starts the guest.
    Imported = 8,
}

/// Why a guest was stopped ([`Phase::Failed`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Failure {
    /// No failure.
    None = 0,
    /// The guest bundle is not one or does not fit this machine.
    BadBundle = 1,
    /// The kernel refused an invocation on a vCPU or its thread.
    Kernel = 2,
    /// `vgic-pd` or `timer-pd` gave an answer that is none.
    Neighbour = 3,
    /// The capture stub did not come back as it should.
    Capture = 4,
    /// The guest asked for a reset and there is no bundle here to start it from.
    NoBundle = 5,
    /// A fault that no guest can cause on this kernel.
    UnexpectedFault = 6,
    /// The guest is promised what this board's processor lacks; the detail is the register's identifier, or 0 if it is the
    /// core itself that the guest is not told of.
    Promise = 7,
}

/// A request to `vmm-pd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Request {
    /// Answered with [`Status`].
    Status,
    /// Stop and capture all vCPUs. Accepted while running; ends in [`Phase::Stopped`].
    Stop,
    /// Go on after [`Phase::Stopped`] or [`Phase::Imported`]; ends in [`Phase::Running`].
    Resume,
    /// Writes the record of the vCPUs and the console into the export region. Only while the guest
    /// stands still. Answer: its length in bytes.
    Export,
    /// Takes over the record of `length` bytes in the import region, all or nothing. Only while
    /// empty; ends in [`Phase::Imported`].
    Import { length: u32 },
    /// Forgets the guest (stopped, imported, off or failed); ends in [`Phase::Empty`].
    Discard,
    /// Writes what this board is to a guest (identification registers, cache geometry, counter
    /// frequency, RAM layout) into the export region. Answer: its length.
    Describe,
    /// Counters of exits since start, by cause; answered with [`Statistics`]' words.
    Statistics,
    /// Gives a register of a vCPU that stands still another value, at the operator's word:
    /// `register` is its key in records. Only one that was captured and that a restore writes, and
    /// not one of the timer's, which is `timer-pd`'s.
    SetRegister {
        vcpu: VcpuId,
        register: u32,
        value: u128,
    },
    /// Whether a vCPU hangs, as far as its registers tell at this moment; answered with [`encode_hang`]. It runs on.
    Look { vcpu: VcpuId },
}

/// The answer to [`Request::Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What the machine is doing.
    pub phase: Phase,
    /// How many vCPUs the guest has; 0 while empty.
    pub vcpus: u8,
    /// Why, if the phase is [`Phase::Failed`].
    pub failure: Failure,
    /// What the failure is about: a fault's syndrome, an error's number.
    pub detail: u64,
    /// Where the guest was: the program counter of the vCPU concerned.
    pub program_counter: u64,
    /// The identity of the bundle that the guest was started from, here or on another board; 0 if that is not known, or
    /// there is none.
    pub bundle: u64,
}

/// Why `vmm-pd` refuses a request that it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// Not in this phase.
    WrongPhase = 1,
    /// The record to import is not one, or does not fit this machine.
    BadRecord = 2,
    /// The register was not captured, or is not for writing, or the value is too wide for it.
    BadRegister = 3,
    /// A register cannot have that value; the answer says which and why ([`Message::illegal_value`]).
    IllegalValue = 4,
    /// The guest has firmware, and what this board starts a guest from is not that guest's.
    NoFirmware = 5,
}

/// Exits since start, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// SMC: PSCI and SMCCC calls.
    pub smc: u64,
    /// Stage-2 aborts on the console.
    pub console: u64,
    /// Stage-2 aborts on the distributor.
    pub distributor: u64,
    /// Other stage-2 aborts.
    pub other_aborts: u64,
    /// WFI and WFE.
    pub wait: u64,
    /// Virtual timer events.
    pub timer: u64,
    /// Ends of interrupts.
    pub maintenance: u64,
    /// System register traps and everything else.
    pub other: u64,
}

const STATUS: u64 = 1;
const STOP: u64 = 2;
const RESUME: u64 = 3;
const EXPORT: u64 = 4;
const IMPORT: u64 = 5;
const DISCARD: u64 = 6;
const DESCRIBE: u64 = 7;
const STATISTICS: u64 = 8;
const SET_REGISTER: u64 = 9;
const LOOK: u64 = 10;

impl TryFrom<u64> for Phase {
    type Error = ProtocolError;

    fn try_from(word: u64) -> Result<Self, ProtocolError> {
        Ok(match word {
            0 => Self::Starting,
            1 => Self::Empty,
            2 => Self::Running,
            3 => Self::Stopping,
            4 => Self::Stopped,
            5 => Self::Resuming,
            6 => Self::Off,
            7 => Self::Failed,
            8 => Self::Imported,
            value => {
                return Err(ProtocolError::Range {
                    field: "phase",
                    value,
                });
            }
        })
    }
}

impl TryFrom<u64> for Failure {
    type Error = ProtocolError;

    fn try_from(word: u64) -> Result<Self, ProtocolError> {
        Ok(match word {
            0 => Self::None,
            1 => Self::BadBundle,
            2 => Self::Kernel,
            3 => Self::Neighbour,
            4 => Self::Capture,
            5 => Self::NoBundle,
            6 => Self::UnexpectedFault,
            7 => Self::Promise,
            value => {
                return Err(ProtocolError::Range {
                    field: "failure",
                    value,
                });
            }
        })
    }
}

impl Request {
    /// The message that makes this request.
    pub fn encode(&self) -> Message {
        match *self {
            Self::Status => Message::new(STATUS),
            Self::Stop => Message::new(STOP),
            Self::Resume => Message::new(RESUME),
            Self::Export => Message::new(EXPORT),
            Self::Import { length } => Message::new(IMPORT).with(length.into()),
            Self::Discard => Message::new(DISCARD),
            Self::Describe => Message::new(DESCRIBE),
            Self::Statistics => Message::new(STATISTICS),
            Self::SetRegister {
                vcpu,
                register,
                value,
            } => {
                #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
                let (low, high) = (value as u64, (value >> 64) as u64);
                Message::new(SET_REGISTER)
                    .with(vcpu.index() as u64)
                    .with(register.into())
                    .with(low)
                    .with(high)
            }
            Self::Look { vcpu } => Message::new(LOOK).with(vcpu.index() as u64),
        }
    }

    /// The request that a message makes.
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.reader();
        let request = match message.label() {
            STATUS => Self::Status,
            STOP => Self::Stop,
            RESUME => Self::Resume,
            EXPORT => Self::Export,
            IMPORT => Self::Import {
                length: reader.word32("length")?,
            },
            DISCARD => Self::Discard,
            DESCRIBE => Self::Describe,
            STATISTICS => Self::Statistics,
            SET_REGISTER => Self::SetRegister {
                vcpu: reader.field()?,
                register: reader.word32("register")?,
                value: u128::from(reader.word()?) | u128::from(reader.word()?) << 64,
            },
            LOOK => Self::Look {
                vcpu: reader.field()?,
            },
            label => return Err(ProtocolError::UnknownLabel { label }),
        };
        reader.finish()?;
        Ok(request)
    }
}

impl Status {
    /// The message that gives this answer.
    pub fn encode(&self) -> Message {
        Message::new(ANSWER)
            .with(self.phase as u64)
            .with(self.vcpus.into())
            .with(self.failure as u64)
            .with(self.detail)
            .with(self.program_counter)
            .with(self.bundle)
    }

    /// The answer that a message gives.
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let phase = reader.field()?;
        let value = reader.word()?;
        let vcpus = u8::try_from(value).map_err(|_| ProtocolError::Range {
            field: "vcpus",
            value,
        })?;
        let status = Self {
            phase,
            vcpus,
            failure: reader.field()?,
            detail: reader.word()?,
            program_counter: reader.word()?,
            bundle: reader.word()?,
        };
        reader.finish()?;
        Ok(status)
    }
}

impl Statistics {
    /// The counters in the order of the fields.
    pub const fn words(&self) -> [u64; 8] {
        [
            self.smc,
            self.console,
            self.distributor,
            self.other_aborts,
            self.wait,
            self.timer,
            self.maintenance,
            self.other,
        ]
    }

    /// The inverse of [`Self::words`].
    pub const fn from_words(words: [u64; 8]) -> Self {
        let [
            smc,
            console,
            distributor,
            other_aborts,
            wait,
            timer,
            maintenance,
            other,
        ] = words;
        Self {
            smc,
            console,
            distributor,
            other_aborts,
            wait,
            timer,
            maintenance,
            other,
        }
    }

    /// The message that gives this answer.
    pub fn encode(&self) -> Message {
        self.words()
            .into_iter()
            .fold(Message::new(ANSWER), Message::with)
    }

    /// The answer that a message gives.
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let mut words = [0; 8];
        for word in &mut words {
            *word = reader.word()?;
        }
        reader.finish()?;
        Ok(Self::from_words(words))
    }
}

/// The answer to [`Request::Look`]: what the vCPU hangs in, if it does.
pub fn encode_hang(hang: Option<Hang>) -> Message {
    let words = hang.map_or([0; hang::WORDS], |hang| hang.words());
    words.into_iter().fold(Message::new(ANSWER), Message::with)
}

/// The inverse of [`encode_hang`].
pub fn decode_hang(message: &Message) -> Result<Option<Hang>, ProtocolError> {
    let mut reader = message.answer()?;
    let mut words = [0; hang::WORDS];
    for word in &mut words {
        *word = reader.word()?;
    }
    reader.finish()?;
    Ok(Hang::from_words(words))
}

pub use crate::timer::{answer, decode_answer};
