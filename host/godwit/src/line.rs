// SPDX-License-Identifier: BSD-2-Clause
//! A board's link over a serial line, as a socket that loses nothing.
//!
//! Responsible for: running the host's end of the [`mod@line`] layer between a line and a socket, so that whoever talks to
//! a board need not know which kind of link it has; and setting up a serial port. Never: looks at the bytes.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use line::{Host, Millis, Sink};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

/// How often time is looked at while nothing happens.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
/// Bytes from the board that may wait for whoever reads the socket.
const WAITING: usize = 64 << 10;
/// How long to wait before connecting to a line is tried again.
const CONNECT_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Carries a link over `line` until the socket that it returns is closed.
///
/// # Errors
///
/// The operating system's.
pub fn attach(
    line: impl Read + Write + AsFd + Send + 'static,
    baud: u32,
) -> io::Result<UnixStream> {
    let (ours, client) = UnixStream::pair()?;
    let exchange = Exchange::new(line, client, baud)?;
    thread::Builder::new()
        .name("line".to_owned())
        .spawn(move || exchange.run(None))?;
    Ok(ours)
}

/// Opens a serial port for [`attach`]: 8 data bits, no parity, one stop bit, no flow control.
///
/// # Errors
///
/// There is none at this path, or it cannot be so fast.
pub fn open_port(device: &Path, baud: u32) -> io::Result<File> {
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(device)?;
    let mut settings = tcgetattr(&port)?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes -= ControlModes::CRTSCTS | ControlModes::CSTOPB;
    settings.set_speed(baud)?;
    tcsetattr(&port, OptionalActions::Flush, &settings)?;
    Ok(port)
}

/// Carries a link over a line for one client of a socket at a time. Ends when it goes out of scope.
#[derive(Debug)]
pub struct Carrier {
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Carrier {
    /// Offers at `listener` the link over the line that is a socket at `line`.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn start(listener: UnixListener, line: PathBuf, baud: u32) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name("carrier".to_owned())
            .spawn(move || carry(&listener, &line, baud, &stopped))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves one client after another until it is told to stop.
fn carry(listener: &UnixListener, line: &Path, baud: u32, stopped: &UnixStream) {
    loop {
        let mut ready = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        let waited = poll(&mut ready, None);
        let told = !ready[1].revents().is_empty();
        if told || !matches!(waited, Ok(_) | Err(rustix::io::Errno::INTR)) {
            return;
        }
        let served = listener.accept().and_then(|(client, _)| {
            let line = connect(line, &client, stopped)?;
            Exchange::new(line, client, baud)
        });
        if let Ok(exchange) = served
            && exchange.run(Some(stopped))
        {
            return;
        }
    }
}

/// The line, as soon as it is there: QEMU may be about to start. Gives up when the client has, or when told to stop.
fn connect(line: &Path, client: &UnixStream, stopped: &UnixStream) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(line) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                let mut ends = [
                    PollFd::new(client, PollFlags::RDHUP),
                    PollFd::new(stopped, PollFlags::IN),
                ];
                match poll(&mut ends, Some(&CONNECT_PAUSE)) {
                    Ok(0) | Err(rustix::io::Errno::INTR) => {}
                    Ok(_) => return Err(error),
                    Err(error) => return Err(error.into()),
                }
            }
            connected => return connected,
        }
    }
}

/// Bytes for the client.
#[derive(Debug, Default)]
struct Pending(Vec<u8>);

