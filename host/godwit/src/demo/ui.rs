// SPDX-License-Identifier: BSD-2-Clause
//! What the demonstration shows, and to whom.
//!
//! Responsible for: the boundary between what happens and how it looks. Never: decides what happens.

use super::Side;
use crate::relay::{Progress, Summary};

/// Whoever watches the demonstration.
pub trait Ui {
    /// Something begins.
    fn step(&mut self, text: &str);

    /// A board's console has said something: a piece of a line, or several lines.
    fn console(&mut self, side: Side, text: &str);

    /// How far the move is.
    fn progress(&mut self, progress: &Progress);

    /// A move is over: what the guest says next, it says on the other board, in the middle of the line it was in.
    fn moved(&mut self, from: Side, summary: &Summary);
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Ui for Nobody {
    fn step(&mut self, _: &str) {}

    fn console(&mut self, _: Side, _: &str) {}

    fn progress(&mut self, _: &Progress) {}

    fn moved(&mut self, _: Side, _: &Summary) {}
}
