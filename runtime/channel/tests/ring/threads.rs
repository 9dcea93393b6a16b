// SPDX-License-Identifier: BSD-2-Clause
//! Two threads that sleep whenever the ring says so: bytes arrive whole and in order, and no
//! wake-up is lost.

use super::{Region, attach};
use channel::ring::{Consumer, Duplex, Producer};
use std::sync::{Condvar, Mutex};

/// What a notification object and a scheduler are to two domains.
#[derive(Default)]
struct Scheduler {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: [bool; 2],
    asleep: [bool; 2],
    finished: [bool; 2],
}

impl State {
    /// This side does nothing until the other one wakes it.
    fn is_quiet(&self, who: usize) -> bool {
        self.finished[who] || (self.asleep[who] && !self.pending[who])
    }
}

impl Scheduler {
    fn notify(&self, who: usize) {
        self.state.lock().expect("not poisoned").pending[who] = true;
        self.changed.notify_all();
    }

    fn finish(&self, who: usize) {
        self.state.lock().expect("not poisoned").finished[who] = true;
        self.changed.notify_all();
    }

    /// Sleeps until notified. If the other side is quiet as well, nothing will ever happen again:
    /// a wake-up was lost.
    fn sleep(&self, who: usize) {
        let mut state = self.state.lock().expect("not poisoned");
        state.asleep[who] = true;
        self.changed.notify_all();
        while !state.pending[who] {
            let lost = state.is_quiet(0) && state.is_quiet(1);
            assert!(!lost, "nobody is awake: a wake-up was lost");
            state = self.changed.wait(state).expect("the other side lives");
        }
        state.pending[who] = false;
        state.asleep[who] = false;
    }
}

/// The byte at a place in the stream; no short period that a ring's length could hide.
fn byte_at(place: u64) -> u8 {
    place.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn send(producer: &mut Producer, total: u64, scheduler: &Scheduler) {
    let (mut sent, mut space) = (0, 1);
    while sent < total {
        let most = usize::try_from(total - sent).map_or(37, |rest| rest.min(37));
        let granted = producer.grant(most).expect("honest");
        for byte in granted.iter_mut() {
            *byte = byte_at(sent);
            sent += 1;
        }
        let count = granted.len();
        producer.commit(count).expect("within the grant");
        if producer.notify_due() {
            scheduler.notify(1);
        }
        if count == 0 && !producer.wait(space).expect("honest") {
            scheduler.sleep(0);
            space = space % producer.capacity() + 1;
        }
    }
    scheduler.finish(0);
}

fn receive(consumer: &mut Consumer, total: u64, scheduler: &Scheduler) {
    let mut received = 0;
    let mut buffer = [0; 61];
    while received < total {
        let count = consumer.pop(&mut buffer).expect("honest");
        for byte in &buffer[..count] {
            assert_eq!(*byte, byte_at(received), "at {received}");
            received += 1;
        }
        if consumer.notify_due() {
            scheduler.notify(0);
        }
        if count == 0 && !consumer.wait(0).expect("honest") {
            scheduler.sleep(1);
        }
    }
    scheduler.finish(1);
}

fn exchange(capacity: usize, total: u64) {
    let (left, right) = (Region::new(capacity), Region::new(capacity));
    let scheduler = Scheduler::default();
    let Duplex { mut producer, .. } = attach(&left, &right);
    let Duplex { mut consumer, .. } = attach(&right, &left);
    std::thread::scope(|scope| {
        scope.spawn(|| send(&mut producer, total, &scheduler));
        scope.spawn(|| receive(&mut consumer, total, &scheduler));
    });
}

#[test]
fn bytes_arrive_in_order_through_a_ring_that_is_always_full_or_empty() {
    for capacity in [1, 3, 64] {
        exchange(capacity, 30_000);
    }
}

#[test]
fn bytes_arrive_in_order_through_a_roomy_ring() {
    exchange(4096 - 64, 4_000_000);
}
