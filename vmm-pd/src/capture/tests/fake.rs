// SPDX-License-Identifier: BSD-2-Clause
//! A kernel with one processor that runs the stub: what the stub's code does, said in Rust.

mod hardware;

use std::collections::{BTreeMap, VecDeque};

use channel::vgic::{CpuInterface, Injection, LIST_REGISTERS, ListRegisterEntries};
use channel::{Intid, Message, ProtocolError, VcpuId, timer, vgic};
use state::{Register, RegisterFile};
use vm::SCTLR_EL1_RESET;

use super::interface::VirtualInterface;
use crate::capture::layout::{self, Command, Leave, progress};
use crate::capture::{DataPage, Features, set_up};
use crate::exit::{Exit, Syndrome, class};
use crate::lifecycle::machine::Boot;
use crate::port::{Frame, KernelError, Port, VcpuRegister};

/// Registers of a thread, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) program_counter: u64,
    pub(crate) stack_pointer: u64,
    pub(crate) state: u64,
    pub(crate) general: [u64; 31],
    pub(crate) pointers: [u64; 2],
}

impl Frame for Thread {
    fn program_counter(&self) -> u64 {
        self.program_counter
    }
    fn set_program_counter(&mut self, value: u64) {
        self.program_counter = value;
    }
    fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }
    fn set_stack_pointer(&mut self, value: u64) {
        self.stack_pointer = value;
    }
    fn state(&self) -> u64 {
        self.state
    }
    fn set_state(&mut self, value: u64) {
        self.state = value;
    }
    fn general(&self, register: u8) -> u64 {
        self.general[usize::from(register)]
    }
    fn set_general(&mut self, register: u8, value: u64) {
        self.general[usize::from(register)] = value;
    }
    fn thread_pointers(&self) -> [u64; 2] {
        self.pointers
    }
    fn set_thread_pointers(&mut self, values: [u64; 2]) {
        self.pointers = values;
    }
}

/// What is in a list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing, and nobody thinks otherwise.
    Empty,
    Pending(u16),
    Active(u16),
    /// Its interrupt was ended by the guest; the event that says so is still to come.
    Ended(u16),
    /// Its interrupt was ended by the guest, and the event that said so was lost.
    Lost(u16),
}

impl Slot {
    pub(crate) fn entry(self) -> Option<Intid> {
        match self {
            Self::Empty => None,
            Self::Pending(intid) | Self::Active(intid) | Self::Ended(intid) | Self::Lost(intid) => {
                Intid::new(intid)
            }
        }
    }
}

/// What the fake was asked to do, where the order matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Run(Command),
    Resume,
    Write(VcpuRegister, u64),
    Inject(u16),
    AcknowledgeTimer,
    LetGo,
}

/// One vCPU and its kernel.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) page: [u64; layout::PAGE / 8],
    pub(crate) thread: Thread,
    pub(crate) object: BTreeMap<VcpuRegister, u64>,
    /// What only the stub can reach.
    pub(crate) registers: RegisterFile,
    pub(crate) timer: [u64; 2],
    pub(crate) slots: [Slot; LIST_REGISTERS],
    pub(crate) interface: CpuInterface,
    /// A CPU interface that is modelled register by register, in place of the two fields above.
    pub(crate) hardware: Option<VirtualInterface>,
    /// How many event counters there are.
    pub(crate) counters: u64,
    /// Deactivations are reported only when the stub has left.
    pub(crate) slow_events: bool,
    /// Accesses to debug registers and performance monitor leave the guest.
    pub(crate) closed: bool,
    pub(crate) asked: Vec<Asked>,
    exits: VecDeque<(u64, Exit)>,
}

/// The state that seL4 gives a vCPU's thread when it is told this one: none of a 32-bit program.
pub(crate) fn as_sel4_takes(state: u64) -> u64 {
    match state & 0x1f {
        0 | 4 | 5 => state,
        _ => state & 0xf000_0000 | 0x140,
    }
}

fn smc(leave: Leave) -> Exit {
    Exit::SecureMonitorCall(Syndrome(class::SMC << 26 | leave as u64))
}

