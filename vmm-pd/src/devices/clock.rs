// SPDX-License-Identifier: BSD-2-Clause
//! The clock of the day that the guest sees: an Arm PrimeCell RTC, PL031.
//!
//! Responsible for: every register and the interrupt line, as the PL031's manual (DDI 0224C, chapter 3) has them. The clock
//! is the guest's own count with something added: whatever becomes of the count while the guest is paused becomes of the
//! clock. Must never: read a count or keep a time of its own.
//!
//! As QEMU's, it runs from the beginning and cannot be stopped, whatever is written to `RTCCR`.

#[cfg(test)]
mod tests;

use state::ClockRecordV1;

// Offsets of the registers (DDI 0224C, table 3-1).
const DR: u32 = 0x000;
const MR: u32 = 0x004;
const LR: u32 = 0x008;
const CR: u32 = 0x00c;
const IMSC: u32 = 0x010;
const RIS: u32 = 0x014;
const MIS: u32 = 0x018;
const ICR: u32 = 0x01c;
const PERIPH_ID: u32 = 0xfe0;

/// `RTCPeriphID0`–`3` and `RTCPCellID0`–`3`, one byte a register: part 0x031, designer 0x41, revision 1, as on `virt`.
const IDENTIFICATION: [u8; 8] = [0x31, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1];

/// The one interrupt, and what starts the clock.
const BIT: u32 = 1;

/// The emulated clock. Counts are ticks of the guest's virtual counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    frequency: u64,
    /// What the clock, in ticks, is ahead of the guest's count, modulo 2^64.
    ahead: u64,
    matching: u32,
    loaded: u32,
    /// The guest's count at which the clock is what it is to match, if that is to come.
    due: Option<u64>,
    unmasked: bool,
    raised: bool,
}

impl Clock {
    /// A clock that is so many ticks ahead of the guest's count, as its reset leaves it. The counter has `frequency` ticks
    /// a second.
    pub fn new(ahead: u64, frequency: u32) -> Self {
        Self {
            frequency: u64::from(frequency.max(1)),
            ahead,
            matching: 0,
            loaded: 0,
            due: None,
            unmasked: false,
            raised: false,
        }
    }

    /// What it is ahead of the guest's count, in ticks.
    pub const fn ahead(&self) -> u64 {
        self.ahead
    }

    /// Whether a load at `offset` depends on the count.
    pub const fn shows_count(offset: u32) -> bool {
        offset & !3 == DR
    }

    /// What a load of a register gives at the guest's `count`; of a part of it, its lanes.
    pub fn read(&self, offset: u32, width: u8, count: u64) -> u32 {
        let register = match offset & !3 {
            DR => self.seconds(count),
            MR => self.matching,
            LR => self.loaded,
            CR => BIT,
            IMSC => self.unmasked.into(),
            RIS => self.raised.into(),
            MIS => self.interrupt_line().into(),
            offset => identification(offset),
        };
        let lanes = register >> (8 * (offset & 3));
        match width {
            1 => lanes & 0xff,
            2 => lanes & 0xffff,
            _ => lanes,
        }
    }

    /// A store at the guest's `count`. The bus of a PL031 has no byte strobes: one that does not include a register's
    /// lowest byte is ignored. [`Self::due`] and [`Self::interrupt_line`] may have changed.
    pub fn write(&mut self, offset: u32, value: u32, count: u64) {
        match offset {
            MR => {
                self.matching = value;
                self.await_match(count);
            }
            LR => {
                self.loaded = value;
                let ticks = u64::from(value).wrapping_mul(self.frequency);
                self.ahead = ticks.wrapping_sub(count);
                if self.due.is_some() {
                    self.await_match(count);
                }
            }
            IMSC => self.unmasked = value & BIT != 0,
            ICR if value & BIT != 0 => self.raised = false,
            _ => {}
        }
    }

    /// When, by the guest's count, [`Self::match_now`] is to be called.
    pub const fn due(&self) -> Option<u64> {
        self.due
    }

    /// The clock is what it is to match, or has been.
    pub const fn match_now(&mut self) {
        self.due = None;
        self.raised = true;
    }

    /// The level of the interrupt line, `RTCINTR`.
    pub const fn interrupt_line(&self) -> bool {
        self.raised && self.unmasked
    }

    /// The record of this device.
    pub fn export(&self) -> ClockRecordV1 {
        ClockRecordV1 {
            ahead: self.ahead,
            matching: self.matching,
            loaded: self.loaded,
            due: self.due,
            unmasked: self.unmasked,
            raised: self.raised,
        }
    }

    /// The device that a record describes, on a board whose counter has `frequency` ticks a second.
    pub fn import(record: &ClockRecordV1, frequency: u32) -> Self {
        Self {
            matching: record.matching,
            loaded: record.loaded,
            due: record.due,
            unmasked: record.unmasked,
            raised: record.raised,
            ..Self::new(record.ahead, frequency)
        }
    }

    /// `RTCDR`: seconds, of which the register has the lower 32 bits.
    fn seconds(&self, count: u64) -> u32 {
        let seconds = count.wrapping_add(self.ahead) / self.frequency;
        let [lower, _] = halves(seconds);
        lower
    }

    /// The interrupt comes when the clock gets to what it is to match: now, if it is that already.
    fn await_match(&mut self, count: u64) {
        let now = count.wrapping_add(self.ahead);
        let distance = self.matching.wrapping_sub(self.seconds(count));
        if distance == 0 {
            self.match_now();
            return;
        }
        let seconds = (now / self.frequency).checked_add(distance.into());
        let then = seconds.and_then(|seconds| seconds.checked_mul(self.frequency));
        // A count that the counter does not reach in centuries never comes.
        self.due = then.and_then(|then| count.checked_add(then.wrapping_sub(now)));
    }
}

/// The lower and the upper half.
fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

/// The identification registers; every other offset reads as zero.
fn identification(offset: u32) -> u32 {
    offset
        .checked_sub(PERIPH_ID)
        .and_then(|distance| usize::try_from(distance / 4).ok())
        .and_then(|index| IDENTIFICATION.get(index))
        .map_or(0, |byte| u32::from(*byte))
}
