// SPDX-License-Identifier: BSD-2-Clause
//! List registers, active priorities and `GICH_VMCR` become a record and come back, whatever they are.
//!
//! Responsible for: every value that they can have. Which those are is not assumed: the first test finds every value
//! that a list register can get to from what seL4 puts there. Fields that go different ways through the conversion are
//! enumerated against each other; the bits of a field that goes one way as a whole are enumerated alone. Never: a
//! sample where enumerating is possible.

use std::collections::BTreeSet;

use channel::Intid;
use channel::vgic::{Injection, LIST_REGISTERS};
use vgic_pd::INTERRUPTS;

use super::interface::{
    LEAST_ALIASED_BINARY_POINT, LEAST_BINARY_POINT, VirtualInterface, control, list,
};
use super::system::{Seen, System, VCPU};

/// Every way of looking at or ending an interrupt that a guest has, and what the kernel does after it.
fn successors(word: u32, intid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for mode in [0, control::EOI_MODE] {
        for both in [0, control::ACKNOWLEDGE_BOTH] {
            for groups in 0..4 {
                let mut interface = <VirtualInterface>::default();
                interface.list[0] = word;
                interface.set_pmr(0xff);
                interface.set_ctlr(mode | both | groups);
                let mut acknowledged = interface;
                acknowledged.iar();
                let mut dropped = interface;
                dropped.eoir(intid);
                let mut deactivated = interface;
                deactivated.dir(intid);
                let mut reported = interface;
                reported.take_maintenance();
                found.extend(
                    [acknowledged, dropped, deactivated, reported].map(|after| after.list[0]),
                );
            }
        }
    }
    found
}

/// Of the 2^32 values of a list register, those that are reached from an injection: pending, active, and empty before
/// and after the kernel has reported it. Never with a hardware interrupt, never pending and active at once, never with
/// a source: a conversion need not carry what cannot be.
#[test]
fn a_list_register_is_pending_active_or_empty_and_nothing_else() {
    for intid in 0..INTERRUPTS {
        for priority in 0..32_u8 {
            for group in 0..2_u8 {
                let first = <VirtualInterface>::injected(Injection {
                    vcpu: VCPU,
                    intid: Intid::new(u16::try_from(intid).unwrap()).unwrap(),
                    priority,
                    group,
                    list_register: 0,
                });
                let mut reached = BTreeSet::from([first]);
                let mut next = vec![first];
                while let Some(word) = next.pop() {
                    for after in successors(word, u32::try_from(intid).unwrap()) {
                        if reached.insert(after) {
                            next.push(after);
                        }
                    }
                }
                let fields = first & !(list::STATE | list::EOI);
                let mut possible = BTreeSet::from([fields | list::PENDING | list::EOI]);
                if priority < LOWEST {
                    possible.extend([
                        fields | list::ACTIVE | list::EOI,
                        fields | list::EOI,
                        fields,
                    ]);
                }
                assert_eq!(reached, possible);
                let never = list::HARDWARE | list::SOURCE;
                assert!(reached.iter().all(|word| word & never == 0));
            }
        }
    }
}

/// The lowest priority, in the upper five bits: no mask lets it through (IHI 0048B, 4.4.2).
const LOWEST: u8 = 31;

/// What a list register was when its vCPU was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pending,
    Active,
    /// Active, and its priority dropped.
    Dropped,
    /// The guest has ended it, and the kernel not reported it yet.
    Ended,
    /// The kernel has, and the report was lost with the fault of a thread that was stopped.
    Lost,
}

const KINDS: [Kind; 5] = [
    Kind::Pending,
    Kind::Active,
    Kind::Dropped,
    Kind::Ended,
    Kind::Lost,
];

/// The interrupts that fill the list registers before the one that is looked at: active, their priority dropped.
const FILLERS: [u32; 3] = [100, 133, 166];
const FILLER_PRIORITY: u32 = 30;

