// SPDX-License-Identifier: BSD-2-Clause
//! Quantities that cross channels, each a type of its own so that none is taken for another.

use crate::ProtocolError;

pub use vm::MAX_VCPUS;

/// A vCPU of the virtual machine, `0..MAX_VCPUS`. Equal to its `MPIDR_EL1.Aff0` and to its
/// identifier in `system.xml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId(u8);

impl VcpuId {
    /// All vCPUs that a machine can have, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        [Self(0), Self(1), Self(2), Self(3)].into_iter()
    }

    /// The vCPU numbered `index`, if there can be one.
    #[inline]
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_VCPUS {
            #[expect(clippy::cast_possible_truncation, reason = "below MAX_VCPUS")]
            Some(Self(index as u8))
        } else {
            None
        }
    }

    /// Its number, for indexing arrays of [`MAX_VCPUS`] elements.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl TryFrom<u64> for VcpuId {
    type Error = ProtocolError;

    #[inline]
    fn try_from(word: u64) -> Result<Self, ProtocolError> {
        usize::try_from(word)
            .ok()
            .and_then(Self::new)
            .ok_or(ProtocolError::Range {
                field: "vcpu",
                value: word,
            })
    }
}

/// An interrupt identifier of the GIC architecture (IHI 0048B, 2.2.1): 0–15 software generated,
/// 16–31 private peripheral, 32–1019 shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Intid(u16);

impl Intid {
    /// The virtual timer's private interrupt, as every guest's device tree says.
    pub const VIRTUAL_TIMER: Self = Self(27);
    /// The console UART's shared interrupt (SPI 1).
    pub const CONSOLE: Self = Self(33);
    /// The clock's shared interrupt (SPI 2).
    pub const CLOCK: Self = Self(34);
    /// The first identifier that is not an interrupt but a special answer (IHI 0048B, 3.2.5).
    pub const FIRST_SPECIAL: u16 = 1020;

    /// The interrupt numbered `value`, if it is one.
    #[inline]
    pub const fn new(value: u16) -> Option<Self> {
        if value < Self::FIRST_SPECIAL {
            Some(Self(value))
        } else {
            None
        }
    }

    /// Its number.
    #[inline]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Its number, for indexing.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Software generated: 0–15.
    #[inline]
    pub const fn is_sgi(self) -> bool {
        self.0 < 16
    }

    /// Banked for each vCPU: 0–31.
    #[inline]
    pub const fn is_private(self) -> bool {
        self.0 < 32
    }
}

impl TryFrom<u64> for Intid {
    type Error = ProtocolError;

    #[inline]
    fn try_from(word: u64) -> Result<Self, ProtocolError> {
        u16::try_from(word)
            .ok()
            .and_then(Self::new)
            .ok_or(ProtocolError::Range {
                field: "intid",
                value: word,
            })
    }
}

/// A count of the generic timer (`CNTVCT_EL0`, `CNTPCT_EL0`), in ticks of `CNTFRQ_EL0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub u64);

/// An intermediate physical address: what the guest takes for a physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ipa(pub u64);
