// SPDX-License-Identifier: BSD-2-Clause
//! Where each register of the distributor is, and the lanes of an access to it.
//!
//! Responsible for: the register map of the GICv2 distributor (IHI 0048B, table 4-1) and its
//! constant registers. It must never hold state.

use crate::interrupt::{BANKS, INTERRUPTS, PRIVATE_INTERRUPTS};
use channel::vgic::Refusal;

/// The size of the distributor's region of the guest's address space. The register map has 4 KiB;
/// the rest reads as zero.
pub(crate) const REGION_SIZE: u32 = 0x1_0000;

/// A register, with the index of its word where it has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Register {
    /// `GICD_CTLR` (4.3.1).
    Control,
    /// `GICD_TYPER` (4.3.2).
    Type,
    /// `GICD_IIDR` (4.3.3).
    Implementer,
    /// `GICD_IGROUPRn` (4.3.4), by bank.
    Group(usize),
    /// `GICD_ISENABLERn` (4.3.5), by bank.
    SetEnable(usize),
    /// `GICD_ICENABLERn` (4.3.6), by bank.
    ClearEnable(usize),
    /// `GICD_ISPENDRn` (4.3.7), by bank.
    SetPending(usize),
    /// `GICD_ICPENDRn` (4.3.8), by bank.
    ClearPending(usize),
    /// `GICD_ISACTIVERn` (4.3.9), by bank.
    SetActive(usize),
    /// `GICD_ICACTIVERn` (4.3.10), by bank.
    ClearActive(usize),
    /// `GICD_IPRIORITYRn` (4.3.11): four interrupts each.
    Priority(usize),
    /// `GICD_ITARGETSRn` (4.3.12): four interrupts each.
    Targets(usize),
    /// `GICD_ICFGRn` (4.3.13): sixteen interrupts each.
    Configuration(usize),
    /// `GICD_SGIR` (4.3.15).
    Generate,
    /// `GICD_CPENDSGIRn` (4.3.16): four interrupts each.
    ClearSgi(usize),
    /// `GICD_SPENDSGIRn` (4.3.17): four interrupts each.
    SetSgi(usize),
    /// The identification registers (4.3.18).
    Identification(usize),
    /// Reads as zero, ignores writes. `GICD_NSACRn` is among these without the Security
    /// Extensions, and whatever is IMPLEMENTATION DEFINED.
    Reserved,
}

/// Words of `GICD_IPRIORITYRn` and of `GICD_ITARGETSRn`.
const BYTE_WORDS: u32 = 72;
/// Words of `GICD_ICFGRn`.
const CONFIGURATION_WORDS: u32 = 18;

const _: () = assert!(BANKS == 9 && INTERRUPTS == 4 * 72 && INTERRUPTS == 16 * 18);

/// `GICD_TYPER` of a machine with one vCPU: 288 interrupts, no Security Extensions.
const TYPE: u32 = 8;
const _: () = assert!(INTERRUPTS == 32 * (TYPE as usize + 1));

/// `GICD_IIDR`: implementer Arm (0x43b), product `G` as ours; KVM says `K`.
pub(crate) const IMPLEMENTER: u32 = (b'G' as u32) << 24 | 0x43b;

/// The identification registers from `0xfd0`, as Arm's own implementations have them:
/// `PIDR4`–`PIDR7`, `PIDR0`–`PIDR3`, `CIDR0`–`CIDR3`. `ICPIDR2` at `0xfe8` says architecture
/// revision 2.
const IDENTIFICATION: [u32; 12] = [0x04, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 0x05, 0xb1];

/// Words of `GICD_ITARGETSRn` and `GICD_IPRIORITYRn` that are banked.
pub(crate) const PRIVATE_BYTE_WORDS: usize = PRIVATE_INTERRUPTS / 4;

