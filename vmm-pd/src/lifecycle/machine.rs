// SPDX-License-Identifier: BSD-2-Clause
//! The machine: its vCPUs, what each is doing, and what happens when one leaves the guest.
//!
//! Responsible for: dispatching every exit, and the order in which vCPUs run again. Must never:
//! panic, whatever the guest or a peer domain does: a peer domain's or the kernel's refusal ends this
//! guest with a reason, and nothing else.
//!
//! # The order of things on one core
//!
//! seL4 puts a thread that is resumed at the head of its priority's queue. The vCPU that exited is
//! therefore resumed *before* the interrupts that its access caused are delivered, and whoever
//! receives one is resumed (or brought to the head) after it: an inter-processor interrupt never
//! waits for the sender's time slice to end. `vmm-pd` itself is above its vCPUs, so none of them
//! runs before it has finished.

mod baseline;
mod calls;
mod day;
mod interrupts;
mod look;
mod sleep;

use channel::timer::{self, VirtualTimer};
use channel::vgic::{LIST_REGISTERS, Request};
use channel::vmm::{Failure, Phase, Statistics, Status};
use channel::{Intid, MAX_VCPUS, Message, ProtocolError, Ticks, VcpuId};
use guest_bundle::has_firmware;
use hang::Taken;
use heapless::Deque;
use state::console::MAX_WAITING;
use state::{BaselineV1, Register};
use thiserror::Error;

use crate::capture::CaptureError;
use crate::devices::clock::Clock;
use crate::devices::console::Console;
use crate::exit::Exit;
use crate::exit::exception::is_conditional;
use crate::lifecycle::gate::RunPermit;
use crate::lifecycle::stop::{Activity, Paused};
use crate::port::{COUNT_PROGRAM_COUNTER, COUNT_STATE, Frame, KernelError, Port};
use baseline::Discovery;

/// Why a guest cannot continue. Each is a [`Failure`] for `migration-pd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MachineError {
    /// The kernel refused what it never should.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A peer domain gave a malformed reply.
    #[error(transparent)]
    PeerDomain(#[from] ProtocolError),
    /// The capture stub did not come back as it should.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A fault that no guest can cause.
    #[error("fault {label} ({detail:#x})")]
    UnexpectedFault {
        /// Its label.
        label: u64,
        /// Its first word.
        detail: u64,
    },
    /// The guest asked to start again, and what it starts from is not here.
    #[error("the guest's bundle is not on this board")]
    NoBundle,
    /// The guest was promised what this board's processor does not have.
    #[error("this board lacks what the guest is promised: {}", .0.map_or("a core that it knows of", Register::name))]
    Promise(Option<Register>),
    /// The guest bundle is not one, or does not fit.
    #[error("the guest bundle cannot be used")]
    BadBundle,
}

impl MachineError {
    fn failure(self) -> (Failure, u64) {
        match self {
            Self::Kernel(error) => (Failure::Kernel, (error.operation as u64) << 32 | error.code),
            Self::PeerDomain(_) => (Failure::PeerDomain, 0),
            Self::Capture(error) => (Failure::Capture, error.detail()),
            Self::UnexpectedFault { label, detail } => (
                Failure::UnexpectedFault,
                label << 56 | detail & 0x00ff_ffff_ffff_ffff,
            ),
            Self::NoBundle => (Failure::NoBundle, 0),
            Self::Promise(register) => {
                let identifier = register.map_or(0, |register| register.identifier().value());
                (Failure::Promise, identifier)
            }
            Self::BadBundle => (Failure::BadBundle, 0),
        }
    }
}

/// What a vCPU is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Run {
    /// Off, in the sense of PSCI.
    #[default]
    Off,
    /// Runs, or waits for its turn.
    Running,
    /// Has called `CPU_OFF`, and is off when what it has not taken has been withdrawn from its list registers.
    SwitchingOff,
    /// Sleeps until an interrupt; its program counter is past the instruction that said so.
    Waiting,
}

