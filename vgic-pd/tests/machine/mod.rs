// SPDX-License-Identifier: BSD-2-Clause
//! A machine to test with: the interrupt controller, and vCPUs with list registers as the
//! hardware has them.
//!
//! Responsible for: doing with injections what seL4 and a virtual CPU interface do (IHI 0048B,
//! 5.2), and complaining when an occupied list register is overwritten.
#![allow(dead_code, reason = "each test uses a part")]

use channel::vgic::{Answer, CpuInterface, Injection, ListRegisterState, Refusal};
use channel::{Intid, VcpuId};
use vgic_pd::{Gic, LIST_REGISTERS};

/// What a list register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListRegister {
    pub(crate) intid: u16,
    pub(crate) priority: u8,
    pub(crate) active: bool,
}

/// A virtual CPU interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interface {
    pub(crate) registers: [Option<ListRegister>; LIST_REGISTERS],
    /// Acknowledged interrupts and their priorities, the one that runs last.
    pub(crate) running: Vec<(u16, u8)>,
}

/// The interrupt controller, with answers as results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Controller(pub(crate) Gic);

impl Controller {
    fn ask(
        &mut self,
        request: impl FnOnce(&mut Gic, &mut Answer) -> Result<(), Refusal>,
    ) -> Result<Answer, Refusal> {
        let mut answer = Answer::new(0);
        request(&mut self.0, &mut answer)?;
        Ok(answer)
    }

    pub(crate) fn read(&mut self, vcpu: VcpuId, offset: u32, width: u8) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.read(vcpu, offset, width, answer))
    }

    pub(crate) fn write(
        &mut self,
        vcpu: VcpuId,
        offset: u32,
        width: u8,
        value: u32,
    ) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.write(vcpu, offset, width, value, answer))
    }

    pub(crate) fn set_line(
        &mut self,
        vcpu: VcpuId,
        intid: Intid,
        level: bool,
    ) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.set_line(vcpu, intid, level, answer))
    }

    pub(crate) fn maintenance(
        &mut self,
        vcpu: VcpuId,
        list_register: u8,
    ) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.maintenance(vcpu, list_register, answer))
    }

    pub(crate) fn refill(&mut self, vcpu: VcpuId) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.refill(vcpu, answer))
    }

    pub(crate) fn set_power(&mut self, vcpu: VcpuId, on: bool) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.set_power(vcpu, on, answer))
    }

    pub(crate) fn offer(&mut self, vcpu: VcpuId) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.offer(vcpu, answer))
    }

    pub(crate) fn captured(
        &mut self,
        vcpu: VcpuId,
        interface: CpuInterface,
        found: ListRegisterState,
    ) -> Result<Answer, Refusal> {
        self.ask(|gic, answer| gic.captured(vcpu, interface, found, answer))
    }
}

/// The machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) gic: Controller,
    pub(crate) interfaces: Vec<Interface>,
    /// What was acknowledged, by vCPU.
    pub(crate) acknowledged: Vec<(usize, u16)>,
    /// How often a vCPU was captured and restored because its list registers held what did not belong there.
    pub(crate) rearranged: usize,
}

pub(crate) fn id(vcpu: usize) -> VcpuId {
    VcpuId::new(vcpu).unwrap()
}

pub(crate) fn intid(number: u16) -> Intid {
    Intid::new(number).unwrap()
}

/// CPU interface registers that are different on each vCPU.
pub(crate) fn interface_of(vcpu: usize) -> CpuInterface {
    let vcpu = u32::try_from(vcpu).unwrap();
    CpuInterface {
        control: 1 + vcpu,
        priority_mask: 0xf0 - 8 * vcpu,
        binary_point: 2 + vcpu,
        aliased_binary_point: 3 + vcpu,
        active_priorities: 0x8000_0001 << vcpu,
    }
}

impl Machine {
    /// A machine after reset.
    pub(crate) fn new(vcpus: u8) -> Self {
        let mut gic = Gic::new();
        gic.reset(vcpus).unwrap();
        Self {
            gic: Controller(gic),
            interfaces: vec![Interface::default(); vcpus.into()],
            acknowledged: Vec::new(),
            rearranged: 0,
        }
    }

