// SPDX-License-Identifier: BSD-2-Clause
//! Calls to `vgic-pd`.
//!
//! `vmm-pd` forwards what the guest does to its interrupt controller and carries out the
//! [`Injection`]s that come back; `vgic-pd` alone decides what is pending where, and keeps the
//! books of which interrupt sits in which list register, because seL4's own copy is stale while a
//! vCPU is loaded.

mod answer;

pub use answer::{Answer, Injection, ListRegisterEntries, MAX_INJECTIONS, RestorePlan};

use crate::{Intid, Message, ProtocolError, Reader, VcpuId};

/// How many list registers `vgic-pd` uses on each vCPU: what every board's virtual CPU interface
/// has (`GICH_VTR.ListRegs` of the GIC-400 and of QEMU's GICv2 is four).
pub const LIST_REGISTERS: usize = 4;

/// Bytes of the distributor's register map (IHI 0048B, table 4-1), and of a vCPU's page of the
/// published view. What the guest's machine maps beyond reads as zero and ignores writes.
pub const DISTRIBUTOR_SIZE: u32 = 0x1000;

/// Whether a read at `offset` may be answered from the vCPU's page of the published view, which
/// holds each register at its own offset. All but the state of interrupts that comes and goes by
/// itself: pending, active, and the sources of SGIs.
#[inline]
pub const fn view_readable(offset: u32) -> bool {
    !matches!(offset, 0x200..0x400 | 0xf10..0xf30) && offset < DISTRIBUTOR_SIZE
}

/// The state of a GICv2 CPU interface as the architecture defines it, apart from its interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuInterface {
    /// `GICC_CTLR`.
    pub control: u32,
    /// `GICC_PMR`.
    pub priority_mask: u32,
    /// `GICC_BPR`.
    pub binary_point: u32,
    /// `GICC_ABPR`.
    pub aliased_binary_point: u32,
    /// `GICC_APR0`.
    pub active_priorities: u32,
}

/// What a capture found in the list registers of a vCPU, one bit a list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListRegisterState {
    /// Acknowledged by the capture stub: it was pending.
    pub pending: u8,
    /// Deactivated by the capture stub and not acknowledged before: it was active.
    pub active: u8,
}

