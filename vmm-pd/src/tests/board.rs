// SPDX-License-Identifier: BSD-2-Clause
//! A board of memory: four fake processors, the real `vgic-pd` and `timer-pd`, RAM as a map.

use std::collections::{BTreeMap, VecDeque};

use channel::vgic::Injection;
use channel::{MAX_VCPUS, Message, ProtocolError, Ticks, VcpuId, timer, vgic};
use state::RegisterFile;

use crate::capture::tests::fake::{Asked, Fake, Thread, as_sel4_takes};
use crate::capture::{DataPage, layout};
use crate::exit::Exit;
use crate::lifecycle::machine::{Boot, Machine};
use crate::port::{COUNT_STATE, Frame, KernelError, Port, VcpuRegister, count_for};

/// What the machine did to a vCPU's thread, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    Resumed(usize),
    Suspended(usize),
    Injected(usize, u16),
    Froze,
    BeganCapture(usize),
    CapturedInterrupts(usize),
    CapturedTimer(usize),
}

/// What [`Board::booted`] boots.
pub(super) const BUNDLE: u64 = 0xb0a4d;
/// Slices of RAM, and of each segment.
pub(super) const FLUSHES: usize = 5;
pub(super) const SLICES: usize = 3;

/// The bundle of this identity, of a guest of `vcpus`.
pub(super) const fn boot_from(identity: u64, vcpus: u8) -> Boot {
    Boot {
        identity,
        vcpus,
        entry: ENTRY,
        context: 0x4800_0000,
        segments: 2,
    }
}

/// The published distributor, and the regions of records.
struct Memory {
    view: [Vec<u32>; MAX_VCPUS],
    record: Vec<u8>,
}

impl Memory {
    fn new() -> Self {
        Self {
            view: core::array::from_fn(|_| vec![0; 0x400]),
            record: vec![0; 0x8000],
        }
    }
}

impl vgic_pd::Regions for Memory {
    fn publish(&mut self, vcpu: VcpuId, offset: u32, word: u32) {
        self.view[vcpu.index()][offset as usize / 4] = word;
    }
    fn export(&mut self) -> &mut [u8] {
        &mut self.record
    }
    fn import(&mut self, length: usize) -> Option<&[u8]> {
        self.record.get(..length)
    }
}

impl timer_pd::Regions for Memory {
    fn export(&mut self) -> &mut [u8] {
        &mut self.record
    }
    fn import(&mut self, length: usize) -> Option<&[u8]> {
        self.record.get(..length)
    }
}

/// The board's timer: the test says what time it is.
struct Clock;

/// What time it is; each test runs in a thread of its own.
mod now {
    use std::cell::Cell;
    std::thread_local!(pub(super) static NOW: Cell<u64> = const { Cell::new(1_000_000) });
}

impl timer_pd::board::BoardTimer for Clock {
    fn frequency(&self) -> u32 {
        62_500_000
    }
    fn now(&self) -> Ticks {
        Ticks(now::NOW.get())
    }
    fn set(&mut self, _: Option<Ticks>) {}
}

