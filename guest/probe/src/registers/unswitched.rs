//! Registers that a vCPU can write but seL4 does not switch between vCPUs: cache selection, self-hosted debug,
//! performance monitor.
//!
//! On a machine with one vCPU they keep their values all the same, and a move takes them along; with more, whoever
//! wrote last has written for all on the same core. So they are held on single vCPUs only. What a processor or a
//! hypervisor does not offer is left out.

use guest_runtime::pattern::Pattern;

use super::system::{Values, Writable, read_register, writable};
use crate::exceptions::attempt;
use crate::report::Reporter;

const COUNT: usize = 35;

/// Bit fields from the Arm ARM, D13.2 to D13.4, without those that would let something count, break or interrupt.
static WRITABLE: [Writable; COUNT] = writable![
    "CSSELR_EL1": Values::Below(super::system::CACHES as u64),
    "MDSCR_EL1": Values::Bits(1 << 12),
    "DBGBVR0_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGBVR1_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGBVR2_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGBVR3_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGBVR4_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGBVR5_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGBCR0_EL1": Values::Bits(0x0000_e1e6),
    "DBGBCR1_EL1": Values::Bits(0x0000_e1e6),
    "DBGBCR2_EL1": Values::Bits(0x0000_e1e6),
    "DBGBCR3_EL1": Values::Bits(0x0000_e1e6),
    "DBGBCR4_EL1": Values::Bits(0x0000_e1e6),
    "DBGBCR5_EL1": Values::Bits(0x0000_e1e6),
    "DBGWVR0_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGWVR1_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGWVR2_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGWVR3_EL1": Values::Bits(0x0000_ffff_ffff_fffc),
    "DBGWCR0_EL1": Values::Bits(0x0000_fffe),
    "DBGWCR1_EL1": Values::Bits(0x0000_fffe),
    "DBGWCR2_EL1": Values::Bits(0x0000_fffe),
    "DBGWCR3_EL1": Values::Bits(0x0000_fffe),
    "PMCR_EL0": Values::Bits(0x78),
    "PMSELR_EL0": Values::Below(4),
    "PMUSERENR_EL0": Values::Bits(0xf),
    "PMCCNTR_EL0": Values::Bits(u64::MAX),
    "PMCCFILTR_EL0": Values::Bits(0xf800_0000),
    "PMEVCNTR0_EL0": Values::Bits(0xffff_ffff),
    "PMEVCNTR1_EL0": Values::Bits(0xffff_ffff),
    "PMEVCNTR2_EL0": Values::Bits(0xffff_ffff),
    "PMEVCNTR3_EL0": Values::Bits(0xffff_ffff),
    "PMEVTYPER0_EL0": Values::Bits(0xf800_03ff),
    "PMEVTYPER1_EL0": Values::Bits(0xf800_03ff),
    "PMEVTYPER2_EL0": Values::Bits(0xf800_03ff),
    "PMEVTYPER3_EL0": Values::Bits(0xf800_03ff),
];

/// Those registers as they are to be held.
#[derive(Debug)]
pub(crate) struct Unswitched {
    present: [bool; COUNT],
    values: [u64; COUNT],
}

impl Unswitched {
    /// Finds out which registers there are; none if there is more than one vCPU.
    pub(crate) fn new(vcpus: usize) -> Self {
        Self {
            present: core::array::from_fn(|index| {
                let there = || {
                    attempt(|| {
                        let value = (WRITABLE[index].read)();
                        (WRITABLE[index].write)(value);
                    })
                    .is_none()
                };
                vcpus == 1 && there()
            }),
            values: [0; COUNT],
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.present.iter().filter(|present| **present).count()
    }

    /// Writes random values, and remembers what they read as.
    pub(crate) fn load(&mut self, pattern: &mut Pattern) {
        for (register, (present, value)) in WRITABLE
            .iter()
            .zip(self.present.iter().zip(&mut self.values))
        {
            if *present {
                *value = register.load(pattern.next());
            }
        }
    }

    /// Reports what differs.
    pub(crate) fn compare(&self, reporter: Reporter) {
        for (register, (present, value)) in
            WRITABLE.iter().zip(self.present.iter().zip(&self.values))
        {
            if *present {
                reporter.expect(register.name, *value, (register.read)());
            }
        }
    }
}
