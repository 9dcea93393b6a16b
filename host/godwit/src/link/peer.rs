// SPDX-License-Identifier: BSD-2-Clause
//! The other end of a link, for tests that play a board or a client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use protocol::frame::finish;
use protocol::management::{Failure, Phase, StatusReport};
use protocol::{Decoder, HEADER_LENGTH, MAX_FRAME, MoveId};

/// How long it waits for a byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One end of a connection, blocking.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    decoder: Decoder<Vec<u8>>,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self {
            stream,
            decoder: Decoder::new(vec![0; MAX_FRAME]),
        }
    }

    pub(crate) fn send(&mut self, kind: u8, tag: u32, payload: &[u8]) {
        assert!(self.send_if_heard(kind, tag, payload));
    }

    /// Sends a frame; false if nobody takes it.
    pub(crate) fn send_if_heard(&mut self, kind: u8, tag: u32, payload: &[u8]) -> bool {
        self.stream.write_all(&frame(kind, tag, payload)).is_ok()
    }

    /// The next frame, or nothing if the connection was closed.
    pub(crate) fn receive(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            if let Some(frame) = self.decoder.next() {
                return Some((frame.kind, frame.tag, frame.payload.to_vec()));
            }
            match self.stream.read(self.decoder.space()).unwrap() {
                0 => return None,
                count => self.decoder.filled(count),
            }
        }
    }
}

/// What a board says whose guest has one vCPU and 128 MiB and was never moved.
pub(crate) const fn status(phase: Phase) -> StatusReport {
    StatusReport {
        phase,
        vcpus: 1,
        failure: Failure::None,
        detail: 0,
        program_counter: 0,
        ram_bytes: 128 << 20,
        newest_move: MoveId(0),
        last_move: None,
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, tag: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LENGTH];
    bytes.extend_from_slice(payload);
    finish(&mut bytes, kind, tag, payload.len()).unwrap();
    bytes
}