impl Fake {
    /// One as the kernel makes it.
    pub(crate) fn new(registers: RegisterFile) -> Self {
        Self {
            page: [0; layout::PAGE / 8],
            thread: Thread::default(),
            object: BTreeMap::new(),
            registers,
            timer: [0; 2],
            slots: [Slot::Empty; LIST_REGISTERS],
            interface: CpuInterface::default(),
            hardware: None,
            counters: 6,
            slow_events: false,
            closed: false,
            asked: Vec::new(),
            exits: VecDeque::new(),
        }
    }

    /// One on which no guest runs.
    pub(crate) fn parked(vcpu: VcpuId, registers: RegisterFile) -> Self {
        let mut fake = Self::new(registers);
        set_up(&mut fake, vcpu).unwrap();
        fake.asked.clear();
        fake
    }

    pub(crate) fn entries(&self) -> ListRegisterEntries {
        ListRegisterEntries(self.slots.map(Slot::entry))
    }

    /// The stub runs: another exit will come.
    pub(crate) fn has_exit(&self) -> bool {
        !self.exits.is_empty()
    }

    /// The stub's run ends otherwise.
    pub(crate) fn forget_exits(&mut self) {
        self.exits.clear();
    }

    /// The next exit; the stub has got as far as this when it comes.
    pub(crate) fn next_exit(&mut self) -> Exit {
        let (reached, exit) = self.exits.pop_front().expect("the vCPU leaves the stub");
        self.page[layout::PROGRESS] = reached;
        exit
    }

    fn exit(&mut self, reached: u64, exit: Exit) {
        self.exits.push_back((reached, exit));
    }

    /// The `ERET` at the end of the stub's page, to where nothing is.
    fn eret(&mut self) {
        assert_eq!(
            self.object.get(&VcpuRegister::SCTLR),
            Some(&SCTLR_EL1_RESET)
        );
        assert_eq!(self.object.get(&VcpuRegister::CntvCtl), Some(&0));
        assert_eq!(self.thread.state, 0x3c5, "EL1h, everything masked");
        let pending = self
            .slots
            .iter()
            .any(|slot| matches!(slot, Slot::Pending(_)));
        assert!(!pending, "an interrupt would be taken first");
        self.thread.state = self.object[&VcpuRegister::SpsrEl1];
        self.thread.program_counter = self.object[&VcpuRegister::ElrEl1];
        let abort = Exit::Abort {
            program_counter: self.thread.program_counter,
            ipa: self.thread.program_counter,
            fetch: true,
            syndrome: Syndrome(class::INSTRUCTION_ABORT_LOWER << 26 | 1 << 25 | 7),
        };
        self.exit(progress::NOTHING, abort);
    }

    fn run(&mut self, command: Command) {
        match command {
            Command::Save => self.save(),
            Command::Load => self.load(),
            Command::Wait => self.wait(),
            Command::Scrub => self.scrub(),
            Command::Probe => self.probe(|register| {
                matches!(
                    register.source(),
                    state::Source::Probe | state::Source::ProbeCaches
                )
            }),
            Command::ProbeDebug => self.probe(|register| register == Register::MDRAR_EL1),
            Command::ProbeMonitor => {
                self.probe(|register| register.source() == state::Source::ProbePmu);
            }
        }
    }

    fn probe(&mut self, reads: impl Fn(Register) -> bool) {
        if self.closed && !reads(Register::MIDR_EL1) {
            self.exit(
                0,
                Exit::SystemRegister(Syndrome(class::SYSTEM_REGISTER << 26)),
            );
            return;
        }
        for (position, register) in layout::PROBED.iter().enumerate() {
            if reads(*register) {
                let value = self.registers.word(*register).unwrap_or(0);
                self.page[layout::REGISTERS + position] = value;
            }
        }
        self.exit(0, smc(Leave::Probed));
    }