/// The board.
pub(super) struct Board {
    pub(super) cores: [Fake; MAX_VCPUS],
    gic: vgic_pd::Service<Memory>,
    timers: timer_pd::Service<Clock, Memory>,
    view: [Vec<u32>; MAX_VCPUS],
    pub(super) ram: BTreeMap<u64, u64>,
    pub(super) did: Vec<Did>,
    pub(super) timer_calls: usize,
    pub(super) phases: usize,
    pub(super) output: Vec<u8>,
    /// Room for output, each time that somebody asks.
    pub(super) room: usize,
    pub(super) input: VecDeque<u8>,
    /// Whether all output has left the board.
    pub(super) console_sent: bool,
    /// How many bytes of output the line still takes.
    pub(super) line_room: usize,
    /// The bundles that there are.
    pub(super) bundles: Vec<Boot>,
    pub(super) loaded: Vec<usize>,
    pub(super) flushed: usize,
    /// Whether firmware memory holds the bundle's firmware.
    pub(super) firmware: bool,
    /// An invocation that the kernel refuses from now on.
    pub(super) refuses_injection: bool,
    /// What the image promises its guest.
    pub(super) promise: Option<Vec<u8>>,
    export: Vec<u8>,
    pub(super) import: Vec<u8>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            cores: core::array::from_fn(|_| Fake::new(RegisterFile::new())),
            gic: vgic_pd::Service::new(Memory::new()),
            timers: timer_pd::Service::new(Clock, Memory::new()),
            view: core::array::from_fn(|_| vec![0; 0x400]),
            ram: BTreeMap::new(),
            did: Vec::new(),
            timer_calls: 0,
            phases: 0,
            output: Vec::new(),
            room: 1,
            input: VecDeque::new(),
            console_sent: true,
            line_room: usize::MAX,
            bundles: Vec::new(),
            loaded: Vec::new(),
            flushed: 0,
            firmware: false,
            refuses_injection: false,
            promise: None,
            export: vec![0; 0x8000],
            import: Vec::new(),
        }
    }

    /// A board with a guest of `vcpus`, of which the first runs.
    pub(super) fn booted(vcpus: u8) -> (Self, Machine) {
        Self::booted_from(vcpus, BUNDLE)
    }

    /// The same with a bundle of this identity.
    pub(super) fn booted_from(vcpus: u8, identity: u64) -> (Self, Machine) {
        Self::promised(vcpus, identity, None)
    }

    /// The same with what its guest is promised.
    pub(super) fn promised(vcpus: u8, identity: u64, promise: Option<Vec<u8>>) -> (Self, Machine) {
        let mut board = Self::new();
        board.promise = promise;
        board.ram.insert(ENTRY, 0);
        let boot = boot_from(identity, vcpus);
        board.bundles.push(boot);
        let mut machine = Machine::new(Some(boot));
        machine.start(&mut board);
        board.run(&mut machine);
        board.did.clear();
        (board, machine)
    }

    /// Lets the capture stub run until the machine has no more use for it.
    pub(super) fn run(&mut self, machine: &mut Machine) {
        while self.run_once(machine) {}
    }

    /// Lets the capture stub run until it leaves once; false if no vCPU runs it.
    pub(super) fn run_once(&mut self, machine: &mut Machine) -> bool {
        let Some(vcpu) = VcpuId::all().find(|vcpu| self.cores[vcpu.index()].has_exit()) else {
            return false;
        };
        let exit = self.cores[vcpu.index()].next_exit();
        machine.exit(self, vcpu, exit);
        true
    }

    /// The guest executes an instruction that leaves it: `registers` are what it has in `x0` on.
    pub(super) fn exits(&mut self, machine: &mut Machine, vcpu: usize, exit: Exit, x: &[u64]) {
        self.exits_once(machine, vcpu, exit, x);
        self.run(machine);
    }

    /// The same, and the capture stub does not run yet.
    pub(super) fn exits_once(&mut self, machine: &mut Machine, vcpu: usize, exit: Exit, x: &[u64]) {
        let thread = &mut self.cores[vcpu].thread;
        thread.general[..x.len()].copy_from_slice(x);
        machine.exit(self, vcpu_id(vcpu), exit);
    }

    pub(super) fn advance_time(&mut self, ticks: u64) {
        now::NOW.set(now::NOW.get() + ticks);
    }

    /// The board's timer interrupts; whether `vmm-pd` is to be notified.
    pub(super) fn timer_interrupt(&mut self) -> bool {
        self.timers.interrupt()
    }

    /// The interrupts and timers of another board's machine, as their records would bring them.
    pub(super) fn take_peer_domains_of(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.gic, &mut other.gic);
        std::mem::swap(&mut self.timers, &mut other.timers);
    }

    pub(super) fn exported(&self, length: usize) -> &[u8] {
        &self.export[..length]
    }
}

/// Where the guest starts.
pub(super) const ENTRY: u64 = 0x4020_0000;

pub(super) fn vcpu_id(index: usize) -> VcpuId {
    VcpuId::new(index).expect("one of four")
}

impl DataPage for Board {
    fn write_page(&mut self, vcpu: VcpuId, first: usize, words: &[u64]) {
        self.cores[vcpu.index()].write_page(vcpu, first, words);
    }
    fn read_page(&mut self, vcpu: VcpuId, first: usize, words: &mut [u64]) {
        self.cores[vcpu.index()].read_page(vcpu, first, words);
    }
}

/// Copies the first `count` registers of `from`, in seL4's order.
fn copy_partly(to: &mut Thread, from: &Thread, count: usize) {
    to.program_counter = from.program_counter;
    if count >= COUNT_STATE {
        to.stack_pointer = from.stack_pointer;
        to.state = from.state;
    }
    for register in (0..31_u8).filter(|register| count_for(*register) <= count) {
        to.set_general(register, from.general(register));
    }
    if count >= crate::port::COUNT_ALL {
        to.pointers = from.pointers;
    }
}

impl Port for Board {
    type Frame = Thread;

