// SPDX-License-Identifier: BSD-2-Clause
//! What guests acknowledge, against a plain model of the specification.
//!
//! Whatever guests and devices do, in any order: an interrupt that a guest takes is one that a GICv2 would give it at that
//! moment, and the one that it would give; and none is lost. Left out is what is documented not to hold: no SGI is sent
//! again before it was acknowledged.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

mod machine;
mod plain;

use machine::{Machine, dirty};
use plain::Plain;
use proptest::prelude::*;

const VCPUS: usize = 2;
/// SGIs, a private peripheral's, shared ones: levels, then edges.
const INTERRUPTS: [u16; 9] = [1, 2, 30, 40, 41, 42, 43, 44, 45];
const PRIORITIES: [u8; 4] = [0x20, 0x40, 0x80, 0xf8];

/// What happens. Interrupts are places in [`INTERRUPTS`].
#[derive(Debug, Clone)]
enum Event {
    /// A write of an interrupt's bit to one of the families of bitmaps.
    Bit {
        vcpu: usize,
        family: u32,
        place: usize,
    },
    Group {
        vcpu: usize,
        place: usize,
        group1: bool,
    },
    Priority {
        vcpu: usize,
        place: usize,
        priority: u8,
    },
    Targets {
        place: usize,
        targets: u8,
    },
    Control(u32),
    Line {
        vcpu: usize,
        place: usize,
        level: bool,
    },
    Sgi {
        to: usize,
        place: usize,
    },
    Power {
        vcpu: usize,
        on: bool,
    },
    Wait {
        vcpu: usize,
    },
    Acknowledge {
        vcpu: usize,
    },
    End {
        vcpu: usize,
    },
    /// The guest continues on another board.
    Move,
}

