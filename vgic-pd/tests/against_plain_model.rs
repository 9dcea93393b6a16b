// SPDX-License-Identifier: BSD-2-Clause
//! The distributor against a plain model of the specification.
//!
//! Whatever guests, devices and captures do: every register reads as the model says, every
//! injection is the right one, nothing that could be delivered waits, and the published view is
//! what a read would answer.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

mod plain;

use channel::vgic::{
    Answer, CpuInterface, ListRegisterEntries, ListRegisterState, Request, RestorePlan,
    view_readable,
};
use channel::{Intid, Message, VcpuId};
use plain::{INTERRUPTS, InjectionState, LIST_REGISTERS, Plain};
use proptest::prelude::*;
use vgic_pd::{Caller, MAX_RECORD, Regions, Service};

/// The regions, as memory.
#[derive(Debug, Clone)]
struct Memory {
    view: Vec<[u32; 1024]>,
    export: Vec<u8>,
    import: Vec<u8>,
}

impl Regions for Memory {
    fn publish(&mut self, vcpu: VcpuId, offset: u32, word: u32) {
        assert!(view_readable(offset));
        self.view[vcpu.index()][offset as usize / 4] = word;
    }

    fn export(&mut self) -> &mut [u8] {
        &mut self.export
    }

    fn import(&mut self, length: usize) -> Option<&[u8]> {
        self.import.get(..length.min(MAX_RECORD + 1))
    }
}

/// What happens to a machine. Interrupts and vCPUs are taken modulo what there is.
#[derive(Debug, Clone)]
enum Event {
    Read {
        vcpu: usize,
        offset: u32,
        width: u8,
    },
    Write {
        vcpu: usize,
        offset: u32,
        width: u8,
        value: u32,
    },
    Sgi {
        vcpu: usize,
        value: u32,
    },
    SetLine {
        vcpu: usize,
        intid: u16,
        level: bool,
    },
    Maintenance {
        vcpu: usize,
        list_register: u8,
    },
    Refill {
        vcpu: usize,
    },
    Power {
        vcpu: usize,
        on: bool,
    },
    Offer {
        vcpu: usize,
    },
    /// Captures and restores what was said to need it, as `vmm-pd` does.
    Rearrange {
        pending: u8,
    },
    Capture {
        vcpu: usize,
        pending: u8,
        active: u8,
        control: u32,
    },
    Restore {
        vcpu: usize,
    },
    Move,
}

/// Both distributors.
struct Pair {
    real: Service<Memory>,
    plain: Plain,
    vcpus: usize,
    /// The vCPUs that were said to hold what does not belong there.
    rearrange: u8,
    /// Those of the last answers.
    answered: u8,
    /// Who waits for what others hold, while that is asked.
    waits: Option<usize>,
}

fn id(vcpu: usize) -> VcpuId {
    VcpuId::new(vcpu).unwrap()
}

fn service() -> Service<Memory> {
    Service::new(Memory {
        view: vec![[0; 1024]; 4],
        export: vec![0; 0x8000],
        import: vec![0; MAX_RECORD],
    })
}

fn handle(service: &mut Service<Memory>, caller: Caller, request: &Request) -> Message {
    let mut message = request.encode();
    service.handle(caller, &mut message);
    message
}

impl Pair {
    fn new(vcpus: usize) -> Self {
        let mut real = service();
        let reset = Request::Reset { vcpus: vcpus as u8 };
        Answer::decode(&handle(&mut real, Caller::Vmm, &reset)).unwrap();
        Self {
            real,
            plain: Plain::new(vcpus),
            vcpus,
            rearrange: 0,
            answered: 0,
            waits: None,
        }
    }

    fn ask(&mut self, request: &Request) -> Message {
        handle(&mut self.real, Caller::Vmm, request)
    }

    /// Asks, and lets the plain model judge what is injected.
    fn judged(&mut self, request: &Request) -> u64 {
        let answer = Answer::decode(&self.ask(request)).unwrap();
        let mut more = self.judge(&answer);
        // As vmm-pd does.
        for vcpu in (0..self.vcpus).map(id) {
            while more {
                let answer = Answer::decode(&self.ask(&Request::Refill { vcpu })).unwrap();
                self.plain.refill(vcpu.index());
                more = self.judge(&answer);
            }
        }
        self.plain.assert_all_belongs(self.rearrange);
        answer.value
    }