    /// The same with the distributor on, everything enabled, and each shared interrupt for one
    /// vCPU in turn.
    pub(crate) fn enabled(vcpus: u8) -> Self {
        let mut machine = Self::new(vcpus);
        for bank in 0..9 {
            for vcpu in 0..vcpus.into() {
                machine.write(vcpu, 0x100 + 4 * bank, u32::MAX);
            }
        }
        for shared in 0..256 {
            machine.write_byte(0, 0x820 + shared, 1 << (shared % u32::from(vcpus)));
        }
        machine.write(0, 0, 3);
        machine
    }

    pub(crate) fn read(&mut self, vcpu: usize, offset: u32) -> u32 {
        let answer = self.gic.read(id(vcpu), offset, 4).unwrap();
        self.carry_out(&answer);
        u32::try_from(answer.value).unwrap()
    }

    pub(crate) fn read_byte(&mut self, vcpu: usize, offset: u32) -> u8 {
        let answer = self.gic.read(id(vcpu), offset, 1).unwrap();
        self.carry_out(&answer);
        u8::try_from(answer.value).unwrap()
    }

    pub(crate) fn write(&mut self, vcpu: usize, offset: u32, value: u32) -> u64 {
        let answer = self.gic.write(id(vcpu), offset, 4, value).unwrap();
        self.carry_out(&answer);
        answer.value
    }

    pub(crate) fn write_byte(&mut self, vcpu: usize, offset: u32, value: u8) {
        let answer = self.gic.write(id(vcpu), offset, 1, value.into()).unwrap();
        self.carry_out(&answer);
    }

    pub(crate) fn set_line(&mut self, vcpu: usize, number: u16, level: bool) {
        let answer = self.gic.set_line(id(vcpu), intid(number), level).unwrap();
        self.carry_out(&answer);
    }

    /// A vCPU is switched on or off.
    pub(crate) fn power(&mut self, vcpu: usize, on: bool) {
        let answer = self.gic.set_power(id(vcpu), on).unwrap();
        self.carry_out(&answer);
    }

    /// A vCPU waits.
    pub(crate) fn offer(&mut self, vcpu: usize) {
        let answer = self.gic.offer(id(vcpu)).unwrap();
        self.carry_out(&answer);
    }

    /// `GICD_SGIR` with a list of vCPUs.
    pub(crate) fn send(&mut self, from: usize, to: u32, sgi: u32) {
        self.write(from, 0xf00, to << 16 | sgi);
    }

    /// Injects what an answer says, and captures and restores the vCPUs that it names.
    pub(crate) fn carry_out(&mut self, answer: &Answer) {
        for injection in answer.injections() {
            self.inject(injection);
        }
        if answer.more() {
            let vcpus: Vec<VcpuId> = VcpuId::all().take(self.gic.0.vcpus()).collect();
            for vcpu in vcpus {
                let answer = self.gic.refill(vcpu).unwrap();
                self.carry_out(&answer);
            }
        }
        for vcpu in (0..self.interfaces.len()).filter(|vcpu| answer.rearrange() >> vcpu & 1 != 0) {
            self.rearranged += 1;
            self.capture(vcpu);
            self.restore(vcpu);
        }
    }

    pub(crate) fn inject(&mut self, injection: Injection) {
        let registers = &mut self.interfaces[injection.vcpu.index()].registers;
        let there = |register: &&ListRegister| register.intid == injection.intid.value();
        assert_eq!(
            registers.iter().flatten().find(there),
            None,
            "in two list registers"
        );
        let register = &mut registers[usize::from(injection.list_register)];
        assert_eq!(*register, None, "an occupied list register is overwritten");
        *register = Some(ListRegister {
            intid: injection.intid.value(),
            priority: injection.priority,
            active: false,
        });
    }

