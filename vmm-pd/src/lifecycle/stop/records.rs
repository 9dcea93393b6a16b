// SPDX-License-Identifier: BSD-2-Clause
//! What a paused machine is to others: records of its vCPUs and console, a register, a description.
//!
//! Responsible for: the export region, and what comes in by the import region. Must never: touch a vCPU; a restore does
//! that.

use channel::timer::Count;
use channel::vmm::{Phase, Refusal, answer};
use channel::{IllegalValue, MAX_VCPUS, Message, VcpuId, timer, vgic};
use guest_bundle::has_firmware;
use state::console::MAX_WAITING;
use state::legal::{Illegal, Processor};
use state::{
    BaselineV1, ConsoleRecordV2, MachineRecordV2, PowerV1, Register, VcpuV1, VcpusRecordV4, record,
};

use crate::devices::clock::Clock;
use crate::devices::console::Console;
use crate::exit::abort::RAM_BASE;
use crate::lifecycle::machine::{Machine, STATE_RESET, Vcpu};
use crate::port::Port;
use vm::SCTLR_EL1_RESET;

/// How many shared interrupts `vgic-pd`'s distributor has.
const SHARED_INTERRUPTS: u16 = 256;
/// The version of the GIC architecture that the guest sees.
const GIC_VERSION: u8 = 2;

impl Machine {
    #[inline(never)]
    pub(super) fn export<P: Port>(&mut self, port: &mut P) -> Message {
        self.console.complete();
        let mut vcpus = VcpusRecordV4 {
            console: self.console.export(),
            bundle: self.bundle,
            clock: self.clock.export(),
            baseline: self.baseline.clone(),
            ..Default::default()
        };
        self.note_waiting(port, &mut vcpus.console.waiting);
        for saved in self.paused.saved.iter().take(self.count) {
            // There are as many places as vCPUs.
            let _ = vcpus.vcpus.push(saved.clone());
        }
        match record::encode(&vcpus, port.export_region()) {
            Ok(length) => answer(length as u64),
            Err(_) => Message::refused(Refusal::BadRecord as u64),
        }
    }

    #[inline(never)]
    pub(super) fn import<P: Port>(&mut self, port: &mut P, length: u32) -> Message {
        let decoded = port
            .import_region(usize::try_from(length).unwrap_or(usize::MAX))
            .and_then(|bytes| record::decode::<VcpusRecordV4>(bytes).ok());
        let Some(mut record) = decoded else {
            return Message::refused(Refusal::BadRecord as u64);
        };
        let processor = self.processor();
        processor.adopt(&mut record);
        if let Err(illegal) = processor.check(&record) {
            return refused(illegal);
        }
        // Before anything of it counts: a register that this board keeps from its guest, or that its processor lacks.
        let features = self.paused.features;
        let held = |vcpu: &VcpuV1| vcpu.is_complete() && features.hold(&vcpu.registers);
        if !record.vcpus.iter().all(held) || !peer_domains_have(port, record.vcpus.len()) {
            return Message::refused(Refusal::BadRecord as u64);
        }
        let firmware = has_firmware(record.bundle);
        // What is looked for is what firmware memory is filled from.
        if firmware && port.boot(record.bundle).is_none() {
            return Message::refused(Refusal::NoFirmware as u64);
        }
        let Ok(Count { frequency, .. }) = self.count(port) else {
            return Message::refused(Refusal::BadRecord as u64);
        };
        // What was typed until now was typed at an empty board.
        port.console_drop();
        port.set_rom(firmware);
        self.bundle = record.bundle;
        self.clock = Clock::import(&record.clock, frequency);
        self.baseline = match record.baseline.constants.is_empty() {
            // From a board that did not say: it had what this one has, or it would not be here.
            true => BaselineV1::of(&self.paused.constants),
            false => record.baseline,
        };
        self.take_over(record.vcpus, &record.console);
        self.set_phase(port, Phase::Imported);
        answer(0)
    }

    fn take_over(&mut self, vcpus: heapless::Vec<VcpuV1, MAX_VCPUS>, console: &ConsoleRecordV2) {
        self.count = vcpus.len();
        self.vcpus = [Vcpu::default(); MAX_VCPUS];
        self.hold_shared = 0;
        self.paused.saved = Default::default();
        for (slot, vcpu) in self.paused.saved.iter_mut().zip(vcpus) {
            *slot = vcpu;
            start_if_pending(slot);
        }
        self.console = Console::import(console);
        self.missed = 0;
        self.waiting.clear();
        self.waiting.extend(console.waiting.iter().copied());
    }

