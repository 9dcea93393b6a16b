// SPDX-License-Identifier: BSD-2-Clause
//! The process that keeps a board: QEMU, its console and its link.
//!
//! Responsible for: a board living as long as somebody wants it to, and not as long as a terminal; its console for any
//! number of watchers, none of whom can hold up the guest or the others; what was said since it began, as far as it is
//! kept; and leaving nothing behind when it ends. Never: has a terminal, or anything to say to people but through those
//! who watch.
//!
//! A board has an owner, with whom it ends, until he [detaches](messages::Say::Detach). It ends with its guest, unless it
//! has no owner and the guest was stopped for a fault: then somebody will want to see why.

mod history;
pub mod messages;
mod news;
mod talk;
mod watchers;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use protocol::management::Phase;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::console::signals;
use crate::qemu::{Console, Machine, MachineOptions};
use crate::running::{Registration, Registry};
use crate::tap::{LinkEvent, Tap};
use crate::timeouts::{GREETING, OWNER, SOCKETS};
use image::{Board, Image, Kernel, workspace};
use messages::{End, Say, Tell};
use news::{Item, News};
pub use talk::{detach, end, last_screen, tell_last_screen};
use watchers::Watchers;

/// How much of what a guest has said is kept, in bytes.
const KEPT: usize = 4 << 20;

/// A board to be kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub name: String,
    /// Which it is.
    pub board: String,
    /// Whether its domains run on seL4.
    pub sel4: bool,
    /// Its image, and the directory that is the image's own.
    pub image: PathBuf,
    /// Where that is entered.
    pub load_address: u64,
    /// RAM of its guest, in bytes.
    pub guest_ram: u64,
    /// What runs before the image.
    pub firmware: Option<PathBuf>,
    /// RAM of the board, in bytes.
    pub board_ram: Option<u64>,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
}

/// Keeps a board until it ends. Called first of all in a process whose standard input is the entry's file, locked.
///
/// # Errors
///
/// Before anybody could be told.
pub fn keep(order: &Order) -> io::Result<()> {
    close_what_is_not_ours();
    // No terminal of whoever started this process ends it.
    let _ = rustix::process::setsid();
    let lock = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let asked_to_end = signals(&[
        signal_hook::consts::SIGHUP,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGQUIT,
        signal_hook::consts::SIGTERM,
    ])?;
    let entry = Registry::of_user()
        .and_then(|registry| registry.adopt(&order.name, lock))
        .map_err(io::Error::other)?;
    let listener = UnixListener::bind(entry.terminal())?;
    listener.set_nonblocking(true)?;
    let mut keeper = Keeper {
        listener,
        asked_to_end,
        watchers: Watchers::new(KEPT),
        owner: Owner::Expected(Instant::now() + OWNER),
        news: News::new(order.name.clone()),
        runs: false,
        listens: false,
        typed: VecDeque::new(),
        arriving: Vec::new(),
    };
    let end = match Running::start(order, &entry) {
        Ok(mut running) => {
            keeper.runs = true;
            match keeper.carry(&mut running) {
                Ok(end) => end,
                Err(error) => running.broken(&error),
            }
        }
        Err(error) => End::Broken(error),
    };
    keeper.wait_for_owner();
    // Before anybody hears that it has ended: nothing of it is left then.
    drop(entry);
    if let Some(directory) = order.image.parent() {
        let _ = std::fs::remove_dir_all(directory);
    }
    keeper.finish(end);
    Ok(())
}

/// Closes what this process has inherited besides its standard streams: somebody may wait for the end of it.
fn close_what_is_not_ours() {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The directory that was read is closed already.
        if std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            continue;
        }
        // SAFETY: it is open, and nothing in this process has opened anything yet that it will use again: this comes before
        // everything else, and there is no other thread.
        unsafe { rustix::io::close(number) };
    }
}

/// With whom the board ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// He has not come yet, and must until then.
    Expected(Instant),
    /// This watcher.
    Watcher(u64),
    /// Nobody.
    Nobody,
}

/// A board that runs.
struct Running {
    machine: Machine,
    console: UnixStream,
    tap: Tap,
}

