// SPDX-License-Identifier: BSD-2-Clause
//! The virtio console driver against a device that does no more than the standard asks of it.

use drivers::virtio::fake::{Device, FakeConsole};
use drivers::virtio::{BUFFER_LENGTH, Piece, Port, QUEUE_SIZE, VirtioError};
use proptest::prelude::*;

fn port(set: impl FnOnce(&mut Device)) -> Result<(FakeConsole, Port<FakeConsole>), VirtioError> {
    let fake = FakeConsole::default();
    fake.with(set);
    let (memory, physical) = FakeConsole::memory();
    // SAFETY: the memory is for this driver alone and never freed.
    let mut port = unsafe { Port::new(fake.clone(), memory, physical) }?;
    port.acknowledge()?;
    fake.with(|device| device.interrupt = false);
    Ok((fake, port))
}

fn piece(bytes: &'static [u8]) -> Piece {
    Piece {
        address: bytes.as_ptr().expose_provenance() as u64,
        length: u32::try_from(bytes.len()).expect("short"),
    }
}

#[test]
fn a_port_is_opened_with_no_feature_that_it_does_not_need() {
    let (fake, _port) = port(|_| {}).expect("a port");
    fake.with(|device| {
        assert_eq!(device.driver_features, 1 << 32 | 1 << 1);
        assert!(device.open);
    });
}

#[test]
fn a_device_that_is_not_for_this_driver_is_refused() {
    let refusal = |set: fn(&mut Device)| port(set).err();
    assert_eq!(
        refusal(|device| device.features = 1 << 1),
        Some(VirtioError::Legacy)
    );
    assert_eq!(
        refusal(|device| device.accepts = false),
        Some(VirtioError::Features)
    );
    assert_eq!(
        refusal(|device| device.features = 1 << 32),
        Some(VirtioError::Features)
    );
    assert_eq!(
        refusal(|device| device.queue_size = 8),
        Some(VirtioError::QueueTooShort { queue: 4, found: 8 })
    );
    assert_eq!(
        refusal(|device| device.device_type = virtio_drivers::transport::DeviceType::Block),
        Some(VirtioError::NotConsole)
    );
}