    /// Which of the stub's registers the page's words say are to be moved.
    fn moves(&self, register: Register) -> bool {
        let pair = |first: Register| ((register.index() - first.index()) / 2) as u64;
        let [breakpoints, watchpoints, monitor] =
            [layout::BREAKPOINTS, layout::WATCHPOINTS, layout::COUNTERS]
                .map(|word| self.page[word]);
        match register.source() {
            state::Source::StubBreakpoints => pair(Register::DBGBVR0_EL1) < breakpoints,
            state::Source::StubWatchpoints => pair(Register::DBGWVR0_EL1) < watchpoints,
            state::Source::StubPmu => monitor > 0,
            state::Source::StubCounters => {
                monitor > 0 && pair(Register::PMEVCNTR0_EL0) < self.counters
            }
            _ => register.class() != state::Class::Debug || breakpoints > 0,
        }
    }

    fn save(&mut self) {
        for (position, register) in layout::SAVED.iter().enumerate() {
            if self.moves(*register) {
                let value = self.registers.word(*register).unwrap_or(0);
                self.page[layout::REGISTERS + position] = value;
            }
        }
        if self.page[layout::COUNTERS] > 0 {
            self.page[layout::COUNTERS] = 1 + self.counters;
        }
        for number in 0..32 {
            let register = Register::vector(number).unwrap();
            let value = self.registers.vector(register).unwrap_or(0);
            self.page[layout::VECTORS + 2 * number] =
                u64::try_from(value & u128::from(u64::MAX)).unwrap();
            self.page[layout::VECTORS + 2 * number + 1] = u64::try_from(value >> 64).unwrap();
        }
        self.page[layout::TIMER..][..2].copy_from_slice(&self.timer);
        if self.hardware.is_some() {
            self.save_hardware();
        } else {
            let words = self.interface.words().map(u64::from);
            self.page[layout::INTERFACE_WORDS..][..5].copy_from_slice(&words);
            self.acknowledge();
            self.deactivate();
        }
        self.exit(progress::DONE, smc(Leave::Saved));
        if self.slow_events {
            let late = |(_, exit): &(u64, Exit)| matches!(exit, Exit::Maintenance(_));
            let (late, prompt) = self
                .exits
                .drain(..)
                .partition(|exit| late(exit) && exit.0 == progress::ACKNOWLEDGED);
            self.exits = prompt;
            let late: VecDeque<_> = late;
            self.exits.extend(late);
        }
    }

    /// Run one: what the guest has ended is reported now, what is pending is noted.
    fn acknowledge(&mut self) {
        let mut noted = 0;
        for register in 0..LIST_REGISTERS {
            match self.slots[register] {
                Slot::Ended(_) => {
                    self.slots[register] = Slot::Empty;
                    self.exit(progress::NOTHING, Exit::Maintenance(register as u64));
                }
                Slot::Pending(intid) => {
                    self.slots[register] = Slot::Active(intid);
                    self.page[layout::NOTES + noted] = intid.into();
                    noted += 1;
                }
                _ => {}
            }
        }
        self.page[layout::NOTED] = noted as u64;
    }

    /// Run two: everything in the list is deactivated.
    fn deactivate(&mut self) {
        let count = usize::try_from(self.page[layout::OCCUPIED]).unwrap();
        for position in 0..count {
            let intid = self.page[layout::LIST_REGISTER_ENTRIES + position];
            let found = self.slots.iter().position(
                |slot| matches!(slot, Slot::Active(active) if u64::from(*active) == intid),
            );
            if let Some(register) = found {
                self.slots[register] = Slot::Empty;
                self.exit(progress::ACKNOWLEDGED, Exit::Maintenance(register as u64));
            }
        }
    }

    fn scrub(&mut self) {
        if self.hardware.is_some() {
            self.acknowledge_hardware();
            self.deactivate_hardware(0, (0..layout::INTID_LIMIT as u64).rev());
        }
        self.acknowledge();
        for register in 0..LIST_REGISTERS {
            if matches!(self.slots[register], Slot::Active(_)) {
                self.slots[register] = Slot::Empty;
                self.exit(0, Exit::Maintenance(register as u64));
            }
        }
        self.exit(0, smc(Leave::Scrubbed));
        if self.slow_events {
            self.exits.rotate_right(1);
        }
    }

