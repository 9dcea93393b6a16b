// SPDX-License-Identifier: BSD-2-Clause
//! A board's link, from the host: its address, and frames over it.
//!
//! Responsible for: reaching a board under the [address](Address) that the operator names, and cutting its
//! byte stream into frames. Must never: look into a frame that is for the other board.

mod address;

pub use address::{Address, AddressError};

use crate::line::{attach, open_port};
use crate::timeouts::WRITE;
use protocol::frame::{Decoder, RESYNC, finish_in};
use protocol::{HEADER_LENGTH, MAX_FRAME, VERSION};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a read waits before the reader looks at its deadline.
const READ_SLICE: Duration = Duration::from_millis(50);
/// How long to wait before connecting is tried again.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Why a board's link cannot be used.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Nobody answers there.
    #[error("cannot reach board {address}: {error}. Is it running, with its link at this address?")]
    Connect {
        /// The board.
        address: Address,
        /// What the system says.
        error: io::Error,
    },
    /// It was there, and is not any more.
    #[error("lost the link to board {address}: {error}. See whether the board still runs")]
    Lost {
        /// The board.
        address: Address,
        /// What the system says.
        error: io::Error,
    },
}

/// A stream of bytes to a board.
#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn connect(address: &Address) -> Result<Self, LinkError> {
        let connected = match address {
            Address::Unix(path) | Address::Running { link: path, .. } => {
                UnixStream::connect(path).map(Self::Unix)
            }
            Address::Tcp { host, port } => connect_tcp(host, *port).map(Self::Tcp),
            Address::Serial { device, baud } => open_port(device, *baud)
                .and_then(|port| attach(port, *baud))
                .map(Self::Unix),
        };
        connected
            .and_then(|stream| {
                stream.set_timeouts()?;
                Ok(stream)
            })
            .map_err(|error| LinkError::Connect {
                address: address.clone(),
                error,
            })
    }

    fn set_timeouts(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(READ_SLICE))?;
                stream.set_write_timeout(Some(WRITE))
            }
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_SLICE))?;
                stream.set_write_timeout(Some(WRITE))
            }
        }
    }

    fn allow(&self, allowance: Duration) -> io::Result<()> {
        let timeout = Some(WRITE + allowance);
        match self {
            Self::Unix(stream) => stream.set_write_timeout(timeout),
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        }
    }

    fn shut_down(&self) {
        // It may be gone already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, WRITE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A frame as it came from a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which message; see `protocol::kind`.
    pub kind: u8,
    /// A request's tag, echoed by its answer.
    pub tag: u32,
    bytes: Vec<u8>,
}

impl Frame {
    /// The message's encoding.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_LENGTH..).unwrap_or_default()
    }

    /// The whole frame, to be passed on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A board's link: both halves.
#[derive(Debug)]
pub struct Link {
    /// What the board says.
    pub reader: FrameReader,
    /// What is said to it.
    pub writer: FrameWriter,
}

impl Link {
    /// Opens the link at `address`; waits for it to appear until `timeout` is over.
    ///
    /// # Errors
    ///
    /// [`LinkError::Connect`] with the last reason.
    pub fn open(address: &Address, timeout: Duration) -> Result<Self, LinkError> {
        let deadline = Instant::now() + timeout;
        let stream = loop {
            match Stream::connect(address) {
                Err(LinkError::Connect { error, .. })
                    if may_appear(&error) && Instant::now() < deadline =>
                {
                    std::thread::sleep(CONNECT_PAUSE);
                }
                connected => break connected?,
            }
        };
        let other = stream.try_clone().map_err(|error| LinkError::Connect {
            address: address.clone(),
            error,
        })?;
        Ok(Self {
            reader: FrameReader {
                address: address.clone(),
                stream: other,
                decoder: Decoder::new(vec![0; MAX_FRAME]),
            },
            writer: FrameWriter {
                address: address.clone(),
                stream,
                buffer: vec![0; MAX_FRAME],
            },
        })
    }

