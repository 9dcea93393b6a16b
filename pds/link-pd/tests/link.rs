// SPDX-License-Identifier: BSD-2-Clause
//! The link between a fake device and a fake `migration-pd`.

use channel::ring::{Duplex, RingError, pair};
use drivers::virtio::fake::FakeConsole;
use drivers::virtio::{Port, VirtioError};
use link_pd::{Link, LinkError, VirtioLink};
use proptest::prelude::*;

/// The link, its device and the other side of its rings.
fn link(capacity: usize) -> (FakeConsole, Link<VirtioLink<FakeConsole>>, Duplex) {
    let (rings, migration) = pair(capacity, capacity).expect("memory");
    let fake = FakeConsole::default();
    let (memory, physical) = FakeConsole::memory();
    // SAFETY: the memory is for this driver alone and never freed.
    let port = unsafe { Port::new(fake.clone(), memory, physical) }.expect("a port");
    let device = VirtioLink::new(port, rings.consumer.region_address());
    (fake, Link::new(device, rings), migration)
}

/// `migration-pd`: sends a text piece by piece and keeps what it receives.
struct Migration {
    rings: Duplex,
    text: Vec<u8>,
    written: usize,
    received: Vec<u8>,
}

impl Migration {
    /// Does what it can, `pace` bytes at once; whether the link is to be notified.
    fn work(&mut self, pace: usize) -> bool {
        let Duplex { producer, consumer } = &mut self.rings;
        let mut bytes = vec![0; pace];
        while consumer.wait(0).expect("honest") {
            let count = consumer.pop(&mut bytes).expect("honest");
            self.received.extend_from_slice(&bytes[..count]);
        }
        while self.written < self.text.len() && producer.wait(pace).expect("honest") {
            let end = self.text.len().min(self.written + pace);
            let text = &self.text[self.written..end];
            self.written += producer.push(text).expect("honest");
        }
        producer.notify_due() | consumer.notify_due()
    }
}

proptest! {
    /// Everything but a due interrupt or notification is asleep, so a lost one shows as bytes that
    /// never arrive.
    #[test]
    fn all_bytes_pass_in_order_though_each_side_sleeps_until_it_is_woken(
        text in proptest::collection::vec(any::<u8>(), 0..3000),
        input in proptest::collection::vec(any::<u8>(), 0..3000),
        capacity in 1..700_usize,
        paces in proptest::collection::vec(1..300_usize, 4..16),
    ) {
        let (fake, mut link, rings) = link(capacity);
        fake.with(|device| {
            device.to_receive.extend(&input);
            device.room = 0;
        });
        let mut migration = Migration { rings, text, written: 0, received: Vec::new() };
        let mut paces = paces.into_iter().cycle();
        let (mut migration_is_due, mut link_is_due) = (true, true);
        for _ in 0..15_000 {
            let pace = paces.next().expect("endless");
            if core::mem::take(&mut migration_is_due) {
                link_is_due |= migration.work(pace);
            }
            if core::mem::take(&mut link_is_due) {
                migration_is_due |= link.work().expect("honest");
            }
            // The other end takes a few bytes more, and sends some.
            fake.with(|device| device.room = pace);
            fake.run(pace);
            link_is_due |= fake.with(|device| device.interrupt);
        }
        prop_assert_eq!(fake.with(|device| device.sent.clone()), migration.text);
        prop_assert_eq!(migration.received, input);
        prop_assert!(!link_is_due, "an interrupt that never ends");
    }
}

#[test]
fn an_idle_link_has_nothing_to_do_and_says_nothing() {
    let (fake, mut link, _migration) = link(64);
    let notifications = || fake.with(|device| std::mem::take(&mut device.notifications));
    assert_eq!(link.work(), Ok(false));
    while fake.with(|device| std::mem::take(&mut device.interrupt)) {
        assert_eq!(link.work(), Ok(false));
    }
    assert!(fake.with(|device| device.open));
    assert_ne!(notifications(), 0, "buffers, and opening the port");
    assert_eq!(link.work(), Ok(false));
    assert_eq!(notifications(), 0);
}

#[test]
fn input_that_nobody_has_room_for_stays_with_the_other_end() {
    let (fake, mut link, mut migration) = link(10);
    fake.with(|device| device.to_receive.extend(0..100));
    assert_eq!(link.work(), Ok(false));
    for _ in 0..100 {
        fake.run(1);
        let _ = link.work().expect("honest");
        fake.with(|device| device.interrupt = false);
    }
    // What is neither in the ring nor in the device's fifteen buffers of a byte each.
    assert_eq!(fake.with(|device| device.to_receive.len()), 100 - 10 - 15);
    assert_eq!(migration.consumer.pop(&mut [0; 10]), Ok(10));
    assert!(migration.consumer.notify_due());
    let _ = link.work().expect("honest");
    assert_eq!(migration.consumer.available(), Ok(10));
}

#[test]
fn a_corrupt_peer_domain_stops_the_link_for_good() {
    let (fake, mut link, mut migration) = link(64);
    assert_eq!(link.work(), Ok(false));
    migration.producer.lie(65);
    assert!(matches!(
        link.work(),
        Err(LinkError::Ring(RingError::Corrupt { found: 65, .. }))
    ));
    migration.producer.lie(3);
    fake.with(|device| device.to_receive.push_back(1));
    fake.run(1);
    assert_eq!(link.work(), Ok(false));
    assert!(fake.with(|device| device.sent.is_empty() && !device.interrupt));
}

#[test]
fn a_broken_device_stops_the_link_for_good() {
    let (fake, mut link, _migration) = link(64);
    assert_eq!(link.work(), Ok(false));
    fake.give_back(4, 99, 1);
    assert_eq!(
        link.work(),
        Err(LinkError::Device(VirtioError::NotPosted {
            queue: 4,
            slot: 99
        }))
    );
    assert_eq!(link.work(), Ok(false));
}

#[test]
fn what_is_sent_after_the_other_end_has_come_back_arrives() {
    let (fake, mut link, mut migration) = link(64);
    fake.with(|device| device.room = 3);
    assert_eq!(link.work(), Ok(false));
    assert_eq!(migration.producer.push(&[1; 64]), Ok(64));
    assert_eq!(link.work(), Ok(false));
    fake.run(0);
    fake.hang_up();
    assert_eq!(link.work(), Ok(true));
    assert_eq!(migration.producer.free(), Ok(64), "the ring is free again");
    fake.connect();
    fake.with(|device| device.room = 64);
    assert_eq!(migration.producer.push(&[2; 64]), Ok(64));
    assert_eq!(link.work(), Ok(false));
    fake.run(0);
    let sent = fake.with(|device| device.sent.clone());
    assert_eq!(sent, [[1; 3].as_slice(), [2; 64].as_slice()].concat());
}
