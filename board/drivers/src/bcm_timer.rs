// SPDX-License-Identifier: BSD-2-Clause
//! Channel 1 of the system timer of the BCM2711 (BCM2711 ARM Peripherals, chapter 10).
//!
//! Responsible for: one interrupt after a time. Must never: touch channels 0 and 2, which are the VideoCore's.

use crate::{Alarm, Registers};

// Offsets of the registers (BCM2711 ARM Peripherals, 10.2).
const CS: usize = 0x00;
const CLO: usize = 0x04;
const C1: usize = 0x10;

/// `CS`: channel 1 has matched; a one written clears it.
const MATCHED: u32 = 1 << 1;
/// It counts microseconds.
const MICROSECONDS: u32 = 1_000_000;
/// The longest time: half of what its 32 bits count, so that past and future are told apart.
const LONGEST: u64 = 1 << 31;
/// How far away the next try is where the counter had passed before it was compared. Accesses take well below a
/// microsecond.
const MARGINS: [u32; 4] = [0, 4, 64, 1024];

/// The timer.
#[derive(Debug)]
pub struct BcmTimer<R> {
    registers: R,
}

impl<R: Registers> BcmTimer<R> {
    /// Channel 1, with nothing to wait for.
    pub fn new(registers: R) -> Self {
        let mut timer = Self { registers };
        timer.set(None);
        timer
    }
}

impl<R: Registers> Alarm for BcmTimer<R> {
    fn frequency(&self) -> u32 {
        MICROSECONDS
    }

    /// It cannot be switched off: what was set before matches again when the count has come round, after 71 minutes, and is
    /// then an early interrupt. It matches when the count *is* the value, so that a value that was passed while it was being
    /// written is set again.
    fn set(&mut self, after: Option<u64>) {
        self.registers.write(CS, MATCHED);
        let Some(after) = after else { return };
        let after = after.clamp(1, LONGEST) as u32;
        for margin in MARGINS {
            let after = after.max(margin);
            let start = self.registers.read(CLO);
            self.registers.write(C1, start.wrapping_add(after));
            let passed = self.registers.read(CLO).wrapping_sub(start);
            if passed < after || self.registers.read(CS) & MATCHED != 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The timer as the manual has it. Each access takes some time.
    #[derive(Debug, Default)]
    struct Fake {
        count: u32,
        compare: u32,
        matched: bool,
        /// Microseconds that an access takes.
        access: u32,
    }

    impl Fake {
        fn pass(&mut self, microseconds: u32) {
            let left = self.compare.wrapping_sub(self.count);
            self.count = self.count.wrapping_add(microseconds);
            self.matched |= left != 0 && left <= microseconds;
        }
    }

    impl Registers for &mut Fake {
        fn read(&mut self, offset: usize) -> u32 {
            let value = match offset {
                0x00 => u32::from(self.matched) << 1,
                0x04 => self.count,
                _ => panic!("unexpected read of {offset:#x}"),
            };
            self.pass(self.access);
            value
        }

        fn write(&mut self, offset: usize, value: u32) {
            self.pass(self.access);
            match offset {
                0x00 => {
                    assert_eq!(value, 0b10, "the others' are left alone");
                    self.matched = false;
                }
                0x10 => self.compare = value,
                _ => panic!("unexpected write of {offset:#x}"),
            }
        }
    }

    #[test]
    fn interrupts_when_the_time_is_over_and_not_before() {
        for after in [2, 999, 1_000_000, 1 << 31] {
            for count in [0, u32::MAX - 500] {
                let mut fake = Fake {
                    count,
                    ..Fake::default()
                };
                let mut timer = BcmTimer::new(&mut fake);
                timer.set(Some(after));
                timer.registers.pass(u32::try_from(after).unwrap() - 1);
                assert!(!timer.registers.matched, "{after}: too early");
                timer.registers.pass(1);
                assert!(timer.registers.matched, "{after}: too late");
                timer.set(None);
                assert!(!timer.registers.matched, "it is cleared");
            }
        }
    }

    #[test]
    fn a_time_too_long_to_count_ends_early() {
        let mut fake = Fake::default();
        let mut timer = BcmTimer::new(&mut fake);
        timer.set(Some(u64::MAX));
        timer.registers.pass(1 << 31);
        assert!(timer.registers.matched);
        assert_eq!(timer.frequency(), 1_000_000);
    }

    proptest! {
        // Pitfall: a timer that matches by equality, and whose count has passed, is 71 minutes late.
        #[test]
        fn a_time_that_passes_while_it_is_set_is_not_missed(
            after in 0..20_u64,
            count in any::<u32>(),
            access in 0..200_u32,
        ) {
            let mut fake = Fake { count, compare: count, access, ..Fake::default() };
            let mut timer = BcmTimer::new(&mut fake);
            timer.set(Some(after));
            timer.registers.pass(2048);
            prop_assert!(timer.registers.matched);
        }
    }
}