    /// The guest reads `GICC_IAR`: the most urgent pending interrupt, if it preempts.
    pub(crate) fn acknowledge(&mut self, vcpu: usize) -> Option<u16> {
        let interface = &mut self.interfaces[vcpu];
        let running = interface
            .running
            .last()
            .map_or(32, |(_, priority)| *priority);
        let pending = interface.registers.iter_mut().flatten();
        let first = pending
            .filter(|register| !register.active && register.priority < running)
            .min_by_key(|register| (register.priority, register.intid))?;
        first.active = true;
        let (number, priority) = (first.intid, first.priority);
        interface.running.push((number, priority));
        self.acknowledged.push((vcpu, number));
        Some(number)
    }

    /// The guest writes `GICC_EOIR` for what it acknowledged last; the kernel reports it.
    pub(crate) fn end(&mut self, vcpu: usize) -> Option<u16> {
        let interface = &mut self.interfaces[vcpu];
        let (number, _) = interface.running.pop()?;
        self.deactivate(vcpu, number);
        Some(number)
    }

    /// The guest writes `GICC_DIR`; the kernel reports it.
    pub(crate) fn deactivate(&mut self, vcpu: usize, number: u16) {
        let registers = &mut self.interfaces[vcpu].registers;
        let place = registers
            .iter()
            .position(|register| register.is_some_and(|r| r.intid == number && r.active))
            .expect("it is active in a list register");
        registers[place] = None;
        let list_register = u8::try_from(place).unwrap();
        let answer = self.gic.maintenance(id(vcpu), list_register).unwrap();
        assert_eq!(answer.value, u64::from(number));
        self.carry_out(&answer);
    }

    /// What vmm-pd finds when it captures a vCPU, and tells.
    pub(crate) fn capture(&mut self, vcpu: usize) -> Answer {
        let registers = std::mem::take(&mut self.interfaces[vcpu].registers);
        let mut found = ListRegisterState::default();
        for (place, register) in registers.iter().enumerate() {
            match register {
                Some(register) if register.active => found.active |= 1 << place,
                Some(_) => found.pending |= 1 << place,
                None => {}
            }
        }
        let answer = self
            .gic
            .captured(id(vcpu), interface_of(vcpu), found)
            .unwrap();
        assert_eq!(answer.injections().count(), 0);
        answer
    }

    /// Restores a vCPU.
    pub(crate) fn restore(&mut self, vcpu: usize) {
        let plan = self.gic.0.restore(id(vcpu)).unwrap();
        assert_eq!(plan.interface, interface_of(vcpu));
        self.carry_out(&plan.active);
        for register in self.interfaces[vcpu].registers.iter_mut().flatten() {
            register.active = true;
        }
        let answer = self.gic.refill(id(vcpu)).unwrap();
        self.carry_out(&answer);
    }

    /// Captures everything, and carries on with `there`, whatever it was before.
    pub(crate) fn move_to(&mut self, mut there: Gic) {
        (0..self.interfaces.len()).for_each(|vcpu| {
            self.capture(vcpu);
        });
        there.import(&self.gic.0.export().unwrap()).unwrap();
        self.gic.0 = there;
        (0..self.interfaces.len()).for_each(|vcpu| self.restore(vcpu));
    }

    /// What sits in a vCPU's list registers, in order of INTID.
    pub(crate) fn in_flight(&self, vcpu: usize) -> Vec<u16> {
        let registers = self.interfaces[vcpu].registers.iter().flatten();
        let mut in_flight: Vec<u16> = registers.map(|register| register.intid).collect();
        in_flight.sort_unstable();
        in_flight
    }
}

/// An interrupt controller that has seen other things: nothing is as after reset, all captured.
pub(crate) fn dirty() -> Gic {
    let mut machine = Machine::new(4);
    for vcpu in 0..4 {
        for offset in (0..0x1000).step_by(4) {
            machine.write(vcpu, offset, 0xa5a5_a5a5);
        }
        machine.set_line(vcpu, 27, true);
    }
    for shared in 32..288 {
        machine.set_line(0, shared, true);
    }
    for vcpu in 0..4 {
        machine.acknowledge(vcpu);
        machine.capture(vcpu);
    }
    machine.gic.0
}
