// SPDX-License-Identifier: BSD-2-Clause
//! What is delivered where, and when.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

mod machine;

use channel::vgic::{Answer, Refusal};
use machine::{Machine, id, intid};

#[test]
fn nothing_disabled_is_delivered() {
    let mut machine = Machine::enabled(1);
    machine.write(0, 0, 0);
    machine.set_line(0, 40, true);
    assert_eq!(machine.in_flight(0), [], "the distributor is off");
    machine.write(0, 0x084, 1 << 8);
    machine.write(0, 0, 1);
    assert_eq!(machine.in_flight(0), [], "its group is off");
    machine.write(0, 0x184, 1 << 8);
    machine.write(0, 0, 3);
    assert_eq!(machine.in_flight(0), [], "the interrupt is off");
    machine.write(0, 0x104, 1 << 8);
    assert_eq!(machine.in_flight(0), [40]);
}

#[test]
fn an_injection_carries_group_and_priority() {
    let mut machine = Machine::enabled(1);
    machine.write(0, 0x084, 1 << 1);
    machine.write_byte(0, 0x421, 0xa8);
    let answer = machine.gic.set_line(id(0), intid(33), true).unwrap();
    let injection = answer.injections().next().unwrap();
    assert_eq!((injection.group, injection.priority), (1, 0xa8 >> 3));
}

#[test]
fn the_most_urgent_goes_first_and_the_lowest_number_among_equals() {
    let mut machine = Machine::enabled(1);
    machine.write(0, 0, 0);
    for (number, priority) in [(40, 0x80), (41, 0x40), (42, 0x80), (43, 0x08), (44, 0x80)] {
        machine.write_byte(0, 0x400 + u32::from(number), priority);
        machine.set_line(0, number, true);
    }
    let answer = machine.gic.write(id(0), 0, 4, 1).unwrap();
    let order: Vec<u16> = answer.injections().map(|i| i.intid.value()).collect();
    assert_eq!(order, [43, 41, 40, 42]);
}

#[test]
fn a_level_that_stays_high_is_delivered_again_after_its_end() {
    let mut machine = Machine::enabled(1);
    machine.set_line(0, 50, true);
    machine.set_line(0, 50, true);
    for _ in 0..3 {
        assert_eq!(machine.acknowledge(0), Some(50));
        assert_eq!(
            machine.in_flight(0),
            [50],
            "not again while it is in flight"
        );
        machine.end(0);
    }
    assert_eq!(machine.acknowledge(0), Some(50));
    machine.set_line(0, 50, false);
    machine.end(0);
    assert_eq!(machine.acknowledge(0), None);
}

#[test]
fn an_edge_while_in_flight_is_delivered_afterwards() {
    let mut machine = Machine::enabled(1);
    machine.write(0, 0xc0c, u32::MAX);
    machine.set_line(0, 50, true);
    machine.set_line(0, 50, false);
    assert_eq!(machine.acknowledge(0), Some(50));
    machine.set_line(0, 50, true);
    assert_eq!(machine.in_flight(0), [50]);
    machine.end(0);
    assert_eq!(
        machine.acknowledge(0),
        Some(50),
        "the line is high, but that is not why"
    );
    machine.end(0);
    assert_eq!(machine.acknowledge(0), None);
}

#[test]
fn an_sgi_is_delivered_once_for_each_source() {
    let mut machine = Machine::enabled(4);
    for from in [1, 2, 3, 2] {
        machine.send(from, 0b0001, 9);
    }
    assert_eq!(machine.in_flight(0), [9]);
    for left in [0b1100, 0b1000, 0] {
        assert_eq!(machine.read_byte(0, 0xf29), left);
        assert_eq!(machine.acknowledge(0), Some(9));
        machine.end(0);
    }
    assert_eq!(machine.acknowledge(0), None);
}

#[test]
fn more_pending_than_list_registers_all_arrive_in_order_of_urgency() {
    let mut machine = Machine::enabled(1);
    for number in 32..288 {
        machine.set_line(0, number, true);
    }
    let mut order = Vec::new();
    while let Some(number) = machine.acknowledge(0) {
        machine.set_line(0, number, false);
        machine.end(0);
        order.push(number);
    }
    assert!(order.into_iter().eq(32..288));
}

