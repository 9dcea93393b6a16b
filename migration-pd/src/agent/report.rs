// SPDX-License-Identifier: BSD-2-Clause
//! What the agent tells the host of a move.

use super::Core;
use crate::handover::Source;
use crate::handover::destination::Stage as Arrival;
use protocol::management::{Event, Figures, MoveReport, Stage};
use protocol::{MoveFailure, MoveId};

impl Core<'_> {
    pub(super) fn event(&mut self, event: &Event) {
        self.outbox
            .message(event.kind(), 0, |payload| event.encode(payload));
    }

    /// The move that this board is in.
    pub(super) fn current_report(&self, now: u64) -> Option<MoveReport> {
        let (id, stage, figures) = if let Some(leaving) = self.source.leaving() {
            (leaving.id, source_stage(&self.source), self.figures(now))
        } else {
            let arriving = self.destination.arriving()?;
            let stage = match self.destination.stage() {
                Arrival::Prepared { .. } => Stage::Prepared,
                _ => Stage::Receiving,
            };
            (arriving.id, stage, self.incoming.figures())
        };
        Some(MoveReport {
            id,
            stage,
            failure: None,
            figures,
        })
    }

    pub(super) fn progress(&mut self, now: u64) {
        if let Some(report) = self.current_report(now) {
            self.event(&Event::Progress(report));
        }
    }

    /// A move has ended here.
    pub(super) fn ended(&mut self, id: MoveId, end: Result<Stage, MoveFailure>, figures: Figures) {
        let report = MoveReport {
            id,
            stage: end.unwrap_or(Stage::Failed),
            failure: end.err(),
            figures,
        };
        self.last = Some(report);
        self.event(&Event::MoveEnded(report));
    }
}

fn source_stage(source: &Source) -> Stage {
    match source {
        Source::Idle => Stage::Unknown,
        Source::Offering { .. } => Stage::Offering,
        Source::Copying { .. } => Stage::Copying,
        Source::Stopping { .. } => Stage::Stopping,
        Source::Finishing { .. } => Stage::Finishing,
        Source::Preparing { .. } => Stage::Preparing,
        Source::InDoubt { .. } => Stage::InDoubt,
    }
}