impl Running {
    fn start(order: &Order, entry: &Registration) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let root = workspace().map_err(|error| text(&error))?;
        let board = Board::load(&root, &order.board).map_err(|error| text(&error))?;
        let image = Image {
            path: order.image.clone(),
            load_address: order.load_address,
            board,
            kernel: match order.sel4 {
                true => Kernel::Sel4,
                false => Kernel::Embedded,
            },
            guest_ram: order.guest_ram,
            board_ram: order.board_ram,
            report: PathBuf::new(),
            firmware: order.firmware.clone(),
        };
        let machine = Machine::start(MachineOptions {
            name: order.name.clone(),
            image,
            console: Console::Socket(entry.machine_console()),
            console_log: None,
            link: Some(entry.machine_link()),
            icount: false,
            extra: order.extra.clone(),
        });
        let mut machine = machine.map_err(|error| text(&error))?;
        let missing = || "it was started without its sockets".to_owned();
        let console = machine.connect_console(SOCKETS).ok_or_else(missing)?;
        let console = console.map_err(|error| text(&error))?;
        let link = machine.connect_link(SOCKETS).ok_or_else(missing)?;
        let link = link.map_err(|error| text(&error))?;
        let tap = UnixListener::bind(entry.link())
            .and_then(|listener| Tap::start(link, listener))
            .and_then(|tap| console.set_nonblocking(true).map(|()| tap))
            .map_err(|error| format!("offering its link: {error}"))?;
        Ok(Self {
            machine,
            console,
            tap,
        })
    }

    /// Why its console is gone.
    fn broken(&mut self, error: &io::Error) -> End {
        // Its sockets close a moment before the process is gone.
        let ended = self
            .machine
            .wait()
            .and_then(|_| self.machine.check())
            .err()
            .map_or_else(|| error.to_string(), |error| error.to_string());
        End::Broken(ended)
    }
}

struct Keeper {
    listener: UnixListener,
    asked_to_end: UnixStream,
    watchers: Watchers,
    owner: Owner,
    news: News,
    /// QEMU runs.
    runs: bool,
    /// The board has said something of itself. Before its driver has set its UART up, that forgets what it receives.
    listens: bool,
    /// What was typed and is on its way to the guest, and by whom.
    typed: VecDeque<(u64, Vec<u8>)>,
    /// What a guest that arrives has said last elsewhere.
    arriving: Vec<u8>,
}

/// Which connections want attention.
#[derive(Default)]
struct Ready {
    newcomer: bool,
    asked_to_end: bool,
    console: bool,
    news: bool,
}

impl Keeper {
    /// Carries everything until there is a reason to end.
    fn carry(&mut self, running: &mut Running) -> io::Result<End> {
        loop {
            let ready = self.wait(Some(running));
            if ready.console {
                self.read_console(&running.console)?;
            }
            if let Some(end) = self.serve(&ready) {
                return Ok(end);
            }
            self.write_console(&running.console)?;
            if ready.news
                && let Some(end) = self.listen(running)?
            {
                return Ok(end);
            }
            self.watchers.send();
        }
    }

