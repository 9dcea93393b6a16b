// SPDX-License-Identifier: BSD-2-Clause
//! Calls to `timer-pd`.
//!
//! `timer-pd` alone knows the machine's counter offset. `vmm-pd` learns it through
//! [`Request::Release`] only, which is answered once every vCPU's timer is in place: the release
//! gate that keeps two vCPUs from ever seeing two times.

pub use crate::message::ANSWER;
use crate::{MAX_VCPUS, Message, ProtocolError, Ticks, VcpuId};

/// A vCPU's virtual timer as the architecture defines it (DDI 0487, D11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VirtualTimer {
    /// `CNTV_CTL_EL0`: bit 0 enabled, bit 1 masked. Bit 2 (condition met) is not state.
    pub control: u32,
    /// `CNTV_CVAL_EL0`, against the guest's own count.
    pub compare: Ticks,
    /// `CNTKCTL_EL1`.
    pub kernel_control: u32,
    /// The interrupt was delivered to `vmm-pd` and not acknowledged: the kernel holds it masked.
    pub asserted: bool,
}

/// The machine's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// `CNTVCT_EL0` of every vCPU, or where it stands.
    pub count: Ticks,
    /// `CNTFRQ_EL0`: ticks a second.
    pub frequency: u32,
}

/// The alarm in the answer to [`Request::Due`].
pub const ALARM_IS_DUE: u64 = 1 << MAX_VCPUS;

/// A request to `timer-pd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Request {
    /// A new machine of `vcpus` vCPUs whose count starts at zero, frozen. Forgets everything else.
    Reset { vcpus: u8 },
    /// Time is frozen from here. Answered with the machine's count ([`Ticks`]). Only with all
    /// vCPUs suspended. Frozen already: the same count again.
    Freeze,
    /// A stopped vCPU's timer, at its capture.
    Save { vcpu: VcpuId, timer: VirtualTimer },
    /// A stopped vCPU's timer, to be restored. Answered with [`VirtualTimer`]'s words.
    Load { vcpu: VcpuId },
    /// Opens the gate: time runs. Refused until every vCPU of the machine has been loaded
    /// since the freeze. Answered with `CNTVOFF_EL2` for all vCPUs.
    Release,
    /// The vCPU sleeps (WFI) until its virtual timer is due at `deadline` of the guest's count.
    /// Answer: 1 if that has passed already, and then it does not sleep.
    Sleep { vcpu: VcpuId, deadline: Ticks },
    /// The vCPU is awake for another reason.
    Wake { vcpu: VcpuId },
    /// After a notification: which sleepers are due, one bit a vCPU. They sleep no longer. The bit after those of
    /// [`MAX_VCPUS`] is the alarm's.
    Due,
    /// What is the machine's count? Answered with [`Count`]'s words.
    Count,
    /// Notifies at `deadline` of the guest's count; there is one alarm, and this replaces it. Answer: 1 if that has passed
    /// already, and then no notification comes.
    Alarm { deadline: Ticks },
    /// Writes the record into the export region. Refused unless frozen. Answer: its length.
    Export,
    /// Takes over the record of `length` bytes in the import region, all or nothing; the machine
    /// stays frozen. `advance` ticks are added to the count: zero lets guest time stay frozen.
    Import { length: u32, advance: Ticks },
}

/// Why `timer-pd` refuses a request that it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// Time is not frozen, and the request needs it to be.
    Running = 1,
    /// Time is frozen, and the request needs it to run.
    Frozen = 2,
    /// A vCPU has not been loaded, or does not exist.
    NotLoaded = 3,
    /// The record to import is not one, or its frequency is not this board's.
    BadRecord = 4,
    /// The request is not for this caller.
    NotYours = 5,
}

const RESET: u64 = 1;
const FREEZE: u64 = 2;
const SAVE: u64 = 3;
const LOAD: u64 = 4;
const RELEASE: u64 = 5;
const SLEEP: u64 = 6;
const WAKE: u64 = 7;
const DUE: u64 = 8;
const EXPORT: u64 = 9;
const IMPORT: u64 = 10;
const COUNT: u64 = 11;
const ALARM: u64 = 12;

