// SPDX-License-Identifier: BSD-2-Clause
//! What travels on a board's link (`wire/protocol/src`): frames, messages, pages.
//!
//! `migration-pd` decodes without a heap, and so does all of this. One thing has more than one form: a page that is
//! compressed, since LZ4 leaves a choice. Its length and its contents are checked; what a board takes over is the page.

use hang::{Hang, Taken};
use protocol::frame::finish;
use protocol::management::{SetRegister, StartMove, Statistics, Verdict};
use protocol::pages::{Contents, append, iterate};
use protocol::transfer::{Offer, OfferedBundle};
use protocol::{
    Answer, Decoder, Domain, Event, HEADER_LENGTH, Incarnation, MAX_FRAME, MoveFailure, MoveId,
    Pace, Request, RequestError, Transfer, WireError,
};
use vm::PAGE_SIZE;

use state::Register;
use state::legal::Illegal;

use crate::allocation::without_heap;

/// The longest piece of a stream that one byte of input stands for.
const PIECE: usize = 64;

/// A stream that the input describes: frames, halves of frames, and garbage; arriving in pieces.
pub(crate) fn frames(data: &[u8]) {
    let (stream, whole) = stream_of(data);
    let mut room = vec![0; MAX_FRAME];
    let mut decoder = Decoder::new(&mut room[..]);
    let mut found = 0;
    let mut again = vec![0; MAX_FRAME];
    let mut rest = &stream[..];
    let mut step = data.len();
    while !rest.is_empty() {
        let space = without_heap(|| decoder.space().len());
        assert!(space > 0, "a decoder without a frame has room");
        step = step.wrapping_mul(31).wrapping_add(7);
        let count = rest.len().min(space).min(1 + step % 97);
        let (piece, left) = rest.split_at(count);
        decoder.space()[..count].copy_from_slice(piece);
        rest = left;
        without_heap(|| decoder.filled(count));
        while let Some(frame) = without_heap(|| decoder.next()) {
            found += 1;
            let payload = HEADER_LENGTH..HEADER_LENGTH + frame.payload.len();
            again[payload].copy_from_slice(frame.payload);
            let length = finish(&mut again, frame.kind, frame.tag, frame.payload.len());
            let length = length.expect("a frame's payload fits into a frame");
            assert_eq!(&again[..length], frame.bytes);
        }
    }
    if let Some(whole) = whole {
        assert_eq!(
            found, whole,
            "every frame of an undisturbed stream is found"
        );
    }
}

/// The stream, and how many frames there are in it, if it has nothing else.
fn stream_of(data: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut stream = Vec::new();
    let mut whole = Some(0);
    let mut rest = data;
    while let Some(([operation, length], tail)) = rest.split_first_chunk() {
        let (piece, tail) = tail.split_at(usize::from(*length).min(PIECE).min(tail.len()));
        rest = tail;
        let mut frame = vec![0; HEADER_LENGTH];
        frame.extend(piece);
        let kind = operation >> 2;
        let sealed = finish(&mut frame, kind, u32::from(*length), piece.len());
        assert_eq!(sealed, Some(frame.len()));
        match operation & 3 {
            0 => {
                whole = None;
                stream.extend(piece);
            }
            1 => {
                whole = None;
                let cut = frame.len() * usize::from(kind) / 64;
                stream.extend(frame.iter().take(cut));
            }
            _ => {
                whole = whole.map(|count| count + 1);
                stream.extend(frame);
            }
        }
    }
    (stream, whole)
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x42, 3, 1, 2, 3, 0x82, 0, 0xfe, 1, 9],
        vec![
            0x42, 3, 1, 2, 3, 0x80, 4, 0xc7, b'G', b'D', b'W', 0x42, 1, 5,
        ],
        vec![
            0x42, 2, 1, 2, 0x81, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x42, 0, 0x42, 0,
        ],
    ]
}

/// A message: its kind, and its payload.
pub(crate) fn messages(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else {
        return;
    };
    let request = without_heap(|| Request::decode(*kind, payload));
    canonical(
        payload,
        request,
        |it, out| (it.kind(), it.encode(out)),
        *kind,
    );
    let answer = without_heap(|| Answer::decode(*kind, payload));
    canonical(
        payload,
        answer,
        |it, out| (it.kind(), it.encode(out)),
        *kind,
    );
    let event = without_heap(|| Event::decode(*kind, payload));
    canonical(payload, event, |it, out| (it.kind(), it.encode(out)), *kind);
    let transfer = without_heap(|| Transfer::decode(*kind, payload));
    canonical(
        payload,
        transfer,
        |it, out| (it.kind(), it.encode(out)),
        *kind,
    );
}