/// What `vmm-pd` knows of a vCPU while it runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vcpu {
    pub(crate) run: Run,
    /// A guest has run on it or was put there, so it has a state to capture or to clean away.
    pub(crate) started: bool,
    /// Which interrupt was put into each list register and has not been reported as ended.
    pub(crate) injected: [Option<Intid>; LIST_REGISTERS],
    /// When `timer-pd` wakes it, if it has been told. A vCPU that is awake earlier is left there:
    /// often it goes back to sleep until the same time.
    pub(crate) sleeps_until: Option<Ticks>,
    /// The kernel holds the virtual timer's interrupt masked until it is acknowledged.
    pub(crate) timer_asserted: bool,
    /// The exception that it took last to a vector where nothing is: there, its registers soon say no more of it.
    pub(crate) lost: Option<Taken>,
}

/// What to start a guest from: the guest bundle's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// What tells the bundle from another guest's; not zero.
    pub identity: u64,
    /// How many vCPUs the guest has.
    pub vcpus: u8,
    /// Where vCPU 0 starts.
    pub entry: u64,
    /// Its `x0`: the device tree.
    pub context: u64,
    /// How many segments there are to load.
    pub segments: usize,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    pub(crate) phase: Phase,
    pub(crate) count: usize,
    pub(crate) vcpus: [Vcpu; MAX_VCPUS],
    pub(crate) console: Console,
    console_line: bool,
    pub(crate) clock: Clock,
    clock_line: bool,
    /// The clock, in ticks, when the board's count was zero: for a guest that starts again.
    day: Option<u64>,
    /// What the guest was doing when it ended, for as long as its last words are on their way: who hears that it has ended
    /// knows that it has said everything.
    last_words: Option<Phase>,
    /// What was typed on the board that the guest came from, and waits for room in the console.
    pub(crate) waiting: Deque<u8, MAX_WAITING>,
    /// What the board starts with.
    pub(crate) boot: Option<Boot>,
    /// The identity of the bundle that the guest was started from, here or on another board; zero if it is not known.
    pub(crate) bundle: u64,
    /// What the guest may rely on of its processor, wherever it has come from.
    pub(crate) baseline: BaselineV1,
    /// What the guest has asked about it.
    discovery: Discovery,
    /// While it continues.
    pub(crate) time: Option<RunPermit>,
    pub(crate) activity: Activity,
    /// The vCPUs whose list registers hold what does not belong there, one bit each.
    pub(crate) rearrange: u8,
    /// The vCPUs that may have a shared interrupt in a list register, one bit each.
    pub(crate) hold_shared: u8,
    pub(crate) paused: Paused,
    pub(crate) statistics: Statistics,
    /// What the guest was told on the console that it asked for in vain, one bit each.
    pub(crate) missed: u8,
    failure: Failure,
    detail: u64,
    stopped_at: u64,
}

/// `PSTATE` at reset: EL1 with its own stack, everything masked.
pub(crate) const STATE_RESET: u64 = 0x3c5;

impl Machine {
    /// A machine before [`Self::start`], which boots a guest from `boot`, if there is anything.
    pub fn new(boot: Option<Boot>) -> Self {
        Self {
            phase: Phase::Starting,
            count: 0,
            vcpus: [Vcpu::default(); MAX_VCPUS],
            console: Console::new(),
            console_line: false,
            clock: Clock::new(0, 0),
            clock_line: false,
            day: None,
            last_words: None,
            waiting: Deque::new(),
            boot,
            bundle: 0,
            baseline: BaselineV1::default(),
            discovery: Discovery::default(),
            time: None,
            activity: Activity::None,
            rearrange: 0,
            hold_shared: 0,
            paused: Paused::default(),
            statistics: Statistics::default(),
            missed: 0,
            failure: Failure::None,
            detail: 0,
            stopped_at: 0,
        }
    }

