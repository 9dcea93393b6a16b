// SPDX-License-Identifier: BSD-2-Clause
//! What is pending in a list register and no longer belongs there is withdrawn, and goes where it belongs.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

mod machine;

use machine::Machine;

/// Interrupt 40 is pending for vCPU 0 of two, which has not taken it.
fn pending() -> Machine {
    let mut machine = Machine::enabled(2);
    machine.write(1, 0x100, 0);
    machine.write_byte(0, 0x828, 0b01);
    machine.set_line(0, 40, true);
    assert_eq!(machine.in_flight(0), [40]);
    machine
}

#[test]
fn what_is_retargeted_before_it_is_taken_goes_to_its_new_target() {
    let mut machine = pending();
    machine.write_byte(0, 0x828, 0b10);
    assert_eq!(machine.acknowledge(0), None);
    assert_eq!(machine.acknowledge(1), Some(40));
}

#[test]
fn what_a_vcpu_has_not_taken_when_it_goes_off_goes_to_another_target() {
    let mut machine = pending();
    machine.write_byte(0, 0x828, 0b11);
    machine.power(0, false);
    assert_eq!(
        (machine.in_flight(0), machine.acknowledge(1)),
        (vec![], Some(40))
    );
}

#[test]
fn what_only_a_vcpu_that_is_off_may_take_waits_for_a_new_target_or_for_it() {
    for retarget in [false, true] {
        let mut machine = pending();
        machine.power(0, false);
        assert_eq!(
            (machine.in_flight(0), machine.in_flight(1)),
            (vec![], vec![])
        );
        assert_eq!(machine.read(1, 0x204), 1 << 8, "it is pending");
        if retarget {
            machine.write_byte(1, 0x828, 0b10);
        } else {
            machine.power(0, true);
        }
        assert_eq!(machine.acknowledge(usize::from(retarget)), Some(40));
    }
}

#[test]
fn a_vcpu_that_is_off_gets_nothing_and_all_of_its_own_when_it_is_on_again() {
    let mut machine = Machine::enabled(2);
    machine.power(1, false);
    machine.send(0, 0b10, 3);
    machine.set_line(1, 30, true);
    assert_eq!(machine.in_flight(1), []);
    machine.power(1, true);
    assert_eq!(machine.in_flight(1), [3, 30]);
}

#[test]
fn an_active_interrupt_of_a_vcpu_that_goes_off_stays_active() {
    let mut machine = pending();
    assert_eq!(machine.acknowledge(0), Some(40));
    machine.power(0, false);
    assert_eq!(machine.read(1, 0x304), 1 << 8);
    assert_eq!(machine.in_flight(1), []);
    machine.write(1, 0x384, 1 << 8);
    assert_eq!(machine.read(1, 0x304), 0);
}

/// A change of interrupt 40 before vCPU 0 takes it.
#[derive(Debug, Clone, Copy)]
enum Change {
    Word(u32, u32),
    Priority(u8),
    Line(bool),
}

impl Machine {
    fn change(&mut self, change: Change) {
        match change {
            Change::Word(offset, value) => {
                self.write(0, offset, value);
            }
            Change::Priority(priority) => self.write_byte(0, 0x428, priority),
            Change::Line(level) => self.set_line(0, 40, level),
        }
    }
}

#[test]
fn what_is_no_longer_forwarded_does_not_arrive_and_arrives_when_it_is_again() {
    use Change::{Line, Priority, Word};
    for (withdraw, undo) in [
        (Word(0x184, 1 << 8), Word(0x104, 1 << 8)),
        (Word(0, 0), Word(0, 3)),
        (Word(0, 2), Word(0, 3)),
        (Word(0x304, 1 << 8), Word(0x384, 1 << 8)),
        (Priority(0xf8), Priority(0)),
        (Line(false), Line(true)),
    ] {
        let mut machine = pending();
        machine.change(withdraw);
        assert_eq!(machine.in_flight(0), [], "{withdraw:?}");
        assert_eq!(machine.rearranged, 1, "{withdraw:?}");
        machine.change(undo);
        assert_eq!(machine.acknowledge(0), Some(40), "{undo:?}");
        machine.set_line(0, 40, false);
        machine.end(0);
        assert_eq!(machine.acknowledge(0), None, "{undo:?}");
    }
}

