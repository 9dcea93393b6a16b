// SPDX-License-Identifier: BSD-2-Clause
//! The destination's side of the hand-over.

use super::memory::Past;
use super::{Actions, Memory, actions};
use protocol::{Incarnation, MoveFailure, MoveId};

/// The move that a destination is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arriving {
    /// Its number.
    pub id: MoveId,
    /// Whether the guest is to run on arrival.
    pub resume: bool,
}

/// How far a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "each state's field is the move")]
pub enum Stage {
    /// Not in a move.
    #[default]
    Idle,
    /// Makes sure that RAM is zero before it accepts.
    Clearing { arriving: Arriving },
    /// Takes pages and records.
    Receiving { arriving: Arriving },
    /// Checks what it has and takes the records over.
    Checking { arriving: Arriving },
    /// Could run the guest; waits for the commit.
    Prepared { arriving: Arriving },
}

/// A board as a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Destination {
    stage: Stage,
    memory: Memory,
    incarnation: Option<Incarnation>,
}

/// What happens to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "fields are those of the messages of the same names"
)]
pub enum Event {
    /// A guest is offered.
    Offer {
        arriving: Arriving,
        /// Whether this board could take it, leaving this and earlier moves aside.
        admissible: Result<(), MoveFailure>,
        /// Fresh bits, for the incarnation if this board has none yet.
        fresh: u64,
    },
    /// RAM is zero.
    Cleared,
    /// The source has sent everything.
    Prepare { id: MoveId },
    /// It was checked and taken over, or not.
    Checked(Result<(), MoveFailure>),
    /// The guest is this board's if it prepared for it.
    Commit { id: MoveId, to: Incarnation },
    /// The source calls the move off.
    Abort { id: MoveId, failure: MoveFailure },
    /// Something here prevents the move, or nothing was heard for too long.
    Failed(MoveFailure),
}

/// What a destination is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "fields are those of the messages of the same names"
)]
pub enum Action {
    /// Make sure that RAM is zero; then [`Event::Cleared`].
    Clear,
    /// Send the acceptance and be ready for data.
    Accept {
        id: MoveId,
        incarnation: Incarnation,
    },
    /// Send the refusal.
    Refuse { id: MoveId, failure: MoveFailure },
    /// Check the digest and import the records; then [`Event::Checked`].
    Check,
    /// Say that all is well.
    Prepared {
        id: MoveId,
        incarnation: Incarnation,
    },
    /// The guest continues here.
    RunGuest,
    /// Say that the guest is here.
    Committed {
        id: MoveId,
        incarnation: Incarnation,
    },
    /// Say that the move will never take place here.
    Aborted {
        id: MoveId,
        incarnation: Incarnation,
        failure: MoveFailure,
    },
    /// Say that another one was meant.
    Unknown { id: MoveId },
    /// Forget what has arrived.
    DiscardGuest,
    /// The move is over: the guest is here, or is not for this reason.
    Ended {
        id: MoveId,
        failure: Option<MoveFailure>,
    },
}

impl Destination {
    /// How far the move is.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// What this board remembers of moves.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The move that the destination is in.
    #[must_use]
    pub const fn arriving(&self) -> Option<Arriving> {
        match self.stage {
            Stage::Idle => None,
            Stage::Clearing { arriving }
            | Stage::Receiving { arriving }
            | Stage::Checking { arriving }
            | Stage::Prepared { arriving } => Some(arriving),
        }
    }

    /// Whether a commit to this incarnation would make the move's guest this board's.
    #[must_use]
    pub fn is_prepared(&self, id: MoveId, to: Incarnation) -> bool {
        let prepared = matches!(self.stage, Stage::Prepared { arriving } if arriving.id == id);
        prepared && self.incarnation == Some(to)
    }

    /// This board takes part in a move as its source.
    pub fn note(&mut self, id: MoveId) {
        self.memory.note(id);
    }

