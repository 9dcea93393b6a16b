// SPDX-License-Identifier: BSD-2-Clause
//! Two honest sides behave as a bounded queue.

use super::{Region, attach};
use channel::ring::{Duplex, HEADER_LENGTH, RingError};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::ptr::NonNull;

#[derive(Debug, Clone)]
enum Step {
    Push(Vec<u8>),
    Build { most: usize, used: usize },
    Pop(usize),
    Peek { skip: usize, consume: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..150).prop_map(Step::Push),
        (0..150_usize, 0..150_usize).prop_map(|(most, used)| Step::Build { most, used }),
        (0..150_usize).prop_map(Step::Pop),
        (0..100_usize, 0..100_usize).prop_map(|(skip, consume)| Step::Peek { skip, consume }),
    ]
}

/// Runs a step on a ring and on the plain queue that it must equal.
fn run(
    step: Step,
    region: &Region,
    sender: &mut Duplex,
    receiver: &mut Duplex,
    model: &mut VecDeque<u8>,
) -> Result<(), TestCaseError> {
    let capacity = sender.producer.capacity();
    match step {
        Step::Push(bytes) => {
            let count = sender.producer.push(&bytes).expect("honest");
            prop_assert_eq!(count, bytes.len().min(capacity - model.len()));
            model.extend(&bytes[..count]);
        }
        Step::Build { most, used } => {
            let granted = sender.producer.grant(most).expect("honest");
            prop_assert!(granted.len() <= most.min(capacity - model.len()));
            prop_assert_eq!(granted.is_empty(), most == 0 || model.len() == capacity);
            let used = used.min(granted.len());
            for (index, byte) in granted[..used].iter_mut().enumerate() {
                *byte = u8::try_from(index).expect("small");
                model.push_back(*byte);
            }
            sender.producer.commit(used).expect("within the grant");
        }
        Step::Pop(most) => {
            let mut bytes = vec![0; most];
            let count = receiver.consumer.pop(&mut bytes).expect("honest");
            let expected: Vec<u8> = model.drain(..most.min(model.len())).collect();
            prop_assert_eq!(&bytes[..count], &expected[..]);
        }
        Step::Peek { skip, consume } => {
            let spans = receiver.consumer.peek(skip).expect("honest");
            let seen: Vec<u8> = spans
                .iter()
                .flat_map(|span| span.offset..span.offset + span.length)
                .map(|offset| region.read(offset))
                .collect();
            let expected: Vec<u8> = model.iter().skip(skip).copied().collect();
            prop_assert_eq!(seen, expected);
            let consume = consume.min(model.len());
            receiver.consumer.consume(consume).expect("within");
            model.drain(..consume);
        }
    }
    prop_assert_eq!(sender.producer.free(), Ok(capacity - model.len()));
    prop_assert_eq!(receiver.consumer.available(), Ok(model.len()));
    Ok(())
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue_of_any_capacity(
        capacity in 1..130_usize,
        steps in proptest::collection::vec((any::<bool>(), step()), 1..120),
    ) {
        let (left, right) = (Region::new(capacity), Region::new(100));
        let mut here = attach(&left, &right);
        let mut there = attach(&right, &left);
        let (mut to_right, mut to_left) = (VecDeque::new(), VecDeque::new());
        for (rightwards, step) in steps {
            if rightwards {
                run(step, &left, &mut here, &mut there, &mut to_right)?;
            } else {
                run(step, &right, &mut there, &mut here, &mut to_left)?;
            }
        }
        prop_assert!(left.guards_are_untouched() && right.guards_are_untouched());
    }
}

#[test]
fn free_spans_are_where_committed_bytes_are_read() {
    let (left, right) = (Region::new(10), Region::new(10));
    let mut here = attach(&left, &right);
    let mut there = attach(&right, &left);
    assert_eq!(here.producer.push(b"abcdefg"), Ok(7));
    assert_eq!(there.consumer.pop(&mut [0; 6]), Ok(6));
    let spans = here.producer.spans().expect("honest");
    let places: Vec<usize> = spans
        .iter()
        .flat_map(|span| span.offset..span.offset + span.length)
        .collect();
    assert_eq!(places.len(), 9);
    for (place, byte) in places.iter().zip(b"123456789") {
        left.write(*place, &[*byte]);
    }
    here.producer.commit(9).expect("free");
    let mut all = [0; 10];
    assert_eq!(there.consumer.pop(&mut all), Ok(10));
    assert_eq!(&all, b"g123456789");
}