    /// What was typed and the console had no room for, as much of it as travels. It stays here as well: the guest may continue
    /// on this board.
    fn note_waiting<P: Port>(&mut self, port: &mut P, into: &mut heapless::Vec<u8, MAX_WAITING>) {
        into.extend(self.waiting.iter().copied());
        let noted = into.len();
        // Within its capacity.
        let _ = into.resize(MAX_WAITING, 0);
        let looked = port.console_look(into.get_mut(noted..).unwrap_or_default());
        into.truncate(noted + looked);
    }

    /// The operator gives a vCPU's register another value: the next restore writes it.
    pub(super) fn set_register(&mut self, vcpu: VcpuId, key: u32, value: u128) -> Message {
        let processor = self.processor();
        let saved = self.paused.saved_mut(vcpu);
        let known = Register::from_key(key).filter(|register| saved.takes(*register, value));
        let Some(register) = known else {
            return Message::refused(Refusal::BadRegister as u64);
        };
        let checked = processor.check_change(vcpu.index(), register, value, &saved.registers);
        if let Err(illegal) = checked {
            return refused(illegal);
        }
        if saved.amend(register, value) {
            answer(0)
        } else {
            Message::refused(Refusal::BadRegister as u64)
        }
    }

    /// What of this board decides which values a register can have.
    fn processor(&self) -> Processor {
        Processor::of(&self.paused.constants)
    }

    #[inline(never)]
    pub(super) fn describe<P: Port>(&mut self, port: &mut P) -> Message {
        let vcpus = if self.count == 0 {
            MAX_VCPUS
        } else {
            self.count
        };
        let machine = MachineRecordV2 {
            // For people: without it the description is as good.
            board: heapless::String::try_from(port.board()).unwrap_or_default(),
            ram_base: RAM_BASE,
            ram_size: port.ram_size(),
            vcpus: u8::try_from(vcpus).unwrap_or(0),
            gic_version: GIC_VERSION,
            shared_interrupts: SHARED_INTERRUPTS,
            baseline: match self.count {
                0 => BaselineV1::of(&self.paused.constants),
                _ => self.baseline.clone(),
            },
        };
        match record::encode(&machine, port.export_region()) {
            Ok(length) => answer(length as u64),
            Err(_) => Message::refused(Refusal::BadRecord as u64),
        }
    }
}

/// Whether `vgic-pd` and `timer-pd` have these many vCPUs too: their records come first.
fn peer_domains_have<P: Port>(port: &mut P, vcpus: usize) -> bool {
    VcpuId::all().all(|vcpu| {
        let hold = false;
        let interrupts = port.vgic(&vgic::Request::ListRegisterEntries { vcpu, hold });
        let interrupts = interrupts.and_then(|answer| vgic::ListRegisterEntries::decode(&answer));
        let timer = port.timer(&timer::Request::Wake { vcpu });
        let timer = timer.and_then(|answer| timer::decode_answer(&answer));
        [interrupts.is_ok(), timer.is_ok()] == [vcpu.index() < vcpus; 2]
    })
}

/// The answer that says which value no guest on this board can have.
fn refused(illegal: Illegal) -> Message {
    let value = IllegalValue {
        vcpu: u8::try_from(illegal.vcpu).unwrap_or(u8::MAX),
        register: illegal.register.key(),
        value: illegal.value,
        bits: illegal.bits,
    };
    Message::refused_value(Refusal::IllegalValue as u64, value)
}

/// A vCPU that was started and had not run when it was captured is as its start leaves it: PSCI's entry point and
/// context are in its registers (DEN 0022D.b 6.4).
fn start_if_pending(vcpu: &mut VcpuV1) {
    let PowerV1::OnPending { entry, context } = vcpu.power else {
        return;
    };
    let start = [
        (Register::PC, entry),
        (Register::X0, context),
        (Register::PSTATE, STATE_RESET),
        (Register::SCTLR_EL1, SCTLR_EL1_RESET),
        (Register::VBAR_EL1, 0),
    ];
    for (register, value) in start {
        // They have 64 bits and take any value.
        let _ = vcpu.registers.set_word(register, value);
    }
    vcpu.power = PowerV1::On;
}