/// A vCPU with `before` list registers taken and `intid` in the next one.
fn with(before: usize, intid: u32, priority: u32, group: u32, kind: Kind) -> System {
    let mut system = System::new();
    system
        .hardware
        .set_ctlr(control::ALL & !control::COMMON_BINARY_POINT);
    for filler in FILLERS
        .map(|filler| filler + u32::from(filler == intid))
        .into_iter()
        .take(before)
    {
        system.arrange(filler, FILLER_PRIORITY, 0);
        system.pend(filler);
        assert_eq!(system.hardware.iar(), filler);
        system.hardware.eoir(filler);
    }
    system.arrange(intid, priority, group);
    system.pend(intid);
    assert_eq!(
        system.hardware.list[before] & list::INTID,
        intid,
        "in the list register that is meant"
    );
    let reported = (kind == Kind::Lost).then_some(before);
    assert_eq!(bring(&mut system, intid, kind), reported);
    system
}

/// A pending interrupt, the most urgent one, becomes what is meant. Answers with the list register whose end the kernel
/// has reported.
fn bring(system: &mut System, intid: u32, kind: Kind) -> Option<usize> {
    if kind != Kind::Pending {
        assert_eq!(system.hardware.iar(), intid);
    }
    if matches!(kind, Kind::Dropped | Kind::Ended | Kind::Lost) {
        system.hardware.eoir(intid);
    }
    if matches!(kind, Kind::Ended | Kind::Lost) {
        system.hardware.dir(intid);
    }
    match kind {
        Kind::Lost => system.hardware.take_maintenance(),
        _ => None,
    }
}

/// Stops it, resumes it elsewhere, and stops it again.
fn assert_lossless(system: &System, what: impl core::fmt::Debug) {
    let (there, record) = system.cut();
    assert_eq!(there.seen(), system.seen(), "{what:x?}");
    assert_eq!(there.record(), record, "the second record of {what:x?}");
}

/// Every INTID, state and list register against each other.
#[test]
fn every_interrupt_comes_back_from_every_list_register() {
    for before in 0..LIST_REGISTERS {
        for intid in 0..u32::try_from(INTERRUPTS).unwrap() {
            let (priority, group) = (intid % FILLER_PRIORITY, intid / 3 % 2);
            for kind in KINDS {
                let system = with(before, intid, priority, group, kind);
                assert_lossless(&system, (before, intid, priority, group, kind));
            }
        }
    }
}

/// Every priority, group, state and list register against each other, for interrupts at the ends of each range.
#[test]
fn every_priority_and_group_comes_back_from_every_list_register() {
    for before in 0..LIST_REGISTERS {
        for priority in 0..LOWEST.into() {
            for intid in [0, 15, 16, 27, 31, 32, 63, 287] {
                for (group, kind) in KINDS.map(|kind| [(0, kind), (1, kind)]).concat() {
                    let system = with(before, intid, priority, group, kind);
                    assert_lossless(&system, (before, intid, priority, group, kind));
                }
            }
        }
    }
}

/// All states that the four list registers can be in at once.
#[test]
fn list_registers_of_all_states_come_back_together() {
    for number in 0..KINDS.len().pow(4) {
        let kinds = [0, 1, 2, 3].map(|place| KINDS[number / KINDS.len().pow(place) % KINDS.len()]);
        let system = together(kinds);
        assert_lossless(&system, kinds);
    }
}

/// Four interrupts in four list registers. What is pending is least urgent, or it would be acknowledged in place of the
/// others.
fn together(kinds: [Kind; LIST_REGISTERS]) -> System {
    let mut system = System::new();
    system.hardware.set_ctlr(control::ALL);
    let subjects = [3, 27, 40, 200].into_iter().zip(kinds);
    let (pending, others): (Vec<_>, _) = subjects.partition(|(_, kind)| *kind == Kind::Pending);
    let mut priority = 29;
    for (intid, kind) in pending.into_iter().chain(others) {
        priority -= 3;
        system.arrange(intid, priority, priority & 1);
        system.pend(intid);
        assert_eq!(
            bring(&mut system, intid, kind).is_some(),
            kind == Kind::Lost
        );
    }
    system
}