impl Register {
    /// The register whose word is at `offset`, a multiple of four.
    pub(crate) fn at(offset: u32) -> Self {
        let word = |first: u32| ((offset - first) / 4) as usize;
        let bank = |make: fn(usize) -> Self| match word(offset & !0x7f) {
            bank if bank < BANKS => make(bank),
            _ => Self::Reserved,
        };
        match offset {
            0x000 => Self::Control,
            0x004 => Self::Type,
            0x008 => Self::Implementer,
            0x080..0x100 => bank(Self::Group),
            0x100..0x180 => bank(Self::SetEnable),
            0x180..0x200 => bank(Self::ClearEnable),
            0x200..0x280 => bank(Self::SetPending),
            0x280..0x300 => bank(Self::ClearPending),
            0x300..0x380 => bank(Self::SetActive),
            0x380..0x400 => bank(Self::ClearActive),
            0x400.. if offset < 0x400 + 4 * BYTE_WORDS => Self::Priority(word(0x400)),
            0x800.. if offset < 0x800 + 4 * BYTE_WORDS => Self::Targets(word(0x800)),
            0xc00.. if offset < 0xc00 + 4 * CONFIGURATION_WORDS => Self::Configuration(word(0xc00)),
            0xf00 => Self::Generate,
            0xf10..0xf20 => Self::ClearSgi(word(0xf10)),
            0xf20..0xf30 => Self::SetSgi(word(0xf20)),
            0xfd0..0x1000 => Self::Identification(word(0xfd0)),
            _ => Self::Reserved,
        }
    }

    /// Whether the register reads the same for all vCPUs.
    pub(crate) const fn is_shared(self) -> bool {
        match self {
            Self::Group(bank)
            | Self::SetEnable(bank)
            | Self::ClearEnable(bank)
            | Self::SetPending(bank)
            | Self::ClearPending(bank)
            | Self::SetActive(bank)
            | Self::ClearActive(bank) => bank > 0,
            Self::Priority(word) | Self::Targets(word) => word >= PRIVATE_BYTE_WORDS,
            Self::Configuration(word) => word > 1,
            Self::ClearSgi(_) | Self::SetSgi(_) => false,
            _ => true,
        }
    }
}

/// `GICD_TYPER` of a machine with `vcpus`.
pub(crate) fn type_word(vcpus: usize) -> u32 {
    let last = u32::try_from(vcpus.saturating_sub(1)).unwrap_or(0);
    TYPE | last << 5
}

/// An identification register.
pub(crate) fn identification(word: usize) -> u32 {
    IDENTIFICATION.get(word).copied().unwrap_or(0)
}

/// An access: the word that it falls into, and the lanes that it touches.
///
/// The specification gives byte access to some registers only. Where it does not, a narrow access
/// is taken as one to the same lanes of the word, except for `GICD_SGIR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// The offset of the word.
    pub(crate) word: u32,
    /// The bits of the word that are accessed.
    pub(crate) mask: u32,
    shift: u32,
}

impl Access {
    /// The access of `width` bytes at `offset`; refused if not aligned or outside the region.
    pub(crate) fn new(offset: u32, width: u8) -> Result<Self, Refusal> {
        let mask: u32 = match width {
            1 => 0xff,
            2 => 0xffff,
            4 => u32::MAX,
            _ => return Err(Refusal::OutOfRange),
        };
        if offset >= REGION_SIZE || !offset.is_multiple_of(width.into()) {
            return Err(Refusal::OutOfRange);
        }
        let shift = 8 * (offset % 4);
        Ok(Self {
            word: offset & !3,
            mask: mask << shift,
            shift,
        })
    }

    /// The whole word is accessed.
    pub(crate) const fn is_word(self) -> bool {
        self.mask == u32::MAX
    }

    /// What the access reads from the word.
    pub(crate) const fn extract(self, word: u32) -> u32 {
        (word & self.mask) >> self.shift
    }

    /// The written value at its place in the word; zero in other lanes.
    pub(crate) const fn place(self, value: u32) -> u32 {
        (value << self.shift) & self.mask
    }
}
