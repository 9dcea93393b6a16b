// SPDX-License-Identifier: BSD-2-Clause
//! The source's side of the hand-over.

use super::{Actions, actions};
use protocol::management::Verdict;
use protocol::{Incarnation, MoveFailure, MoveId};

/// The move that a source is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leaving {
    /// Its number.
    pub id: MoveId,
    /// Whether the guest runs if it is not moved, and is to run on arrival.
    pub resume: bool,
}

/// How far a source is. `to` is who accepted the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(
    missing_docs,
    reason = "each state's fields are the move and its destination"
)]
pub enum Source {
    /// Not in a move.
    #[default]
    Idle,
    /// Has asked.
    Offering { leaving: Leaving },
    /// Copies RAM while the guest continues.
    Copying { leaving: Leaving, to: Incarnation },
    /// Waits for the guest to be paused.
    Stopping { leaving: Leaving, to: Incarnation },
    /// Sends the last pages and the records.
    Finishing { leaving: Leaving, to: Incarnation },
    /// Has sent everything and waits for it to be checked.
    Preparing { leaving: Leaving, to: Incarnation },
    /// Has committed and does not know whether that arrived.
    InDoubt { leaving: Leaving, to: Incarnation },
}

/// What happens to a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "fields are those of the messages of the same names"
)]
pub enum Event {
    /// The operator wants the guest moved.
    Start(Leaving),
    /// The destination takes the offer.
    Accepted { id: MoveId, by: Incarnation },
    /// It does not.
    Refused { id: MoveId, failure: MoveFailure },
    /// So little is left to send that the guest should be paused now.
    Converged,
    /// The guest is paused, captured.
    GuestStopped,
    /// The last pages, the records and the question whether all is well are sent.
    Sent,
    /// All is well at the destination.
    Prepared { id: MoveId, by: Incarnation },
    /// The destination has taken over.
    Committed { id: MoveId, by: Incarnation },
    /// The destination will never take over.
    Aborted {
        id: MoveId,
        by: Incarnation,
        failure: MoveFailure,
    },
    /// Something here prevents the move, or the operator calls it off.
    Failed(MoveFailure),
    /// Nothing was heard for too long.
    Silence,
    /// The operator resolves the doubt.
    Resolved { id: MoveId, verdict: Verdict },
}

/// What a source is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "fields are those of the messages of the same names"
)]
pub enum Action {
    /// Send the offer.
    Offer,
    /// Begin to copy RAM; then [`Event::Converged`].
    Copy,
    /// Pause the guest; then [`Event::GuestStopped`].
    StopGuest,
    /// Send the last pages, the records and the digest; then [`Event::Sent`].
    Finish,
    /// Send the commit.
    Commit { id: MoveId, to: Incarnation },
    /// Send the abort.
    Abort { id: MoveId, failure: MoveFailure },
    /// The guest continues here.
    ResumeGuest,
    /// The guest is elsewhere: discard it and clear its RAM.
    DiscardGuest,
    /// The move is over: the guest is gone, or stays for this reason.
    Ended {
        id: MoveId,
        failure: Option<MoveFailure>,
    },
}

impl Source {
    /// The move that the source is in.
    #[must_use]
    pub const fn leaving(&self) -> Option<Leaving> {
        match self {
            Self::Idle => None,
            Self::Offering { leaving }
            | Self::Copying { leaving, .. }
            | Self::Stopping { leaving, .. }
            | Self::Finishing { leaving, .. }
            | Self::Preparing { leaving, .. }
            | Self::InDoubt { leaving, .. } => Some(*leaving),
        }
    }

    /// Who accepted the guest.
    #[must_use]
    pub const fn destination(&self) -> Option<Incarnation> {
        match self {
            Self::Idle | Self::Offering { .. } => None,
            Self::Copying { to, .. }
            | Self::Stopping { to, .. }
            | Self::Finishing { to, .. }
            | Self::Preparing { to, .. }
            | Self::InDoubt { to, .. } => Some(*to),
        }
    }