    fn judge(&mut self, answer: &Answer) -> bool {
        for injection in answer.injections() {
            self.plain.inject(injection);
        }
        self.plain.judge_rearranged(answer.rearrange(), self.waits);
        self.rearrange |= answer.rearrange();
        self.answered |= answer.rearrange();
        answer.more()
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Read {
                vcpu,
                offset,
                width,
            } => {
                let vcpu = vcpu % self.vcpus;
                let expected = self.plain.read(vcpu, offset as usize, width.into());
                self.plain.touch(vcpu);
                let value = self.judged(&Request::Read {
                    vcpu: id(vcpu),
                    offset,
                    width,
                });
                assert_eq!(value, u64::from(expected), "vCPU {vcpu} reads {offset:#x}");
                self.plain.assert_nothing_waits();
            }
            Event::Write {
                vcpu,
                offset,
                width,
                value,
            } => {
                let vcpu = vcpu % self.vcpus;
                self.write(vcpu, offset, width, value);
            }
            Event::Sgi { vcpu, value } => self.write(vcpu % self.vcpus, 0xf00, 4, value),
            Event::SetLine { vcpu, intid, level } => {
                let vcpu = vcpu % self.vcpus;
                let intid = 16 + intid % (INTERRUPTS as u16 - 16);
                self.plain.set_line(vcpu, intid.into(), level);
                let intid = Intid::new(intid).unwrap();
                self.judged(&Request::SetLine {
                    vcpu: id(vcpu),
                    intid,
                    level,
                });
                self.plain.assert_nothing_waits();
            }
            Event::Maintenance {
                vcpu,
                list_register,
            } => {
                let vcpu = vcpu % self.vcpus;
                let ended = self.plain.end(vcpu, list_register.into());
                let expected = ended.map_or(Answer::NOTHING_ENDED, |intid| intid as u64);
                let vcpu = id(vcpu);
                let value = self.judged(&Request::Maintenance {
                    vcpu,
                    list_register,
                });
                assert_eq!(value, expected);
                self.plain.assert_nothing_waits();
            }
            Event::Refill { vcpu } => {
                let vcpu = vcpu % self.vcpus;
                self.plain.refill(vcpu);
                self.judged(&Request::Refill { vcpu: id(vcpu) });
                self.plain.assert_nothing_waits();
            }
            Event::Power { vcpu, on } => {
                let vcpu = vcpu % self.vcpus;
                self.plain.set_power(vcpu, on);
                self.judged(&Request::Power { vcpu: id(vcpu), on });
                self.plain.assert_nothing_waits();
            }
            Event::Offer { vcpu } => self.offer(vcpu % self.vcpus),
            Event::Rearrange { pending } => {
                for vcpu in (0..self.vcpus)
                    .filter(|vcpu| self.rearrange >> vcpu & 1 != 0)
                    .collect::<Vec<_>>()
                {
                    let control = self.plain.interface_control[vcpu];
                    self.capture(vcpu, pending, !pending, control);
                    self.restore(vcpu);
                    self.plain.refill(vcpu);
                    self.judged(&Request::Refill { vcpu: id(vcpu) });
                }
            }
            Event::Capture {
                vcpu,
                pending,
                active,
                control,
            } => {
                self.capture(vcpu % self.vcpus, pending, active, control);
            }
            Event::Restore { vcpu } => self.restore(vcpu % self.vcpus),
            Event::Move => self.move_away(),
        }
        for vcpu in 0..self.vcpus {
            let entries = ListRegisterEntries::decode(&self.ask(&Request::ListRegisterEntries {
                vcpu: id(vcpu),
                hold: false,
            }));
            let entries = entries.unwrap().0.map(|intid| intid.map(Intid::index));
            assert_eq!(entries, self.plain.entries(vcpu));
        }
    }

    fn offer(&mut self, vcpu: usize) {
        let contested = (0..self.vcpus).filter(|holder| self.plain.is_contested(*holder, vcpu));
        let contested = contested.fold(0, |set, holder| set | 1 << holder);
        self.plain.offered[vcpu] |= contested != 0;
        self.waits = Some(vcpu);
        self.answered = 0;
        self.judged(&Request::Offer { vcpu: id(vcpu) });
        assert_eq!(self.answered & contested, contested);
        self.waits = None;
    }

    fn write(&mut self, vcpu: usize, offset: u32, width: u8, value: u32) {
        self.plain.write(vcpu, offset as usize, width.into(), value);
        let vcpu = id(vcpu);
        self.judged(&Request::Write {
            vcpu,
            offset,
            width,
            value,
        });
        self.plain.assert_nothing_waits();
    }

    fn capture(&mut self, vcpu: usize, pending: u8, active: u8, control: u32) {
        let occupied = self.occupied(vcpu);
        let pending = pending & occupied;
        let active = active & occupied & !pending;
        self.plain.captured(vcpu, control, pending, active);
        self.rearrange &= !(1 << vcpu);
        let interface = CpuInterface {
            control,
            ..CpuInterface::default()
        };
        let found = ListRegisterState { pending, active };
        let vcpu = id(vcpu);
        let answer = self.ask(&Request::Captured {
            vcpu,
            interface,
            found,
        });
        let answer = Answer::decode(&answer).unwrap();
        assert_eq!(answer.value, u64::from(occupied & !(pending | active)));
        assert_eq!(answer.injections().count(), 0);
    }

    fn occupied(&self, vcpu: usize) -> u8 {
        let registers = self.plain.entries(vcpu).into_iter().zip(0..);
        let occupied = registers.filter(|(entry, _)| entry.is_some());
        occupied.fold(0, |set, (_, register)| set | 1 << register)
    }

    fn restore(&mut self, vcpu: usize) {
        let answer = self.ask(&Request::Restore { vcpu: id(vcpu) });
        let present = self.plain.injection[vcpu] == InjectionState::Present;
        if present || self.occupied(vcpu) != 0 {
            assert!(answer.answer().is_err());
            return;
        }
        let plan = RestorePlan::decode(&answer).unwrap();
        let restored: Vec<usize> = plan.active.injections().map(|i| i.intid.index()).collect();
        let registers = plan
            .active
            .injections()
            .map(|i| usize::from(i.list_register));
        assert!(registers.eq(0..restored.len()));
        assert_eq!(restored, self.plain.restore(vcpu));
        assert_eq!(plan.interface.control, self.plain.interface_control[vcpu]);
    }

    /// Captures everything, exports, and carries on in another domain that has seen other things.
    fn move_away(&mut self) {
        for vcpu in 0..self.vcpus {
            self.capture(vcpu, 0b0101, 0b1010, 0);
        }
        let length = Answer::decode(&self.ask(&Request::Export)).unwrap().value as usize;
        let mut there = service();
        dirty(&mut there);
        let (from, to) = (self.real.regions_mut(), there.regions_mut());
        to.import[..length].copy_from_slice(&from.export[..length]);
        let import = Request::Import {
            length: length as u32,
        };
        Answer::decode(&handle(&mut there, Caller::Migration, &import)).unwrap();
        self.real = there;
        self.plain.off.fill(false);
        self.plain.offered.fill(false);
        self.assert_reads_alike();
    }

    /// Every word of the distributor, read and published, is what the plain model says.
    fn assert_reads_alike(&mut self) {
        (0..self.vcpus).for_each(|vcpu| self.plain.touch(vcpu));
        for vcpu in 0..self.vcpus {
            for offset in (0..0x1000).step_by(4) {
                let expected = self.plain.read(vcpu, offset, 4);
                if view_readable(offset as u32) {
                    let published = self.real.regions_mut().view[vcpu][offset / 4];
                    assert_eq!(published, expected, "vCPU {vcpu} view {offset:#x}");
                }
                let (vcpu, offset) = (id(vcpu), offset as u32);
                let read = Request::Read {
                    vcpu,
                    offset,
                    width: 4,
                };
                // The first shows that the vCPU runs, which may have consequences; the others have none.
                let value = if offset == 0 {
                    self.judged(&read)
                } else {
                    Answer::decode(&self.ask(&read)).unwrap().value
                };
                assert_eq!(value, u64::from(expected), "{vcpu:?} reads {offset:#x}");
            }
        }
        self.plain.assert_all_belongs(self.rearrange);
    }
}