struct Pair {
    real: Machine,
    plain: Plain,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            real: Machine::new(VCPUS as u8),
            plain: Plain::new(VCPUS),
        };
        pair.write(0, 0, 4, 3);
        pair.write(0, 0xc08, 4, 0b1010 << 24);
        for vcpu in 0..VCPUS {
            for (offset, width) in [(0x100, 4), (0x104, 4)] {
                pair.write(vcpu, offset, width, u32::MAX);
            }
            for intid in INTERRUPTS {
                pair.write(vcpu, 0x400 + u32::from(intid), 1, 0x80);
            }
        }
        for intid in INTERRUPTS.into_iter().filter(|intid| *intid >= 32) {
            pair.write(0, 0x800 + u32::from(intid), 1, 1 << (intid % 2));
        }
        pair
    }

    fn write(&mut self, vcpu: usize, offset: u32, width: u8, value: u32) {
        self.plain.write(vcpu, offset as usize, width.into(), value);
        match width {
            1 => self.real.write_byte(vcpu, offset, value as u8),
            _ => {
                self.real.write(vcpu, offset, value);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        let intid = |place: usize| INTERRUPTS[place % INTERRUPTS.len()];
        match *event {
            Event::Bit {
                vcpu,
                family,
                place,
            } => {
                let number = usize::from(intid(place));
                let offset = family + number as u32 / 32 * 4;
                self.write(vcpu, offset, 4, 1 << (number % 32));
            }
            Event::Group {
                vcpu,
                place,
                group1,
            } => {
                let number = u32::from(intid(place));
                let offset = 0x080 + number / 8;
                let old = self.plain.read(vcpu, offset as usize, 1);
                let bit = 1 << (number % 8);
                self.write(vcpu, offset, 1, if group1 { old | bit } else { old & !bit });
            }
            Event::Priority {
                vcpu,
                place,
                priority,
            } => {
                self.write(vcpu, 0x400 + u32::from(intid(place)), 1, priority.into());
            }
            Event::Targets { place, targets } => {
                self.write(0, 0x800 + u32::from(intid(place)), 1, targets.into());
            }
            Event::Control(value) => self.write(0, 0, 4, value),
            Event::Line { vcpu, place, level } => {
                let number = intid(place);
                if number < 16 {
                    return;
                }
                self.plain.set_line(vcpu, number.into(), level);
                self.real.set_line(vcpu, number, level);
            }
            Event::Sgi { to, place } => {
                let sgi = INTERRUPTS[place % 2];
                // From one vCPU each: of several, an implementation chooses which goes first (IHI 0048B, 4.4.4).
                let from = usize::from(sgi) % VCPUS;
                if self.plain.get(to, sgi.into()).sources & 1 << from == 0 {
                    self.write(from, 0xf00, 4, 1 << (16 + to) | u32::from(sgi));
                }
            }
            Event::Power { vcpu, on } if on == self.plain.off[vcpu] => {
                self.plain.set_power(vcpu, on);
                self.real.power(vcpu, on);
                if on {
                    // What starts a CPU looks at the distributor, which shows that it runs.
                    self.real.read(vcpu, 0);
                }
            }
            Event::Move => self.move_elsewhere(),
            Event::Wait { vcpu } if !self.plain.off[vcpu] => self.real.offer(vcpu),
            Event::Acknowledge { vcpu } if !self.plain.off[vcpu] => self.acknowledge(vcpu),
            Event::End { vcpu } if !self.plain.off[vcpu] => self.end(vcpu),
            Event::Power { .. }
            | Event::Wait { .. }
            | Event::Acknowledge { .. }
            | Event::End { .. } => {}
        }
    }

    /// Captures everything, and continues where other things have been before.
    fn move_elsewhere(&mut self) {
        let mut there = dirty();
        for vcpu in 0..VCPUS {
            self.real.capture(vcpu);
        }
        there.import(&self.real.gic.0.export().unwrap()).unwrap();
        self.real.gic.0 = there;
        for (vcpu, off) in self.plain.off.iter().enumerate() {
            self.real.power(vcpu, !off);
        }
        for vcpu in 0..VCPUS {
            self.real.restore(vcpu);
        }
    }

    /// What a CPU interface would signal, most urgent first.
    fn candidates(&self, vcpu: usize) -> Vec<usize> {
        let running = self.real.interfaces[vcpu].running.last();
        let running = running.map_or(u8::MAX, |(_, priority)| priority << 3);
        let urgency = |intid: &usize| (self.plain.get(vcpu, *intid).priority, *intid);
        let mut candidates: Vec<usize> = (INTERRUPTS.map(usize::from).into_iter())
            .filter(|intid| {
                self.plain.deliverable(vcpu, *intid) && self.plain.targets(vcpu, *intid)
            })
            .filter(|intid| self.plain.get(vcpu, *intid).priority < running)
            .collect();
        candidates.sort_by_key(urgency);
        candidates
    }

    /// Whether another of its targets holds a shared interrupt, and may take it.
    fn is_elsewhere(&self, vcpu: usize, intid: usize) -> bool {
        let holds = |other: usize| self.real.in_flight(other).contains(&(intid as u16));
        intid >= 32
            && (0..VCPUS)
                .any(|other| other != vcpu && self.plain.targets(other, intid) && holds(other))
    }

    fn acknowledge(&mut self, vcpu: usize) {
        let candidates = self.candidates(vcpu);
        let registers = self.real.interfaces[vcpu].registers;
        let no_room = registers
            .iter()
            .all(|register| register.is_some_and(|register| register.active));
        let taken = self.real.acknowledge(vcpu).map(usize::from);
        let priority = |intid: usize| self.plain.get(vcpu, intid).priority;
        let due = candidates
            .iter()
            .copied()
            .find(|intid| !self.is_elsewhere(vcpu, *intid));
        match (taken, due) {
            (None, due) => assert!(
                due.is_none() || no_room,
                "{due:?} does not arrive at {vcpu}"
            ),
            (Some(taken), due) => {
                assert!(candidates.contains(&taken), "{taken} arrives at {vcpu}");
                let most_urgent = due.is_none_or(|due| priority(taken) <= priority(due));
                assert!(most_urgent, "{taken} before {due:?}");
                let interrupt = self.plain.get_mut(vcpu, taken);
                let source = interrupt.sources.trailing_zeros() as usize % 8;
                interrupt.sources &= !(1 << source);
                (interrupt.latched, interrupt.active) = (false, true);
                interrupt.acknowledged = Some((vcpu, source));
            }
        }
    }

    fn end(&mut self, vcpu: usize) {
        let Some((number, _)) = self.real.interfaces[vcpu].running.last().copied() else {
            return;
        };
        let held = |register: &Option<machine::ListRegister>| {
            register.is_some_and(|register| register.intid == number && register.active)
        };
        let interrupt = self.plain.get_mut(vcpu, number.into());
        let active = interrupt
            .acknowledged
            .is_some_and(|(taker, _)| taker == vcpu);
        assert_eq!(
            active,
            self.real.interfaces[vcpu].registers.iter().any(held),
            "{number}"
        );
        if active {
            (interrupt.active, interrupt.acknowledged) = (false, None);
            self.real.end(vcpu);
        } else {
            // Deactivated through the distributor; its priority is dropped.
            self.real.interfaces[vcpu].running.pop();
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let (vcpu, place) = (0..VCPUS, 0..INTERRUPTS.len());
    let family = prop::sample::select(vec![0x100_u32, 0x180, 0x200, 0x280, 0x300, 0x380, 0x380]);
    let priority = prop::sample::select(PRIORITIES.to_vec());
    prop_oneof![
        6 => (vcpu.clone(), family, place.clone()).prop_map(|(vcpu, family, place)| Event::Bit { vcpu, family, place }),
        1 => (vcpu.clone(), place.clone(), any::<bool>()).prop_map(|(vcpu, place, group1)| Event::Group { vcpu, place, group1 }),
        2 => (vcpu.clone(), place.clone(), priority).prop_map(|(vcpu, place, priority)| Event::Priority { vcpu, place, priority }),
        3 => (3..INTERRUPTS.len(), 0_u8..4).prop_map(|(place, targets)| Event::Targets { place, targets }),
        1 => prop_oneof![Just(3), 0_u32..4].prop_map(Event::Control),
        6 => (vcpu.clone(), place.clone(), any::<bool>()).prop_map(|(vcpu, place, level)| Event::Line { vcpu, place, level }),
        3 => (vcpu.clone(), place).prop_map(|(to, place)| Event::Sgi { to, place }),
        1 => (vcpu.clone(), prop::bool::weighted(0.7)).prop_map(|(vcpu, on)| Event::Power { vcpu, on }),
        1 => vcpu.clone().prop_map(|vcpu| Event::Wait { vcpu }),
        6 => vcpu.clone().prop_map(|vcpu| Event::Acknowledge { vcpu }),
        1 => Just(Event::Move),
        5 => vcpu.prop_map(|vcpu| Event::End { vcpu }),
    ]
}

proptest! {
    #[test]
    fn a_guest_takes_what_a_plain_controller_would_give(
        events in prop::collection::vec(any_event(), 1..200),
    ) {
        let mut pair = Pair::new();
        for event in &events {
            pair.apply(event);
        }
        // Nothing that is pending is lost: it comes when there is nothing in its way.
        for vcpu in 0..VCPUS {
            pair.apply(&Event::Power { vcpu, on: true });
        }
        for _ in 0..4 * INTERRUPTS.len() {
            for vcpu in 0..VCPUS {
                pair.apply(&Event::End { vcpu });
                pair.apply(&Event::Acknowledge { vcpu });
            }
        }
    }
}