    fn wait(&mut self) {
        for (reached, _) in &mut self.exits {
            *reached = progress::DONE;
        }
        self.exit(progress::DONE, smc(Leave::Waited));
    }

    fn load(&mut self) {
        let words = core::array::from_fn(|word| {
            u32::try_from(self.page[layout::INTERFACE_WORDS + word]).unwrap()
        });
        if self.hardware.is_some() {
            self.load_hardware(words);
        } else {
            self.acknowledge();
            self.interface = CpuInterface::from_words(words);
        }
        self.timer.copy_from_slice(&self.page[layout::TIMER..][..2]);
        for (position, register) in layout::SAVED.iter().enumerate() {
            if self.moves(*register) {
                let held = register.source() != state::Source::StubCounters || {
                    let pair = (register.index() - Register::PMEVCNTR0_EL0.index()) / 2;
                    (pair as u64) < self.page[layout::COUNTERS] - 1
                };
                let word = if held {
                    self.page[layout::REGISTERS + position]
                } else {
                    0
                };
                assert!(self.registers.set_word(*register, word));
            }
        }
        if self.page[layout::COUNTERS] > 0 {
            self.page[layout::COUNTERS] = 1 + self.counters;
        }
        for number in 0..32 {
            let low = self.page[layout::VECTORS + 2 * number];
            let high = self.page[layout::VECTORS + 2 * number + 1];
            let value = u128::from(low) | u128::from(high) << 64;
            assert!(self.registers.set(Register::vector(number).unwrap(), value));
        }
        self.exit(progress::NOTHING, smc(Leave::Loaded));
    }
}

/// Everything that a processor may have, as the fake's constants say.
pub(crate) fn features() -> Features {
    let mut constants = RegisterFile::new();
    for (register, value) in [
        (Register::ID_AA64DFR0_EL1, 0x1030_5106),
        (Register::MDRAR_EL1, 0),
        (Register::PMCEID0_EL0, 1),
    ] {
        assert!(constants.set_word(register, value));
    }
    Features::of(&constants)
}

impl DataPage for Fake {
    fn write_page(&mut self, _: VcpuId, first: usize, words: &[u64]) {
        self.page[first..first + words.len()].copy_from_slice(words);
    }
    fn read_page(&mut self, _: VcpuId, first: usize, words: &mut [u64]) {
        words.copy_from_slice(&self.page[first..first + words.len()]);
    }
}

impl Port for Fake {
    type Frame = Thread;

