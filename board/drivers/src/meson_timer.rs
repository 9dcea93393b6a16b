// SPDX-License-Identifier: BSD-2-Clause
//! Timer A of the ISA timers of Amlogic's Meson SoCs (S905 datasheet, revision 1.1.4, section
//! "Timer"; the S905X3's are the same).
//!
//! Responsible for: one interrupt after a time. Must never: touch timers B to E beyond leaving
//! their bits of the common register as they are.

use crate::{Alarm, Registers};

/// `ISA_TIMER_MUX`: what all of them count, and which do.
const MUX: usize = 0x00;
/// `ISA_TIMERA`: where it counts down from.
const TIMER_A: usize = 0x04;

/// In `ISA_TIMER_MUX`: what timer A counts, whether it starts again, whether it is on.
const INPUT_CLOCK: u32 = 0b11;
const PERIODIC: u32 = 1 << 12;
const ENABLE: u32 = 1 << 16;
/// The values of [`INPUT_CLOCK`] with how many microseconds each tick then is.
const CLOCKS: [(u32, u64); 4] = [(0b00, 1), (0b01, 10), (0b10, 100), (0b11, 1000)];
/// The longest time that its 16 bits count.
const LONGEST: u64 = 0xffff;
/// The timebase: whatever the SoC's clocks are, it gives a tick a microsecond.
const MICROSECONDS: u32 = 1_000_000;

/// The timer.
#[derive(Debug)]
pub struct MesonTimer<R> {
    registers: R,
    /// Where `ISA_TIMER_MUX` is within the registers.
    offset: usize,
}

impl<R: Registers> MesonTimer<R> {
    /// Timer A, switched off; `ISA_TIMER_MUX` is at `offset` of the registers.
    pub fn new(registers: R, offset: usize) -> Self {
        let mut timer = Self { registers, offset };
        timer.set(None);
        timer
    }
}

/// Input clock and count for a time in microseconds: the finest that can count so far.
fn settings(microseconds: u64) -> (u32, u64) {
    let fits = |&(_, tick): &(u32, u64)| microseconds.div_ceil(tick) <= LONGEST;
    let (clock, tick) = CLOCKS.into_iter().find(fits).unwrap_or((0b11, 1000));
    (clock, microseconds.div_ceil(tick).clamp(1, LONGEST))
}

impl<R: Registers> Alarm for MesonTimer<R> {
    fn frequency(&self) -> u32 {
        MICROSECONDS
    }

    /// Its interrupt is a pulse: there is nothing to end.
    fn set(&mut self, after: Option<u64>) {
        let others = self.registers.read(self.offset + MUX) & !(INPUT_CLOCK | PERIODIC | ENABLE);
        self.registers.write(self.offset + MUX, others);
        if let Some(after) = after {
            let (clock, count) = settings(after);
            #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST")]
            self.registers.write(self.offset + TIMER_A, count as u32);
            self.registers
                .write(self.offset + MUX, others | clock | ENABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the timers are in their page on the Odroid-C2.
    const OFFSET: usize = 0x940;

    /// Timer A as the datasheet has it.
    #[derive(Debug, Default)]
    struct Fake {
        mux: u32,
        start: u32,
        /// Microseconds left, while it counts.
        left: Option<u64>,
        pulses: usize,
    }

    impl Fake {
        fn pass(&mut self, microseconds: u64) {
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(microseconds);
                if *left == 0 {
                    self.pulses += 1;
                    self.left = None;
                }
            }
        }
    }

    impl Registers for &mut Fake {
        fn read(&mut self, offset: usize) -> u32 {
            assert_eq!(offset, OFFSET);
            self.mux
        }

        fn write(&mut self, offset: usize, value: u32) {
            match offset - OFFSET {
                0 => {
                    assert_eq!(value & PERIODIC, 0);
                    self.mux = value;
                    let tick = 10_u64.pow(value & INPUT_CLOCK);
                    self.left = (value & ENABLE != 0).then(|| u64::from(self.start) * tick);
                }
                4 => {
                    assert_eq!(self.mux & ENABLE, 0, "only while it stands");
                    assert!((1..=0xffff).contains(&value));
                    self.start = value;
                }
                _ => panic!("unexpected write of {offset:#x}"),
            }
        }
    }

    #[test]
    fn interrupts_when_the_time_is_over_and_not_much_later() {
        for after in [1, 999, 65_535, 65_536, 1_234_567, 60_000_000] {
            let mut fake = Fake::default();
            let mut timer = MesonTimer::new(&mut fake, OFFSET);
            timer.set(Some(after));
            timer.registers.pass(after - 1);
            assert_eq!(timer.registers.pulses, 0, "{after}: too early");
            timer.registers.pass(1 + after / 6553);
            assert_eq!(timer.registers.pulses, 1, "{after}: too late");
        }
    }

    #[test]
    fn a_time_too_long_to_count_ends_early() {
        assert_eq!(settings(u64::MAX), (0b11, 0xffff));
        assert_eq!(settings(0), (0b00, 1));
    }

    #[test]
    fn the_other_timers_stay_as_they_are() {
        let others = 0b1110 << 16 | 0b1110 << 12 | 1 << 8 | 0b1111_1100;
        let mut fake = Fake {
            mux: !0,
            ..Fake::default()
        };
        let mut timer = MesonTimer::new(&mut fake, OFFSET);
        timer.set(Some(7));
        assert_eq!(timer.registers.mux & others, others);
        timer.set(None);
        assert_eq!(timer.registers.mux & others, others);
        timer.registers.pass(100);
        assert_eq!(timer.registers.pulses, 0, "it is off");
        assert_eq!(timer.frequency(), 1_000_000);
    }
}
