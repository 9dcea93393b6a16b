//! What an interrupt controller can be held to.

use guest_runtime::arguments::Arguments;
use guest_runtime::gic;

/// Which interrupt controller the guest has: `gic=physical`, else one that is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    /// A GICv2, or QEMU's: exact in everything.
    Physical,
    /// One made of list registers that can be filled but not read or emptied, as an unmodified seL4 offers them. What
    /// follows from that is described at the top of `vgic-pd`: an interrupt in a list register cannot be withdrawn, is
    /// shown as active, and does not show its source; no more are active at once than there are list registers.
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
}