// Pitfall: With more active interrupts than list registers, the wrong one ended.
#[test]
fn with_more_active_than_list_registers_the_right_one_ends() {
    let mut machine = Machine::enabled(1);
    for number in 40..46 {
        machine.write_byte(0, 0x400 + u32::from(number), 0xf0 - 8 * (number - 40) as u8);
        machine.set_line(0, number, true);
        machine.acknowledge(0);
    }
    assert_eq!(machine.interfaces[0].running.len(), 4, "the others wait");
    assert_eq!(machine.read(0, 0x304), 0x0f00);
    for number in (40..44).rev() {
        machine.set_line(0, number, false);
        assert_eq!(machine.end(0), Some(number));
    }
    assert_eq!(machine.acknowledge(0), Some(45));
    machine.set_line(0, 45, false);
    machine.end(0);
    assert_eq!(machine.acknowledge(0), Some(44));
}

#[test]
fn an_urgent_interrupt_takes_the_place_of_one_that_is_less_urgent() {
    let mut machine = Machine::enabled(1);
    for number in 40..50 {
        machine.write_byte(0, 0x400 + u32::from(number), 0x80);
        machine.set_line(0, number, true);
    }
    assert_eq!(machine.in_flight(0), [40, 41, 42, 43]);
    assert_eq!(machine.rearranged, 0, "those that wait are as urgent");
    machine.set_line(0, 27, true);
    assert_eq!(machine.rearranged, 1);
    assert_eq!(machine.in_flight(0), [27, 40, 41, 42]);
    assert_eq!(machine.acknowledge(0), Some(27));
}

/// What a guest can cause: one capture for each interrupt that it raises, and none for what is
/// known to be active.
#[test]
fn nothing_is_taken_out_twice_for_the_same_interrupt() {
    let mut machine = Machine::enabled(1);
    for number in 40..44 {
        machine.write_byte(0, 0x400 + u32::from(number), 0x80 - 8 * (number - 40) as u8);
        machine.set_line(0, number, true);
        machine.acknowledge(0);
    }
    machine.write_byte(0, 0x400 + 50, 0x40);
    machine.set_line(0, 50, true);
    assert_eq!(machine.rearranged, 1, "any of the four may be pending");
    for _ in 0..3 {
        machine.set_line(0, 50, true);
        machine.read(0, 0x200);
        machine.write_byte(0, 0x400 + 60, 0x10);
        machine.set_line(0, 60, true);
    }
    assert_eq!(machine.rearranged, 1, "all four are active");
    machine.set_line(0, 43, false);
    machine.end(0);
    assert_eq!(machine.in_flight(0), [40, 41, 42, 60]);
}

/// Both hold what the other could have, and give it up while they are captured.
#[test]
fn two_vcpus_do_not_take_each_others_interrupts_for_ever() {
    let mut machine = Machine::enabled(2);
    for number in 40..60_u16 {
        machine.write_byte(0, 0x800 + u32::from(number), 0b11);
    }
    for (number, priority) in (40..60_u16).zip((0x08..=0xa0).rev().step_by(8)) {
        machine.write_byte(0, 0x400 + u32::from(number), priority);
        machine.set_line(0, number, true);
        let mut there = machine.in_flight(0);
        there.extend(machine.in_flight(1));
        there.sort_unstable();
        assert!(
            there.iter().copied().eq((40..=number).rev().take(8).rev()),
            "{there:?}"
        );
    }
    // Eight found room. Of the others, each may move one from the first to the second, and one from there.
    assert!(machine.rearranged <= 3 * 12, "{}", machine.rearranged);
}

#[test]
fn a_shared_interrupt_goes_to_exactly_one_target() {
    let mut machine = Machine::enabled(4);
    machine.write_byte(0, 0x828, 0b1110);
    machine.set_line(0, 40, true);
    let holders = |machine: &Machine, number| -> Vec<usize> {
        (0..4)
            .filter(|vcpu| machine.in_flight(*vcpu).contains(&number))
            .collect()
    };
    assert_eq!(holders(&machine, 40), [1]);
    machine.write_byte(0, 0x829, 0b1111);
    machine.send(0, 0b0001, 0);
    machine.set_line(0, 41, true);
    assert_eq!(holders(&machine, 41), [2], "one that has nothing in flight");
}

#[test]
fn a_shared_interrupt_without_targets_waits_for_one() {
    let mut machine = Machine::enabled(2);
    machine.write_byte(0, 0x828, 0);
    machine.set_line(0, 40, true);
    assert_eq!(
        (machine.in_flight(0), machine.in_flight(1)),
        (vec![], vec![])
    );
    assert_eq!(machine.read(0, 0x204), 1 << 8);
    machine.write_byte(0, 0x828, 2);
    assert_eq!(
        (machine.in_flight(0), machine.in_flight(1)),
        (vec![], vec![40])
    );
}