#[test]
fn the_caller_cannot_send_or_take_what_is_not_there() {
    let (left, right) = (Region::new(10), Region::new(10));
    let mut here = attach(&left, &right);
    let mut there = attach(&right, &left);
    assert_eq!(
        here.producer.commit(11),
        Err(RingError::Excess {
            asked: 11,
            there: 10
        })
    );
    assert_eq!(here.producer.push(b"abc"), Ok(3));
    assert_eq!(there.consumer.available(), Ok(3));
    assert_eq!(
        there.consumer.consume(4),
        Err(RingError::Excess { asked: 4, there: 3 })
    );
}

#[test]
fn a_region_without_room_for_data_or_misaligned_is_refused() {
    let (left, right) = (Region::new(64), Region::new(64));
    // SAFETY: only the constructor is called, which refuses.
    let refused = unsafe { Duplex::new(left.pointer(), HEADER_LENGTH, right.pointer(), 128) };
    assert!(matches!(refused, Err(RingError::Region { length, .. }) if length == HEADER_LENGTH));
    let crooked: NonNull<u8> = left.pointer().map_addr(|address| address.saturating_add(8));
    // SAFETY: only the constructor is called, which refuses.
    let refused = unsafe { Duplex::new(right.pointer(), 128, crooked, 120) };
    assert!(matches!(
        refused,
        Err(RingError::Region { length: 120, .. })
    ));
}

#[test]
fn the_first_byte_wakes_a_peer_domain_that_has_not_come_up_yet() {
    let (left, right) = (Region::new(64), Region::new(64));
    let mut here = attach(&left, &right);
    assert_eq!(here.producer.push(b"x"), Ok(1));
    assert!(here.producer.notify_due());
    assert_eq!(here.producer.push(b"y"), Ok(1));
    assert!(!here.producer.notify_due());
}

#[test]
fn only_a_sleeping_consumer_is_notified_and_only_once() {
    let (left, right) = (Region::new(64), Region::new(64));
    let mut here = attach(&left, &right);
    let mut there = attach(&right, &left);
    assert_eq!(here.producer.push(b"first"), Ok(5));
    assert!(here.producer.notify_due());
    assert_eq!(there.consumer.pop(&mut [0; 64]), Ok(5));
    assert_eq!(here.producer.push(b"while it is awake"), Ok(17));
    assert!(!here.producer.notify_due());
    assert_eq!(there.consumer.wait(0), Ok(true));
    assert_eq!(there.consumer.wait(17), Ok(false));
    assert_eq!(here.producer.push(b"1"), Ok(1));
    assert_eq!(here.producer.push(b"2"), Ok(1));
    assert!(here.producer.notify_due());
    assert!(!here.producer.notify_due());
}

#[test]
fn a_producer_is_notified_when_the_space_it_asked_for_is_there() {
    let (left, right) = (Region::new(64), Region::new(64));
    let mut here = attach(&left, &right);
    let mut there = attach(&right, &left);
    assert_eq!(here.producer.push(&[7; 64]), Ok(64));
    assert_eq!(here.producer.wait(48), Ok(false));
    assert_eq!(there.consumer.pop(&mut [0; 47]), Ok(47));
    assert!(!there.consumer.notify_due());
    assert_eq!(there.consumer.pop(&mut [0; 1]), Ok(1));
    assert!(there.consumer.notify_due());
    assert_eq!(here.producer.wait(48), Ok(true));
    assert_eq!(here.producer.wait(1000), Ok(false));
    assert_eq!(there.consumer.pop(&mut [0; 64]), Ok(16));
    assert!(there.consumer.notify_due());
    assert_eq!(here.producer.wait(1000), Ok(true));
}
