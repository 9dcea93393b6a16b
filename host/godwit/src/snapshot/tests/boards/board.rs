// SPDX-License-Identifier: BSD-2-Clause
//! A board in this process: the real agent, behind a socket, with peer domains that keep records.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use ::state::record;
use channel::vmm::{Phase as GuestPhase, Refusal, Request as VmmRequest, Status};
use channel::{Message, ProtocolError, timer, vgic, vmm};
use migration_pd::agent::{Agent, Wake};
use migration_pd::port::{Place, Port};
use migration_pd::ram::GuestRam;
use protocol::fingerprint::{Fingerprint, Key, Page};
use protocol::{Domain, Pace};

use super::*;
use crate::link::Address;

pub(super) const PAGES: u32 = 150;
/// Pages of the store for bundles.
const STORE: usize = 20;
/// Bytes of the agent's heap.
const HEAP: usize = 1 << 20;
/// Bytes of the ring to the link.
const RING: usize = 100_000;
/// From asking for a heartbeat to its coming.
const HEARTBEAT: Duration = Duration::from_millis(2);
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// Guest RAM; the guest writes a word of its last page whenever the agent looks at that.
struct Ram {
    pages: Vec<Page>,
    running: bool,
    writes: std::cell::Cell<u64>,
}

impl Ram {
    pub(super) fn page(&self, number: u32) -> Page {
        let mut page = self.pages[usize::try_from(number).unwrap()];
        if number + 1 == self.pages() && self.writes.get() > 0 {
            page[..8].copy_from_slice(&self.writes.get().to_le_bytes());
        }
        page
    }

    /// A running guest writes to the last page whenever somebody looks at it.
    fn guest_continues(&self, looked_at: u32) {
        if self.running && looked_at + 1 == self.pages() {
            self.writes.set(self.writes.get() + 1);
        }
    }
}

impl GuestRam for Ram {
    fn pages(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap()
    }

    fn read(&self, page: u32, into: &mut Page) {
        *into = self.page(page);
    }

    fn write(&mut self, page: u32, from: &Page) {
        self.pages[usize::try_from(page).unwrap()] = *from;
    }

    fn clear_some(&mut self, page: u32) -> bool {
        let is_used = !self.is_zero(page);
        if is_used {
            self.write(page, &[0; PAGE_SIZE]);
        }
        is_used
    }

    fn is_zero(&self, page: u32) -> bool {
        self.guest_continues(page);
        self.page(page).iter().all(|byte| *byte == 0)
    }

    fn fingerprint(&self, page: u32, key: &Key) -> Fingerprint {
        self.guest_continues(page);
        key.fingerprint_of(&self.page(page))
    }
}

/// What a test wants to know of a board afterwards.
#[derive(Default)]
pub(super) struct Seen {
    /// The last write of the guest that was captured.
    pub(super) writes: u64,
    pub(super) imported: Option<[Vec<u8>; 3]>,
    pub(super) memory: Vec<Page>,
    pub(super) store: Vec<Page>,
    pub(super) discarded: u32,
}

struct Hardware {
    ram: Ram,
    phase: GuestPhase,
    description: MachineRecordV2,
    /// The bundle that the board's image has, and that in its store.
    image: Vec<Page>,
    store: Vec<Page>,
    bundle: u64,
    export: [Vec<u8>; 3],
    described: bool,
    import: [Vec<u8>; 3],
    heartbeat: Option<Instant>,
    start: Instant,
    sent: VecDeque<u8>,
    received: VecDeque<u8>,
    seen: Arc<Mutex<Seen>>,
}

fn index(domain: Domain) -> usize {
    usize::from(u8::from(domain)) - 1
}

impl Hardware {
    fn export(&self, domain: Domain) -> u64 {
        self.export[index(domain)].len() as u64
    }

    const fn bundle_at(&self, place: Place) -> &Vec<Page> {
        match place {
            Place::Image => &self.image,
            Place::Store => &self.store,
        }
    }

