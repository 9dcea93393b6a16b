// SPDX-License-Identifier: BSD-2-Clause
//! A board without hardware: guest RAM, a guest that writes it, and the peer domains' contracts.
//!
//! A tick of the counter is a microsecond, and looking at a page takes one, so that time passes
//! while the agent works and the guest keeps writing underneath.

use channel::timer::Request as TimerRequest;
use channel::vgic::{Answer, Request as VgicRequest};
use channel::vmm::{self, Failure, Phase, Refusal, Request as VmmRequest, Statistics, Status};
use channel::{Message, ProtocolError, timer};
use hang::Hang;
use migration_pd::port::{Place, Port};
use migration_pd::ram::GuestRam;
use protocol::fingerprint::{Fingerprint, Key, PAGE_SIZE, Page};
use protocol::{Domain, Pace};
use state::{MachineRecordV2, Policy, Register, Source, TimerRecordV1, VcpuTimerV1, record};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Ticks between two of the guest's writes.
const STEP: u64 = 20;
/// Ticks that stopping and resuming take.
const CAPTURE: u64 = 300;
/// Ticks from asking for a heartbeat to its coming.
const HEARTBEAT: u64 = 2000;
/// Pages of the store for bundles.
pub(crate) const STORE: usize = 80;
/// Bytes of the ring to the link.
const RING: usize = 100_000;

/// What the guest's vCPU seems to hang in.
pub(crate) const HANG: Hang = Hang::Loop {
    at: 0x4400_0000,
    after: None,
};

/// Guest RAM.
pub(crate) struct Ram {
    pub(crate) pages: Vec<Page>,
    /// A page of which a bit is broken.
    pub(crate) broken: Option<u32>,
    /// Ticks that it takes to look at a page.
    pub(crate) look: u64,
    /// Ticks that it takes to clear a page that is not zero.
    pub(crate) clear: u64,
    /// Pages cleared since the agent looked at the link, and the most of that.
    pub(crate) cleared: usize,
    pub(crate) most_cleared: usize,
    clock: Rc<Cell<u64>>,
}

impl GuestRam for Ram {
    fn pages(&self) -> u32 {
        self.pages.len().try_into().unwrap()
    }

    fn read(&self, page: u32, into: &mut Page) {
        self.clock.set(self.clock.get() + 1);
        *into = self.pages[page as usize];
    }

    fn write(&mut self, page: u32, from: &Page) {
        self.pages[page as usize] = *from;
        if self.broken == Some(page) {
            self.pages[page as usize][99] ^= 4;
        }
    }

    /// Takes no time unless a test says so: it is nobody's but the board's that does it, and both boards have one clock here.
    fn clear_some(&mut self, page: u32) -> bool {
        let parts = self.pages[page as usize].as_chunks_mut::<512>().0;
        let used = parts.iter_mut().find(|part| **part != [0; 512]);
        let is_used = used.is_some();
        if let Some(part) = used {
            *part = [0; 512];
            self.clock.set(self.clock.get() + self.clear);
            self.cleared += 1;
            self.most_cleared = self.most_cleared.max(self.cleared);
        }
        is_used
    }

    fn is_zero(&self, page: u32) -> bool {
        self.clock.set(self.clock.get() + self.look);
        self.pages[page as usize] == [0; PAGE_SIZE]
    }

    fn fingerprint(&self, page: u32, key: &Key) -> Fingerprint {
        self.clock.set(self.clock.get() + self.look);
        key.fingerprint_of(&self.pages[page as usize])
    }
}

/// How a guest writes its RAM: as a function of how many steps it has done, so that what RAM must
/// hold can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Writer {
    /// Pages that it rewrites all the time, from page 16 on.
    pub(crate) busy: u32,
    /// Pages that are filled once, before.
    pub(crate) used: u32,
}