#[test]
fn a_queue_full_of_pieces_is_sent_in_order_and_counted_when_done() {
    let (fake, mut port) = port(|device| device.room = 0).expect("a port");
    let texts: [&'static [u8]; 4] = [b"one", b"two", b"three", b"four"];
    for index in 0..QUEUE_SIZE {
        assert!(port.send(piece(texts[index % 4])));
    }
    assert!(!port.can_send() && !port.send(piece(b"too many")));
    port.start();
    fake.run(0);
    assert_eq!(port.sent(), Ok(0));
    fake.with(|device| device.room = 4);
    fake.run(0);
    assert_eq!(port.sent(), Ok(3), "half a piece does not count");
    assert!(port.can_send() && port.is_sending());
    fake.with(|device| device.room = usize::MAX);
    fake.run(0);
    assert_eq!(port.sent(), Ok(57));
    assert!(!port.is_sending());
    assert_eq!(
        fake.with(|device| device.sent.clone()),
        b"onetwothreefour".repeat(4)
    );
}

#[test]
fn a_piece_that_the_device_skips_is_lost_and_its_slot_is_free() {
    let (fake, mut port) = port(|device| device.room = 0).expect("a port");
    for text in [b"aa", b"bb", b"cc"] {
        assert!(port.send(piece(text)));
    }
    port.start();
    fake.give_back(5, 1, 0);
    assert_eq!(port.sent(), Ok(4));
    assert!(port.send(piece(b"dddd")));
    fake.give_back(5, 2, 0);
    fake.give_back(5, 0, 0);
    assert_eq!(port.sent(), Ok(6));
    assert!(!port.is_sending());
}

#[test]
fn pieces_continue_after_the_other_end_has_gone_in_the_middle_of_one() {
    let (fake, mut port) = port(|device| device.room = 1).expect("a port");
    for _ in 0..3 * QUEUE_SIZE {
        // The only one under way is forgotten; nothing comes after it that would tell.
        assert!(port.send(piece(b"lost")));
        port.start();
        fake.run(0);
        fake.hang_up();
        assert_eq!(port.acknowledge(), Ok(()));
        assert_eq!(port.sent(), Ok(4));
        fake.connect();
        fake.with(|device| device.room = 5);
        assert!(port.send(piece(b"kept")));
        port.start();
        fake.run(0);
        assert_eq!(port.acknowledge(), Ok(()));
        assert_eq!(port.sent(), Ok(4));
        assert!(!port.is_sending());
    }
    assert_eq!(
        fake.with(|device| device.sent.clone()),
        b"lkept".repeat(3 * QUEUE_SIZE)
    );
}

#[test]
fn a_full_queue_is_let_go_when_the_other_end_goes() {
    let (fake, mut port) = port(|device| device.room = 0).expect("a port");
    while port.can_send() {
        assert!(port.send(piece(b"four")));
    }
    port.start();
    fake.run(0);
    fake.hang_up();
    assert_eq!(port.acknowledge(), Ok(()));
    fake.run(0);
    assert_eq!(port.sent(), Ok(4 * QUEUE_SIZE));
    assert!(port.can_send() && !port.is_sending());
}

#[test]
fn a_device_that_gives_back_what_it_does_not_have_is_an_error() {
    for slot in [5, 16, u32::MAX] {
        let (fake, mut port) = port(|_| {}).expect("a port");
        fake.give_back(5, slot, 0);
        assert_eq!(port.sent(), Err(VirtioError::NotPosted { queue: 5, slot }));
    }
    let (fake, mut port) = port(|_| {}).expect("a port");
    fake.give_back(4, 2, 4097);
    assert_eq!(
        port.receive(&mut [0; 8]),
        Err(VirtioError::TooLong {
            queue: 4,
            length: 4097
        })
    );
}

#[test]
fn interrupts_come_only_for_what_is_waited_for() {
    let (fake, mut port) = port(|_| {}).expect("a port");
    let interrupted = || fake.with(|device| std::mem::take(&mut device.interrupt));
    fake.with(|device| device.to_receive.extend(b"abc"));
    fake.run(1);
    assert!(!interrupted(), "nobody waits");
    assert!(port.wait(true, false), "it has come already");
    assert!(!port.wait(false, true), "that is not waited for");
    assert_eq!(port.receive(&mut [0; 8]), Ok(1));
    assert!(!port.wait(true, false));
    fake.run(1);
    assert!(interrupted());
    assert!(port.send(piece(b"x")));
    port.start();
    fake.run(0);
    assert!(!interrupted(), "not for what is sent");
    assert!(port.wait(false, true));
    assert_eq!(port.sent(), Ok(1));
    assert!(!port.wait(false, true));
}

proptest! {
    #[test]
    fn what_is_received_arrives_whole_and_in_order_in_pieces_of_any_size(
        bytes in proptest::collection::vec(any::<u8>(), 0..12_000),
        chunks in proptest::collection::vec(1..=BUFFER_LENGTH, 1..10),
        reads in proptest::collection::vec(1..9000_usize, 1..10),
    ) {
        let (fake, mut port) = port(|_| {}).expect("a port");
        fake.with(|device| device.to_receive.extend(&bytes));
        let (mut chunks, mut reads) = (chunks.into_iter().cycle(), reads.into_iter().cycle());
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            fake.run(chunks.next().expect("endless"));
            let mut place = vec![0; reads.next().expect("endless")];
            let count = port.receive(&mut place).expect("an honest device");
            received.extend_from_slice(&place[..count]);
            port.resume();
        }
        prop_assert_eq!(received, bytes);
    }
}