    /// What becomes of the state, and what is to be done.
    pub fn step(&mut self, event: Event) -> Actions<Action> {
        match (self.stage, event) {
            (
                _,
                Event::Offer {
                    arriving,
                    admissible,
                    fresh,
                },
            ) => self.offer(arriving, admissible, fresh),
            (Stage::Clearing { arriving }, Event::Cleared) => {
                self.stage = Stage::Receiving { arriving };
                self.name(arriving.id, |id, incarnation| Action::Accept {
                    id,
                    incarnation,
                })
            }
            (Stage::Receiving { arriving }, Event::Prepare { id }) if arriving.id == id => {
                self.stage = Stage::Checking { arriving };
                actions([Action::Check])
            }
            (Stage::Checking { arriving }, Event::Checked(Ok(()))) => {
                self.stage = Stage::Prepared { arriving };
                self.name(arriving.id, |id, incarnation| Action::Prepared {
                    id,
                    incarnation,
                })
            }
            (Stage::Checking { .. }, Event::Checked(Err(failure))) => self.give_up(failure, true),
            (_, Event::Failed(failure)) => self.give_up(failure, true),
            (_, Event::Abort { id, failure }) => {
                self.memory.note(id);
                if self.arriving().is_some_and(|arriving| arriving.id == id) {
                    self.give_up(failure, false)
                } else {
                    actions([])
                }
            }
            (_, Event::Commit { id, to }) => self.commit(id, to),
            _ => actions([]),
        }
    }

    fn offer(
        &mut self,
        arriving: Arriving,
        admissible: Result<(), MoveFailure>,
        fresh: u64,
    ) -> Actions<Action> {
        let id = arriving.id;
        let newest = self.memory.newest();
        let possible = match (self.stage, self.arriving()) {
            // The same offer once more.
            (_, Some(current)) if current.id == id => return actions([]),
            (Stage::Checking { .. } | Stage::Prepared { .. }, Some(current)) => {
                Err(MoveFailure::Busy { id: current.id })
            }
            _ if id <= newest => Err(MoveFailure::StaleMove { newest }),
            _ => admissible,
        };
        self.memory.note(id);
        if let Err(failure) = possible {
            return actions([Action::Refuse { id, failure }]);
        }
        // A new offer ends a move that has got no further than data: its source has given it up.
        let mut list = self.give_up(MoveFailure::Busy { id }, true);
        self.incarnation.get_or_insert(Incarnation(fresh));
        self.stage = Stage::Clearing { arriving };
        list.extend([Action::Clear]);
        list
    }

    fn commit(&mut self, id: MoveId, to: Incarnation) -> Actions<Action> {
        if self.incarnation != Some(to) {
            return actions([Action::Unknown { id }]);
        }
        if let Stage::Prepared { arriving } = self.stage
            && self.is_prepared(id, to)
        {
            self.stage = Stage::Idle;
            self.memory.take(id);
            let committed = Action::Committed {
                id,
                incarnation: to,
            };
            let ended = Action::Ended { id, failure: None };
            return if arriving.resume {
                actions([committed, Action::RunGuest, ended])
            } else {
                actions([committed, ended])
            };
        }
        if self.arriving().is_some_and(|arriving| arriving.id == id) {
            // A source commits only to what was prepared; this one is not to be trusted.
            return self.give_up(MoveFailure::NotKnown, true);
        }
        let past = self.memory.past(id);
        self.memory.note(id);
        actions([match past {
            Past::Taken => Action::Committed {
                id,
                incarnation: to,
            },
            Past::Forgotten => Action::Unknown { id },
            Past::NotTaken | Past::Ahead => Action::Aborted {
                id,
                incarnation: to,
                failure: MoveFailure::NotKnown,
            },
        }])
    }

    fn give_up(&mut self, failure: MoveFailure, tell: bool) -> Actions<Action> {
        let Some(Arriving { id, .. }) = self.arriving() else {
            return actions([]);
        };
        self.stage = Stage::Idle;
        let ended = Action::Ended {
            id,
            failure: Some(failure),
        };
        let mut list = Actions::new();
        if tell && let Some(incarnation) = self.incarnation {
            list.extend([Action::Aborted {
                id,
                incarnation,
                failure,
            }]);
        }
        list.extend([Action::DiscardGuest, ended]);
        list
    }

    /// A message that carries this board's name; a move has one by then.
    fn name(&self, id: MoveId, message: impl Fn(MoveId, Incarnation) -> Action) -> Actions<Action> {
        self.incarnation
            .map(|incarnation| message(id, incarnation))
            .into_iter()
            .collect()
    }
}
