// SPDX-License-Identifier: BSD-2-Clause
//! The clock as a guest sees it.

use super::*;
use proptest::prelude::*;

/// Ticks a second of the tests' counter.
const FREQUENCY: u32 = 1000;
const DAY: u32 = 1_700_000_000;

fn clock() -> Clock {
    Clock::new(u64::from(DAY) * u64::from(FREQUENCY), FREQUENCY)
}

fn read(clock: &Clock, offset: u32, count: u64) -> u32 {
    clock.read(offset, 4, count)
}

#[test]
fn a_driver_recognises_a_pl031() {
    let read: Vec<u32> = (0xfe0..0x1000)
        .step_by(4)
        .map(|offset| read(&clock(), offset, 0))
        .collect();
    assert_eq!(read, [0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
}

#[test]
fn it_goes_with_the_guests_count_from_the_beginning_and_cannot_be_stopped() {
    let mut clock = clock();
    for (count, seconds) in [(0, 0), (999, 0), (1000, 1), (3_600_500, 3600)] {
        clock.write(CR, 0, count);
        assert_eq!(read(&clock, CR, count), 1);
        assert_eq!(read(&clock, DR, count), DAY + seconds);
    }
    assert_eq!(clock.read(DR + 1, 1, 0), DAY >> 8 & 0xff);
    assert_eq!(clock.read(DR + 2, 2, 0), DAY >> 16);
}

#[test]
fn what_is_loaded_counts_from_then_on() {
    let mut clock = clock();
    clock.write(LR, 12, 7_777);
    assert_eq!(read(&clock, LR, 0), 12);
    for (count, seconds) in [(7_777, 12), (8_776, 12), (8_777, 13)] {
        assert_eq!(read(&clock, DR, count), seconds);
    }
}

#[test]
fn a_match_interrupts_until_it_is_cleared() {
    let mut clock = clock();
    clock.write(IMSC, 1, 0);
    clock.write(MR, DAY + 5, 2_500);
    assert_eq!(read(&clock, MR, 0), DAY + 5);
    assert_eq!(clock.due(), Some(5_000), "when the second begins");
    assert!(!clock.interrupt_line());
    clock.match_now();
    assert!(clock.interrupt_line() && clock.due().is_none());
    assert_eq!([RIS, MIS].map(|offset| read(&clock, offset, 0)), [1, 1]);
    clock.write(IMSC, 0, 0);
    assert_eq!([RIS, MIS].map(|offset| read(&clock, offset, 0)), [1, 0]);
    assert!(!clock.interrupt_line());
    clock.write(ICR, 1, 0);
    clock.write(IMSC, 1, 0);
    assert!(!clock.interrupt_line());
}

#[test]
fn a_match_with_this_second_interrupts_at_once_and_one_with_the_past_does_not() {
    let mut clock = clock();
    clock.write(MR, DAY - 1, 0);
    assert_eq!(read(&clock, RIS, 0), 0);
    clock.write(MR, DAY, 0);
    assert_eq!((read(&clock, RIS, 0), clock.due()), (1, None));
}

#[test]
fn a_match_moves_with_what_is_loaded() {
    let mut clock = clock();
    clock.write(MR, DAY + 5, 0);
    clock.write(LR, DAY + 3, 1_500);
    assert_eq!(clock.due(), Some(3_500));
}

proptest! {
    /// By a model that counts on, a tick at a time.
    #[test]
    fn a_match_is_due_in_the_first_tick_of_its_second(
        ahead in any::<u64>(),
        count in any::<u32>(),
        distance in 1_u32..5,
        frequency in 1_u32..9,
    ) {
        let mut clock = Clock::new(ahead, frequency);
        let count = u64::from(count);
        let matching = read(&clock, DR, count).wrapping_add(distance);
        clock.write(MR, matching, count);
        let first = (count..count + 64).find(|count| read(&clock, DR, *count) == matching);
        // Where the sum of count and what it is ahead wraps, the clock jumps, which no guest lives to see.
        prop_assume!(ahead.checked_add(count + 64).is_some());
        prop_assert_eq!(clock.due(), first);
    }

    // Pitfall: A device had nothing to save by default.
    #[test]
    fn a_record_makes_a_clock_that_behaves_alike(
        ahead in any::<u64>(),
        writes in proptest::collection::vec((0_u32..9, any::<u32>(), any::<u32>()), 0..20),
    ) {
        let mut here = Clock::new(ahead, FREQUENCY);
        for (register, value, count) in writes {
            here.write(4 * register, value, count.into());
            let there = Clock::import(&here.export(), FREQUENCY);
            prop_assert_eq!(there, here);
            prop_assert_eq!(there.export(), here.export());
        }
    }
}
