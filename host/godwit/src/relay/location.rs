// SPDX-License-Identifier: BSD-2-Clause
//! Where a guest is after a move that did not go as it should.
//!
//! Responsible for: concluding that from what the boards say of themselves. Must never: place a guest on a board because
//! that has one: it may be another, or one that was never handed over.

use protocol::MoveId;
use protocol::management::{Phase, Stage, StatusReport};

/// Where a guest is after a move that did not go as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestLocation {
    /// Nowhere: it ended on the source, in this way, before it was handed over.
    Ended(Phase),
    /// On the source, in this phase.
    Source(Phase),
    /// On the destination, in this phase.
    Destination(Phase),
    /// It is paused on the source, which has handed it over and not heard whether that
    /// arrived.
    InDoubt,
    /// The source has handed it over and heard that it was taken; the destination does not say how it is.
    HandedOver,
    /// The source could not be asked, and the destination does not say that it took the guest.
    Unknown,
}

impl GuestLocation {
    /// Where the guest is after the move with this number, if that was begun, by what those boards say that answer.
    pub(super) fn after(
        id: Option<MoveId>,
        source: Option<&StatusReport>,
        destination: Option<&StatusReport>,
    ) -> Self {
        let Some(source) = source else {
            return match destination.filter(|status| has(status, id, Stage::Taken)) {
                Some(status) => Self::Destination(status.phase),
                None => Self::Unknown,
            };
        };
        if let Some(last) = source.last_move
            && last.stage == Stage::InDoubt
        {
            return match destination.filter(|status| has(status, Some(last.id), Stage::Taken)) {
                Some(status) => Self::Destination(status.phase),
                None => Self::InDoubt,
            };
        }
        match destination.filter(|status| has_guest(status)) {
            _ if has_guest(source) => Self::Source(source.phase),
            Some(status) => Self::Destination(status.phase),
            None if has(source, id, Stage::Gone) => Self::HandedOver,
            None => Self::Source(source.phase),
        }
    }
}

fn has_guest(status: &StatusReport) -> bool {
    !matches!(status.phase, Phase::Empty | Phase::Starting)
}

/// Whether the board's last move is this one, and has come to this stage there.
fn has(status: &StatusReport, id: Option<MoveId>, stage: Stage) -> bool {
    status
        .last_move
        .is_some_and(|last| Some(last.id) == id && last.stage == stage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::peer;
    use protocol::management::{Figures, MoveReport};

    const ID: MoveId = MoveId(7);

    fn status(phase: Phase, last: Option<(MoveId, Stage)>) -> StatusReport {
        StatusReport {
            newest_move: ID,
            last_move: last.map(|(id, stage)| MoveReport {
                id,
                stage,
                failure: None,
                figures: Figures::default(),
            }),
            ..peer::status(phase)
        }
    }

    fn after(source: Option<StatusReport>, destination: Option<StatusReport>) -> GuestLocation {
        GuestLocation::after(Some(ID), source.as_ref(), destination.as_ref())
    }

    #[test]
    fn a_source_that_is_silent_leaves_it_open_unless_the_destination_took_the_guest() {
        let taken = status(Phase::Running, Some((ID, Stage::Taken)));
        let running = GuestLocation::Destination(Phase::Running);
        assert_eq!(after(None, Some(taken)), running);
        // The guest is all there and nobody has handed it over; it is another guest; of another move.
        for status in [
            status(Phase::Imported, Some((ID, Stage::Prepared))),
            status(Phase::Running, None),
            status(Phase::Running, Some((MoveId(6), Stage::Taken))),
            status(Phase::Empty, Some((ID, Stage::Failed))),
        ] {
            assert_eq!(after(None, Some(status)), GuestLocation::Unknown);
        }
        assert_eq!(after(None, None), GuestLocation::Unknown);
        let unbegun = GuestLocation::after(None, None, Some(&taken));
        assert_eq!(unbegun, GuestLocation::Unknown);
    }

    #[test]
    fn a_source_that_has_the_guest_is_believed() {
        let source = status(Phase::Running, Some((ID, Stage::Failed)));
        let other = status(Phase::Running, None);
        let here = GuestLocation::Source(Phase::Running);
        assert_eq!(after(Some(source), Some(other)), here);
        assert_eq!(after(Some(source), None), here);
    }

    #[test]
    fn a_doubt_ends_only_with_the_destinations_word() {
        let source = status(Phase::Stopped, Some((ID, Stage::InDoubt)));
        let prepared = status(Phase::Imported, Some((ID, Stage::Prepared)));
        for destination in [None, Some(prepared)] {
            assert_eq!(after(Some(source), destination), GuestLocation::InDoubt);
        }
        let taken = status(Phase::Running, Some((ID, Stage::Taken)));
        let running = GuestLocation::Destination(Phase::Running);
        assert_eq!(after(Some(source), Some(taken)), running);
    }

    #[test]
    fn a_guest_that_was_taken_is_never_said_to_be_at_its_source() {
        let source = status(Phase::Empty, Some((ID, Stage::Gone)));
        assert_eq!(after(Some(source), None), GuestLocation::HandedOver);
        let empty = status(Phase::Empty, None);
        assert_eq!(after(Some(source), Some(empty)), GuestLocation::HandedOver);
        let off = status(Phase::Off, Some((ID, Stage::Taken)));
        let there = GuestLocation::Destination(Phase::Off);
        assert_eq!(after(Some(source), Some(off)), there);
    }
}