    fn wait(&self, running: Option<&Running>) -> Ready {
        let timeout = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut polled = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.asked_to_end, PollFlags::IN),
        ];
        if let Some(running) = running {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, self.listens && !self.typed.is_empty());
            polled.push(PollFd::new(&running.console, flags));
            polled.push(PollFd::new(running.tap.news(), PollFlags::IN));
        }
        polled.extend(self.watchers.polled());
        // Interrupted or out of time: there may be nothing to do, which harms nobody.
        let _ = poll(&mut polled, Some(&timeout));
        let input = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let ready = |index: usize| {
            polled
                .get(index)
                .is_some_and(|polled| polled.revents().intersects(input))
        };
        let runs = running.is_some();
        Ready {
            newcomer: ready(0),
            asked_to_end: ready(1),
            console: runs && ready(2),
            news: runs && ready(3),
        }
    }

    /// Newcomers, what watchers say, and what asks this process to end.
    fn serve(&mut self, ready: &Ready) -> Option<End> {
        if ready.newcomer
            && let Ok((stream, _)) = self.listener.accept()
        {
            let _ = self.watchers.admit(stream);
        }
        let mut end = ready.asked_to_end.then_some(End::Signal);
        for (number, say) in self.watchers.hear() {
            match say {
                Say::Hello(hello) => {
                    self.watchers.greeted(number, hello);
                    if hello.owner {
                        self.owner = Owner::Watcher(number);
                    }
                    if self.runs {
                        self.watchers.tell_last(number, Tell::Started);
                    }
                }
                Say::Input(bytes) => self.typed.push_back((number, bytes)),
                Say::Detach => {
                    if self.owner == Owner::Watcher(number) {
                        self.owner = Owner::Nobody;
                    }
                }
                Say::End => end = Some(End::Ended),
                Say::History(bytes) if self.news.has_guest() => {
                    self.watchers.tell(&Tell::Screen(bytes));
                }
                Say::History(bytes) => self.arriving = bytes,
            }
        }
        self.watchers.send();
        end.or_else(|| self.is_abandoned().then_some(End::Ended))
    }

    /// Whether the owner has gone without detaching.
    fn is_abandoned(&self) -> bool {
        match self.owner {
            Owner::Expected(until) => Instant::now() >= until,
            Owner::Watcher(number) => !self.watchers.has(number),
            Owner::Nobody => false,
        }
    }

    /// Takes in what the guest has said, as far as it is there.
    fn read_console(&mut self, mut console: &UnixStream) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        // Bounded, so that a guest that never stops cannot keep others from being heard.
        for _ in 0..16 {
            match console.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.watchers.output(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the guest's console what was typed, as far as it takes it.
    fn write_console(&mut self, mut console: &UnixStream) -> io::Result<()> {
        if !self.listens {
            return Ok(());
        }
        while let Some((number, bytes)) = self.typed.front_mut() {
            match console.write(bytes) {
                Ok(count) => {
                    bytes.drain(..count);
                    let (number, done) = (*number, bytes.is_empty());
                    self.watchers.tell_one(number, Tell::Took(count as u64));
                    if done {
                        self.typed.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes in what the board says of itself.
    fn listen(&mut self, running: &Running) -> io::Result<Option<End>> {
        for heard in running.tap.take() {
            if matches!(heard, LinkEvent::MoveEnded(_)) {
                // Of a guest that has not come.
                self.arriving.clear();
            }
            self.listens |=
                matches!(&heard, LinkEvent::Status(status) if status.phase != Phase::Starting);
            for item in self.news.hear(&heard) {
                match item {
                    Item::Notice(text) => {
                        self.read_console(&running.console)?;
                        self.watchers.tell(&Tell::Notice(text));
                    }
                    Item::Arrives => {
                        let screen = std::mem::take(&mut self.arriving);
                        self.watchers.tell(&Tell::Screen(screen));
                    }
                    Item::Ended(end) => {
                        // A board says so when all of it has left it: it is here, or nowhere.
                        self.read_all(&running.console);
                        if self.owner == Owner::Nobody
                            && let End::Failed(fault) = &end
                        {
                            let text = format!("the guest was stopped for a fault: {fault}");
                            self.watchers.tell(&Tell::Notice(text));
                            continue;
                        }
                        return Ok(Some(end));
                    }
                }
            }
        }
        Ok(None)
    }

    fn read_all(&mut self, console: &UnixStream) {
        let mut before = None;
        while before != Some(self.watchers.said()) {
            before = Some(self.watchers.said());
            if self.read_console(console).is_err() {
                return;
            }
        }
    }

    /// A board that does not even start has an owner to be told of it.
    fn wait_for_owner(&mut self) {
        while let Owner::Expected(until) = self.owner
            && Instant::now() < until
        {
            let ready = self.wait(None);
            if self.serve(&ready).is_some() {
                return;
            }
        }
    }

    /// Tells everybody what they have not taken yet, and then that the board has ended.
    fn finish(mut self, end: End) {
        self.watchers.tell(&Tell::Ended(end));
        let greeting_ends = Instant::now() + GREETING;
        loop {
            self.watchers.send();
            let greeted = self.watchers.are_greeted() || Instant::now() >= greeting_ends;
            if self.watchers.are_told() && greeted {
                return;
            }
            let ready = self.wait(None);
            if ready.asked_to_end {
                return;
            }
            self.serve(&Ready {
                newcomer: false,
                ..ready
            });
        }
    }
}
