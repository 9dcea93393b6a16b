// SPDX-License-Identifier: BSD-2-Clause
//! Whatever the ring takes at a time, what leaves is whole frames in order.

use super::*;
use proptest::prelude::*;
use protocol::Decoder;
use protocol::fingerprint::Page;

/// What may be put into an outbox.
#[derive(Debug, Clone)]
enum Operation {
    Message(u32),
    Page(u32),
    Close,
    Bulk,
    Drain(Vec<usize>),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        any::<u32>().prop_map(Operation::Message),
        any::<u32>().prop_map(Operation::Page),
        Just(Operation::Close),
        Just(Operation::Bulk),
        prop::collection::vec(0..30_000_usize, 0..4).prop_map(Operation::Drain),
    ]
}

const ID: MoveId = MoveId(1);

/// Drains into `stream`, as much at a time as `sizes` say.
fn drain(outbox: &mut Outbox<'_>, stream: &mut Vec<u8>, sizes: impl IntoIterator<Item = usize>) {
    for size in sizes {
        let mut left = size;
        outbox.drain(|bytes| {
            let count = bytes.len().min(left);
            stream.extend_from_slice(&bytes[..count]);
            left -= count;
            count
        });
    }
}

fn frames(stream: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    let mut decoder = Decoder::new(vec![0; MAX_FRAME]);
    let mut rest = stream;
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = decoder.next() {
            frames.push((frame.kind, frame.tag, frame.payload.to_vec()));
        }
        let space = decoder.space();
        let count = space.len().min(rest.len());
        if count == 0 {
            break;
        }
        space[..count].copy_from_slice(&rest[..count]);
        decoder.filled(count);
        rest = &rest[count..];
    }
    assert_eq!((decoder.skipped(), decoder.is_partial()), (0, false));
    frames
}

#[test]
fn a_message_overtakes_pages_that_have_not_begun_to_leave() {
    let (mut messages, mut bulk) = (Box::new([0; MAX_FRAME]), Box::new([0; MAX_FRAME]));
    let mut outbox = Outbox::new(&mut messages, &mut bulk);
    let mut stream = Vec::new();
    let page: Page = [7; PAGE_SIZE];
    for number in 0..15 {
        assert!(outbox.has_room_for_page(MAX_PAYLOAD));
        outbox.page(ID, 0, number, &Contents::Plain(&page));
    }
    assert!(!outbox.has_room_for_page(MAX_PAYLOAD));
    outbox.close_pages();
    outbox.transfer(&Transfer::Unknown { id: ID });
    drain(&mut outbox, &mut stream, [100_000]);
    let kinds: Vec<u8> = frames(&stream).iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [kind::UNKNOWN, kind::PAGES]);
    assert!(outbox.bulk_is_empty());
    assert_eq!(outbox.waiting(), 0);
}

#[test]
fn a_frame_of_which_part_has_left_is_not_dropped() {
    let (mut messages, mut bulk) = (Box::new([0; MAX_FRAME]), Box::new([0; MAX_FRAME]));
    let mut outbox = Outbox::new(&mut messages, &mut bulk);
    let mut stream = Vec::new();
    let body = &[1; 500];
    outbox.bulk(&Transfer::Pages {
        id: ID,
        index: 0,
        body,
    });
    drain(&mut outbox, &mut stream, [100]);
    outbox.drop_bulk();
    outbox.transfer(&Transfer::Unknown { id: ID });
    drain(&mut outbox, &mut stream, [100, 1000]);
    let kinds: Vec<u8> = frames(&stream).iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(kinds, [kind::PAGES, kind::UNKNOWN]);
    outbox.page(ID, 1, 3, &Contents::Zero);
    assert!(outbox.is_filling());
    outbox.drop_bulk();
    assert!(outbox.bulk_is_empty());
}

#[test]
fn messages_for_which_there_is_no_room_are_counted() {
    let (mut messages, mut bulk) = (Box::new([0; MAX_FRAME]), Box::new([0; MAX_FRAME]));
    let mut outbox = Outbox::new(&mut messages, &mut bulk);
    for _ in 0..3000 {
        outbox.transfer(&Transfer::Unknown { id: ID });
    }
    assert!(outbox.dropped() > 0);
    let mut stream = Vec::new();
    drain(&mut outbox, &mut stream, [1_000_000]);
    let count = u64::try_from(frames(&stream).len()).unwrap();
    assert_eq!(count + outbox.dropped(), 3000);
}

proptest! {
    #[test]
    fn what_leaves_is_what_was_put_in(operations in prop::collection::vec(operation(), 0..60)) {
        let (mut messages, mut bulk) = (Box::new([0; MAX_FRAME]), Box::new([0; MAX_FRAME]));
        let mut outbox = Outbox::new(&mut messages, &mut bulk);
        let mut stream = Vec::new();
        let (mut tags, mut pages, mut sent) = (Vec::new(), Vec::new(), 0_usize);
        let page: Page = [7; PAGE_SIZE];
        for operation in operations {
            match operation {
                Operation::Message(tag) => {
                    outbox.message(kind::HELLO, tag, |_| Ok::<_, WireError>(0));
                    tags.push(tag);
                }
                Operation::Page(number) if outbox.has_room_for_page(MAX_PAYLOAD) => {
                    outbox.page(ID, 0, number, &Contents::Plain(&page));
                    pages.push(number);
                }
                Operation::Close => {
                    outbox.close_pages();
                }
                Operation::Bulk if outbox.bulk_is_empty() => {
                    outbox.bulk(&Transfer::Committed { id: ID, incarnation: protocol::Incarnation(1) });
                    sent += 1;
                }
                Operation::Drain(sizes) => drain(&mut outbox, &mut stream, sizes),
                Operation::Page(_) | Operation::Bulk => {}
            }
        }
        outbox.close_pages();
        drain(&mut outbox, &mut stream, [1_000_000]);
        prop_assert_eq!(outbox.waiting(), 0);
        let (mut found_tags, mut found_pages, mut found) = (Vec::new(), Vec::new(), 0);
        for (kind, tag, payload) in frames(&stream) {
            match (kind, Transfer::decode(kind, &payload)) {
                (kind::HELLO, _) => found_tags.push(tag),
                (_, Ok(Transfer::Pages { body, .. })) => {
                    let numbers = protocol::pages::iterate(body);
                    found_pages.extend(numbers.map(|entry| entry.unwrap().0));
                }
                _ => found += 1,
            }
        }
        prop_assert_eq!((found_tags, found_pages, found), (tags, pages, sent));
    }
}