/// A request to `vgic-pd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant says what its fields are")]
pub enum Request {
    /// The guest reads `width` bytes (1, 2 or 4, aligned) of the distributor at `offset`, which
    /// is below 64 KiB. An interrupt in a list register reads as active; a capture first makes
    /// the answer exact.
    Read {
        vcpu: VcpuId,
        offset: u32,
        width: u8,
    },
    /// The guest writes. Where an interrupt in a list register is one that the distributor would no
    /// longer forward, or that the guest has just deactivated through `GICD_ICACTIVER`, the answer
    /// says which vCPUs to rearrange; see [`Answer::rearrange`].
    Write {
        vcpu: VcpuId,
        offset: u32,
        width: u8,
        value: u32,
    },
    /// An interrupt line of a device or of a vCPU's timer changes. For a shared interrupt, `vcpu`
    /// only says on whose behalf. SGIs have no line.
    SetLine {
        vcpu: VcpuId,
        intid: Intid,
        level: bool,
    },
    /// The kernel reported the end of the interrupt in a list register. For the virtual timer,
    /// this lowers its line as well: acknowledge it to the kernel, and it is reported again if it
    /// is still due. Not to be sent for an end that is reported during a capture: that one shows
    /// in [`Request::Captured`] as neither pending nor active.
    Maintenance { vcpu: VcpuId, list_register: u8 },
    /// Does the vCPU have an interrupt to take, so that WFI must not sleep? Answer's value: 0, 1.
    /// Also reports injections that are due; after a [`Request::Restore`] the first of these, and
    /// before it none.
    Refill { vcpu: VcpuId },
    /// The vCPU is switched on or off. One that is off gets nothing, what is pending in its list
    /// registers is to be withdrawn ([`Answer::rearrange`]), and shared interrupts go to other
    /// targets, if they have any. All are on after a reset or an import.
    Power { vcpu: VcpuId, on: bool },
    /// The vCPU waits for an interrupt. A shared one that may be pending in a list register of
    /// another vCPU, and could as well come here, is to be withdrawn there
    /// ([`Answer::rearrange`]) and then comes here.
    Offer { vcpu: VcpuId },
    /// Which INTIDs sit in the list registers; see [`ListRegisterEntries`]. With `hold` the vCPU is about to be captured: nothing
    /// more is injected into it from here to its restore and refill. Without, nothing changes.
    ListRegisterEntries { vcpu: VcpuId, hold: bool },
    /// A capture emptied the vCPU's list registers; this is what it found. To be sent for every
    /// vCPU of a machine that stops, with the interface zero for one that has never run, or for
    /// one alone that is [`Answer::rearrange`] and restored at once. Nothing is injected into this
    /// vCPU from here to its restore and refill. Answer's value: one bit for each list register
    /// whose interrupt had ended, with the same effect as [`Request::Maintenance`].
    Captured {
        vcpu: VcpuId,
        interface: CpuInterface,
        found: ListRegisterState,
    },
    /// The vCPU's CPU interface, to be restored; see [`CpuInterface`]. Answered with its five
    /// words. The injections are the *active* interrupts, to be injected, acknowledged and
    /// dropped by the stub before anything else; pending ones come with [`Request::Refill`].
    /// Refused unless the vCPU was captured or imported, or has not run since reset.
    Restore { vcpu: VcpuId },
    /// Writes the record into the export region. Only while no vCPU has anything in its list
    /// registers. Answer's value: the record's length in bytes.
    Export,
    /// Takes over the record of `length` bytes in the import region, all or nothing, vCPUs
    /// included. Only with no machine ([`Request::Reset`] to zero vCPUs) or all of it captured.
    Import { length: u32 },
    /// Back to the state after reset, for a machine of `vcpus` vCPUs; zero for none. The books are
    /// forgotten: empty the list registers first if anything has run.
    Reset { vcpus: u8 },
}

/// Why `vgic-pd` refuses a request that it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// No such list register, vCPU, interrupt or distributor offset in this machine.
    OutOfRange = 1,
    /// Export, import or restore while interrupts are, or may at any time be, in list registers.
    NotCaptured = 2,
    /// The record to import is not one, or describes another machine.
    BadRecord = 3,
    /// The request is not for this caller: `migration-pd` may only export and import.
    NotYours = 4,
}

const READ: u64 = 1;
const WRITE: u64 = 2;
const SET_LINE: u64 = 3;
const MAINTENANCE: u64 = 4;
const REFILL: u64 = 5;
const LIST_REGISTER_ENTRIES: u64 = 6;
const CAPTURED: u64 = 7;
const RESTORE: u64 = 8;
const EXPORT: u64 = 9;
const IMPORT: u64 = 10;
const RESET: u64 = 11;
const POWER: u64 = 12;
const OFFER: u64 = 13;

fn width(reader: &mut Reader<'_>) -> Result<u8, ProtocolError> {
    match reader.word()? {
        1 => Ok(1),
        2 => Ok(2),
        4 => Ok(4),
        value => Err(ProtocolError::Range {
            field: "width",
            value,
        }),
    }
}

fn small(reader: &mut Reader<'_>, field: &'static str) -> Result<u8, ProtocolError> {
    let value = reader.word()?;
    u8::try_from(value).map_err(|_| ProtocolError::Range { field, value })
}

impl CpuInterface {
    /// Its registers in the order in which messages and the capture stub's page hold them.
    pub const fn words(&self) -> [u32; 5] {
        [
            self.control,
            self.priority_mask,
            self.binary_point,
            self.aliased_binary_point,
            self.active_priorities,
        ]
    }

    /// The inverse of [`Self::words`].
    pub const fn from_words(words: [u32; 5]) -> Self {
        let [
            control,
            priority_mask,
            binary_point,
            aliased_binary_point,
            active_priorities,
        ] = words;
        Self {
            control,
            priority_mask,
            binary_point,
            aliased_binary_point,
            active_priorities,
        }
    }

