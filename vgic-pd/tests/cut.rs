// SPDX-License-Identifier: BSD-2-Clause
//! A machine that is cut anywhere, captured, moved and restored, is the machine that was not.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

mod machine;

use channel::vgic::Refusal;
use machine::{Machine, dirty, id};
use proptest::prelude::*;
use vgic_pd::Gic;

/// What a guest and its devices do.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A device raises its line; a guest sends an SGI.
    Raise {
        vcpu: usize,
        which: usize,
    },
    Acknowledge {
        vcpu: usize,
    },
    /// The handler quiets its device, if `quiet`, and ends.
    End {
        vcpu: usize,
        quiet: bool,
    },
    /// Another interrupt's priority.
    Prioritise {
        which: usize,
        priority: u8,
    },
}

/// Two level-sensitive private interrupts, an edge-triggered and a level-sensitive shared one,
/// and an SGI: never more in flight on a vCPU than list registers.
const PRIVATE: u16 = 27;
const LEVEL: [u16; 2] = [64, 65];
const EDGE: [u16; 2] = [80, 81];

fn numbers(vcpu: usize) -> [u16; 3] {
    [PRIVATE, LEVEL[vcpu], EDGE[vcpu]]
}

fn start() -> Machine {
    let mut machine = Machine::enabled(2);
    machine.write(0, 0xc14, u32::MAX);
    for vcpu in 0..2 {
        for (number, priority) in numbers(vcpu).into_iter().zip([0x20, 0x40, 0x60]) {
            machine.write_byte(vcpu, 0x400 + u32::from(number), priority);
        }
    }
    machine
}

/// Whether an interrupt has been raised and not acknowledged yet: raising it again then would be
/// one delivery for a GIC and may be two for us.
fn waits(machine: &mut Machine, vcpu: usize, number: u16) -> bool {
    let bank = 4 * u32::from(number / 32);
    let pending = machine.read(vcpu, 0x200 + bank) >> (number % 32) & 1 != 0;
    let mut in_flight = machine.interfaces[vcpu].registers.iter().flatten();
    pending || in_flight.any(|register| register.intid == number && !register.active)
}

