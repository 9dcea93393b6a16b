// SPDX-License-Identifier: BSD-2-Clause
//! The hand-over, checked exhaustively on the functions that the boards run.
//!
//! Two boards, a network that may lose, repeat, delay and reorder everything, an operator, and
//! faults at any moment: silence (a link that is cut, a relaying host that is gone), failures on
//! either side, a restart of either board. Within two moves from A to B, every reachable state is
//! visited.
#![allow(
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test, and the names of a model's events speak for themselves"
)]

mod planted;

use migration_pd::handover::Actions;
use migration_pd::handover::destination::{self, Arriving, Destination};
use migration_pd::handover::source::{self, Leaving, Source};
use protocol::management::Verdict;
use protocol::{Incarnation, MoveFailure, MoveId};
use stateright::{Checker, Model, Property};
use std::collections::{BTreeSet, HashMap};

/// Moves that the operator starts.
const MOVES: u64 = 2;
/// Restarts of either board: with both gone, so is the guest.
const RESTARTS: u64 = 1;
/// The reason that the model gives for every failure.
const FAILURE: MoveFailure = MoveFailure::Operator;

/// A message in the network. `version` stands for the guest's state as the data carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Offer { id: u64 },
    Prepare { id: u64, version: u8 },
    Commit { id: u64, to: u64 },
    Abort { id: u64 },
    Accept { id: u64, by: u64 },
    Refuse { id: u64 },
    Prepared { id: u64, by: u64 },
    Committed { id: u64, by: u64 },
    Aborted { id: u64, by: u64 },
    Unknown { id: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Guest {
    Absent,
    Still,
    Running,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    source: Source,
    destination: Destination,
    network: BTreeSet<Message>,
    at_a: Guest,
    at_b: Guest,
    /// Counts how often the guest continued at A: what B runs must be the latest.
    version_a: u8,
    /// What B has received.
    version_b: u8,
    moves: u64,
    restarts: u64,
    source_restarts: u64,
    /// A board has restarted while the guest was its own: nobody can bring that one back.
    lost_with_its_board: bool,
    /// A has, and B was prepared: that guest is B's on a commit that is still under way, and lost if B gives it up.
    last_copy_at_b: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Start,
    Converged,
    GuestStopped,
    Sent,
    SourceSilence,
    SourceFails,
    Cleared,
    Checked,
    CheckFails,
    DestinationFails,
    /// Of a source that is not in the move any more, nothing is heard: it times out.
    DestinationSilence,
    DestinationRestarts,
    SourceRestarts,
    /// The operator says what became of the guest, and it is so.
    Resolve(Verdict),
    Deliver(Message),
}

impl Step {
    /// Whether this happens without any fault: what is left once faults have ended. Silence is
    /// only the passing of time.
    fn is_faultless(self) -> bool {
        !matches!(
            self,
            Self::SourceFails
                | Self::CheckFails
                | Self::DestinationFails
                | Self::DestinationRestarts
                | Self::SourceRestarts
        )
    }
}

type SourceStep = fn(Source, source::Event) -> (Source, Actions<source::Action>);
type DestinationStep = fn(&mut Destination, destination::Event) -> Actions<destination::Action>;

/// The model over the boards' functions, or over ones with a planted fault.
struct HandOver {
    source: SourceStep,
    destination: DestinationStep,
}

const REAL: HandOver = HandOver {
    source: Source::step,
    destination: Destination::step,
};

impl HandOver {
    fn source(&self, state: &mut State, event: source::Event) {
        use source::Action;
        let (next, actions) = (self.source)(state.source, event);
        state.source = next;
        for action in actions {
            let message = match action {
                Action::Offer => next.leaving().map(|it| Message::Offer { id: it.id.0 }),
                Action::Commit { id, to } => Some(Message::Commit { id: id.0, to: to.0 }),
                Action::Abort { id, .. } => Some(Message::Abort { id: id.0 }),
                Action::ResumeGuest => {
                    state.at_a = Guest::Running;
                    state.version_a += 1;
                    None
                }
                Action::DiscardGuest => {
                    state.at_a = Guest::Absent;
                    None
                }
                Action::Copy | Action::StopGuest | Action::Finish | Action::Ended { .. } => None,
            };
            state.network.extend(message);
        }
    }

    fn destination(&self, state: &mut State, event: destination::Event) {
        use destination::Action;
        for action in (self.destination)(&mut state.destination, event) {
            let message = match action {
                Action::Accept { id, incarnation } => Some(Message::Accept {
                    id: id.0,
                    by: incarnation.0,
                }),
                Action::Refuse { id, .. } => Some(Message::Refuse { id: id.0 }),
                Action::Prepared { id, incarnation } => {
                    state.at_b = Guest::Still;
                    Some(Message::Prepared {
                        id: id.0,
                        by: incarnation.0,
                    })
                }
                Action::Committed { id, incarnation } => Some(Message::Committed {
                    id: id.0,
                    by: incarnation.0,
                }),
                Action::Aborted {
                    id, incarnation, ..
                } => Some(Message::Aborted {
                    id: id.0,
                    by: incarnation.0,
                }),
                Action::Unknown { id } => Some(Message::Unknown { id: id.0 }),
                Action::RunGuest => {
                    state.at_b = Guest::Running;
                    state.last_copy_at_b = false;
                    None
                }
                Action::DiscardGuest => {
                    state.at_b = Guest::Absent;
                    state.lost_with_its_board |= std::mem::take(&mut state.last_copy_at_b);
                    None
                }
                Action::Clear | Action::Check | Action::Ended { .. } => None,
            };
            state.network.extend(message);
        }
    }

    fn deliver(&self, state: &mut State, message: Message) {
        let failure = FAILURE;
        match message {
            Message::Offer { id } => {
                let admissible = match state.at_b {
                    Guest::Running => Err(failure),
                    Guest::Absent | Guest::Still => Ok(()),
                };
                let event = destination::Event::Offer {
                    arriving: Arriving {
                        id: MoveId(id),
                        resume: true,
                    },
                    admissible,
                    fresh: 100 + state.restarts,
                };
                self.destination(state, event);
            }
            Message::Prepare { id, version } => {
                // Data of one move is numbered, so it arrives whole and in order or not at all.
                let receiving = state.destination.arriving().map(|arriving| arriving.id);
                if receiving == Some(MoveId(id)) {
                    state.version_b = version;
                }
                self.destination(state, destination::Event::Prepare { id: MoveId(id) });
            }
            Message::Commit { id, to } => {
                let (id, to) = (MoveId(id), Incarnation(to));
                self.destination(state, destination::Event::Commit { id, to });
            }
            Message::Abort { id } => {
                let id = MoveId(id);
                self.destination(state, destination::Event::Abort { id, failure });
            }
            Message::Accept { id, by } => {
                let (id, by) = (MoveId(id), Incarnation(by));
                self.source(state, source::Event::Accepted { id, by });
            }
            Message::Refuse { id } => {
                let id = MoveId(id);
                self.source(state, source::Event::Refused { id, failure });
            }
            Message::Prepared { id, by } => {
                let (id, by) = (MoveId(id), Incarnation(by));
                self.source(state, source::Event::Prepared { id, by });
            }
            Message::Committed { id, by } => {
                let (id, by) = (MoveId(id), Incarnation(by));
                self.source(state, source::Event::Committed { id, by });
            }
            Message::Aborted { id, by } => {
                let (id, by) = (MoveId(id), Incarnation(by));
                self.source(state, source::Event::Aborted { id, by, failure });
            }
            // Leaves the source in doubt: only the operator can resolve that.
            Message::Unknown { .. } => {}
        }
    }
}

impl Model for HandOver {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            source: Source::Idle,
            destination: Destination::default(),
            network: BTreeSet::new(),
            at_a: Guest::Running,
            at_b: Guest::Absent,
            version_a: 0,
            version_b: 0,
            moves: 0,
            restarts: 0,
            source_restarts: 0,
            lost_with_its_board: false,
            last_copy_at_b: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        use destination::Stage;
        match state.source {
            Source::Idle if state.at_a == Guest::Running && state.moves < MOVES => {
                steps.push(Step::Start);
            }
            Source::Copying { .. } => steps.push(Step::Converged),
            Source::Stopping { .. } => steps.push(Step::GuestStopped),
            Source::Finishing { .. } => steps.push(Step::Sent),
            _ => {}
        }
        if state.source != Source::Idle {
            steps.extend([Step::SourceSilence, Step::SourceFails]);
        }
        match state.destination.stage() {
            Stage::Clearing { .. } => steps.push(Step::Cleared),
            Stage::Checking { .. } => steps.extend([Step::Checked, Step::CheckFails]),
            _ => {}
        }
        if state.destination.arriving().is_some() {
            steps.push(Step::DestinationFails);
            if state.source == Source::Idle {
                steps.push(Step::DestinationSilence);
            }
        }
        if state.restarts + state.source_restarts < RESTARTS {
            steps.extend([Step::DestinationRestarts, Step::SourceRestarts]);
        }
        // The operator says what is so: that the destination which was meant is gone, and its guest
        // with it, whether or not the one in its place has said that; or that the guest went there.
        if state.source.in_doubt() {
            let meant = state.source.destination();
            if meant.is_some_and(|to| to.0 < 100 + state.restarts) {
                steps.push(Step::Resolve(Verdict::Keep));
            }
            if state.at_b == Guest::Running {
                steps.push(Step::Resolve(Verdict::Drop));
            }
        }
        steps.extend(state.network.iter().copied().map(Step::Deliver));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Start => {
                state.moves += 1;
                let leaving = Leaving {
                    id: MoveId(state.moves),
                    resume: true,
                };
                self.source(&mut state, source::Event::Start(leaving));
            }
            Step::Converged => self.source(&mut state, source::Event::Converged),
            Step::GuestStopped => {
                state.at_a = Guest::Still;
                self.source(&mut state, source::Event::GuestStopped);
            }
            Step::Sent => {
                let id = state.source.leaving().map_or(0, |leaving| leaving.id.0);
                let version = state.version_a;
                state.network.insert(Message::Prepare { id, version });
                self.source(&mut state, source::Event::Sent);
            }
            Step::SourceSilence => self.source(&mut state, source::Event::Silence),
            Step::SourceFails => self.source(&mut state, source::Event::Failed(FAILURE)),
            Step::Cleared => self.destination(&mut state, destination::Event::Cleared),
            Step::Checked => self.destination(&mut state, destination::Event::Checked(Ok(()))),
            Step::CheckFails => {
                self.destination(&mut state, destination::Event::Checked(Err(FAILURE)));
            }
            Step::DestinationFails | Step::DestinationSilence => {
                self.destination(&mut state, destination::Event::Failed(FAILURE));
            }
            Step::DestinationRestarts => {
                state.restarts += 1;
                let running = state.at_b == Guest::Running;
                state.lost_with_its_board |= running || std::mem::take(&mut state.last_copy_at_b);
                state.destination = Destination::default();
                state.at_b = Guest::Absent;
            }
            Step::SourceRestarts => {
                state.source_restarts += 1;
                if state.at_a != Guest::Absent {
                    match state.at_b {
                        Guest::Absent => state.lost_with_its_board = true,
                        Guest::Still => state.last_copy_at_b = true,
                        Guest::Running => {}
                    }
                }
                state.source = Source::Idle;
                state.at_a = Guest::Absent;
            }
            Step::Resolve(verdict) => {
                let id = MoveId(state.source.leaving().map_or(0, |leaving| leaving.id.0));
                self.source(&mut state, source::Event::Resolved { id, verdict });
            }
            Step::Deliver(message) => self.deliver(&mut state, message),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the guest never runs twice", |_, state: &State| {
                !(state.at_a == Guest::Running && state.at_b == Guest::Running)
            }),
            Property::always("what runs at B is the latest", |_, state: &State| {
                state.at_b != Guest::Running || state.version_b == state.version_a
            }),
            Property::always(
                "the guest is lost only with the board that has it",
                |_, state: &State| {
                    state.at_a != Guest::Absent
                        || state.at_b == Guest::Running
                        || state.lost_with_its_board
                        || (state.at_b == Guest::Still && state.last_copy_at_b)
                },
            ),
            Property::always("an idle source's guest runs", |_, state: &State| {
                state.source != Source::Idle || state.at_a != Guest::Still
            }),
            Property::always(
                "a guest at A before the commit can continue",
                |_, state: &State| {
                    state.source.in_doubt()
                        || state.at_a != Guest::Absent
                        || state.source == Source::Idle
                },
            ),
            Property::sometimes("the guest outlives its first board", |_, state: &State| {
                state.source_restarts > 0 && state.at_b == Guest::Running
            }),
            Property::sometimes("and its second", |_, state: &State| {
                state.restarts > 0 && state.moves > 0 && state.at_a == Guest::Running
            }),
            Property::sometimes("a move succeeds", |_, state: &State| {
                state.at_a == Guest::Absent && state.at_b == Guest::Running
            }),
            Property::sometimes("a second attempt succeeds", |_, state: &State| {
                state.moves == 2 && state.at_a == Guest::Absent && state.at_b == Guest::Running
            }),
            Property::sometimes(
                "a doubt is resolved against the move",
                |_, state: &State| {
                    state.source == Source::Idle
                        && state
                            .network
                            .iter()
                            .any(|it| matches!(it, Message::Commit { .. }))
                        && state.at_a == Guest::Running
                },
            ),
        ]
    }
}

