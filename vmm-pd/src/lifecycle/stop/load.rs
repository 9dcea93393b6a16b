// SPDX-License-Identifier: BSD-2-Clause
//! What a guest starts from, loaded.
//!
//! Responsible for: guest RAM before a start. When the board starts, RAM is zero and gets the guest's segments. When a
//! guest starts again it keeps its RAM, as on a machine that is reset; first nothing of the last run may stay in the
//! caches, from where it could come over the new one. Must never: keep anybody waiting. All of it goes in slices, and
//! after each the boot vCPU, the least urgent thread of the board, runs the stub for a moment: whoever else has something
//! to do comes first.

use super::Activity;
use crate::capture;
use crate::exit::Exit;
use crate::lifecycle::machine::{Boot, FIRST, Machine, MachineError};
use crate::port::Port;

/// How far the loading is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    boot: Boot,
    stage: Stage,
    slice: usize,
}

/// What is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// RAM, out of the caches.
    Flush,
    /// A segment, into RAM.
    Segment(usize),
}

impl Load {
    /// For a board whose RAM nobody has used.
    pub(super) const fn first(boot: Boot) -> Self {
        Self {
            boot,
            stage: Stage::Segment(0),
            slice: 0,
        }
    }

    /// For a guest that ran before.
    const fn again(boot: Boot) -> Self {
        Self {
            boot,
            stage: Stage::Flush,
            slice: 0,
        }
    }

    /// Does a slice; None if all is done.
    fn step<P: Port>(mut self, port: &mut P) -> Option<Self> {
        let more = match self.stage {
            Stage::Flush => port.ram_flush(self.slice),
            Stage::Segment(index) if index >= self.boot.segments => return None,
            Stage::Segment(index) => port.load_segment(index, self.slice),
        };
        if more {
            self.slice += 1;
        } else {
            self.slice = 0;
            self.stage = match self.stage {
                Stage::Flush => Stage::Segment(0),
                Stage::Segment(index) => Stage::Segment(index + 1),
            };
        }
        Some(self)
    }
}

impl Machine {
    /// Starts the guest from its bundle, once more.
    pub(super) fn restart<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        let boot = self.own_boot(port).ok_or(MachineError::NoBundle)?;
        self.load_guest(port, Load::again(boot))
    }

    /// What the guest starts from, if that is here: this board's image may have another guest's, and so may its store.
    pub(crate) fn own_boot<P: Port>(&self, port: &mut P) -> Option<Boot> {
        (self.bundle != 0).then(|| port.boot(self.bundle)).flatten()
    }

    /// Does a slice, and continues when nobody else has anything to do.
    pub(super) fn load_guest<P: Port>(
        &mut self,
        port: &mut P,
        load: Load,
    ) -> Result<(), MachineError> {
        match load.step(port) {
            Some(load) => {
                self.activity = Activity::Load(load);
                Ok(capture::wait(port, FIRST)?)
            }
            None => {
                self.activity = Activity::None;
                self.power_on(port, load.boot)
            }
        }
    }

    /// The boot vCPU left the stub between two slices.
    pub(super) fn load_left<P: Port>(
        &mut self,
        port: &mut P,
        load: Load,
        exit: Exit,
    ) -> Result<(), MachineError> {
        if capture::waited(port, FIRST, exit)? {
            self.load_guest(port, load)
        } else {
            Ok(())
        }
    }
}