impl Count {
    /// The answer to [`Request::Count`].
    pub fn encode(&self) -> Message {
        Message::new(ANSWER)
            .with(self.count.0)
            .with(self.frequency.into())
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let count = Self {
            count: Ticks(reader.word()?),
            frequency: reader.word32("CNTFRQ")?,
        };
        reader.finish()?;
        Ok(count)
    }
}

impl VirtualTimer {
    fn write(&self, message: Message) -> Message {
        message
            .with(self.control.into())
            .with(self.compare.0)
            .with(self.kernel_control.into())
            .with(self.asserted.into())
    }

    fn read(reader: &mut crate::Reader<'_>) -> Result<Self, ProtocolError> {
        Ok(Self {
            control: reader.word32("CNTV_CTL")?,
            compare: Ticks(reader.word()?),
            kernel_control: reader.word32("CNTKCTL")?,
            asserted: reader.flag("asserted")?,
        })
    }

    /// The answer to [`Request::Load`].
    pub fn encode(&self) -> Message {
        self.write(Message::new(ANSWER))
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let timer = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(timer)
    }
}

impl Request {
    /// The message that makes this request.
    #[inline]
    pub fn encode(&self) -> Message {
        let vcpu_word = |vcpu: VcpuId| vcpu.index() as u64;
        match *self {
            Self::Reset { vcpus } => Message::new(RESET).with(vcpus.into()),
            Self::Freeze => Message::new(FREEZE),
            Self::Save { vcpu, timer } => timer.write(Message::new(SAVE).with(vcpu_word(vcpu))),
            Self::Load { vcpu } => Message::new(LOAD).with(vcpu_word(vcpu)),
            Self::Release => Message::new(RELEASE),
            Self::Sleep { vcpu, deadline } => {
                Message::new(SLEEP).with(vcpu_word(vcpu)).with(deadline.0)
            }
            Self::Wake { vcpu } => Message::new(WAKE).with(vcpu_word(vcpu)),
            Self::Due => Message::new(DUE),
            Self::Count => Message::new(COUNT),
            Self::Alarm { deadline } => Message::new(ALARM).with(deadline.0),
            Self::Export => Message::new(EXPORT),
            Self::Import { length, advance } => {
                Message::new(IMPORT).with(length.into()).with(advance.0)
            }
        }
    }

    /// The request that a message makes.
    #[inline]
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.reader();
        let request = match message.label() {
            RESET => {
                let value = reader.word()?;
                let vcpus = u8::try_from(value).map_err(|_| ProtocolError::Range {
                    field: "vcpus",
                    value,
                })?;
                Self::Reset { vcpus }
            }
            FREEZE => Self::Freeze,
            SAVE => Self::Save {
                vcpu: reader.field()?,
                timer: VirtualTimer::read(&mut reader)?,
            },
            LOAD => Self::Load {
                vcpu: reader.field()?,
            },
            RELEASE => Self::Release,
            SLEEP => Self::Sleep {
                vcpu: reader.field()?,
                deadline: Ticks(reader.word()?),
            },
            WAKE => Self::Wake {
                vcpu: reader.field()?,
            },
            DUE => Self::Due,
            COUNT => Self::Count,
            ALARM => Self::Alarm {
                deadline: Ticks(reader.word()?),
            },
            EXPORT => Self::Export,
            IMPORT => Self::Import {
                length: reader.word32("length")?,
                advance: Ticks(reader.word()?),
            },
            label => return Err(ProtocolError::UnknownLabel { label }),
        };
        reader.finish()?;
        Ok(request)
    }
}

/// The answer of one word that every request but [`Request::Load`] and [`Request::Count`] has; zero where the request
/// names none.
pub fn answer(value: u64) -> Message {
    Message::new(ANSWER).with(value)
}

/// The inverse of [`answer`].
pub fn decode_answer(message: &Message) -> Result<u64, ProtocolError> {
    let mut reader = message.answer()?;
    let value = reader.word()?;
    reader.finish()?;
    Ok(value)
}