fn apply(machine: &mut Machine, event: Event) {
    match event {
        Event::Raise { vcpu, which } => {
            let number = numbers(vcpu)[which];
            if !waits(machine, vcpu, number) {
                machine.set_line(vcpu, number, false);
                machine.set_line(vcpu, number, true);
            }
        }
        Event::Acknowledge { vcpu } => {
            machine.acknowledge(vcpu);
        }
        Event::End { vcpu, quiet } => {
            if let Some((number, _)) = machine.interfaces[vcpu].running.last().copied() {
                if quiet {
                    machine.set_line(vcpu, number, false);
                }
                machine.end(vcpu);
            }
        }
        Event::Prioritise { which, priority } => {
            let number = [64, 65, 80, 81][which];
            let busy = [0, 1].map(|vcpu| {
                machine.in_flight(vcpu).contains(&number) || waits(machine, vcpu, number)
            });
            if busy == [false; 2] {
                machine.write_byte(0, 0x400 + u32::from(number), priority);
            }
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let vcpu = 0usize..2;
    prop_oneof![
        3 => (vcpu.clone(), 0usize..3).prop_map(|(vcpu, which)| Event::Raise { vcpu, which }),
        3 => vcpu.clone().prop_map(|vcpu| Event::Acknowledge { vcpu }),
        2 => (vcpu, any::<bool>()).prop_map(|(vcpu, quiet)| Event::End { vcpu, quiet }),
        1 => (0usize..4, any::<u8>())
            .prop_map(|(which, priority)| Event::Prioritise { which, priority }),
    ]
}

/// Every register of every vCPU.
fn registers(machine: &mut Machine) -> Vec<u32> {
    let mut words = Vec::new();
    for vcpu in 0..2 {
        words.extend(
            (0..0x1000)
                .step_by(4)
                .map(|offset| machine.read(vcpu, offset)),
        );
    }
    words
}

proptest! {
    #[test]
    fn a_cut_anywhere_changes_nothing_that_follows(
        events in prop::collection::vec(any_event(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let (mut whole, mut cut) = (start(), start());
        for (step, event) in events.iter().enumerate() {
            if cuts.iter().any(|index| index.index(events.len()) == step) {
                cut.move_to(dirty());
            }
            apply(&mut whole, *event);
            apply(&mut cut, *event);
            prop_assert_eq!(&whole.acknowledged, &cut.acknowledged);
        }
        for vcpu in 0..2 {
            prop_assert_eq!(whole.in_flight(vcpu), cut.in_flight(vcpu));
        }
        prop_assert_eq!(registers(&mut whole), registers(&mut cut));
    }

    #[test]
    fn nothing_is_ever_lost(
        events in prop::collection::vec((0u16..48, 0usize..3, any::<bool>()), 1..120),
        moves in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut machine = Machine::enabled(3);
        machine.write(0, 0xc10, u32::MAX);
        // What has been raised and not been acknowledged since.
        let mut due = std::collections::BTreeSet::new();
        for (step, (number, vcpu, raise)) in events.iter().enumerate() {
            if moves.iter().any(|index| index.index(events.len()) == step) {
                machine.move_to(dirty());
            }
            let number = number + 40;
            let edge = (64..80).contains(&number);
            if *raise {
                machine.set_line(0, number, true);
                if edge {
                    machine.set_line(0, number, false);
                }
                due.insert(number);
            } else if let Some(number) = machine.acknowledge(*vcpu) {
                due.remove(&number);
                machine.set_line(0, number, false);
                if step % 2 == 0 {
                    machine.end(*vcpu);
                }
            } else {
                machine.end(*vcpu);
            }
        }
        machine.move_to(dirty());
        for vcpu in 0..3 {
            loop {
                if let Some(number) = machine.acknowledge(vcpu) {
                    due.remove(&number);
                    machine.set_line(0, number, false);
                } else if machine.end(vcpu).is_none() {
                    break;
                }
            }
        }
        prop_assert!(due.is_empty(), "lost {due:?}");
    }
}

// Pitfall: Pending state was derived from the level.
#[test]
fn a_latch_and_a_level_survive_as_two_fields() {
    let mut machine = Machine::enabled(1);
    machine.write(0, 0x184, 0b11 << 8);
    machine.set_line(0, 40, true);
    machine.write(0, 0x204, 1 << 9);
    machine.move_to(dirty());
    assert_eq!(machine.read(0, 0x204), 0b11 << 8);
    machine.set_line(0, 40, false);
    machine.write(0, 0x284, 1 << 9);
    assert_eq!(machine.read(0, 0x204), 0);
}

#[test]
fn a_line_that_fell_while_the_interrupt_was_in_flight_is_not_pending_after_a_capture() {
    let mut machine = Machine::enabled(1);
    machine.set_line(0, 40, true);
    machine.set_line(0, 40, false);
    machine.move_to(dirty());
    assert_eq!(machine.acknowledge(0), None);
}

#[test]
fn a_cleared_sgi_source_is_not_pending_after_a_capture() {
    let mut machine = Machine::enabled(3);
    machine.send(1, 0b001, 5);
    machine.send(2, 0b001, 5);
    machine.write_byte(0, 0xf15, 0b010);
    machine.capture(0);
    assert_eq!(machine.read_byte(0, 0xf15), 0b100);
}

#[test]
fn the_source_of_an_sgi_is_recorded_pending_and_active() {
    let mut machine = Machine::enabled(4);
    machine.send(3, 0b0001, 5);
    machine.send(2, 0b0001, 6);
    machine.acknowledge(0);
    machine.send(1, 0b0001, 5);
    for vcpu in 0..4 {
        machine.capture(vcpu);
    }
    let record = machine.gic.0.export().unwrap();
    assert_eq!(record.vcpus[0].active_sources[5], 0b1000);
    assert_eq!(record.vcpus[0].pending_sources[5], 0b0010);
    assert_eq!(record.vcpus[0].pending_sources[6], 0b0100);
    assert_eq!(record.vcpus[0].acknowledged[0], 1 << 5);
}

#[test]
fn an_active_interrupt_returns_to_the_vcpu_that_acknowledged_it() {
    let mut machine = Machine::enabled(3);
    machine.write_byte(0, 0x828, 0b111);
    machine.send(0, 0b001, 1);
    machine.set_line(0, 40, true);
    assert_eq!(machine.acknowledge(1), Some(40));
    machine.write(0, 0x304, 1 << 9);
    machine.move_to(dirty());
    assert_eq!(machine.in_flight(1), [40]);
    assert_eq!(
        machine.in_flight(2),
        [],
        "41 was set active by the guest, nobody has it"
    );
    assert_eq!(machine.read(0, 0x304), 0b11 << 8);
    assert_eq!(machine.end(1), Some(40));
    assert_eq!(
        machine.read(0, 0x304),
        0b11 << 8,
        "40 is high, and in flight again"
    );
}

// Pitfall: Banked interrupts were not saved for each vCPU.
// Pitfall: vCPU 0's CPU interface was saved for every vCPU.
#[test]
fn every_vcpu_keeps_its_own_interface_and_banked_interrupts() {
    let mut machine = Machine::new(4);
    for vcpu in 0..4 {
        let own = u32::try_from(vcpu).unwrap();
        machine.write(vcpu, 0x100, 0x0010_0000 << own);
        machine.write(vcpu, 0x080, 0x0101_0000 << own);
        machine.write(vcpu, 0x300, 0x0100_0000 << own);
        machine.write_byte(vcpu, 0x414, 8 * (vcpu as u8 + 1));
        machine.write_byte(vcpu, 0xf23, 1 << vcpu);
        machine.set_line(vcpu, 24 + u16::try_from(vcpu).unwrap(), true);
    }
    let mut before = Vec::new();
    for vcpu in 0..4 {
        before.extend(
            (0..0x1000)
                .step_by(4)
                .map(|offset| machine.read(vcpu, offset)),
        );
    }
    // `restore` compares the interfaces, which differ on every vCPU.
    machine.move_to(dirty());
    let mut after = Vec::new();
    for vcpu in 0..4 {
        after.extend(
            (0..0x1000)
                .step_by(4)
                .map(|offset| machine.read(vcpu, offset)),
        );
    }
    assert_eq!(before, after);
}

// Pitfall: SPI bitmaps were saved 32 bits off.
#[test]
fn shared_interrupts_start_at_intid_32_in_the_record() {
    let mut machine = Machine::new(2);
    machine.write_byte(0, 0x820, 2);
    machine.write(0, 0x104, 1);
    machine.write_byte(0, 0x51f, 0xf8);
    for vcpu in 0..2 {
        machine.capture(vcpu);
    }
    let record = machine.gic.0.export().unwrap();
    assert!(record.shared[0].enabled);
    assert_eq!(
        (record.shared[0].targets, record.shared[255].priority),
        (2, 0xf8)
    );
    assert_eq!(record.shared.len(), 256);
}

#[test]
fn an_end_that_was_not_reported_before_the_capture_counts() {
    let mut machine = Machine::enabled(1);
    machine.set_line(0, 27, true);
    machine.set_line(0, 40, true);
    machine.interfaces[0].registers = Default::default();
    assert_eq!(machine.capture(0).value, 0b11);
    assert_eq!(
        machine.read(0, 0x200),
        0,
        "the timer waits for its acknowledgement"
    );
    assert_eq!(machine.read(0, 0x204), 1 << 8, "the line is still high");
    assert_eq!(machine.read(0, 0x304), 0);
}

#[test]
fn nothing_is_injected_between_capture_and_refill() {
    let mut machine = Machine::enabled(2);
    machine.capture(0);
    machine.set_line(0, 27, true);
    machine.send(1, 0b01, 2);
    machine.write_byte(1, 0x828, 0b11);
    machine.set_line(0, 40, true);
    assert_eq!(
        (machine.in_flight(0), machine.in_flight(1)),
        (vec![], vec![40])
    );
    assert_eq!(machine.gic.refill(id(0)).unwrap().injections().count(), 0);
    let plan = machine.gic.0.restore(id(0)).unwrap();
    assert_eq!(plan.active.injections().count(), 0);
    machine.set_line(0, 28, true);
    assert_eq!(machine.in_flight(0), []);
    let answer = machine.gic.refill(id(0)).unwrap();
    machine.carry_out(&answer);
    assert_eq!(machine.in_flight(0), [2, 27, 28]);
}

#[test]
fn a_capture_that_contradicts_the_shadow_is_refused_and_changes_nothing() {
    use channel::vgic::{CpuInterface, ListRegisterState};
    let mut machine = Machine::enabled(1);
    machine.set_line(0, 40, true);
    let before = machine.gic;
    for (pending, active) in [(0b10, 0), (0, 0b100), (1, 1), (0x80, 0)] {
        let found = ListRegisterState { pending, active };
        let answer = machine.gic.captured(id(0), CpuInterface::default(), found);
        assert_eq!(answer, Err(Refusal::OutOfRange));
    }
    let interface = CpuInterface {
        priority_mask: 0x100,
        ..CpuInterface::default()
    };
    let answer = machine
        .gic
        .captured(id(0), interface, ListRegisterState::default());
    assert_eq!(answer, Err(Refusal::OutOfRange));
    assert_eq!(machine.gic, before);
}

#[test]
fn export_and_import_wait_for_list_registers_to_be_empty() {
    let mut machine = Machine::enabled(2);
    machine.send(0, 0b10, 1);
    assert_eq!(machine.gic.0.export(), Err(Refusal::NotCaptured));
    machine.capture(0);
    assert_eq!(machine.gic.0.export(), Err(Refusal::NotCaptured));
    machine.capture(1);
    let record = machine.gic.0.export().unwrap();
    let mut running = Machine::enabled(2);
    let before = running.gic;
    assert_eq!(running.gic.0.import(&record), Err(Refusal::NotCaptured));
    assert_eq!(running.gic, before, "a running machine is not replaced");
    assert_eq!(running.gic.0.restore(id(0)), Err(Refusal::NotCaptured));
    assert_eq!(Gic::new().export(), Err(Refusal::NotCaptured));
}

#[test]
fn a_record_of_another_machine_is_refused_and_changes_nothing() {
    let mut machine = Machine::enabled(2);
    machine.capture(0);
    machine.capture(1);
    let good = machine.gic.0.export().unwrap();
    let before = machine.gic;
    let mut refused = |change: &dyn Fn(&mut state::VgicRecordV1)| {
        let mut record = good.clone();
        change(&mut record);
        assert_eq!(machine.gic.0.import(&record), Err(Refusal::BadRecord));
        assert_eq!(machine.gic, before);
    };
    refused(&|record| record.control = 4);
    refused(&|record| record.vcpus.clear());
    refused(&|record| record.shared.truncate(255));
    refused(&|record| record.shared[255].priority = 0x04);
    refused(&|record| record.vcpus[1].private[31].priority = 0x01);
    refused(&|record| record.vcpus[1].private[3].enabled = false);
    refused(&|record| record.vcpus[0].private[3].edge = false);
    refused(&|record| record.vcpus[0].private[27].edge = true);
    refused(&|record| record.vcpus[0].private[2].line = true);
    refused(&|record| record.vcpus[0].active_sources[2] = 0b11);
    refused(&|record| record.vcpus[1].interface.control = 1 << 5);
    refused(&|record| record.vcpus[1].interface.priority_mask = 0xf4);
    refused(&|record| record.vcpus[1].interface.binary_point = 8);
    refused(&|record| record.vcpus[1].interface.aliased_binary_point = 8);
    refused(&|record| record.vcpus[1].acknowledged[3] = 0b1_1111);
    assert_eq!(machine.gic.0.import(&good), Ok(()));
}

#[test]
fn a_restored_vcpu_whose_interface_is_off_leaves_shared_interrupts_to_others() {
    use channel::vgic::{CpuInterface, ListRegisterState};
    let mut machine = Machine::enabled(2);
    let nothing = ListRegisterState::default();
    machine
        .gic
        .captured(id(0), CpuInterface::default(), nothing)
        .unwrap();
    let on = CpuInterface {
        control: 1,
        ..CpuInterface::default()
    };
    machine.gic.captured(id(1), on, nothing).unwrap();
    for vcpu in 0..2 {
        machine.gic.0.restore(id(vcpu)).unwrap();
        machine.gic.refill(id(vcpu)).unwrap();
    }
    machine.write_byte(1, 0x828, 0b11);
    machine.set_line(0, 40, true);
    assert_eq!(
        (machine.in_flight(0), machine.in_flight(1)),
        (vec![], vec![40])
    );
}
