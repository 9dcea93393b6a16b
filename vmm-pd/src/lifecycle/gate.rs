// SPDX-License-Identifier: BSD-2-Clause
//! What a vCPU needs to run: time that runs.
//!
//! Responsible for: that nothing but `timer-pd`'s answer makes a [`RunPermit`]. A vCPU is let run with one only, at its
//! start ([`crate::lifecycle::machine`]) and after a restore ([`crate::capture::Restored`]); `timer-pd` gives it out when every vCPU
//! has its timer, and not before (its `gate`). Must never: be made up.

use channel::{ProtocolError, Ticks, timer};

use crate::port::Port;

/// `timer-pd` has opened its gate: time runs, for all vCPUs with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunPermit {
    offset: Ticks,
}

impl RunPermit {
    /// Asks `timer-pd` to open its gate, which it refuses until every vCPU's timer is in place.
    pub(crate) fn ask<P: Port>(port: &mut P) -> Result<Self, ProtocolError> {
        let answer = port.timer(&timer::Request::Release)?;
        Ok(Self {
            offset: Ticks(timer::decode_answer(&answer)?),
        })
    }

    /// `CNTVOFF_EL2` of every vCPU.
    pub const fn offset(self) -> Ticks {
        self.offset
    }

    /// Where there is no `timer-pd`.
    #[cfg(test)]
    pub(crate) const fn with(offset: u64) -> Self {
        Self {
            offset: Ticks(offset),
        }
    }
}
