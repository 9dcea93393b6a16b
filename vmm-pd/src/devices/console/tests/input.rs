// SPDX-License-Identifier: BSD-2-Clause
//! What is typed before a driver listens, while it starts, and while it clears and switches things.

use super::*;

#[test]
fn input_outlives_that_the_fifos_are_switched() {
    let mut bench = Bench::started();
    bench.type_in(b"old");
    for line_control in [0x60, 0x70] {
        bench.write(LCR_H, line_control);
        assert!(bench.console.interrupt_line());
    }
    assert_eq!(bench.read_away(usize::MAX), b"old");
    // Of a driver that does not listen they are flushed, and arrive when it has seen that.
    bench.write(IMSC, 0);
    bench.type_in(b"new");
    bench.write(LCR_H, 0x60);
    assert_ne!(bench.read(FR) & FLAG_RXFE, 0);
    assert_eq!(bench.read_away(usize::MAX), b"new");
}

#[test]
fn what_is_typed_before_a_driver_listens_is_delivered_when_it_does() {
    // As Linux does it: an early console that only writes, the console's setup, then `pl011_startup` with what is between
    // `pl011_hwinit` and `pl011_enable_interrupts`.
    let mut bench = Bench::new();
    let typed: Vec<u8> = (0..40).collect();
    let mut line = VecDeque::from(typed.clone());
    let mut fill = |bench: &mut Bench| {
        for _ in 0..bench.console.receive_room() {
            line.pop_front()
                .into_iter()
                .for_each(|byte| bench.console.receive(byte));
        }
    };
    let say = |bench: &mut Bench| {
        for _ in 0..3 {
            assert_eq!(bench.read(FR) & FLAG_TXFF, 0);
            bench.write(DR, b'.'.into());
        }
        assert_eq!(bench.read(FR) & FLAG_BUSY, 0);
    };
    fill(&mut bench);
    say(&mut bench);
    for (register, value) in [(CR, 0), (LCR_H, 0x70), (CR, 0x301)] {
        bench.write(register, value);
        fill(&mut bench);
    }
    say(&mut bench);
    for (register, value) in [
        (ICR, 0x7d0),
        (IMSC, RX | RT),
        (IMSC, 0),
        (IFLS, 0x12),
        (CR, 0xf01),
        (ICR, RX | RT),
    ] {
        bench.write(register, value);
        fill(&mut bench);
    }
    assert_eq!(bench.read_away(32), [], "it reads away what it finds");
    fill(&mut bench);
    bench.write(IMSC, RX | RT);
    let mut read = Vec::new();
    while bench.console.interrupt_line() {
        read.extend(bench.read_away(256));
        fill(&mut bench);
    }
    assert_eq!(read, typed);
}

#[test]
fn a_byte_is_read_at_whatever_moment_of_a_drivers_start_it_comes() {
    // Linux's `pl011_startup`, an access a line; no value reads the FIFO away.
    let start = [
        Some((ICR, 0x7d0)),
        Some((IMSC, 0)),
        Some((IFLS, 0x12)),
        Some((CR, 0x301)),
        Some((ICR, RX | RT)),
        None,
        Some((IMSC, RX | RT)),
    ];
    for moment in 0..=start.len() {
        let mut bench = Bench::new();
        bench.write(LCR_H, 0x70);
        for (number, access) in start.into_iter().enumerate() {
            if number == moment {
                bench.type_in(b"#");
            }
            match access {
                Some((register, value)) => bench.write(register, value),
                None => assert_eq!(bench.read_away(32), [], "at {moment}"),
            }
        }
        if moment == start.len() {
            bench.type_in(b"#");
        }
        assert!(bench.console.interrupt_line(), "at {moment}");
        assert_eq!(bench.read_away(32), b"#", "at {moment}");
    }
}

#[test]
fn a_guest_that_polls_gets_its_input_however_often_it_clears_interrupts() {
    let mut bench = Bench::new();
    bench.write(LCR_H, 0x70);
    bench.type_in(b"x");
    let looks = (0..100).find(|_| {
        bench.write(ICR, 0x7ff);
        bench.read(FR) & FLAG_RXFE == 0
    });
    assert!(looks.is_some());
    assert_eq!(bench.read(DR), b'x'.into());
}