/// Leaves nothing as it is after reset.
fn dirty(service: &mut Service<Memory>) {
    let mut ask = |request: Request| handle(service, Caller::Vmm, &request);
    ask(Request::Reset { vcpus: 4 });
    for offset in (0..0x1000).step_by(4) {
        for vcpu in (0..4).map(id) {
            ask(Request::Write {
                vcpu,
                offset,
                width: 4,
                value: 0x5a5a_5a5a,
            });
        }
    }
    for vcpu in (0..4).map(id) {
        let pending = 0b1111;
        let entries =
            ListRegisterEntries::decode(&ask(Request::ListRegisterEntries { vcpu, hold: false }))
                .unwrap();
        let occupied = entries.0.iter().filter(|entry| entry.is_some()).count();
        let found = ListRegisterState {
            pending: pending >> (LIST_REGISTERS - occupied),
            active: 0,
        };
        let interface = CpuInterface {
            control: 3,
            ..CpuInterface::default()
        };
        Answer::decode(&ask(Request::Captured {
            vcpu,
            interface,
            found,
        }))
        .unwrap();
    }
}

/// Offsets of registers that matter, for few interrupts, so that events meet.
fn any_offset() -> impl Strategy<Value = u32> {
    let bitmaps = (1u32..8, 0u32..8).prop_map(|(family, byte)| 0x80 * family + byte);
    prop_oneof![
        2 => Just(0u32),
        12 => bitmaps,
        4 => (0x400u32..0x428, ).prop_map(|(offset,)| offset),
        4 => 0x800u32..0x828,
        2 => 0xc00u32..0xc10,
        3 => 0xf10u32..0xf30,
        1 => 0u32..0x1_0000,
    ]
}

