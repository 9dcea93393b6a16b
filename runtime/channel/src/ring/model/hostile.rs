// SPDX-License-Identifier: BSD-2-Clause
//! A peer domain that writes anything: we stay within the ring, and our own counts go forward only.

use super::{CAPACITY, HEADER_LENGTH, Private, Region, with};
use crate::ring::{Duplex, RingError, Span};
use stateright::{Checker, Model, Property};

/// Our own counts are followed so far: the ring wraps twice.
const FAR: u64 = 5;
/// What the peer domain has in each word of its header at a step: everything near our counts, and what is far from all.
const WORDS: [u64; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 1 << 63, u64::MAX - 1, u64::MAX];
/// And in its marks, which say only whether to notify.
const MARKS: [u64; 3] = [0, 2, u64::MAX];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    own: Region,
    private: Private,
    /// What was wrong with the last step.
    wrong: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Push(usize),
    Commit(usize),
    Pop(usize),
    Peek(usize),
    Consume(usize),
    WaitForSpace(usize),
    WaitForData(usize),
    Due,
}

/// The peer domain has written this header, and we do something. What it has as data does not matter to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    peer: [u64; 4],
    used: Use,
}

type Available = fn(&mut Duplex) -> Result<usize, RingError>;
type Free = fn(&mut Duplex) -> Result<usize, RingError>;

/// The model over the ring's functions, or over ones with a planted fault.
struct Ring {
    free: Free,
    available: Available,
}

const REAL: Ring = Ring {
    free: |rings| rings.producer.free(),
    available: |rings| rings.consumer.available(),
};

fn inside(spans: [Span; 2]) -> bool {
    let all: usize = spans.iter().map(|span| span.length).sum();
    let fits = |span: &Span| {
        span.offset >= HEADER_LENGTH && span.offset + span.length <= HEADER_LENGTH + CAPACITY
    };
    spans.iter().all(fits) && all <= CAPACITY
}

impl Ring {
    /// An honest domain's step; an error is an answer. What is said if it oversteps.
    fn step(&self, rings: &mut Duplex, step: Use) -> Result<Option<&'static str>, RingError> {
        let wrong = |bad: bool, what| Ok(bad.then_some(what));
        match step {
            Use::Push(count) => {
                let bytes = [0x5a; CAPACITY + 1];
                let sent = rings
                    .producer
                    .push(bytes.get(..count).unwrap_or_default())?;
                wrong(sent > CAPACITY, "more is sent than fits")
            }
            Use::Commit(count) => {
                let free = (self.free)(rings)?;
                if free > CAPACITY {
                    return Ok(Some("room that is not there"));
                }
                let granted = rings.producer.grant(count)?.len();
                let inside = inside(rings.producer.spans()?);
                rings.producer.commit(count)?;
                wrong(
                    granted > free || !inside || count > free,
                    "room that is not there",
                )
            }
            Use::Pop(count) => {
                let mut bytes = [0; CAPACITY + 1];
                let taken = rings
                    .consumer
                    .pop(bytes.get_mut(..count).unwrap_or_default())?;
                wrong(taken > CAPACITY, "more is taken than fits")
            }
            Use::Peek(skip) => {
                let spans = rings.consumer.peek(skip)?;
                wrong(!inside(spans), "a place outside the ring")
            }
            Use::Consume(count) => {
                let there = (self.available)(rings)?;
                if there <= CAPACITY {
                    rings.consumer.consume(count)?;
                }
                wrong(there > CAPACITY, "bytes that are not there")
            }
            Use::WaitForSpace(space) => rings.producer.wait(space).map(|_| None),
            Use::WaitForData(seen) => rings.consumer.wait(seen).map(|_| None),
            Use::Due => {
                let _ = (rings.producer.notify_due(), rings.consumer.notify_due());
                Ok(None)
            }
        }
    }
}

impl Model for Ring {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            own: Region::EMPTY,
            private: Private::default(),
            wrong: None,
        }]
    }

    fn actions(&self, _: &State, steps: &mut Vec<Step>) {
        let mut uses = Vec::new();
        for count in 0..=CAPACITY + 1 {
            uses.extend([
                Use::Push(count),
                Use::Commit(count),
                Use::Pop(count),
                Use::Peek(count),
                Use::Consume(count),
                Use::WaitForSpace(count),
                Use::WaitForData(count),
            ]);
        }
        for produced in WORDS {
            for consumed in WORDS {
                let peer = [produced, consumed, 0, 0];
                steps.extend(uses.iter().map(|&used| Step { peer, used }));
            }
        }
        // Only this one looks at marks.
        steps.extend(MARKS.map(|mark| Step {
            peer: [0, 0, mark, mark],
            used: Use::Due,
        }));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        let peer = Region {
            header: step.peer,
            ..Region::EMPTY
        };
        let done = with(&mut state.own, peer, &mut state.private, |rings| {
            self.step(rings, step.used)
        });
        state.wrong = done.unwrap_or(None);
        let [sent, taken, ..] = state.own.header;
        let [sent_before, taken_before, ..] = last.own.header;
        if sent < sent_before || taken < taken_before {
            state.wrong = Some("our counts went back");
        }
        // Of what else we keep, no count depends on anything: marks are never read again, and what was last spoken of only
        // decides whether to notify.
        (state.private.sends.3, state.private.receives.3) = (0, 0);
        state.own = Region {
            header: [sent, taken, 0, 0],
            ..Region::EMPTY
        };
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.own.header[0] <= FAR && state.own.header[1] <= FAR
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("we stay within the ring", |_, state: &State| {
                state.wrong.is_none()
            }),
            Property::sometimes("much is sent", |_, state: &State| {
                state.own.header[0] == FAR
            }),
            Property::sometimes("much is taken", |_, state: &State| {
                state.own.header[1] == FAR
            }),
        ]
    }
}

#[test]
fn whatever_a_peer_domain_writes_we_stay_within_the_ring() {
    let checker = REAL.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 200);
}

/// Believes whatever the peer domain says it has sent.
fn credulous(rings: &mut Duplex) -> Result<usize, RingError> {
    let found = super::super::header(&rings.consumer.peer)
        .produced
        .load(core::sync::atomic::Ordering::Acquire);
    rings.consumer.produced = found.max(rings.consumer.consumed.count);
    Ok(rings.consumer.known_available())
}

/// Believes whatever the peer domain says it has taken.
fn trusting(rings: &mut Duplex) -> Result<usize, RingError> {
    let found = super::super::header(&rings.producer.peer)
        .consumed
        .load(core::sync::atomic::Ordering::Acquire);
    let used = rings.producer.produced.count.wrapping_sub(found);
    Ok(CAPACITY.wrapping_sub(super::super::narrow(used)))
}

#[test]
fn the_model_catches_planted_faults() {
    for faulty in [
        Ring {
            available: credulous,
            ..REAL
        },
        Ring {
            free: trusting,
            ..REAL
        },
    ] {
        let checker = faulty.checker().threads(2).spawn_bfs().join();
        assert!(checker.discovery("we stay within the ring").is_some());
    }
}