    fn read(&mut self, _: VcpuId, _: usize) -> Result<Thread, KernelError> {
        Ok(self.thread.clone())
    }
    fn write(
        &mut self,
        vcpu: VcpuId,
        frame: &mut Thread,
        count: usize,
        resume: bool,
    ) -> Result<(), KernelError> {
        if frame.program_counter == layout::RETURN {
            assert!(resume && count == crate::port::COUNT_ALL);
            self.thread = frame.clone();
            self.eret();
            return Ok(());
        }
        if frame.program_counter != layout::CODE {
            if count == crate::port::COUNT_ALL {
                self.thread = frame.clone();
                self.thread.state = as_sel4_takes(frame.state);
            } else {
                assert_eq!(count, crate::port::COUNT_PROGRAM_COUNTER);
                self.thread.program_counter = frame.program_counter;
            }
            if resume {
                self.asked.push(Asked::LetGo);
            }
            return Ok(());
        }
        assert!(resume && count == crate::port::count_for(2));
        assert_eq!(frame.state, 0x3c5, "EL1h, everything masked");
        assert_eq!(frame.general[1], layout::data(vcpu));
        assert_eq!(
            self.object.get(&VcpuRegister::SCTLR),
            Some(&SCTLR_EL1_RESET)
        );
        assert_eq!(self.object.get(&VcpuRegister::CntvCtl), Some(&0));
        let command = [
            Command::Save,
            Command::Load,
            Command::Probe,
            Command::Wait,
            Command::ProbeDebug,
            Command::ProbeMonitor,
            Command::Scrub,
        ]
        .into_iter()
        .find(|command| *command as u64 == frame.general[0])
        .expect("a command of the stub's");
        self.asked.push(Asked::Run(command));
        self.run(command);
        Ok(())
    }
    fn resume(&mut self, _: VcpuId) -> Result<(), KernelError> {
        self.asked.push(Asked::Resume);
        Ok(())
    }
    fn suspend(&mut self, _: VcpuId) -> Result<(), KernelError> {
        Ok(())
    }
    fn read_vcpu(&mut self, _: VcpuId, register: VcpuRegister) -> Result<u64, KernelError> {
        Ok(self.object.get(&register).copied().unwrap_or(0))
    }
    fn write_vcpu(
        &mut self,
        _: VcpuId,
        register: VcpuRegister,
        value: u64,
    ) -> Result<(), KernelError> {
        self.asked.push(Asked::Write(register, value));
        self.object.insert(register, value);
        Ok(())
    }
    fn inject(&mut self, injection: Injection) -> Result<(), KernelError> {
        if let Some(hardware) = &mut self.hardware {
            hardware.inject(injection);
            return Ok(());
        }
        let slot = &mut self.slots[usize::from(injection.list_register)];
        assert_eq!(*slot, Slot::Empty, "nothing is overwritten");
        *slot = Slot::Pending(injection.intid.value());
        self.asked.push(Asked::Inject(injection.intid.value()));
        Ok(())
    }
    fn acknowledge_timer(&mut self, _: VcpuId) -> Result<(), KernelError> {
        self.asked.push(Asked::AcknowledgeTimer);
        Ok(())
    }

    fn vgic(&mut self, _: &vgic::Request) -> Result<Message, ProtocolError> {
        unreachable!("a capture calls no peer domain")
    }
    fn timer(&mut self, _: &timer::Request) -> Result<Message, ProtocolError> {
        unreachable!("a capture calls no peer domain")
    }
    fn view(&self, _: VcpuId, _: u32) -> u32 {
        unreachable!("a capture reads no distributor")
    }
    fn phase_changed(&mut self) {
        unreachable!("a capture knows no phases")
    }
    fn export_region(&mut self) -> &mut [u8] {
        unreachable!("a capture writes no record")
    }
    fn import_region(&mut self, _: usize) -> Option<&[u8]> {
        unreachable!("a capture reads no record")
    }
    fn board(&self) -> &str {
        unreachable!("a capture does not know where it is")
    }
    fn time_of_day(&self) -> u64 {
        0
    }
    fn promise(&self) -> Option<&[u8]> {
        unreachable!("a capture promises nothing")
    }
    fn ram_size(&self) -> u64 {
        unreachable!("a capture knows no RAM")
    }
    fn ram_read(&self, _: u64) -> Option<u64> {
        unreachable!("a capture reads no RAM")
    }
    fn ram_flush(&mut self, _: usize) -> bool {
        unreachable!("a capture flushes no RAM")
    }
    fn set_rom(&mut self, _: bool) {
        unreachable!("a capture fills nothing")
    }
    fn clear_copies(&mut self) {
        unreachable!("a capture clears nothing")
    }
    fn boot(&mut self, _: u64) -> Option<Boot> {
        unreachable!("a capture starts nothing")
    }
    fn load_segment(&mut self, _: usize, _: usize) -> bool {
        unreachable!("a capture loads nothing")
    }
    fn console_room(&mut self) -> usize {
        unreachable!("a capture prints nothing")
    }
    fn console_put(&mut self, _: u8) {
        unreachable!("a capture prints nothing")
    }
    fn console_is_sent(&mut self) -> bool {
        unreachable!("a capture writes no output")
    }
    fn console_take(&mut self) -> Option<u8> {
        unreachable!("a capture reads no input")
    }
    fn console_look(&mut self, _: &mut [u8]) -> usize {
        unreachable!("a capture reads no input")
    }
    fn console_drop(&mut self) {
        unreachable!("a capture reads no input")
    }
}