fn canonical<T: core::fmt::Debug>(
    payload: &[u8],
    decoded: Result<T, WireError>,
    encode: impl FnOnce(&T, &mut [u8]) -> (u8, Result<usize, WireError>),
    kind: u8,
) {
    let Ok(message) = decoded else { return };
    let mut again = vec![0; payload.len()];
    let encoded = encode(&message, &mut again);
    assert_eq!(encoded, (kind, Ok(payload.len())), "{message:?}");
    assert_eq!(again, payload, "{message:?}");
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let id = MoveId(300);
    let incarnation = Incarnation(u64::MAX);
    let mut seeds = Vec::new();
    let start = StartMove {
        id,
        seed: [1, 2],
        downtime_target_us: 100_000,
        downtime_limit_ms: 0,
        max_rounds: 30,
        share: 60,
        bandwidth: 0,
        timeout_ms: 3000,
        pace: Pace::line(921_600),
        advance: true,
        accept_core: true,
    };
    for request in [
        Request::Status,
        Request::Start(start),
        Request::Query(id),
        Request::Resolve(id, Verdict::Keep),
        Request::Examine(Domain::Timer),
        Request::SetRegister(SetRegister {
            vcpu: 1,
            register: 0x0010_0026,
            value: u128::MAX,
        }),
    ] {
        seeds.push(with_kind(request.kind(), |out| request.encode(out)));
    }
    let error = RequestError::StaleMove { newest: id };
    let illegal = Illegal {
        vcpu: 3,
        register: Register::PSTATE,
        value: 0x3c9,
        bits: 9,
    };
    let taken = Taken {
        at: u64::MAX,
        syndrome: 2,
        instruction: Some(3),
    };
    for answer in [
        Answer::Accepted,
        Answer::Statistics(Statistics::from_words([1, 2, 3, 4, 5, 6, 7, u64::MAX])),
        Answer::Looked([
            Some(Hang::Vector {
                taken,
                first: Some(taken),
            }),
            None,
            Some(Hang::Loop { at: 1, after: None }),
            None,
        ]),
        Answer::Description(b"machine"),
        Answer::Examined(Domain::Vmm, b"record"),
        Answer::Refused(error),
        Answer::Refused(RequestError::Illegal(illegal)),
    ] {
        seeds.push(with_kind(answer.kind(), |out| answer.encode(out)));
    }
    let failure = MoveFailure::Sequence {
        expected: 1,
        found: u32::MAX,
    };
    for transfer in [
        Transfer::Offer {
            offer: Offer {
                id,
                seed: [1, 2],
                ram_bytes: 1 << 27,
                resume: true,
                timeout_ms: 30_000,
                accept_core: true,
                bundle: Some(OfferedBundle {
                    identity: 0x0b00_0007,
                    pages: 9000,
                }),
            },
            machine: b"a machine",
        },
        Transfer::Accept {
            id,
            incarnation,
            send_bundle: true,
        },
        Transfer::Refuse { id, failure },
        Transfer::Refuse {
            id,
            failure: MoveFailure::Illegal(illegal),
        },
        Transfer::Record {
            id,
            index: 3,
            domain: Domain::Vgic,
            body: b"record",
        },
        Transfer::Prepare {
            id,
            index: 4,
            digest: [5, 6],
        },
        Transfer::Commit {
            id,
            incarnation,
            advance_us: 300_000,
        },
        Transfer::Aborted {
            id,
            incarnation,
            failure,
        },
    ] {
        seeds.push(with_kind(transfer.kind(), |out| transfer.encode(out)));
    }
    seeds
}

fn with_kind(kind: u8, encode: impl FnOnce(&mut [u8]) -> Result<usize, WireError>) -> Vec<u8> {
    let mut bytes = vec![kind; 256];
    let length = encode(&mut bytes[1..]).expect("a sample is short");
    bytes.truncate(1 + length);
    bytes
}

/// The body of a message of pages.
pub(crate) fn pages(data: &[u8]) {
    let mut room = [0; PAGE_SIZE];
    let mut again = vec![0; data.len()];
    let mut used = 0;
    let mut entries = without_heap(|| iterate(data));
    let mut refused = false;
    while let Some(entry) = without_heap(|| entries.next()) {
        let Ok((number, contents)) = entry else {
            refused = true;
            continue;
        };
        assert!(!refused, "after an error nothing more is read");
        let zero = matches!(contents, Contents::Zero);
        if let Ok(page) = without_heap(|| contents.unpack(&mut room)) {
            assert!(!zero || page.iter().all(|byte| *byte == 0));
        }
        used = append(&mut again, used, number, &contents).expect("what was read fits");
    }
    if !refused {
        assert_eq!(again, data);
    }
}

pub(crate) fn page_seeds() -> Vec<Vec<u8>> {
    let plain = [0xa5; PAGE_SIZE];
    let mut body = vec![0; PAGE_SIZE + 64];
    // An LZ4 block that is a page of nines: a literal, then that repeated.
    let mut block = vec![0x1f, 9, 1, 0];
    block.extend([255; 15]);
    block.extend([246, 0x50, 9, 9, 9, 9, 9]);
    let mut used = 0;
    for (page, contents) in [
        (7, Contents::Zero),
        (u32::MAX, Contents::Compressed(&block)),
        (0, Contents::Plain(&plain)),
    ] {
        used = append(&mut body, used, page, &contents).expect("there is room");
    }
    body.truncate(used);
    let short = body.iter().take(48).copied().collect();
    vec![body, short]
}
