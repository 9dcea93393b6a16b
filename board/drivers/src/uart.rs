// SPDX-License-Identifier: BSD-2-Clause
//! What every UART does for `serial-pd`, and for a link over a serial line.
//!
//! Responsible for: the interface, and the two rules that keep a UART from being lost for good or from taking the whole
//! processor. A UART's interrupt line is one for several causes, and the GIC may take it as an edge: a handler that leaves
//! while the line is up is never called again ([`Uart::is_interrupting`]). A UART whose clock or pins are not set up reads
//! as constants, which look like endless input: it is found out ([`Uart::check`]) and left alone.

/// A UART, set up and enabled. Nothing here waits for it.
pub trait Uart {
    /// Whether the registers still hold what was written to them.
    ///
    /// # Errors
    ///
    /// [`UartError::Unresponsive`]: there is no working device behind them.
    fn check(&mut self) -> Result<(), UartError>;

    /// Hands over as many of `bytes` as there is room for; returns how many that was.
    fn transmit(&mut self, bytes: &[u8]) -> usize;

    /// Takes what has been received, up to the length of `bytes` and no more than a FIFO holds; returns how many that was.
    /// Bytes that were damaged on the line are left out. 0 means that there are no more but those whose interrupt has not
    /// come yet, if `bytes` has room for any.
    fn receive(&mut self, bytes: &mut [u8]) -> usize;

    /// Whether to interrupt when there is room again. Only after [`Self::transmit`] found too
    /// little: the interrupt marks the change, not the state.
    fn interrupt_on_room(&mut self, enabled: bool);

    /// Whether to interrupt when something has been received.
    fn interrupt_on_input(&mut self, enabled: bool);

    /// Answers an interrupt: to be called before looking for what it was about.
    fn acknowledge(&mut self);

    /// Whether the interrupt line is up, because something that is to interrupt has come meanwhile. While it is, no edge
    /// can come: look again instead of waiting for one.
    fn is_interrupting(&mut self) -> bool;
}

/// Why a UART is not to be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UartError {
    /// A register does not hold what was written to it.
    #[error(
        "the UART does not answer (register {register:#x} reads {found:#x}, {expected:#x} was written): \
         are its clock and its pins set up?"
    )]
    Unresponsive {
        /// The register's offset in the device, in bytes.
        register: usize,
        /// The bits that were written and can be read.
        expected: u32,
        /// What they read as.
        found: u32,
    },
    /// It keeps interrupting.
    #[error(transparent)]
    Endless(#[from] EndlessInterrupt),
}

/// A device keeps interrupting, with nothing to be done or without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the interrupt does not end after {rounds} rounds")]
pub struct EndlessInterrupt {
    /// How often it was served.
    pub rounds: u32,
}

/// How often an interrupt is served that is still up.
///
/// A processor is faster than a line: between two bytes there are moments in which nothing is to be done, and a device
/// that never has one is broken.
#[derive(Debug, Default, Clone, Copy)]
pub struct Rounds {
    all: u32,
    idle: u32,
}

impl Rounds {
    /// More than any FIFO and ring lets through at once: with a FIFO's worth each, 256 KiB.
    const MOST: u32 = 4096;
    /// In a row in which no byte moved. One is usual: its byte came between the look and the interrupt.
    const MOST_IDLE: u32 = 16;

    /// None yet.
    pub const NONE: Self = Self { all: 0, idle: 0 };

    /// Counts a round after which the line was up still; `moved` says whether a byte was taken or given.
    ///
    /// # Errors
    ///
    /// These are too many.
    pub const fn count(&mut self, moved: bool) -> Result<(), EndlessInterrupt> {
        self.all += 1;
        self.idle = if moved { 0 } else { self.idle + 1 };
        if self.all >= Self::MOST || self.idle >= Self::MOST_IDLE {
            return Err(EndlessInterrupt { rounds: self.all });
        }
        Ok(())
    }
}

/// Holds what a register reads as against what was written to it.
pub(crate) const fn check(register: usize, expected: u32, found: u32) -> Result<(), UartError> {
    if found == expected {
        Ok(())
    } else {
        Err(UartError::Unresponsive {
            register,
            expected,
            found,
        })
    }
}