    fn vmm(&mut self, request: &VmmRequest) -> Message {
        let wrong = Message::refused(Refusal::WrongPhase as u64);
        match (*request, self.phase) {
            (VmmRequest::Status, phase) => Status {
                phase,
                vcpus: 2,
                failure: vmm::Failure::None,
                detail: 0,
                program_counter: 0,
                bundle: self.bundle,
            }
            .encode(),
            (VmmRequest::Describe, _) => {
                self.described = true;
                vmm::answer(encode(&self.description).unwrap().len() as u64)
            }
            (VmmRequest::Stop, GuestPhase::Running) => {
                self.phase = GuestPhase::Stopped;
                self.ram.running = false;
                self.seen.lock().unwrap().writes = self.ram.writes.get();
                vmm::answer(0)
            }
            (VmmRequest::Resume, GuestPhase::Stopped | GuestPhase::Imported) => {
                self.phase = GuestPhase::Running;
                vmm::answer(0)
            }
            (VmmRequest::Export, GuestPhase::Stopped) => {
                self.described = false;
                vmm::answer(self.export(Domain::Vmm))
            }
            (VmmRequest::Import { length }, GuestPhase::Empty) => {
                let record = self.import[0].get(..usize::try_from(length).unwrap());
                if record::decode::<VcpusRecordV4>(record.unwrap()).is_err() {
                    return Message::refused(Refusal::BadRecord as u64);
                }
                self.phase = GuestPhase::Imported;
                let mut seen = self.seen.lock().unwrap();
                seen.imported = Some(self.import.clone());
                seen.memory.clone_from(&self.ram.pages);
                seen.store.clone_from(&self.store);
                vmm::answer(0)
            }
            (VmmRequest::Discard, _) => {
                self.phase = GuestPhase::Empty;
                self.ram.pages.fill([0; PAGE_SIZE]);
                self.seen.lock().unwrap().discarded += 1;
                vmm::answer(0)
            }
            _ => wrong,
        }
    }
}

impl Port for Hardware {
    type Ram = Ram;

    fn ram(&mut self) -> &mut Ram {
        &mut self.ram
    }

    fn bundle_pages(&self, place: Place) -> u32 {
        u32::try_from(self.bundle_at(place).len()).unwrap()
    }

    fn bundle_page(&self, place: Place, page: u32, into: &mut Page) {
        let found = self.bundle_at(place).get(usize::try_from(page).unwrap());
        *into = found.copied().unwrap_or([0; PAGE_SIZE]);
    }

    fn store(&mut self, page: u32, from: &Page) {
        self.store[usize::try_from(page).unwrap()] = *from;
    }

    fn vmm(&mut self, request: &VmmRequest) -> Result<Message, ProtocolError> {
        Ok(self.vmm(request))
    }

    fn vgic(&mut self, request: &vgic::Request) -> Result<Message, ProtocolError> {
        Ok(match request {
            vgic::Request::Export => vgic::Answer::new(self.export(Domain::Vgic)).encode(),
            vgic::Request::Import { .. } => vgic::Answer::new(0).encode(),
            _ => Message::not_understood(),
        })
    }

    fn timer(&mut self, request: &timer::Request) -> Result<Message, ProtocolError> {
        Ok(match request {
            timer::Request::Export => timer::answer(self.export(Domain::Timer)),
            timer::Request::Import { .. } => timer::answer(0),
            _ => Message::not_understood(),
        })
    }

    fn exported(&mut self, domain: Domain, into: &mut [u8]) -> bool {
        let description = encode(&self.description).unwrap();
        let bytes = if domain == Domain::Vmm && self.described {
            &description
        } else {
            &self.export[index(domain)]
        };
        bytes.get(..into.len()).is_some_and(|bytes| {
            into.copy_from_slice(bytes);
            true
        })
    }

    fn import(&mut self, domain: Domain, record: &[u8]) -> bool {
        self.import[index(domain)] = record.to_vec();
        true
    }

    fn now(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }

    fn ask_for_heartbeat(&mut self) {
        self.heartbeat = Some(Instant::now() + HEARTBEAT);
    }

    fn pace(&self) -> Pace {
        Pace::UNLIMITED
    }