/// Every value of `GICH_VMCR`: each of its fields goes through a register of its own, so that pairs of fields tell
/// what all of them do.
#[test]
fn every_control_mask_and_binary_point_comes_back() {
    let points: Vec<_> = (LEAST_BINARY_POINT..8)
        .flat_map(|point| (LEAST_ALIASED_BINARY_POINT..8).map(move |aliased| (point, aliased)))
        .collect();
    let mut values = BTreeSet::new();
    for flags in 0..64_u32 {
        let ctlr = flags & 0x1f | (flags & 0x20) << 4;
        let masks = (0..32).map(|mask| (mask, points[mask as usize % points.len()]));
        let points = points.iter().map(|pair| (flags % 32, *pair));
        for (mask, (point, aliased)) in masks.chain(points) {
            let mut system = System::new();
            system.hardware.set_ctlr(ctlr);
            system.hardware.set_pmr(mask << 3);
            system.hardware.set_binary_point(point);
            system.hardware.set_aliased_binary_point(aliased);
            assert_lossless(&system, (ctlr, mask, point, aliased));
            values.insert(system.hardware.control);
        }
    }
    assert!(
        values.len() > 3800,
        "the cases are different ones: {}",
        values.len()
    );
}

// Pitfall: Active priorities were not saved.
/// Every set of up to three active priorities, and every set that lacks at most one: the word goes through as a whole.
#[test]
fn every_active_priority_comes_back() {
    let mut system = System::new();
    let mut check = |active_priorities: u32| {
        system.hardware.active_priorities = active_priorities;
        assert_lossless(&system, active_priorities);
    };
    for first in 0..32 {
        for second in first..32 {
            for third in second..32 {
                check(1 << first | 1 << second | 1 << third);
            }
        }
        check(!(1 << first));
    }
    check(0);
    check(u32::MAX);
}

/// Not in a list register, where it could not be acknowledged: a capture would have lost it.
#[test]
fn an_interrupt_that_no_mask_lets_through_stays_pending() {
    for intid in [5, 20, 40] {
        let mut system = System::new();
        system.arrange(intid, LOWEST.into(), 0);
        system.pend(intid);
        assert_eq!(system.seen().held, [], "{intid}");
        assert_lossless(&system, intid);
        let (mut there, _) = system.cut();
        there.arrange(intid, 3, 0);
        assert_eq!(there.hardware.iar(), intid, "once it is more urgent");
    }
}

/// Its list register has the priority that it had.
#[test]
fn an_active_interrupt_that_the_guest_makes_least_urgent_stays_active() {
    for intid in [5, 20, 40] {
        let mut system = System::new();
        system.arrange(intid, 3, 0);
        system.pend(intid);
        assert_eq!(system.hardware.iar(), intid);
        system.arrange(intid, LOWEST.into(), 0);
        let (there, record) = system.cut();
        let states = |seen: Seen| {
            seen.held
                .into_iter()
                .map(|held| (held.0, held.3))
                .collect::<Vec<_>>()
        };
        assert_eq!(states(there.seen()), [(intid, list::ACTIVE)]);
        assert_eq!(there.seen().active_priorities, 1 << 3);
        assert_eq!(there.record(), record);
    }
}

/// The other direction: whatever a record can say of an interrupt is what the next record says of it.
#[test]
fn every_recorded_state_of_an_interrupt_comes_back() {
    let blank = System::new().record();
    for flags in 0..128_u8 {
        let is = |bit: u8| flags >> bit & 1 != 0;
        for priority in [0, 0x80, 0xf0, 0xf8] {
            let mut record = blank.clone();
            record.shared[9] = state::InterruptV1 {
                enabled: is(0),
                latched: is(1),
                line: is(2),
                active: is(3),
                group1: is(4),
                edge: is(5),
                priority,
                targets: 0,
            };
            if is(6) && is(3) {
                record.vcpus[0].acknowledged[1] = 1 << 9;
            }
            let there = System::restored(&record);
            assert_eq!(there.record(), record);
        }
    }
}

/// The same for software generated interrupts, pending and active from each vCPU that there is.
#[test]
fn every_recorded_state_of_a_software_generated_interrupt_comes_back() {
    let blank = System::new().record();
    for sgi in 0..16 {
        for flags in 0..8 {
            let mut record = blank.clone();
            record.vcpus[0].pending_sources[sgi] = flags & 1;
            record.vcpus[0].active_sources[sgi] = flags >> 1 & 1;
            if flags & 0b110 == 0b110 {
                record.vcpus[0].acknowledged[0] = 1 << sgi;
            }
            let there = System::restored(&record);
            assert_eq!(there.record(), record, "SGI {sgi}, {flags:03b}");
        }
    }
}
