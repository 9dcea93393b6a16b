// SPDX-License-Identifier: BSD-2-Clause
//! Two honest domains: every byte arrives, in order, and neither sleeps for ever.

use super::{CAPACITY, Private, Region, with};
use crate::ring::Duplex;
use stateright::{Checker, Model, Property};

/// Bytes that are sent in all: the ring wraps twice.
const BYTES: u8 = 5;

/// Where a domain is in its loop: work until nothing can be done, see whether the other one is to be woken, leave a
/// mark, look once more, sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Work,
    /// Bytes are in their place, and not spoken of yet.
    Placed(u8),
    Announce,
    Mark,
    Look,
    Asleep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Side {
    at: At,
    region: Region,
    private: Private,
    /// A notification that has not been taken.
    notified: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    sender: Side,
    receiver: Side,
    /// The next byte to be sent and the next expected, as numbers from 0.
    sent: u8,
    received: u8,
    out_of_order: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The sender does its next thing, with this many bytes if it is about bytes.
    Sender(u8),
    Receiver(u8),
}

/// What of the domains' ways can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Looks first and leaves its mark then.
    MarksLate,
    /// Asks whether the other one waits before it has said that there is more.
    AsksEarly,
    /// Says that bytes are there before they are.
    SpeaksEarly,
    /// Says that it has taken bytes before it has.
    TakesEarly,
}

struct Rings(Fault);

impl Side {
    const START: Self = Self {
        at: At::Work,
        region: Region::EMPTY,
        private: Private {
            sends: (0, 0, 0, 0),
            receives: (0, 0, 0, 0),
        },
        notified: false,
    };

    fn with<T>(&mut self, peer: &Self, work: impl FnOnce(&mut Duplex) -> T) -> T {
        with(&mut self.region, peer.region, &mut self.private, work)
    }

    /// Everything but the work itself; `look` is whether there is more to do after all.
    fn rest(
        &mut self,
        peer: &mut Self,
        fault: Fault,
        due: impl Fn(&mut Duplex) -> bool,
        mark: impl Fn(&mut Duplex),
        look: impl Fn(&mut Duplex) -> bool,
    ) {
        let marks_late = fault == Fault::MarksLate;
        self.at = match self.at {
            At::Announce => {
                peer.notified |= self.with(peer, due);
                if marks_late { At::Look } else { At::Mark }
            }
            At::Mark => {
                self.with(peer, mark);
                if marks_late { At::Asleep } else { At::Look }
            }
            At::Look => match (self.with(peer, look), marks_late) {
                (true, _) => At::Work,
                (false, true) => At::Mark,
                (false, false) => At::Asleep,
            },
            At::Asleep if self.notified => {
                self.notified = false;
                At::Work
            }
            at => at,
        };
    }
}

impl Rings {
    fn send(&self, state: &mut State, most: u8) {
        let State {
            sender,
            receiver,
            sent,
            ..
        } = state;
        let fault = self.0;
        match sender.at {
            At::Work => {
                let left = BYTES - *sent;
                let first = *sent;
                let early = fault == Fault::SpeaksEarly;
                let count = sender.with(receiver, |rings| {
                    let wanted = usize::from(most.min(left));
                    let room = rings.producer.grant(wanted).expect("an honest peer domain");
                    let count = room.len();
                    if !early {
                        for (byte, place) in (first..).zip(room) {
                            *place = byte;
                        }
                    } else if count > 0 {
                        rings.producer.commit(count).expect("it was granted");
                    }
                    count
                });
                let count = u8::try_from(count).expect("at most a capacity");
                if count > 0 && fault == Fault::AsksEarly {
                    receiver.notified |= sender.with(receiver, |rings| rings.producer.notify_due());
                }
                sender.at = if count > 0 {
                    At::Placed(count)
                } else {
                    At::Announce
                };
            }
            At::Placed(count) => {
                let (first, early) = (*sent, fault == Fault::SpeaksEarly);
                sender.with(receiver, |rings| {
                    if early {
                        place_late(rings, first, count);
                    } else {
                        rings.producer.commit(count.into()).expect("it was granted");
                    }
                });
                *sent += count;
                sender.at = if fault == Fault::AsksEarly {
                    At::Mark
                } else {
                    At::Announce
                };
            }
            _ => {
                let all = *sent == BYTES;
                sender.rest(
                    receiver,
                    fault,
                    |rings| rings.producer.notify_due(),
                    |rings| rings.producer.leave_mark(1),
                    |rings| !all && rings.producer.free().expect("an honest peer domain") >= 1,
                );
            }
        }
    }

