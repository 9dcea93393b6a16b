// SPDX-License-Identifier: BSD-2-Clause
//! What a guest can read about its interrupts.

use guest_runtime::gic::{self, cpu_interface, distributor};

use crate::controller::Controller;
use crate::report::Reporter;

/// Words that every controller keeps exactly.
const EXACT: usize = 25;
/// Words that show what sits in a list register, and differ with what a hypervisor knows of that.
const PHYSICAL: usize = 9;

/// Registers that do not change while registers are held.
#[derive(Debug)]
pub(crate) struct View {
    exact: [u32; EXACT],
    physical: [u32; PHYSICAL],
}

static EXACT_NAMES: [&str; EXACT] = [
    "GICC_CTLR",
    "GICC_PMR",
    "GICC_BPR",
    "GICC_RPR",
    "GICC_APR0",
    "GICD_CTLR",
    "GICD_ISENABLER0",
    "GICD_IPRIORITYR0",
    "GICD_IPRIORITYR1",
    "GICD_IPRIORITYR2",
    "GICD_IPRIORITYR3",
    "GICD_IPRIORITYR4",
    "GICD_IPRIORITYR5",
    "GICD_IPRIORITYR6",
    "GICD_IPRIORITYR7",
    "GICD_ICFGR0",
    "GICD_ICFGR1",
    "GICD_ICFGR2",
    "GICD_ICFGR3",
    "priority of SPI 40",
    "priority of SPI 48",
    "priority of SPI 56",
    "targets of SPI 40",
    "targets of SPI 48",
    "targets of SPI 56",
];

static PHYSICAL_NAMES: [&str; PHYSICAL] = [
    "GICC_HPPIR",
    "GICD_SPENDSGIR0",
    "GICD_SPENDSGIR1",
    "GICD_SPENDSGIR2",
    "GICD_SPENDSGIR3",
    "GICD_CPENDSGIR0",
    "GICD_CPENDSGIR1",
    "GICD_CPENDSGIR2",
    "GICD_CPENDSGIR3",
];

impl View {
    pub(crate) const EMPTY: Self = Self {
        exact: [0; EXACT],
        physical: [0; PHYSICAL],
    };

    /// Reads all of it; `spis` are the vCPU's own.
    pub(crate) fn read(spis: [u32; 3]) -> Self {
        let interface = [
            cpu_interface::CTLR,
            cpu_interface::PMR,
            cpu_interface::BPR,
            cpu_interface::RPR,
            cpu_interface::APR0,
        ];
        let bytes = |base| {
            spis.into_iter()
                .map(move |intid| u32::from(gic::byte(base, intid)))
        };
        Self {
            exact: collect(
                interface
                    .into_iter()
                    .map(gic::read_interface)
                    .chain([
                        gic::read(distributor::CTLR),
                        gic::read(distributor::ISENABLER),
                    ])
                    .chain(words(distributor::IPRIORITYR, 8))
                    .chain(words(distributor::ICFGR, 4))
                    .chain(bytes(distributor::IPRIORITYR))
                    .chain(bytes(distributor::ITARGETSR)),
            ),
            physical: collect(
                [gic::read_interface(cpu_interface::HPPIR)]
                    .into_iter()
                    .chain(words(distributor::SPENDSGIR, 4))
                    .chain(words(distributor::CPENDSGIR, 4)),
            ),
        }
    }

    /// Reports what differs.
    pub(crate) fn compare(&self, found: &Self, controller: Controller, reporter: Reporter) {
        compare(&EXACT_NAMES, &self.exact, &found.exact, reporter);
        if controller == Controller::Physical {
            compare(&PHYSICAL_NAMES, &self.physical, &found.physical, reporter);
        }
    }
}

fn words(base: usize, count: usize) -> impl Iterator<Item = u32> {
    (0..count).map(move |word| gic::read(base + word * 4))
}

fn collect<const COUNT: usize>(mut values: impl Iterator<Item = u32>) -> [u32; COUNT] {
    core::array::from_fn(|_| values.next().unwrap_or(0))
}

fn compare(names: &[&str], expected: &[u32], found: &[u32], reporter: Reporter) {
    for (name, (expected, found)) in names.iter().zip(expected.iter().zip(found)) {
        reporter.expect(name, *expected, *found);
    }
}

/// A word of `GICD_ISACTIVERn` and the same of `GICD_ISPENDRn`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct State {
    /// What is active.
    pub(crate) active: u32,
    /// What is pending.
    pub(crate) pending: u32,
}

impl State {
    /// Reads word `word`, as far as `mask`.
    pub(crate) fn read(word: usize, mask: u32) -> Self {
        Self {
            active: gic::read(distributor::ISACTIVER + word * 4) & mask,
            pending: gic::read(distributor::ISPENDR + word * 4) & mask,
        }
    }

    /// Whether nothing is active or pending.
    pub(crate) const fn is_idle(self) -> bool {
        self.active | self.pending == 0
    }

    /// Reports what is not as it `truly` is. Of an emulated controller: nothing that is active or pending is missing,
    /// nothing else is there, and only something pending may be shown as active instead.
    pub(crate) fn compare(
        &self,
        truly: &Self,
        word: usize,
        controller: Controller,
        reporter: Reporter,
    ) {
        let Self { active, pending } = *self;
        if controller == Controller::Physical {
            reporter.expect(format_args!("GICD_ISACTIVER{word}"), truly.active, active);
            reporter.expect(format_args!("GICD_ISPENDR{word}"), truly.pending, pending);
            return;
        }
        let both = format_args!("GICD_ISACTIVER{word} with GICD_ISPENDR{word}");
        reporter.expect(both, truly.active | truly.pending, active | pending);
        let missing = format_args!("active but not in GICD_ISACTIVER{word}");
        reporter.expect(missing, 0, truly.active & !active);
        let invented = format_args!("in GICD_ISPENDR{word} but not pending");
        reporter.expect(invented, 0, pending & !truly.pending);
        let lost = format_args!("pending again but not in GICD_ISPENDR{word}");
        reporter.expect(lost, 0, truly.active & truly.pending & !pending);
    }
}
