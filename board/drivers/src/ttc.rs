// SPDX-License-Identifier: BSD-2-Clause
//! The first counter of a triple timer counter (TTC) of the Zynq UltraScale+ MPSoC (UG1085,
//! chapter 14; UG1087, module TTC).
//!
//! Responsible for: one interrupt after a time. Must never: count further than 16 bits: the
//! device's counters have 32, QEMU's model of it (`cadence_ttc`) 16.

use crate::{Alarm, Registers};

// Offsets of the first counter's registers (UG1087, module TTC).
const CLOCK_CONTROL: usize = 0x00;
const COUNTER_CONTROL: usize = 0x0c;
const INTERVAL: usize = 0x24;
const INTERRUPT: usize = 0x54;
const INTERRUPT_ENABLE: usize = 0x60;

/// `Clock_Control`: the prescaler is on; its exponent, less one, is in bits 1 to 4.
const PRESCALE: u32 = 1;
/// The largest exponent: the counter counts every 65,536th tick.
const MOST: u32 = 16;
/// `Counter_Control`: stopped; up to the interval; from the start; no waveform on the pin.
const DISABLE: u32 = 1;
const INTERVAL_MODE: u32 = 1 << 1;
const RESET: u32 = 1 << 4;
const NO_WAVEFORM: u32 = 1 << 5;
/// `Interrupt_Register`, `Interrupt_Enable`: the interval is over.
const INTERVAL_OVER: u32 = 1;
/// The longest interval.
const LONGEST: u64 = 0xffff;

/// A counter.
#[derive(Debug)]
pub struct Ttc<R> {
    registers: R,
    clock: u32,
}

impl<R: Registers> Ttc<R> {
    /// The first counter of a TTC whose clock has `clock` hertz, switched off.
    pub fn new(registers: R, clock: u32) -> Self {
        let mut timer = Self { registers, clock };
        timer.set(None);
        timer
    }
}

/// Clock control and interval for a time in ticks: the finest that can count so far.
fn settings(ticks: u64) -> (u32, u64) {
    let finest = (0..=MOST).find(|exponent| ticks.div_ceil(1 << exponent) <= LONGEST);
    let exponent = finest.unwrap_or(MOST);
    let control = match exponent {
        0 => 0,
        exponent => PRESCALE | (exponent - 1) << 1,
    };
    (control, ticks.div_ceil(1 << exponent).clamp(1, LONGEST))
}

impl<R: Registers> Alarm for Ttc<R> {
    fn frequency(&self) -> u32 {
        self.clock
    }

    fn set(&mut self, after: Option<u64>) {
        self.registers.write(COUNTER_CONTROL, DISABLE | NO_WAVEFORM);
        // Reading clears it.
        let _ = self.registers.read(INTERRUPT);
        let Some(after) = after else {
            self.registers.write(INTERRUPT_ENABLE, 0);
            return;
        };
        let (control, interval) = settings(after);
        self.registers.write(CLOCK_CONTROL, control);
        #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST")]
        self.registers.write(INTERVAL, interval as u32);
        self.registers.write(INTERRUPT_ENABLE, INTERVAL_OVER);
        self.registers
            .write(COUNTER_CONTROL, INTERVAL_MODE | RESET | NO_WAVEFORM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter as UG1085 has it, with 16 bits.
    #[derive(Debug, Default)]
    struct Fake {
        clock: u32,
        control: u32,
        interval: u32,
        count: u64,
        happened: u32,
        enabled: u32,
    }

    impl Fake {
        /// So many ticks of its clock pass.
        fn pass(&mut self, ticks: u64) {
            if self.control & DISABLE != 0 {
                return;
            }
            let shift = match self.clock & 1 {
                0 => 0,
                _ => (self.clock >> 1 & 0xf) + 1,
            };
            self.count += ticks;
            if self.count >> shift >= u64::from(self.interval) {
                self.happened |= self.control >> 1 & INTERVAL_OVER;
                self.count = 0;
            }
        }

        fn interrupts(&self) -> bool {
            self.happened & self.enabled != 0
        }
    }

    impl Registers for &mut Fake {
        fn read(&mut self, offset: usize) -> u32 {
            assert_eq!(offset, INTERRUPT);
            std::mem::take(&mut self.happened)
        }

        fn write(&mut self, offset: usize, value: u32) {
            match offset {
                CLOCK_CONTROL => {
                    assert_ne!(self.control & DISABLE, 0, "only while it stands");
                    self.clock = value;
                }
                COUNTER_CONTROL => {
                    if value & RESET != 0 {
                        self.count = 0;
                    }
                    self.control = value & !RESET;
                }
                INTERVAL => {
                    assert!(value <= 0xffff, "16 bits");
                    self.interval = value;
                }
                INTERRUPT_ENABLE => self.enabled = value,
                _ => panic!("unexpected write of {offset:#x}"),
            }
        }
    }

    #[test]
    fn interrupts_when_the_time_is_over_and_not_much_later() {
        for after in [1, 100, 65_535, 65_536, 1_000_000, 100_000_000] {
            let mut fake = Fake::default();
            let mut timer = Ttc::new(&mut fake, 100_000_000);
            timer.set(Some(after));
            timer.registers.pass(after - 1);
            assert!(!timer.registers.interrupts(), "{after}: too early");
            // A 32,768th too late at most: the prescaler's grain.
            timer.registers.pass(1 + after / 0x8000);
            assert!(timer.registers.interrupts(), "{after}: too late");
            timer.set(None);
            assert!(!timer.registers.interrupts());
            timer.registers.pass(u64::from(u32::MAX));
            assert!(!timer.registers.interrupts(), "it is off");
        }
    }

    #[test]
    fn a_time_too_long_to_count_ends_early() {
        let (control, interval) = settings(u64::MAX);
        assert_eq!((control, interval), (0b1_1111, 0xffff));
        assert_eq!(
            settings(0),
            (0, 1),
            "a time that is over interrupts at once"
        );
    }

    #[test]
    fn setting_it_again_forgets_what_was_set() {
        let mut fake = Fake::default();
        let mut timer = Ttc::new(&mut fake, 100_000_000);
        timer.set(Some(1000));
        timer.registers.pass(999);
        timer.set(Some(1000));
        timer.registers.pass(999);
        assert!(!timer.registers.interrupts());
        timer.registers.pass(1);
        assert!(timer.registers.interrupts());
        timer.set(Some(5));
        assert!(!timer.registers.interrupts(), "the interrupt has ended");
        assert_eq!(timer.frequency(), 100_000_000);
    }
}