    fn write(&self, message: Message) -> Message {
        self.words()
            .into_iter()
            .fold(message, |message, word| message.with(word.into()))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ProtocolError> {
        let mut words = [0; 5];
        for word in &mut words {
            *word = reader.word32("CPU interface register")?;
        }
        Ok(Self::from_words(words))
    }
}

impl Request {
    /// The message that makes this request.
    #[inline]
    pub fn encode(&self) -> Message {
        let vcpu_word = |vcpu: VcpuId| vcpu.index() as u64;
        match *self {
            Self::Read {
                vcpu,
                offset,
                width,
            } => Message::new(READ)
                .with(vcpu_word(vcpu))
                .with(offset.into())
                .with(width.into()),
            Self::Write {
                vcpu,
                offset,
                width,
                value,
            } => Message::new(WRITE)
                .with(vcpu_word(vcpu))
                .with(offset.into())
                .with(width.into())
                .with(value.into()),
            Self::SetLine { vcpu, intid, level } => Message::new(SET_LINE)
                .with(vcpu_word(vcpu))
                .with(intid.value().into())
                .with(level.into()),
            Self::Maintenance {
                vcpu,
                list_register,
            } => Message::new(MAINTENANCE)
                .with(vcpu_word(vcpu))
                .with(list_register.into()),
            Self::Refill { vcpu } => Message::new(REFILL).with(vcpu_word(vcpu)),
            Self::Power { vcpu, on } => Message::new(POWER).with(vcpu_word(vcpu)).with(on.into()),
            Self::Offer { vcpu } => Message::new(OFFER).with(vcpu_word(vcpu)),
            Self::ListRegisterEntries { vcpu, hold } => Message::new(LIST_REGISTER_ENTRIES)
                .with(vcpu_word(vcpu))
                .with(hold.into()),
            Self::Captured {
                vcpu,
                interface,
                found,
            } => interface
                .write(Message::new(CAPTURED).with(vcpu_word(vcpu)))
                .with(found.pending.into())
                .with(found.active.into()),
            Self::Restore { vcpu } => Message::new(RESTORE).with(vcpu_word(vcpu)),
            Self::Export => Message::new(EXPORT),
            Self::Import { length } => Message::new(IMPORT).with(length.into()),
            Self::Reset { vcpus } => Message::new(RESET).with(vcpus.into()),
        }
    }

    /// The request that a message makes.
    #[inline]
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.reader();
        let request = match message.label() {
            READ => Self::Read {
                vcpu: reader.field()?,
                offset: reader.word32("offset")?,
                width: width(&mut reader)?,
            },
            WRITE => Self::Write {
                vcpu: reader.field()?,
                offset: reader.word32("offset")?,
                width: width(&mut reader)?,
                value: reader.word32("value")?,
            },
            SET_LINE => Self::SetLine {
                vcpu: reader.field()?,
                intid: reader.field()?,
                level: reader.flag("level")?,
            },
            MAINTENANCE => Self::Maintenance {
                vcpu: reader.field()?,
                list_register: small(&mut reader, "list register")?,
            },
            REFILL => Self::Refill {
                vcpu: reader.field()?,
            },
            POWER => Self::Power {
                vcpu: reader.field()?,
                on: reader.flag("on")?,
            },
            OFFER => Self::Offer {
                vcpu: reader.field()?,
            },
            LIST_REGISTER_ENTRIES => Self::ListRegisterEntries {
                vcpu: reader.field()?,
                hold: reader.flag("hold")?,
            },
            CAPTURED => Self::Captured {
                vcpu: reader.field()?,
                interface: CpuInterface::read(&mut reader)?,
                found: ListRegisterState {
                    pending: small(&mut reader, "pending")?,
                    active: small(&mut reader, "active")?,
                },
            },
            RESTORE => Self::Restore {
                vcpu: reader.field()?,
            },
            EXPORT => Self::Export,
            IMPORT => Self::Import {
                length: reader.word32("length")?,
            },
            RESET => Self::Reset {
                vcpus: small(&mut reader, "vcpus")?,
            },
            label => return Err(ProtocolError::UnknownLabel { label }),
        };
        reader.finish()?;
        Ok(request)
    }
}
