// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts of this machine, and sets of vCPUs.
//!
//! Responsible for: the numbers of interrupts, and identifiers that are known to be in range. It
//! must never hold state.

use channel::{Intid, MAX_VCPUS, VcpuId};

/// Interrupts that every vCPU has of its own: 16 software generated, 16 peripheral
/// (IHI 0048B, 2.2.1).
pub const PRIVATE_INTERRUPTS: usize = 32;

/// Shared interrupts, INTIDs 32 to 287: what QEMU's `virt` machine has.
pub const SHARED_INTERRUPTS: usize = 256;

/// All interrupt identifiers of the machine.
pub const INTERRUPTS: usize = PRIVATE_INTERRUPTS + SHARED_INTERRUPTS;

/// Interrupts in a bank: one bit of a 32-bit register each.
pub(crate) const BANK: usize = 32;

/// Banks of shared interrupts.
pub(crate) const SHARED_BANKS: usize = SHARED_INTERRUPTS / BANK;

/// All banks as a vCPU sees them: its private one is bank 0.
pub(crate) const BANKS: usize = INTERRUPTS / BANK;

/// Software generated interrupts.
pub(crate) const SGIS: usize = 16;

/// The bits of the software generated interrupts in bank 0.
pub(crate) const SGI_BITS: u32 = 0xffff;

/// An interrupt that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Interrupt(Intid);

impl Interrupt {
    /// The interrupt `intid`, if the machine has it.
    pub(crate) const fn new(intid: Intid) -> Option<Self> {
        if intid.index() < INTERRUPTS {
            Some(Self(intid))
        } else {
            None
        }
    }

    /// The interrupt of a bank's bit.
    pub(crate) fn at(bank: usize, bit: u32) -> Option<Self> {
        let number = bank * BANK + usize::try_from(bit).ok()?;
        Self::new(Intid::new(u16::try_from(number).ok()?)?)
    }

    /// Its INTID.
    pub(crate) const fn intid(self) -> Intid {
        self.0
    }

    /// Its bank: 0 is private to a vCPU, 1 to 8 are shared.
    pub(crate) const fn bank(self) -> usize {
        self.0.index() / BANK
    }

    /// Its place in the bank.
    pub(crate) const fn place(self) -> usize {
        self.0.index() % BANK
    }

    /// Its bit in the bank's registers.
    pub(crate) const fn bit(self) -> u32 {
        1 << self.place()
    }
}

/// The set bits of a word, lowest first.
pub(crate) fn bits(mut word: u32) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros();
            word &= word - 1;
            bit
        })
    })
}

/// A set of vCPUs, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct VcpuSet(u8);

impl VcpuSet {
    /// No vCPU.
    pub(crate) const EMPTY: Self = Self(0);

    /// The vCPUs of a machine that has `vcpus`.
    pub(crate) const fn first(vcpus: usize) -> Self {
        Self(((1_u32 << vcpus) - 1).to_le_bytes()[0])
    }

    /// The vCPUs whose bits are set in `bits`; others of its bits are dropped.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::first(MAX_VCPUS).0)
    }

    /// One bit a vCPU.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// One vCPU.
    pub(crate) const fn only(vcpu: VcpuId) -> Self {
        Self(1 << vcpu.index())
    }

    /// Whether a vCPU is in it.
    pub(crate) const fn contains(self, vcpu: VcpuId) -> bool {
        self.0 & Self::only(vcpu).0 != 0
    }

    /// Those in both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those not in `other`.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Itself, or another if it is empty.
    pub(crate) const fn or_if_empty(self, other: Self) -> Self {
        if self.0 == 0 { other } else { self }
    }

    /// Its vCPUs in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = VcpuId> {
        VcpuId::all().filter(move |vcpu| self.contains(*vcpu))
    }
}

/// One `T` for each vCPU that a machine can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerVcpu<T>(pub(crate) [T; MAX_VCPUS]);

impl<T> PerVcpu<T> {
    /// A vCPU's own.
    #[expect(clippy::indexing_slicing, reason = "a VcpuId is below MAX_VCPUS")]
    pub(crate) const fn get(&self, vcpu: VcpuId) -> &T {
        &self.0[vcpu.index()]
    }

    /// A vCPU's own.
    #[expect(clippy::indexing_slicing, reason = "a VcpuId is below MAX_VCPUS")]
    pub(crate) const fn get_mut(&mut self, vcpu: VcpuId) -> &mut T {
        &mut self.0[vcpu.index()]
    }
}
