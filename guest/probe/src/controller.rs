// SPDX-License-Identifier: BSD-2-Clause
//! What an interrupt controller can be held to.

use guest_runtime::arguments::Arguments;
use guest_runtime::gic::{self, cpu_interface};

/// Which interrupt controller the guest has: `gic=physical`, else one that is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    /// A GICv2, or QEMU's: exact in everything.
    Physical,
    /// One made of list registers that can be filled but not read or emptied, as an unmodified seL4 offers them. What
    /// follows from that is described at the top of `vgic-pd`: an interrupt in a list register is shown as active, and
    /// does not show its source; no more are active at once than there are list registers.
    Emulated,
}

impl Controller {
    /// As the command line says.
    pub(crate) fn new(arguments: &Arguments<'_>) -> Self {
        match arguments.text("gic") {
            Some("physical") => Self::Physical,
            _ => Self::Emulated,
        }
    }

    /// What `GICC_IAR` shows of `acknowledged`.
    pub(crate) const fn shown(self, acknowledged: u32) -> u32 {
        match self {
            Self::Physical => acknowledged,
            Self::Emulated => acknowledged & gic::SPURIOUS,
        }
    }

    /// Acknowledges an interrupt that should be there; [`gic::SPURIOUS`] if it is not.
    pub(crate) fn acknowledge(self) -> u32 {
        self.patiently(
            || gic::read_interface(cpu_interface::IAR),
            |found| found != gic::SPURIOUS,
        )
    }

    /// Reads until `right`. Who emulates a controller learns of an interrupt's end by an interrupt of its own, a few of
    /// the guest's instructions later; nobody has to wait for a physical one.
    pub(crate) fn patiently<T: Copy>(self, read: impl Fn() -> T, right: impl Fn(T) -> bool) -> T {
        let tries = match self {
            Self::Physical => 1,
            Self::Emulated => 1_000,
        };
        let mut found = read();
        for _ in 1..tries {
            if right(found) {
                break;
            }
            found = read();
        }
        found
    }
}