    /// The answer to `migration-pd`'s question.
    pub fn status(&self) -> Status {
        Status {
            phase: self.last_words.unwrap_or(self.phase),
            vcpus: u8::try_from(self.count).unwrap_or(0),
            failure: self.failure,
            detail: self.detail,
            program_counter: self.stopped_at,
            bundle: self.bundle,
        }
    }

    /// Exits since start.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    pub(crate) fn vcpu(&mut self, vcpu: VcpuId) -> &mut Vcpu {
        let [first, second, third, fourth] = &mut self.vcpus;
        match vcpu.index() {
            0 => first,
            1 => second,
            2 => third,
            _ => fourth,
        }
    }

    /// The vCPUs that the guest has.
    pub(crate) fn present(&self) -> impl Iterator<Item = VcpuId> + use<> {
        VcpuId::all().take(self.count)
    }

    pub(crate) fn set_phase<P: Port>(&mut self, port: &mut P, phase: Phase) {
        if self.phase != phase {
            let before = self.status().phase;
            self.phase = phase;
            self.last_words = self.has_last_words(port).then_some(before);
            if self.last_words.is_none() {
                port.phase_changed();
            }
        }
    }

    /// Whether the guest has ended and what it said last has not left the board yet.
    fn has_last_words<P: Port>(&self, port: &mut P) -> bool {
        matches!(self.phase, Phase::Off | Phase::Failed)
            && (self.console.has_output() || !port.console_is_sent())
    }

    /// A vCPU left the guest.
    pub fn exit<P: Port>(&mut self, port: &mut P, vcpu: VcpuId, exit: Exit) {
        let handled = if self.activity.concerns(vcpu) {
            self.stub_exit(port, vcpu, exit)
        } else if self.vcpu(vcpu).run == Run::Running && self.phase == Phase::Running {
            self.guest_exit(port, vcpu, exit)
        } else {
            // A fault of a vCPU that has been stopped meanwhile. What it was about happens again,
            // or is found by the capture.
            Ok(())
        };
        if let Err(error) = handled {
            self.fail(port, vcpu, error);
        } else if self.rearrange != 0 {
            self.rearrange(port);
        }
    }

    #[inline]
    fn guest_exit<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        exit: Exit,
    ) -> Result<(), MachineError> {
        if !matches!(exit, Exit::Maintenance(_) | Exit::Timer) {
            self.before_access(port, vcpu)?;
        }
        if self.console.awaits_line() && !matches!(exit, Exit::Abort { .. }) {
            // Time passes, and the guest turns to something else.
            self.console.line_catches_up();
            self.update_console_line(port)?;
        }
        match exit {
            Exit::SecureMonitorCall(syndrome) => {
                self.statistics.smc += 1;
                self.secure_monitor_call(port, vcpu, syndrome)
            }
            Exit::Abort {
                program_counter,
                ipa,
                fetch,
                syndrome,
            } => self.abort(port, vcpu, program_counter, ipa, fetch, syndrome),
            Exit::WaitForInterrupt => self.waits(port, vcpu, 4, false),
            Exit::WaitForEvent => self.waits(port, vcpu, 4, true),
            Exit::NarrowWait(syndrome) => self.waits(port, vcpu, 2, syndrome.is_wait_for_event()),
            Exit::Maintenance(list_register) => {
                self.statistics.maintenance += 1;
                self.interrupt_ended(port, vcpu, list_register)?;
                Ok(port.resume(vcpu)?)
            }
            Exit::Timer => {
                self.statistics.timer += 1;
                self.timer_fired(port, vcpu)?;
                Ok(port.resume(vcpu)?)
            }
            Exit::SystemRegister(syndrome) => {
                self.statistics.other += 1;
                self.system_register(port, vcpu, syndrome)
            }
            Exit::OtherTrap => {
                self.statistics.other += 1;
                self.undefined_instruction(port, vcpu, None)
            }
            Exit::HypervisorCall { program_counter } => {
                self.statistics.other += 1;
                self.undefined_instruction(port, vcpu, Some(program_counter))
            }
            Exit::DebugException(syndrome) => {
                self.statistics.other += 1;
                self.take_debug_exception(port, vcpu, syndrome)
            }
            Exit::Unexpected { label, detail } => {
                Err(MachineError::UnexpectedFault { label, detail })
            }
        }
    }

    /// A wait by an instruction of so many bytes.
    #[inline]
    fn waits<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        bytes: u64,
        for_event: bool,
    ) -> Result<(), MachineError> {
        self.statistics.wait += 1;
        let mut frame = port.read(vcpu, COUNT_STATE)?;
        if is_conditional(frame.state()) {
            // Resuming would mean to write a state that the kernel does not take.
            return self.undefined_instruction(port, vcpu, None);
        }
        frame.set_program_counter(frame.program_counter().wrapping_add(bytes));
        port.write(vcpu, &mut frame, COUNT_PROGRAM_COUNTER, false)?;
        if for_event {
            self.yield_vcpu(port, vcpu)
        } else {
            self.wait(port, vcpu)
        }
    }

    /// Moves a vCPU past the instruction that it exited with.
    pub(crate) fn advance<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        resume: bool,
    ) -> Result<(), MachineError> {
        let mut frame = port.read(vcpu, COUNT_PROGRAM_COUNTER)?;
        frame.set_program_counter(frame.program_counter().wrapping_add(4));
        Ok(port.write(vcpu, &mut frame, COUNT_PROGRAM_COUNTER, resume)?)
    }

    /// The console's interrupt line may have changed.
    #[inline]
    pub(crate) fn update_console_line<P: Port>(
        &mut self,
        port: &mut P,
    ) -> Result<(), MachineError> {
        let level = self.console.interrupt_line();
        if level != self.console_line {
            self.console_line = level;
            self.ask_vgic(
                port,
                &Request::SetLine {
                    vcpu: FIRST,
                    intid: Intid::CONSOLE,
                    level,
                },
            )?;
        }
        Ok(())
    }

    /// `serial-pd` notified: there is input, or room for output again.
    pub fn console_ready<P: Port>(&mut self, port: &mut P) {
        self.send_console_output(port);
        self.look_at_line(port);
        if self.last_words.is_some() && !self.has_last_words(port) {
            self.last_words = None;
            port.phase_changed();
        }
        if matches!(self.phase, Phase::Empty | Phase::Off | Phase::Failed) {
            // There is no guest that it could be for, and the next one must not get it.
            port.console_drop();
        }
        if self.phase == Phase::Running {
            self.take_console_input(port);
            if let Err(error) = self.update_console_line(port) {
                self.fail(port, FIRST, error);
            }
            self.rearrange(port);
        }
    }

    /// If the guest waits until the line has sent what it wrote: that is so, or `serial-pd` notifies when it is.
    #[inline]
    pub(crate) fn look_at_line<P: Port>(&mut self, port: &mut P) {
        if self.console.awaits_line() && port.console_is_sent() {
            self.console.line_catches_up();
        }
    }

    /// Sends what waits in the console, until nothing does or there is no room.
    #[inline]
    pub(crate) fn send_console_output<P: Port>(&mut self, port: &mut P) {
        while self.console.has_output() {
            let room = port.console_room();
            if room == 0 {
                break;
            }
            self.console
                .output_ready(|byte| port.console_put(byte), room);
        }
    }

    /// Gives the console as much input as it has room for. To be done whenever it has got room:
    /// for input that is there already, `serial-pd` does not notify again.
    pub(crate) fn take_console_input<P: Port>(&mut self, port: &mut P) {
        while self.console.receive_room() > 0 {
            let Some(byte) = self.waiting.pop_front().or_else(|| port.console_take()) else {
                break;
            };
            self.console.receive(byte);
        }
    }

    /// Puts every part of the machine but RAM into its state at power-on and lets vCPU 0 run.
    pub(crate) fn power_on<P: Port>(
        &mut self,
        port: &mut P,
        boot: Boot,
    ) -> Result<(), MachineError> {
        self.bundle = boot.identity;
        port.set_rom(has_firmware(boot.identity));
        self.baseline = self.promised(port, boot.identity)?;
        self.discovery = Discovery::default();
        self.count = usize::from(boot.vcpus).min(MAX_VCPUS);
        self.vcpus = [Vcpu::default(); MAX_VCPUS];
        self.hold_shared = 0;
        self.console = Console::new();
        self.console_line = false;
        self.missed = 0;
        understood(&port.vgic(&Request::Reset { vcpus: boot.vcpus })?)?;
        understood(&port.timer(&timer::Request::Reset { vcpus: boot.vcpus })?)?;
        for vcpu in self.present() {
            VirtualTimer::decode(&port.timer(&timer::Request::Load { vcpu })?)?;
        }
        for vcpu in self.present().skip(1) {
            self.ask_vgic(port, &Request::Power { vcpu, on: false })?;
        }
        let time = self.open_gate(port)?;
        self.start_clock(port, time)?;
        self.start_vcpu(port, FIRST, time, [boot.entry, boot.context])?;
        self.set_phase(port, Phase::Running);
        self.take_console_input(port);
        Ok(())
    }

    /// Lets time run; refused by `timer-pd` until every vCPU's timer is in place.
    pub(crate) fn open_gate<P: Port>(&mut self, port: &mut P) -> Result<RunPermit, MachineError> {
        let time = RunPermit::ask(port)?;
        self.time = Some(time);
        Ok(time)
    }

    /// Stops every vCPU where it is, for good.
    pub(crate) fn halt<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        self.activity = Activity::None;
        self.note_day();
        self.time = None;
        self.rearrange = 0;
        for vcpu in self.present() {
            port.suspend(vcpu)?;
            let state = self.vcpu(vcpu);
            (state.run, state.sleeps_until) = (Run::Off, None);
        }
        understood(&port.timer(&timer::Request::Reset { vcpus: 0 })?)
    }

    /// The guest cannot continue.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail<P: Port>(&mut self, port: &mut P, vcpu: VcpuId, error: MachineError) {
        let at = port.read(vcpu, COUNT_PROGRAM_COUNTER);
        self.stopped_at = at.map_or(0, |frame| frame.program_counter());
        (self.failure, self.detail) = error.failure();
        // Whatever refuses now cannot be helped any more; the failure that counts is the first.
        let _ = self.halt(port);
        self.set_phase(port, Phase::Failed);
    }

    /// Discards the guest: the machine is empty and ready to receive one. What it left in RAM, `migration-pd` clears
    /// before it lets another one in.
    pub(crate) fn discard<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        understood(&port.vgic(&Request::Reset { vcpus: 0 })?)?;
        port.clear_copies();
        port.set_rom(false);
        port.console_drop();
        self.waiting.clear();
        self.bundle = 0;
        self.baseline = BaselineV1::default();
        self.discovery = Discovery::default();
        self.count = 0;
        self.vcpus = [Vcpu::default(); MAX_VCPUS];
        self.hold_shared = 0;
        self.console = Console::new();
        self.console_line = false;
        self.clock = Clock::new(0, 0);
        self.clock_line = false;
        self.day = None;
        self.missed = 0;
        self.time = None;
        self.paused.discard();
        (self.failure, self.detail, self.stopped_at) = (Failure::None, 0, 0);
        self.set_phase(port, Phase::Empty);
        Ok(())
    }
}

/// The boot vCPU.
pub(crate) const FIRST: VcpuId = match VcpuId::new(0) {
    Some(vcpu) => vcpu,
    None => unreachable!(),
};

/// Checks that a peer domain has carried out a request whose answer says nothing else.
pub(crate) fn understood(answer: &Message) -> Result<(), MachineError> {
    answer.answer()?;
    Ok(())
}