    fn frequency(&self) -> u64 {
        1_000_000
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(RING - self.sent.len());
        self.sent.extend(&bytes[..count]);
        count
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.received.len());
        for (byte, received) in into.iter_mut().zip(self.received.drain(..count)) {
            *byte = received;
        }
        count
    }

    fn flush(&mut self) {}

    fn wait(&mut self, _space: usize) -> bool {
        false
    }
}

/// A board that runs until it goes out of scope.
pub(super) struct Board {
    pub(super) address: Address,
    pub(super) seen: Arc<Mutex<Seen>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _directory: Scratch,
}

impl Board {
    /// A board with the guest of [`state`] and [`memory`], or none.
    pub(super) fn start(phase: GuestPhase) -> Self {
        let mut description = super::state(PAGES, 2).machine;
        if phase == GuestPhase::Empty {
            description.vcpus = 4;
        }
        Self::with(phase, description)
    }

    pub(super) fn with(phase: GuestPhase, description: MachineRecordV2) -> Self {
        let directory = Scratch::new().unwrap();
        let path = directory.path().join("link");
        let listener = UnixListener::bind(&path).unwrap();
        let (seen, ends) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (also, end) = (seen.clone(), ends.clone());
        let thread = std::thread::spawn(move || run(&listener, phase, description, also, &end));
        Self {
            address: Address::Unix(path),
            seen,
            ends,
            thread: Some(thread),
            _directory: directory,
        }
    }

    pub(super) fn connect(&self) -> Client {
        Client::connect(&self.address, TIMEOUT).unwrap()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn run(
    listener: &UnixListener,
    phase: GuestPhase,
    description: MachineRecordV2,
    seen: Arc<Mutex<Seen>>,
    ends: &AtomicBool,
) {
    let state = super::state(PAGES, 2);
    let empty = phase == GuestPhase::Empty;
    let memory = if empty {
        CapturedMemory::new(PAGES)
    } else {
        super::memory(PAGES)
    };
    let mut pages = vec![[0; PAGE_SIZE]; usize::try_from(PAGES).unwrap()];
    for (number, page) in (0..).zip(&mut pages) {
        memory.read(number, page).unwrap();
    }
    let mut hardware = Hardware {
        ram: Ram {
            pages,
            running: phase == GuestPhase::Running,
            writes: std::cell::Cell::new(0),
        },
        phase,
        description,
        export: [
            encode(&state.vcpus).unwrap(),
            encode(&state.vgic).unwrap(),
            encode(&state.timer).unwrap(),
        ],
        image: if empty { Vec::new() } else { bundle(PAGES) },
        store: vec![[0; PAGE_SIZE]; STORE],
        bundle: if empty { 0 } else { state.vcpus.bundle },
        described: false,
        import: Default::default(),
        heartbeat: None,
        start: Instant::now(),
        sent: VecDeque::new(),
        received: VecDeque::new(),
        seen,
    };
    let mut heap = vec![0_u64; HEAP / 8];
    let mut compressor = Box::default();
    let heap = zerocopy::IntoBytes::as_mut_bytes(heap.as_mut_slice());
    let mut agent = Agent::new(heap, &mut compressor, &mut hardware).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut link: Option<UnixStream> = None;
    while !ends.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            link = Some(stream);
        }
        let open = link
            .as_mut()
            .is_none_or(|link| exchange(link, &mut hardware));
        if !open {
            link = None;
            hardware.sent.clear();
        }
        let heartbeat = hardware
            .heartbeat
            .is_some_and(|heartbeat| heartbeat <= Instant::now());
        if heartbeat {
            hardware.heartbeat = None;
        }
        agent.run(
            &mut hardware,
            Wake {
                guest: true,
                heartbeat,
            },
        );
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Moves bytes both ways; false if the other end has gone.
fn exchange(link: &mut UnixStream, hardware: &mut Hardware) -> bool {
    let mut bytes = [0; 65_536];
    match link.read(&mut bytes) {
        Ok(0) => return false,
        Ok(count) => hardware.received.extend(&bytes[..count]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return false,
    }
    let sent = hardware.sent.make_contiguous();
    match link.write(sent) {
        Ok(count) => drop(hardware.sent.drain(..count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return false,
    }
    true
}