impl Writer {
    /// RAM before the first step.
    pub(crate) fn initial(self, pages: usize) -> Vec<Page> {
        let mut ram = vec![[0; PAGE_SIZE]; pages];
        for (index, page) in ram.iter_mut().enumerate().take(self.used as usize) {
            // Every fourth page does not compress.
            let mut word = index as u64 + 1;
            for bytes in page.chunks_exact_mut(8) {
                if index % 4 == 0 {
                    word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                }
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
        ram
    }

    fn step(self, step: u64, ram: &mut [Page]) {
        let pages = ram.len() as u64;
        // Now and then a write anywhere; some give back a page that is zero.
        let (page, value) = match step % 97 {
            0 => (step.wrapping_mul(7919) % pages, step),
            1 => (step.wrapping_mul(104_729) % pages, 0),
            _ => (16 + step % u64::from(self.busy), step),
        };
        let word = (step / u64::from(self.busy)) % 512;
        let start = usize::try_from(word).unwrap() * 8;
        let page = &mut ram[usize::try_from(page).unwrap()];
        if step % 97 == 1 {
            page.fill(0);
        }
        page[start..start + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// RAM after so many steps.
    pub(crate) fn after(self, steps: u64, pages: usize) -> Vec<Page> {
        let mut ram = self.initial(pages);
        (0..steps).for_each(|step| self.step(step, &mut ram));
        ram
    }
}

/// What `timer-pd` holds of a guest that is there from the beginning.
pub(crate) const COUNT: u64 = 0x9abc_def0;

/// The same as a record, of a guest with two vCPUs.
pub(crate) fn timers() -> TimerRecordV1 {
    let timer = |compare| VcpuTimerV1 {
        control: 1,
        compare,
        ..VcpuTimerV1::default()
    };
    TimerRecordV1 {
        frequency: 1_000_000,
        count: COUNT,
        vcpus: [timer(COUNT + 500), timer(COUNT + 700)]
            .into_iter()
            .collect(),
    }
}

/// What a peer domain is made to do wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// This domain refuses to export.
    pub(crate) export: Option<Domain>,
    /// This domain refuses to import.
    pub(crate) import: Option<Domain>,
    /// `vmm-pd` finds this value of a register in what it is to take.
    pub(crate) illegal: Option<channel::IllegalValue>,
    /// `vmm-pd` accepts to stop and never does.
    pub(crate) never_stops: bool,
    /// `timer-pd` does not let time run.
    pub(crate) advance: bool,
}

/// The board.
pub(crate) struct Hardware {
    pub(crate) clock: Rc<Cell<u64>>,
    pub(crate) ram: Ram,
    pub(crate) phase: Phase,
    /// The phase that follows, and when.
    next_phase: Option<(u64, Phase)>,
    /// `vmm-pd` has a change of phase to notify of.
    pub(crate) news: bool,
    pub(crate) writer: Writer,
    /// What the guest has done: its only state besides RAM.
    pub(crate) steps: u64,
    stepped_at: u64,
    /// What the other domains hold of the guest, to be moved along.
    pub(crate) vgic: u64,
    pub(crate) timer: Option<TimerRecordV1>,
    /// Registers that `vmm-pd` was told to set: vCPU, key, value.
    pub(crate) set_registers: Vec<(usize, u32, u128)>,
    pub(crate) machine: MachineRecordV2,
    /// The bundle of the image, and of the store.
    pub(crate) image: Vec<Page>,
    pub(crate) store: Vec<Page>,
    /// What the guest is started from.
    pub(crate) bundle: u64,
    /// A page of the store of which a bit is broken.
    pub(crate) broken_store: Option<u32>,
    pub(crate) faults: Faults,
    export: [Vec<u8>; 3],
    import: [Vec<u8>; 3],
    /// When the heartbeat comes that was asked for.
    pub(crate) heartbeat: Option<u64>,
    pub(crate) sent: VecDeque<u8>,
    pub(crate) received: VecDeque<u8>,
    pub(crate) wants_space: usize,
    /// How fast its link says that it is.
    pub(crate) pace: Pace,
    /// When the guest was paused last.
    pub(crate) stopped_at: u64,
    /// When a message with a page has left since.
    pub(crate) page_left_at: Option<u64>,
}

/// A machine description as a board gives it.
pub(crate) fn machine(ram_size: u64) -> MachineRecordV2 {
    let mut machine = MachineRecordV2 {
        ram_base: 0x4000_0000,
        ram_size,
        vcpus: 4,
        gic_version: 2,
        shared_interrupts: 256,
        ..MachineRecordV2::default()
    };
    for register in Register::ALL {
        if register.source() == Source::Probe {
            assert!(machine.baseline.constants.set(register, 0));
        }
    }
    machine
}

impl Hardware {
    pub(crate) fn new(clock: Rc<Cell<u64>>, pages: usize, guest: Option<Writer>) -> Self {
        let writer = guest.unwrap_or(Writer { busy: 1, used: 0 });
        Self {
            ram: Ram {
                pages: guest.map_or(vec![[0; PAGE_SIZE]; pages], |writer| writer.initial(pages)),
                broken: None,
                look: 1,
                clear: 0,
                cleared: 0,
                most_cleared: 0,
                clock: clock.clone(),
            },
            phase: guest.map_or(Phase::Empty, |_| Phase::Running),
            next_phase: None,
            news: false,
            writer,
            steps: 0,
            stepped_at: clock.get(),
            vgic: guest.map_or(0, |_| 0x1234_5678),
            timer: guest.map(|_| timers()),
            set_registers: Vec::new(),
            machine: machine((pages * PAGE_SIZE) as u64),
            image: vec![[0; PAGE_SIZE]],
            store: vec![[0; PAGE_SIZE]; STORE],
            bundle: 0,
            broken_store: None,
            faults: Faults::default(),
            export: Default::default(),
            import: Default::default(),
            heartbeat: None,
            sent: VecDeque::new(),
            received: VecDeque::new(),
            wants_space: 0,
            pace: Pace::UNLIMITED,
            stopped_at: 0,
            page_left_at: None,
            clock,
        }
    }

    /// Lets the guest and `vmm-pd` catch up with the clock.
    pub(crate) fn catch_up(&mut self) {
        let now = self.clock.get();
        let due = self.next_phase.filter(|(at, _)| *at <= now);
        let until = due.map_or(now, |(at, _)| at);
        self.run_guest(until);
        if let Some((at, phase)) = due {
            self.next_phase = None;
            self.news = true;
            self.phase = phase;
            if phase == Phase::Stopped {
                (self.stopped_at, self.page_left_at) = (at, None);
            }
            self.stepped_at = at;
            self.run_guest(now);
        }
    }

    fn run_guest(&mut self, until: u64) {
        if self.phase != Phase::Running {
            self.stepped_at = until;
        }
        while self.stepped_at + STEP <= until {
            self.writer.step(self.steps, &mut self.ram.pages);
            self.steps += 1;
            self.stepped_at += STEP;
        }
    }

    const fn bundle_at(&self, place: Place) -> &Vec<Page> {
        match place {
            Place::Image => &self.image,
            Place::Store => &self.store,
        }
    }

    /// When something happens here by itself.
    pub(crate) fn next_event(&self) -> Option<u64> {
        let phase = self.next_phase.map(|(at, _)| at);
        phase.into_iter().chain(self.heartbeat).min()
    }

    /// The guest switches itself off.
    pub(crate) fn power_off(&mut self) {
        self.catch_up();
        self.next_phase = Some((self.clock.get(), Phase::Off));
    }

    fn soon(&mut self, phase: Phase) {
        self.next_phase = Some((self.clock.get() + CAPTURE, phase));
    }

    fn discard(&mut self) {
        (self.steps, self.vgic, self.timer) = (0, 0, None);
        self.bundle = 0;
        self.phase = Phase::Empty;
    }

    fn export_record(&mut self, domain: Domain, value: &[u64]) -> Result<u64, ()> {
        if self.faults.export == Some(domain) {
            return Err(());
        }
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_le_bytes()).collect();
        let length = bytes.len() as u64;
        self.export[index(domain)] = bytes;
        Ok(length)
    }

    fn export_timers(&mut self) -> Option<u64> {
        let timers = self
            .timer
            .as_ref()
            .filter(|_| self.faults.export != Some(Domain::Timer))?;
        let mut bytes = vec![0; 0x1000];
        let length = record::encode(timers, &mut bytes).unwrap();
        bytes.truncate(length);
        self.export[index(Domain::Timer)] = bytes;
        Some(length as u64)
    }

    fn imported(&self, domain: Domain, length: u32) -> Option<Vec<u64>> {
        if self.faults.import == Some(domain) {
            return None;
        }
        let bytes = self.import[index(domain)].get(..length as usize)?;
        let words = bytes.chunks_exact(8);
        Some(
            words
                .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
                .collect(),
        )
    }

    fn describe(&mut self) -> Message {
        let mut bytes = vec![0; 0x8000];
        let length = record::encode(&self.machine, &mut bytes).unwrap();
        bytes.truncate(length);
        self.export[0] = bytes;
        vmm::answer(length as u64)
    }

    fn import_guest(&mut self, length: u32) -> Message {
        if let Some(illegal) = self.faults.illegal {
            return Message::refused_value(Refusal::IllegalValue as u64, illegal);
        }
        match self.imported(Domain::Vmm, length).as_deref() {
            Some([steps, busy, used, bundle]) => {
                self.bundle = *bundle;
                self.steps = *steps;
                self.writer = Writer {
                    busy: u32::try_from(*busy).unwrap(),
                    used: u32::try_from(*used).unwrap(),
                };
                self.phase = Phase::Imported;
                vmm::answer(0)
            }
            _ => Message::refused(Refusal::BadRecord as u64),
        }
    }
}

fn index(domain: Domain) -> usize {
    usize::from(u8::from(domain)) - 1
}

impl Port for Hardware {
    type Ram = Ram;

    fn ram(&mut self) -> &mut Ram {
        self.catch_up();
        &mut self.ram
    }

    fn bundle_pages(&self, place: Place) -> u32 {
        self.bundle_at(place).len().try_into().unwrap()
    }

    fn bundle_page(&self, place: Place, page: u32, into: &mut Page) {
        self.clock.set(self.clock.get() + 1);
        let pages = self.bundle_at(place);
        *into = pages.get(page as usize).copied().unwrap_or([0; PAGE_SIZE]);
    }

    fn store(&mut self, page: u32, from: &Page) {
        self.store[page as usize] = *from;
        if self.broken_store == Some(page) {
            self.store[page as usize][99] ^= 4;
        }
    }

    fn vmm(&mut self, request: &VmmRequest) -> Result<Message, ProtocolError> {
        self.catch_up();
        Ok(match (*request, self.phase) {
            (VmmRequest::Status, phase) => Status {
                phase,
                vcpus: 1,
                failure: Failure::None,
                detail: 0,
                program_counter: 0,
                bundle: self.bundle,
            }
            .encode(),
            (VmmRequest::Statistics, _) => vmm::encode_statistics(&Statistics {
                smc: 7,
                ..Statistics::default()
            }),
            (VmmRequest::Look { vcpu }, _) => vmm::encode_hang((vcpu.index() == 0).then_some(HANG)),
            (VmmRequest::Describe, _) => self.describe(),
            (VmmRequest::Stop, Phase::Running) => {
                self.phase = Phase::Stopping;
                if !self.faults.never_stops {
                    self.soon(Phase::Stopped);
                }
                vmm::answer(0)
            }
            (VmmRequest::Resume, Phase::Stopped | Phase::Imported) => {
                self.phase = Phase::Resuming;
                self.soon(Phase::Running);
                vmm::answer(0)
            }
            (VmmRequest::Export, Phase::Stopped) => {
                let Writer { busy, used } = self.writer;
                let state = [self.steps, busy.into(), used.into(), self.bundle];
                match self.export_record(Domain::Vmm, &state) {
                    Ok(length) => vmm::answer(length),
                    Err(()) => Message::refused(Refusal::BadRecord as u64),
                }
            }
            (
                VmmRequest::SetRegister {
                    vcpu,
                    register,
                    value,
                },
                Phase::Stopped,
            ) => {
                // Nothing else of a real one matters here: constants are refused.
                let known = Register::from_key(register);
                if known.is_none_or(|known| known.policy() != Policy::Write) {
                    return Ok(Message::refused(Refusal::BadRegister as u64));
                }
                if let Some(illegal) = self.faults.illegal {
                    return Ok(Message::refused_value(
                        Refusal::IllegalValue as u64,
                        illegal,
                    ));
                }
                self.set_registers.push((vcpu.index(), register, value));
                vmm::answer(0)
            }
            (VmmRequest::Import { length }, Phase::Empty) => self.import_guest(length),
            (
                VmmRequest::Discard,
                Phase::Empty | Phase::Stopped | Phase::Imported | Phase::Off | Phase::Failed,
            ) => {
                self.discard();
                vmm::answer(0)
            }
            _ => Message::refused(Refusal::WrongPhase as u64),
        })
    }

    fn vgic(&mut self, request: &VgicRequest) -> Result<Message, ProtocolError> {
        let refused = Message::refused(channel::vgic::Refusal::BadRecord as u64);
        Ok(match *request {
            VgicRequest::Export => self
                .export_record(Domain::Vgic, &[self.vgic])
                .map_or(refused, |length| Answer::new(length).encode()),
            VgicRequest::Import { length } => match self.imported(Domain::Vgic, length) {
                Some(words) => {
                    self.vgic = words[0];
                    Answer::new(0).encode()
                }
                None => refused,
            },
            _ => Message::not_understood(),
        })
    }

    fn timer(&mut self, request: &TimerRequest) -> Result<Message, ProtocolError> {
        let refused = Message::refused(timer::Refusal::BadRecord as u64);
        Ok(match *request {
            TimerRequest::Export => self.export_timers().map_or(refused, timer::answer),
            TimerRequest::Import { length, advance } => {
                let bytes = &self.import[index(Domain::Timer)][..length as usize];
                let refuses = self.faults.import == Some(Domain::Timer)
                    || (advance.0 > 0 && self.faults.advance);
                match record::decode::<TimerRecordV1>(bytes) {
                    Ok(mut timers) if !refuses => {
                        timers.count += advance.0;
                        self.timer = Some(timers);
                        timer::answer(0)
                    }
                    _ => refused,
                }
            }
            _ => Message::not_understood(),
        })
    }

    fn exported(&mut self, domain: Domain, into: &mut [u8]) -> bool {
        let bytes = self.export[index(domain)].get(..into.len());
        bytes.is_some_and(|bytes| {
            into.copy_from_slice(bytes);
            true
        })
    }

    fn import(&mut self, domain: Domain, record: &[u8]) -> bool {
        self.import[index(domain)] = record.to_vec();
        true
    }

    fn now(&mut self) -> u64 {
        // A look at it takes no time either while pages are cleared.
        if self.ram.cleared == 0 {
            self.clock.set(self.clock.get() + 1);
        }
        self.catch_up();
        self.clock.get()
    }

    fn ask_for_heartbeat(&mut self) {
        self.heartbeat = Some(self.clock.get() + HEARTBEAT);
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    fn frequency(&self) -> u64 {
        1_000_000
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(RING - self.sent.len());
        self.sent.extend(&bytes[..count]);
        if self.phase == Phase::Stopped && count > PAGE_SIZE {
            self.page_left_at.get_or_insert(self.clock.get());
        }
        count
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        self.ram.cleared = 0;
        let count = into.len().min(self.received.len());
        for (byte, received) in into.iter_mut().zip(self.received.drain(..count)) {
            *byte = received;
        }
        count
    }

    fn flush(&mut self) {}

    fn wait(&mut self, space: usize) -> bool {
        self.wants_space = space;
        !self.received.is_empty() || (space > 0 && RING - self.sent.len() >= space)
    }
}