impl Sink for Pending {
    fn room(&mut self) -> usize {
        WAITING.saturating_sub(self.0.len())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// A line, a client, and what is between them.
#[derive(Debug)]
struct Exchange<L> {
    line: L,
    client: UnixStream,
    host: Host,
    pending: Pending,
    begun: Instant,
}

/// The line or the client has gone.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl<L: Read + Write + AsFd> Exchange<L> {
    fn new(line: L, client: UnixStream, baud: u32) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&line, true)?;
        client.set_nonblocking(true)?;
        // A number that no earlier session is likely to have had: the hasher is keyed at random.
        let [.., a, b, c, d] = RandomState::new().build_hasher().finish().to_be_bytes();
        Ok(Self {
            line,
            client,
            host: Host::new(u32::from_be_bytes([a, b, c, d]), baud, 0),
            pending: Pending::default(),
            begun: Instant::now(),
        })
    }

    /// Carries bytes until the line or the client goes; true if it was told to stop.
    fn run(mut self, stopped: Option<&UnixStream>) -> bool {
        loop {
            match self.step(stopped) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(Gone) => return false,
            }
        }
    }

    fn step(&mut self, stopped: Option<&UnixStream>) -> Result<bool, Gone> {
        let now = Millis::try_from(self.begun.elapsed().as_millis()).unwrap_or(Millis::MAX);
        let leaving = !self.host.output(now, &mut self.pending).is_empty();
        let mut line = PollFlags::IN;
        line.set(PollFlags::OUT, leaving);
        let mut client = PollFlags::RDHUP;
        client.set(PollFlags::IN, self.host.can_accept());
        client.set(PollFlags::OUT, !self.pending.0.is_empty());
        let mut ready = vec![
            PollFd::new(&self.line, line),
            PollFd::new(&self.client, client),
        ];
        ready.extend(stopped.map(|stopped| PollFd::new(stopped, PollFlags::IN)));
        match poll(&mut ready, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if ready.get(2).is_some_and(|stop| !stop.revents().is_empty()) {
            return Ok(true);
        }
        // What the client said before it went still counts, as long as there is room for it.
        let gone = ready[1]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
        self.receive(now)?;
        self.deliver()?;
        let accepted = self.accept()?;
        self.send(now)?;
        if gone && !accepted {
            return Err(Gone);
        }
        Ok(false)
    }

    /// From the line.
    fn receive(&mut self, now: Millis) -> Result<(), Gone> {
        let mut bytes = [0; 4096];
        if let Some(count) = done(self.line.read(&mut bytes))? {
            if count == 0 {
                return Err(Gone);
            }
            self.host.input(&bytes[..count], now, &mut self.pending);
        }
        Ok(())
    }

    /// To the client.
    fn deliver(&mut self) -> Result<(), Gone> {
        if !self.pending.0.is_empty()
            && let Some(count) = done(self.client.write(&self.pending.0))?
        {
            self.pending.0.drain(..count);
        }
        Ok(())
    }

    /// From the client; true if that was anything.
    fn accept(&mut self) -> Result<bool, Gone> {
        let client = &mut self.client;
        let mut read = Ok(0);
        let mut any = false;
        while self.host.accept(|place| {
            read = client.read(place);
            read.as_ref().copied().unwrap_or(0)
        }) > 0
        {
            any = true;
        }
        done(read)?;
        Ok(any)
    }

    /// To the line.
    fn send(&mut self, now: Millis) -> Result<(), Gone> {
        loop {
            let bytes = self.host.output(now, &mut self.pending);
            if bytes.is_empty() {
                return Ok(());
            }
            match done(self.line.write(bytes))? {
                Some(count) if count > 0 => self.host.sent(count),
                _ => return Ok(()),
            }
        }
    }
}

/// What was read or written, if that did not have to wait.
fn done(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use line::Board;

    /// A board that says back what it hears, over a line that damages every so many bytes.
    fn echo(mut line: UnixStream, every: usize) {
        let mut board = Board::new(0);
        let mut heard = Pending::default();
        let mut bytes = [0; 1000];
        let mut passed = 0;
        while let Ok(count) = line.read(&mut bytes) {
            if count == 0 {
                return;
            }
            for byte in &mut bytes[..count] {
                passed += 1;
                if passed % every == 0 {
                    *byte ^= 0x10;
                }
            }
            board.input(&bytes[..count], &mut heard);
            loop {
                let said = board.output(&mut heard);
                if said.is_empty() {
                    let added = board.accept(|place| {
                        let count = heard.0.len().min(place.len());
                        place[..count].copy_from_slice(&heard.0[..count]);
                        heard.0.drain(..count);
                        count
                    });
                    if added == 0 {
                        break;
                    }
                    continue;
                }
                let count = said.len();
                if line.write_all(said).is_err() {
                    return;
                }
                board.sent(count);
            }
        }
    }

    fn exchange(mut link: &UnixStream) {
        let bytes: Vec<u8> = (0..50_000_u32)
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let mut writer = link.try_clone().unwrap();
        let sent = bytes.clone();
        let sender = thread::spawn(move || writer.write_all(&sent).unwrap());
        let mut received = vec![0; bytes.len()];
        link.read_exact(&mut received).unwrap();
        sender.join().unwrap();
        assert!(received == bytes);
    }

    #[test]
    fn a_link_over_a_damaging_line_loses_nothing() {
        let (near, far) = UnixStream::pair().unwrap();
        let board = thread::spawn(move || echo(far, 3001));
        let link = attach(near, 10_000_000).unwrap();
        exchange(&link);
        drop(link);
        board.join().unwrap();
    }

    #[test]
    fn one_client_after_another_has_the_link() {
        let directory = std::env::temp_dir().join(format!("godwit-line-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (public, private) = (directory.join("link"), directory.join("line"));
        let boards = UnixListener::bind(&private).unwrap();
        let echoes = thread::spawn(move || {
            for _ in 0..2 {
                echo(boards.accept().unwrap().0, 5003);
            }
        });
        let listener = UnixListener::bind(&public).unwrap();
        let carrier = Carrier::start(listener, private, 10_000_000).unwrap();
        for _ in 0..2 {
            exchange(&UnixStream::connect(&public).unwrap());
        }
        drop(carrier);
        echoes.join().unwrap();
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_carrier_ends_though_its_client_waits_for_a_line_that_never_comes() {
        let directory = std::env::temp_dir().join(format!("godwit-no-line-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let public = directory.join("link");
        let listener = UnixListener::bind(&public).unwrap();
        let carrier = Carrier::start(listener, directory.join("line"), 115_200).unwrap();
        let client = UnixStream::connect(&public).unwrap();
        drop(carrier);
        drop(client);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