    fn read(&mut self, vcpu: VcpuId, count: usize) -> Result<Thread, KernelError> {
        // Whatever was not asked for is nonsense.
        let mut frame = Thread {
            general: [0xdead_dead_dead_dead; 31],
            ..Thread::default()
        };
        copy_partly(&mut frame, &self.cores[vcpu.index()].thread, count);
        Ok(frame)
    }
    fn write(
        &mut self,
        vcpu: VcpuId,
        frame: &mut Thread,
        count: usize,
        resume: bool,
    ) -> Result<(), KernelError> {
        let stub = [layout::CODE, layout::RETURN];
        if stub.contains(&frame.program_counter) {
            return self.cores[vcpu.index()].write(vcpu, frame, count, resume);
        }
        let thread = &mut self.cores[vcpu.index()].thread;
        copy_partly(thread, frame, count);
        if count >= COUNT_STATE {
            thread.state = as_sel4_takes(thread.state);
        }
        if resume {
            self.did.push(Did::Resumed(vcpu.index()));
        }
        Ok(())
    }
    fn resume(&mut self, vcpu: VcpuId) -> Result<(), KernelError> {
        if !self.cores[vcpu.index()].has_exit() {
            self.did.push(Did::Resumed(vcpu.index()));
        }
        Ok(())
    }
    fn suspend(&mut self, vcpu: VcpuId) -> Result<(), KernelError> {
        self.did.push(Did::Suspended(vcpu.index()));
        Ok(())
    }
    fn read_vcpu(&mut self, vcpu: VcpuId, register: VcpuRegister) -> Result<u64, KernelError> {
        self.cores[vcpu.index()].read_vcpu(vcpu, register)
    }
    fn write_vcpu(
        &mut self,
        vcpu: VcpuId,
        register: VcpuRegister,
        value: u64,
    ) -> Result<(), KernelError> {
        self.cores[vcpu.index()].write_vcpu(vcpu, register, value)
    }
    fn inject(&mut self, injection: Injection) -> Result<(), KernelError> {
        if self.refuses_injection {
            return Err(KernelError {
                operation: crate::port::Operation::Inject,
                code: 8,
            });
        }
        let vcpu = injection.vcpu.index();
        self.did.push(Did::Injected(vcpu, injection.intid.value()));
        self.cores[vcpu].inject(injection)
    }
    fn acknowledge_timer(&mut self, vcpu: VcpuId) -> Result<(), KernelError> {
        self.cores[vcpu.index()].acknowledge_timer(vcpu)
    }

    fn vgic(&mut self, request: &vgic::Request) -> Result<Message, ProtocolError> {
        match request {
            vgic::Request::ListRegisterEntries { vcpu, .. } => {
                self.did.push(Did::BeganCapture(vcpu.index()))
            }
            vgic::Request::Captured { vcpu, .. } => {
                self.did.push(Did::CapturedInterrupts(vcpu.index()));
            }
            _ => {}
        }
        let mut message = request.encode();
        self.gic.handle(vgic_pd::Caller::Vmm, &mut message);
        self.view.clone_from(&self.gic.regions_mut().view);
        Ok(message)
    }
    fn timer(&mut self, request: &timer::Request) -> Result<Message, ProtocolError> {
        self.timer_calls += 1;
        match request {
            timer::Request::Freeze => self.did.push(Did::Froze),
            timer::Request::Save { vcpu, .. } => self.did.push(Did::CapturedTimer(vcpu.index())),
            _ => {}
        }
        let mut message = request.encode();
        self.timers.handle(timer_pd::Caller::Vmm, &mut message);
        Ok(message)
    }
    fn view(&self, vcpu: VcpuId, offset: u32) -> u32 {
        self.view[vcpu.index()][offset as usize / 4]
    }
    fn phase_changed(&mut self) {
        self.phases += 1;
    }
    fn export_region(&mut self) -> &mut [u8] {
        &mut self.export
    }
    fn import_region(&mut self, length: usize) -> Option<&[u8]> {
        self.import.get(..length)
    }
    fn board(&self) -> &str {
        "made of memory"
    }
    fn time_of_day(&self) -> u64 {
        super::DAY
    }
    fn promise(&self) -> Option<&[u8]> {
        self.promise.as_deref()
    }
    fn ram_size(&self) -> u64 {
        128 << 20
    }
    fn ram_read(&self, ipa: u64) -> Option<u64> {
        let inside = (0x4000_0000..0x4800_0000).contains(&ipa);
        inside.then(|| self.ram.get(&ipa).copied().unwrap_or(0))
    }
    fn ram_flush(&mut self, slice: usize) -> bool {
        self.flushed += usize::from(slice < FLUSHES);
        slice < FLUSHES
    }
    fn boot(&mut self, identity: u64) -> Option<Boot> {
        let mut bundles = self.bundles.iter();
        bundles.find(|boot| boot.identity == identity).copied()
    }
    fn load_segment(&mut self, index: usize, slice: usize) -> bool {
        if slice == 0 {
            self.loaded.push(index);
        }
        slice < SLICES
    }
    fn set_rom(&mut self, from_bundle: bool) {
        self.firmware = from_bundle;
    }
    fn clear_copies(&mut self) {
        self.export.fill(0);
        self.cores.iter_mut().for_each(|core| core.page.fill(0));
    }
    fn console_room(&mut self) -> usize {
        self.room.min(self.line_room)
    }
    fn console_put(&mut self, byte: u8) {
        self.line_room -= 1;
        self.output.push(byte);
    }
    fn console_is_sent(&mut self) -> bool {
        self.console_sent
    }
    fn console_take(&mut self) -> Option<u8> {
        self.input.pop_front()
    }
    fn console_look(&mut self, into: &mut [u8]) -> usize {
        let count = self.input.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(&self.input) {
            *place = *byte;
        }
        count
    }
    fn console_drop(&mut self) {
        self.input.clear();
    }
}

/// How often a vCPU's timer interrupt was acknowledged.
pub(super) fn acknowledgements(fake: &Fake) -> usize {
    let acknowledged = |asked: &&Asked| **asked == Asked::AcknowledgeTimer;
    fake.asked.iter().filter(acknowledged).count()
}