/// An aligned access.
fn any_access() -> impl Strategy<Value = (u32, u8)> {
    let width = prop::sample::select(vec![1u8, 2, 4]);
    (any_offset(), width).prop_map(|(offset, width)| (offset & !(u32::from(width) - 1), width))
}

fn any_event() -> impl Strategy<Value = Event> {
    let vcpu = 0usize..4;
    let intid = prop_oneof![4 => 0u16..24, 1 => Just(11u16), 1 => any::<u16>()];
    let value = prop_oneof![1 => any::<u32>(), 1 => Just(u32::MAX), 1 => Just(0x1111_1111u32)];
    let sgi = (
        0u32..3,
        0u32..16,
        prop_oneof![Just(0u32), Just(3u32), 0u32..16],
    );
    prop_oneof![
        3 => (vcpu.clone(), any_access())
            .prop_map(|(vcpu, (offset, width))| Event::Read { vcpu, offset, width }),
        10 => (vcpu.clone(), any_access(), value).prop_map(|(vcpu, (offset, width), value)| {
            Event::Write { vcpu, offset, width, value }
        }),
        4 => (vcpu.clone(), sgi).prop_map(|(vcpu, (filter, list, sgi))| {
            Event::Sgi { vcpu, value: filter << 24 | list << 16 | sgi }
        }),
        8 => (vcpu.clone(), intid, any::<bool>())
            .prop_map(|(vcpu, intid, level)| Event::SetLine { vcpu, intid, level }),
        8 => (vcpu.clone(), 0u8..5)
            .prop_map(|(vcpu, list_register)| Event::Maintenance { vcpu, list_register }),
        2 => vcpu.clone().prop_map(|vcpu| Event::Refill { vcpu }),
        2 => (vcpu.clone(), any::<bool>()).prop_map(|(vcpu, on)| Event::Power { vcpu, on }),
        1 => vcpu.clone().prop_map(|vcpu| Event::Offer { vcpu }),
        4 => any::<u8>().prop_map(|pending| Event::Rearrange { pending }),
        1 => (vcpu.clone(), any::<u8>(), any::<u8>(), 0u32..4)
            .prop_map(|(vcpu, pending, active, control)| {
                Event::Capture { vcpu, pending, active, control }
            }),
        2 => vcpu.prop_map(|vcpu| Event::Restore { vcpu }),
        1 => Just(Event::Move),
    ]
}

/// Enables everything for everyone, so that events have consequences.
fn enable(pair: &mut Pair) {
    pair.write(0, 0, 4, 3);
    for offset in 0x820..0x920 {
        pair.write(0, offset, 1, 1 << (offset % 3) | 1 << (offset % 4));
    }
    for vcpu in 0..pair.vcpus {
        (0x100..0x124)
            .step_by(4)
            .for_each(|offset| pair.write(vcpu, offset, 4, u32::MAX));
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_does_what_the_specification_says(
        vcpus in 1usize..=4,
        enabled in any::<bool>(),
        events in prop::collection::vec(any_event(), 1..120),
    ) {
        let mut pair = Pair::new(vcpus);
        if enabled {
            enable(&mut pair);
        }
        for event in &events {
            pair.apply(event);
        }
        pair.assert_reads_alike();
    }
}
