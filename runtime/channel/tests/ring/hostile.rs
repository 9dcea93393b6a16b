// SPDX-License-Identifier: BSD-2-Clause
//! A peer domain that writes anything into its region at any time.

use super::{Region, attach};
use channel::ring::{Counter, Duplex, HEADER_LENGTH, RingError, Span};
use proptest::prelude::*;

const CAPACITY: usize = 100;
/// Where a header holds its two counts.
const PRODUCED: usize = 0;
const CONSUMED: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    /// The peer domain overwrites one word of its header.
    Forge {
        word: usize,
        value: u64,
    },
    /// The peer domain adds to one word of its header, which is often plausible.
    Nudge {
        word: usize,
        by: u64,
    },
    Push(Vec<u8>),
    Build {
        most: usize,
        commit: usize,
    },
    Pop(usize),
    Peek {
        skip: usize,
        consume: usize,
    },
    WaitForData(usize),
    WaitForSpace(usize),
}

fn count() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..2 * CAPACITY, 1 => any::<usize>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..8_usize, any::<u64>()).prop_map(|(word, value)| Step::Forge { word, value }),
        (0..8_usize, 0..300_u64).prop_map(|(word, value)| Step::Forge { word, value }),
        (0..4_usize, 0..60_u64).prop_map(|(word, by)| Step::Nudge { word, by }),
        (0..4_usize, 0..60_u64).prop_map(|(word, by)| Step::Nudge { word, by }),
        proptest::collection::vec(any::<u8>(), 0..150).prop_map(Step::Push),
        (count(), count()).prop_map(|(most, commit)| Step::Build { most, commit }),
        (0..150_usize).prop_map(Step::Pop),
        (count(), count()).prop_map(|(skip, consume)| Step::Peek { skip, consume }),
        count().prop_map(Step::WaitForData),
        count().prop_map(Step::WaitForSpace),
    ]
}

fn word(region: &Region, offset: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|index| region.read(offset + index)))
}

/// Spans lie within the data of a region, and hold no more than it does.
fn are_inside(spans: [Span; 2]) -> bool {
    spans.iter().all(|span| {
        span.offset >= HEADER_LENGTH && span.offset + span.length <= HEADER_LENGTH + CAPACITY
    }) && spans.iter().map(|span| span.length).sum::<usize>() <= CAPACITY
}

/// Does what an honest domain does; whatever fails, fails as an error value.
fn run(step: Step, peer: &Region, ours: &mut Duplex) -> Result<(), RingError> {
    let Duplex { producer, consumer } = ours;
    match step {
        Step::Forge { word, value } => peer.write(word * 8, &value.to_ne_bytes()),
        Step::Nudge { word: index, by } => {
            let value = word(peer, index * 8).wrapping_add(by);
            peer.write(index * 8, &value.to_ne_bytes());
        }
        Step::Push(bytes) => assert!(producer.push(&bytes)? <= CAPACITY),
        Step::Build { most, commit } => {
            let granted = producer.grant(most)?;
            granted.fill(0x5a);
            assert!(granted.len() <= most.min(CAPACITY));
            producer.commit(commit)?;
        }
        Step::Pop(most) => {
            let mut bytes = vec![0; most];
            assert!(consumer.pop(&mut bytes)? <= most.min(CAPACITY));
        }
        Step::Peek { skip, consume } => {
            assert!(are_inside(consumer.peek(skip)?));
            consumer.consume(consume)?;
        }
        Step::WaitForData(seen) => {
            let _ = consumer.wait(seen)?;
        }
        Step::WaitForSpace(space) => {
            let _ = producer.wait(space)?;
        }
    }
    assert!(producer.free()? <= CAPACITY);
    assert!(consumer.available()? <= CAPACITY);
    assert!(are_inside(producer.spans()?));
    let _ = (producer.notify_due(), consumer.notify_due());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(700))]

    #[test]
    fn no_peer_domain_can_make_us_leave_the_ring_or_panic(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (own, peer) = (Region::new(CAPACITY), Region::new(CAPACITY));
        let mut ours = attach(&own, &peer);
        let (mut sent, mut taken) = (0, 0);
        for step in steps {
            // An error is an answer; what matters is that the next step is as safe.
            let _ = run(step, &peer, &mut ours);
            prop_assert!(own.guards_are_untouched() && peer.guards_are_untouched());
            let (now_sent, now_taken) = (word(&own, PRODUCED), word(&own, CONSUMED));
            prop_assert!(now_sent >= sent && now_taken >= taken, "our counts went back");
            (sent, taken) = (now_sent, now_taken);
        }
    }

    #[test]
    fn a_count_that_is_not_possible_is_named(forged in 101..u64::MAX) {
        let (own, peer) = (Region::new(CAPACITY), Region::new(CAPACITY));
        let mut ours = attach(&own, &peer);
        peer.write(PRODUCED, &forged.to_ne_bytes());
        let produced = RingError::Corrupt {
            counter: Counter::Produced,
            found: forged,
            lowest: 0,
            highest: 100,
        };
        prop_assert_eq!(ours.consumer.available(), Err(produced));
        prop_assert_eq!(ours.consumer.pop(&mut [0; 8]), Err(produced));
        prop_assert_eq!(ours.consumer.wait(0), Err(produced));
        peer.write(CONSUMED, &forged.to_ne_bytes());
        let consumed = RingError::Corrupt {
            counter: Counter::Consumed,
            found: forged,
            lowest: 0,
            highest: 0,
        };
        prop_assert_eq!(ours.producer.free(), Err(consumed));
        prop_assert_eq!(ours.producer.push(b"a"), Err(consumed));
        prop_assert_eq!(word(&own, PRODUCED), 0);
        prop_assert_eq!(word(&own, CONSUMED), 0);
    }
}

#[test]
fn a_peer_domain_cannot_take_back_what_it_said() {
    let (own, peer) = (Region::new(CAPACITY), Region::new(CAPACITY));
    let mut ours = attach(&own, &peer);
    peer.write(PRODUCED, &50_u64.to_ne_bytes());
    assert_eq!(ours.consumer.available(), Ok(50));
    peer.write(PRODUCED, &40_u64.to_ne_bytes());
    assert_eq!(
        ours.consumer.available(),
        Err(RingError::Corrupt {
            counter: Counter::Produced,
            found: 40,
            lowest: 50,
            highest: 100,
        })
    );
    assert_eq!(
        ours.consumer.consume(50),
        Ok(()),
        "what was seen stays ours"
    );
}