#[test]
fn what_moves_to_a_group_that_is_off_does_not_arrive() {
    let mut machine = pending();
    machine.write(0, 0, 1);
    machine.write(0, 0x084, 1 << 8);
    assert_eq!(machine.acknowledge(0), None);
    machine.write(0, 0, 3);
    assert_eq!(machine.acknowledge(0), Some(40));
}

#[test]
fn a_cleared_latch_or_source_does_not_arrive() {
    let mut machine = Machine::enabled(2);
    machine.write_byte(0, 0x828, 0b01);
    machine.write(0, 0x204, 1 << 8);
    machine.write(0, 0x284, 1 << 8);
    assert_eq!(machine.acknowledge(0), None);
    machine.send(1, 0b01, 5);
    machine.write_byte(0, 0xf15, 0b10);
    assert_eq!(machine.acknowledge(0), None);
}

#[test]
fn a_changed_priority_counts_at_once() {
    let mut machine = pending();
    machine.write_byte(0, 0x829, 0b01);
    machine.write_byte(0, 0x429, 0x10);
    machine.set_line(0, 41, true);
    assert_eq!(machine.in_flight(0), [40, 41]);
    machine.write_byte(0, 0x428, 0x20);
    assert_eq!(machine.acknowledge(0), Some(41));
}

#[test]
fn what_is_raised_again_before_it_is_taken_arrives_once_and_afterwards_again() {
    for taken in [false, true] {
        let mut machine = Machine::enabled(1);
        machine.write(0, 0xc08, 0b10 << 16);
        for number in [40, 41] {
            let raise = |machine: &mut Machine| match number {
                40 => {
                    machine.set_line(0, 40, false);
                    machine.set_line(0, 40, true);
                }
                _ => {
                    machine.write(0, 0x204, 1 << 9);
                }
            };
            raise(&mut machine);
            let first = taken.then(|| machine.acknowledge(0)).flatten();
            raise(&mut machine);
            if taken {
                assert_eq!(first, Some(number));
                machine.end(0);
            }
            assert_eq!(machine.acknowledge(0), Some(number));
            machine.end(0);
            assert_eq!(machine.acknowledge(0), None, "{number} {taken}");
        }
    }
}

#[test]
fn what_has_been_taken_is_looked_for_once_and_then_left_alone() {
    let mut machine = pending();
    assert_eq!(machine.acknowledge(0), Some(40));
    for _ in 0..3 {
        machine.set_line(0, 40, false);
        machine.write(0, 0x184, 1 << 8);
        machine.write(0, 0x104, 1 << 8);
        machine.set_line(0, 40, true);
    }
    assert_eq!(machine.rearranged, 1);
    assert_eq!(machine.end(0), Some(40));
}

#[test]
fn what_is_as_it_should_be_costs_nothing() {
    let mut machine = pending();
    machine.set_line(0, 40, true);
    machine.write(0, 0x104, u32::MAX);
    machine.write_byte(0, 0x828, 0b01);
    machine.write(0, 0x184, 1 << 9);
    machine.write(0, 0x284, 1 << 9);
    machine.send(0, 0b10, 1);
    machine.acknowledge(0);
    machine.end(0);
    assert_eq!(machine.rearranged, 0);
}

#[test]
fn what_a_vcpu_does_not_take_goes_to_another_target_that_waits() {
    let mut machine = Machine::enabled(2);
    machine.write(1, 0x100, 0);
    machine.write_byte(0, 0x828, 0b11);
    machine.set_line(0, 40, true);
    assert_eq!(machine.in_flight(0), [40]);
    machine.offer(1);
    assert_eq!(
        (machine.in_flight(0), machine.acknowledge(1)),
        (vec![], Some(40))
    );
    machine.offer(0);
    assert_eq!(machine.in_flight(1), [40], "it has been taken");
}

#[test]
fn an_interrupt_that_is_deactivated_by_the_distributor_is_so_at_once() {
    let mut machine = pending();
    machine.acknowledge(0);
    machine.write(0, 0x384, 1 << 8);
    assert_eq!(machine.acknowledge(1), None);
    machine.write_byte(0, 0x828, 0b10);
    assert_eq!(machine.acknowledge(1), Some(40), "its line is still high");
}