    /// Whether the commit has been sent and not been answered.
    #[must_use]
    pub const fn in_doubt(&self) -> bool {
        matches!(self, Self::InDoubt { .. })
    }

    /// What becomes of the state, and what is to be done. Events that do not belong to the state
    /// (late, repeated, of another move) change nothing.
    #[must_use]
    pub fn step(self, event: Event) -> (Self, Actions<Action>) {
        match (self, event) {
            (Self::Idle, Event::Start(leaving)) => {
                (Self::Offering { leaving }, actions([Action::Offer]))
            }
            (Self::InDoubt { leaving, to }, event) => Self::resolve(leaving, to, event),
            (state, event) => state.advance(event).unwrap_or_else(|| state.give_up(event)),
        }
    }

    /// The way forward, before the commit.
    fn advance(self, event: Event) -> Option<(Self, Actions<Action>)> {
        Some(match (self, event) {
            (Self::Offering { leaving }, Event::Accepted { id, by }) if leaving.id == id => {
                (Self::Copying { leaving, to: by }, actions([Action::Copy]))
            }
            (Self::Copying { leaving, to }, Event::Converged) => {
                (Self::Stopping { leaving, to }, actions([Action::StopGuest]))
            }
            (Self::Stopping { leaving, to }, Event::GuestStopped) => {
                (Self::Finishing { leaving, to }, actions([Action::Finish]))
            }
            (Self::Finishing { leaving, to }, Event::Sent) => {
                (Self::Preparing { leaving, to }, actions([]))
            }
            (Self::Preparing { leaving, to }, Event::Prepared { id, by })
                if leaving.id == id && to == by =>
            {
                let commit = Action::Commit { id, to };
                (Self::InDoubt { leaving, to }, actions([commit]))
            }
            _ => return None,
        })
    }

    /// The ways back, before the commit.
    fn give_up(self, event: Event) -> (Self, Actions<Action>) {
        let Some(Leaving { id, resume }) = self.leaving() else {
            return (self, actions([]));
        };
        let failure = match event {
            Event::Refused { id: of, failure } if of == id => failure,
            Event::Aborted {
                id: of,
                by,
                failure,
            } if of == id && self.destination().is_none_or(|to| to == by) => failure,
            Event::Failed(failure) => failure,
            Event::Silence => MoveFailure::Silence,
            _ => return (self, actions([])),
        };
        let ended = Action::Ended {
            id,
            failure: Some(failure),
        };
        let abort = Action::Abort { id, failure };
        let paused = !matches!(self, Self::Offering { .. } | Self::Copying { .. });
        let list = if paused && resume {
            actions([Action::ResumeGuest, abort, ended])
        } else {
            actions([abort, ended])
        };
        (Self::Idle, list)
    }

    /// After the commit: only the destination's word or the operator's counts.
    fn resolve(leaving: Leaving, to: Incarnation, event: Event) -> (Self, Actions<Action>) {
        let Leaving { id, resume } = leaving;
        let stay = |failure| {
            let ended = Action::Ended {
                id,
                failure: Some(failure),
            };
            let list = if resume {
                actions([Action::ResumeGuest, ended])
            } else {
                actions([ended])
            };
            (Self::Idle, list)
        };
        let gone = || {
            let ended = Action::Ended { id, failure: None };
            (Self::Idle, actions([Action::DiscardGuest, ended]))
        };
        match event {
            Event::Committed { id: of, by } if of == id && by == to => gone(),
            Event::Aborted {
                id: of,
                by,
                failure,
            } if of == id && by == to => stay(failure),
            Event::Resolved { id: of, verdict } if of == id => match verdict {
                Verdict::Keep => stay(MoveFailure::Operator),
                Verdict::Drop => gone(),
            },
            Event::Silence => {
                let commit = Action::Commit { id, to };
                (Self::InDoubt { leaving, to }, actions([commit]))
            }
            _ => (Self::InDoubt { leaving, to }, actions([])),
        }
    }
}
