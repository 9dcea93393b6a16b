// SPDX-License-Identifier: BSD-2-Clause
//! A board in a thread: the real agent on the model of a board that its own tests use.

use crate::link::Address;
use channel::vmm::Phase;
use hardware::Hardware;
pub(super) use hardware::Writer;
use migration_pd::agent::{Agent, Wake};
use protocol::{Decoder, Domain, MAX_FRAME, Pace, kind};
use state::Register;
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[expect(
    dead_code,
    reason = "shared with the agent's own tests, which use all of it"
)]
#[path = "../../../../../migration-pd/tests/moves/hardware.rs"]
mod hardware;

/// Pages of the guests' RAM.
const PAGES: usize = 300;
/// Bytes of the agent's heap.
const HEAP: usize = 1 << 20;
/// How often the thread looks around.
const TURN: Duration = Duration::from_micros(300);

/// What is wrong with a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Nothing,
    /// Its counter has another frequency.
    OtherMachine,
    /// Its link is a serial line.
    Line,
    /// `vgic-pd` does not take its record.
    RefusesRecord,
    /// It loses its power at the moment when a guest is handed over to it.
    DiesAtCommit,
    /// Its link breaks when a guest has been handed over to it, before it can say so.
    CannotAnswerCommit,
    /// Its link breaks when a guest should be handed over to it.
    MissesCommit,
    /// Its guest switches itself off as soon as the other board has accepted it.
    PowersOff,
}

/// A board that runs until it goes out of scope.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) address: Address,
    path: PathBuf,
    ends: Arc<AtomicBool>,
    hangs_up: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Board {
    pub(super) fn empty() -> Self {
        Self::with(None, Trouble::Nothing)
    }

    pub(super) fn with_guest() -> Self {
        let guest = Writer {
            busy: 20,
            used: 150,
        };
        Self::with(Some(guest), Trouble::Nothing)
    }

    pub(super) fn with(guest: Option<Writer>, trouble: Trouble) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("godwit-relay-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let (ends, hangs_up) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (end, hang_up) = (ends.clone(), hangs_up.clone());
        let thread = std::thread::spawn(move || run(&listener, guest, trouble, &end, &hang_up));
        Self {
            address: Address::Unix(path.clone()),
            path,
            ends,
            hangs_up,
            thread: Some(thread),
        }
    }

    /// Ends the connection; the board lives on and takes the next one.
    pub(super) fn hang_up(&self) {
        self.hangs_up.store(true, Ordering::Relaxed);
    }

    /// The board loses its power.
    pub(super) fn end(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(
    listener: &UnixListener,
    guest: Option<Writer>,
    mut trouble: Trouble,
    ends: &AtomicBool,
    hangs_up: &AtomicBool,
) {
    listener.set_nonblocking(true).unwrap();
    let clock = Rc::new(Cell::new(1));
    let mut hardware = Hardware::new(clock.clone(), PAGES, guest);
    match trouble {
        Trouble::Nothing
        | Trouble::DiesAtCommit
        | Trouble::CannotAnswerCommit
        | Trouble::PowersOff
        | Trouble::MissesCommit => {}
        Trouble::OtherMachine => {
            assert!(
                hardware
                    .machine
                    .baseline
                    .constants
                    .set(Register::CNTFRQ_EL0, 1)
            );
        }
        Trouble::Line => hardware.pace = Pace::line(500_000),
        Trouble::RefusesRecord => hardware.faults.import = Some(Domain::Vgic),
    }
    if guest.is_none() {
        hardware.phase = Phase::Empty;
    }
    let mut heap = vec![0_u64; HEAP / 8];
    let mut compressor = Box::default();
    let heap = zerocopy::IntoBytes::as_mut_bytes(heap.as_mut_slice());
    let mut agent = Agent::new(heap, &mut compressor, &mut hardware).unwrap();
    let (start, mut link, mut woken) = (Instant::now(), None::<UnixStream>, true);
    let mut decoder = Decoder::new(vec![0; MAX_FRAME]);
    while !ends.load(Ordering::Relaxed) {
        if hangs_up.swap(false, Ordering::Relaxed) {
            link = None;
        }
        if link.is_none() {
            decoder.give_up();
            link = listener.accept().ok().map(|(stream, _)| stream);
            if let Some(stream) = &link {
                stream.set_nonblocking(true).unwrap();
            }
        }
        let real = u64::try_from(start.elapsed().as_micros()).unwrap();
        clock.set(clock.get().max(real));
        let open = link.as_mut().map_or(Ok(()), |link| {
            exchange(link, &mut hardware, &mut decoder, trouble)
        });
        match open {
            Ok(()) => {}
            Err(Ending::Commit) if trouble == Trouble::DiesAtCommit => return,
            Err(Ending::Commit) if trouble == Trouble::Nothing => {}
            // Links break once.
            Err(Ending::Commit) => (link, trouble) = (None, Trouble::Nothing),
            Err(Ending::Gone) => link = None,
        }
        hardware.catch_up();
        let guest = std::mem::take(&mut hardware.news);
        let heartbeat = hardware
            .heartbeat
            .is_some_and(|heartbeat| heartbeat <= clock.get());
        if heartbeat {
            hardware.heartbeat = None;
        }
        if woken || guest || heartbeat || !hardware.received.is_empty() || hardware.wants_space > 0
        {
            agent.run(&mut hardware, Wake { guest, heartbeat });
            woken = false;
        } else {
            std::thread::sleep(TURN);
        }
        if link.is_none() {
            // As QEMU does with what nobody listens to.
            hardware.sent.clear();
        }
    }
}

/// What may end a board's connection.
enum Ending {
    /// The other end has gone.
    Gone,
    /// A guest is handed over.
    Commit,
}

/// Moves bytes both ways.
fn exchange(
    link: &mut UnixStream,
    hardware: &mut Hardware,
    decoder: &mut Decoder<Vec<u8>>,
    trouble: Trouble,
) -> Result<(), Ending> {
    let mut commit = false;
    while hardware.received.len() < 0x40000 {
        while let Some(frame) = decoder.next() {
            commit |= frame.kind == kind::COMMIT;
            if frame.kind == kind::ACCEPT && trouble == Trouble::PowersOff {
                (hardware.phase, hardware.news) = (Phase::Off, true);
            }
            if commit && trouble == Trouble::MissesCommit {
                return Err(Ending::Commit);
            }
            hardware.received.extend(frame.bytes);
        }
        match link.read(decoder.space()) {
            Ok(0) => return Err(Ending::Gone),
            Ok(count) => decoder.filled(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return Err(Ending::Gone),
        }
    }
    let (sent, _) = hardware.sent.as_slices();
    match link.write(sent) {
        Ok(count) => {
            hardware.sent.drain(..count);
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return Err(Ending::Gone),
    }
    if commit { Err(Ending::Commit) } else { Ok(()) }
}