    /// Where the board is.
    pub fn address(&self) -> &Address {
        &self.writer.address
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        self.writer.stream.shut_down();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

/// A board that is being started has no socket yet, or nobody behind it.
fn may_appear(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// What a board says.
#[derive(Debug)]
pub struct FrameReader {
    address: Address,
    stream: Stream,
    decoder: Decoder<Vec<u8>>,
}

impl FrameReader {
    /// The next frame, if one comes before `deadline`.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn read(&mut self, deadline: Instant) -> Result<Option<Frame>, LinkError> {
        let mut late = false;
        loop {
            if let Some(frame) = self.decoder.next() {
                return Ok(Some(Frame {
                    kind: frame.kind,
                    tag: frame.tag,
                    bytes: frame.bytes.to_vec(),
                }));
            }
            if late {
                return Ok(None);
            }
            match self.stream.read(self.decoder.space()) {
                Ok(0) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => self.decoder.filled(count),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.lost(error)),
            }
            // Also of somebody who never stops talking and never says a frame.
            late = Instant::now() >= deadline;
        }
    }

    /// Another version of the protocol than ours, if the board was heard to speak one.
    pub const fn other_version(&self) -> Option<u8> {
        self.decoder.other_version()
    }

    fn lost(&self, error: io::Error) -> LinkError {
        LinkError::Lost {
            address: self.address.clone(),
            error,
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// What is said to a board.
#[derive(Debug)]
pub struct FrameWriter {
    address: Address,
    stream: Stream,
    buffer: Vec<u8>,
}

impl FrameWriter {
    /// Lets the board take so much longer to take something.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn allow(&self, allowance: Duration) -> Result<(), LinkError> {
        self.stream
            .allow(allowance)
            .map_err(|error| LinkError::Lost {
                address: self.address.clone(),
                error,
            })
    }

    /// Sends a message; `write` writes its payload and gives its length.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn send<E>(
        &mut self,
        kind: u8,
        tag: u32,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), LinkError> {
        self.send_in(VERSION, kind, tag, write)
    }

    /// The same in another version of the protocol.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn send_in<E>(
        &mut self,
        version: u8,
        kind: u8,
        tag: u32,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), LinkError> {
        let length = self
            .buffer
            .get_mut(HEADER_LENGTH..)
            .and_then(|payload| write(payload).ok())
            .and_then(|length| finish_in(version, &mut self.buffer, kind, tag, length))
            .unwrap_or(0);
        let frame = self.buffer.get(..length).unwrap_or_default();
        self.stream
            .write_all(frame)
            .map_err(|error| LinkError::Lost {
                address: self.address.clone(),
                error,
            })
    }

    /// Completes, with nothing, the frame in which a predecessor on the same link may have died: the board takes it
    /// for damaged, and what is sent next begins at a frame. A serial line needs none of it: there a new session
    /// begins, and a page of silence would take seconds.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn resynchronise(&mut self) -> Result<(), LinkError> {
        if matches!(self.address, Address::Serial { .. }) {
            return Ok(());
        }
        self.stream
            .write_all(&RESYNC)
            .map_err(|error| LinkError::Lost {
                address: self.address.clone(),
                error,
            })
    }

    /// Passes a frame on as it came.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn forward(&mut self, frame: &Frame) -> Result<(), LinkError> {
        self.stream
            .write_all(frame.bytes())
            .map_err(|error| LinkError::Lost {
                address: self.address.clone(),
                error,
            })
    }
}

#[cfg(test)]
pub(crate) mod peer;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_board_that_is_not_there_is_named_with_what_to_do() {
        let address: Address = "unix:/nowhere/board.sock".parse().unwrap();
        let error = Link::open(&address, Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unix:/nowhere/board.sock"), "{error}");
        assert!(error.contains("Is it running"), "{error}");
    }

    #[test]
    fn somebody_who_talks_without_end_and_without_sense_is_not_listened_to_for_ever() {
        let path = std::env::temp_dir().join(format!("godwit-link-noise-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let noise = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Until nobody listens.
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        });
        let mut link = Link::open(&Address::Unix(path.clone()), Duration::from_secs(20)).unwrap();
        let frame = link.reader.read(Instant::now() + READ_SLICE).unwrap();
        assert_eq!(frame, None);
        drop(link);
        noise.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