// Pitfall: Both sides could run after a lost acknowledgement.
#[test]
fn never_two_runners_and_never_none_whatever_happens() {
    let checker = REAL.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1000);
}

/// From every state, once faults have ended, the boards reach one where the guest runs, if it was
/// not lost with its board, and neither waits for the other. Only of a destination that has
/// restarted does a source in doubt not learn enough by itself: there the operator resolves it.
#[test]
fn there_is_always_a_way_forward() {
    let mut numbers = HashMap::new();
    let mut states = REAL.init_states();
    numbers.insert(states[0].clone(), 0);
    let mut came_from: Vec<Vec<usize>> = vec![Vec::new()];
    let mut current = 0;
    while current < states.len() {
        let state = states[current].clone();
        let mut steps = Vec::new();
        REAL.actions(&state, &mut steps);
        for step in steps {
            let Some(next) = REAL.next_state(&state, step) else {
                continue;
            };
            let number = *numbers.entry(next.clone()).or_insert_with(|| {
                states.push(next);
                came_from.push(Vec::new());
                states.len() - 1
            });
            if step.is_faultless() {
                came_from[number].push(current);
            }
        }
        current += 1;
    }
    let resolved = |state: &State| {
        let runs = state.at_a == Guest::Running || state.at_b == Guest::Running;
        state.source == Source::Idle && (runs || state.lost_with_its_board)
    };
    let mut work: Vec<usize> = (0..states.len())
        .filter(|number| resolved(&states[*number]))
        .collect();
    let mut reaches = vec![false; states.len()];
    while let Some(number) = work.pop() {
        if !std::mem::replace(&mut reaches[number], true) {
            work.extend(&came_from[number]);
        }
    }
    let stuck = reaches.iter().position(|reaches| !reaches);
    assert_eq!(stuck.map(|number| &states[number]), None);
}