#[test]
fn a_vcpu_that_never_ran_gets_no_shared_interrupt_that_another_could_take() {
    let mut machine = Machine::new(2);
    machine.write(0, 0x104, u32::MAX);
    machine.write(0, 0x820, 0x0202_0203);
    machine.write(0, 0, 1);
    for number in 32..36 {
        machine.set_line(0, number, true);
    }
    assert_eq!(machine.in_flight(0), [32]);
    assert_eq!(
        machine.in_flight(1),
        [33, 34, 35],
        "nobody else may have these"
    );
    machine.send(0, 0b11, 4);
    assert_eq!(
        machine.in_flight(0),
        [4, 32],
        "and what is private is its own"
    );
}

#[test]
fn masking_the_timer_while_it_is_asserted_causes_no_storm() {
    let mut machine = Machine::enabled(1);
    machine.set_line(0, 27, true);
    assert_eq!(machine.acknowledge(0), Some(27));
    machine.write(0, 0x180, 1 << 27);
    machine.end(0);
    assert_eq!(
        machine.read(0, 0x200),
        0,
        "acknowledged to the kernel, which will say"
    );
    machine.set_line(0, 27, true);
    machine.set_line(0, 27, true);
    assert_eq!(machine.in_flight(0), [], "it waits until it is unmasked");
    assert_eq!(machine.read(0, 0x200), 1 << 27);
    machine.write(0, 0x100, 1 << 27);
    assert_eq!(machine.acknowledge(0), Some(27));
    machine.end(0);
    assert_eq!(machine.acknowledge(0), None);
}

#[test]
fn an_end_of_nothing_is_no_end() {
    let mut machine = Machine::enabled(1);
    machine.set_line(0, 40, true);
    for list_register in [1, 3, 4, 255] {
        let answer = machine.gic.maintenance(id(0), list_register).unwrap();
        assert_eq!(answer.value, Answer::NOTHING_ENDED);
    }
    assert_eq!(machine.gic.maintenance(id(0), 0).unwrap().value, 40);
}

#[test]
fn what_does_not_fit_into_one_answer_comes_with_the_next() {
    let mut machine = Machine::new(4);
    for vcpu in 0..4 {
        machine.write(vcpu, 0x400, 0x0810_1820);
        for sgi in 0..16 {
            machine.send(0, 1 << vcpu, sgi);
        }
    }
    let answer = machine.gic.write(id(0), 0, 4, 1).unwrap();
    assert_eq!(answer.injections().count(), 12);
    assert!(answer.more());
    machine.carry_out(&answer);
    let counts = [0, 1, 2, 3].map(|vcpu| machine.in_flight(vcpu).len());
    assert_eq!(counts, [4, 4, 4, 4], "and the next ones bring the rest");
}

#[test]
fn a_waiting_vcpu_knows_whether_it_may_sleep() {
    let mut machine = Machine::enabled(2);
    assert_eq!(machine.gic.refill(id(1)).unwrap().value, 0);
    machine.send(0, 0b10, 1);
    assert_eq!(machine.gic.refill(id(1)).unwrap().value, 1);
    assert_eq!(machine.gic.refill(id(0)).unwrap().value, 0);
    machine.acknowledge(1);
    machine.end(1);
    assert_eq!(machine.gic.refill(id(1)).unwrap().value, 0);
}

#[test]
fn lines_that_do_not_exist_are_refused() {
    let mut machine = Machine::enabled(2);
    let before = machine.gic;
    for (vcpu, number) in [(0, 0), (0, 15), (0, 288), (0, 1019), (2, 40)] {
        let answer = machine.gic.set_line(id(vcpu), intid(number), true);
        assert_eq!(answer, Err(Refusal::OutOfRange), "{number}");
    }
    assert_eq!(machine.gic, before);
}

#[test]
fn a_retargeted_interrupt_goes_to_its_new_target_next_time() {
    let mut machine = Machine::enabled(2);
    machine.set_line(0, 40, true);
    assert_eq!(machine.in_flight(0), [40]);
    machine.write_byte(0, 0x828, 2);
    machine.acknowledge(0);
    machine.end(0);
    assert_eq!(
        (machine.in_flight(0), machine.in_flight(1)),
        (vec![], vec![40])
    );
}

#[test]
fn an_interrupt_that_the_guest_set_active_waits_until_it_clears_that() {
    let mut machine = Machine::enabled(1);
    machine.write(0, 0x304, 1 << 8);
    machine.set_line(0, 40, true);
    assert_eq!(machine.in_flight(0), []);
    machine.write(0, 0x384, 1 << 8);
    assert_eq!(machine.in_flight(0), [40]);
    assert_eq!(machine.read(0, 0x304), 1 << 8, "in flight counts as active");
}