    fn receive(&self, state: &mut State, most: u8) {
        let State {
            sender,
            receiver,
            received,
            out_of_order,
            ..
        } = state;
        let fault = self.0;
        match receiver.at {
            At::Work => {
                let early = fault == Fault::TakesEarly;
                let count = receiver.with(sender, |rings| {
                    let there = rings.consumer.available().expect("an honest peer domain");
                    let count = there.min(most.into());
                    if early && count > 0 {
                        rings.consumer.consume(count).expect("it is there");
                    }
                    count
                });
                let count = u8::try_from(count).expect("at most a capacity");
                receiver.at = if count > 0 {
                    At::Placed(count)
                } else {
                    At::Announce
                };
            }
            At::Placed(count) => {
                let early = fault == Fault::TakesEarly;
                let bytes = receiver.with(sender, |rings| {
                    let bytes = look_at(rings, count, early);
                    if !early {
                        rings.consumer.consume(count.into()).expect("it is there");
                    }
                    bytes
                });
                for byte in bytes.into_iter().take(count.into()) {
                    *out_of_order |= byte != *received;
                    *received += 1;
                }
                receiver.at = At::Announce;
            }
            _ => receiver.rest(
                sender,
                fault,
                |rings| rings.consumer.notify_due(),
                |rings| rings.consumer.leave_mark(0),
                |rings| rings.consumer.available().expect("an honest peer domain") > 0,
            ),
        }
    }
}

/// The planted fault's second half: the bytes that were spoken of already.
fn place_late(rings: &mut Duplex, first: u8, count: u8) {
    let start = rings.producer.region;
    let behind = (rings.producer.produced.index + CAPACITY - usize::from(count)) % CAPACITY;
    for (place, byte) in (first..first + count).enumerate() {
        let at = super::HEADER_LENGTH + (behind + place) % CAPACITY;
        // SAFETY: within the data of the region that this side writes.
        unsafe { start.add(at).write(byte) };
    }
}

/// The bytes that are to be taken, or with the planted fault have been given back already.
fn look_at(rings: &Duplex, count: u8, given_back: bool) -> [u8; CAPACITY] {
    let consumer = &rings.consumer;
    let behind = if given_back { usize::from(count) } else { 0 };
    let first = consumer.consumed.index + CAPACITY - behind;
    core::array::from_fn(|place| {
        let at = super::HEADER_LENGTH + (first + place) % CAPACITY;
        // SAFETY: within the data of the peer domain's region.
        unsafe { consumer.region.add(at).read() }
    })
}

impl Model for Rings {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            sender: Side::START,
            receiver: Side::START,
            sent: 0,
            received: 0,
            out_of_order: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let choices = |at: At| if at == At::Work { 1..=2 } else { 1..=1 };
        steps.extend(choices(state.sender.at).map(Step::Sender));
        steps.extend(choices(state.receiver.at).map(Step::Receiver));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        match step {
            Step::Sender(most) => self.send(&mut state, most),
            Step::Receiver(most) => self.receive(&mut state, most),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("bytes arrive in order", |_, state: &State| {
                !state.out_of_order
            }),
            Property::always("nobody sleeps for ever", |_, state: &State| {
                let stuck = |side: &Side| side.at == At::Asleep && !side.notified;
                !(stuck(&state.sender) && stuck(&state.receiver)) || state.received == BYTES
            }),
            Property::sometimes("all bytes arrive", |_, state: &State| {
                state.received == BYTES
            }),
            Property::sometimes("the sender waits for room", |_, state: &State| {
                state.sender.at == At::Asleep && state.sent < BYTES
            }),
        ]
    }
}

#[test]
fn every_byte_arrives_in_order_and_nobody_sleeps_for_ever() {
    let checker = Rings(Fault::None).checker().spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 1000);
}

#[test]
fn the_model_catches_planted_faults() {
    for (fault, broken) in [
        (Fault::MarksLate, "nobody sleeps for ever"),
        (Fault::AsksEarly, "nobody sleeps for ever"),
        (Fault::SpeaksEarly, "bytes arrive in order"),
        (Fault::TakesEarly, "bytes arrive in order"),
    ] {
        let checker = Rings(fault).checker().spawn_bfs().join();
        assert!(checker.discovery(broken).is_some(), "{fault:?}");
    }
}
