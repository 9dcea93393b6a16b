// SPDX-License-Identifier: BSD-2-Clause
//! What every board's timer does for `timer-pd` where the kernel keeps the generic timer to
//! itself.

/// A timer that interrupts once, after a time. Nothing here waits for it.
pub trait Alarm {
    /// How many of its ticks are a second.
    fn frequency(&self) -> u32;

    /// Interrupts after so many of its ticks, at most; earlier if that is more than it can count,
    /// and then it has to be set again. `None`: never. Takes the place of what was set before, and
    /// ends an interrupt that is asserted.
    fn set(&mut self, after: Option<u64>);
}

/// So many ticks of a clock of `from` hertz in ticks of one of `to` hertz, rounded up.
#[must_use]
pub fn rescale(ticks: u64, from: u32, to: u32) -> u64 {
    let scaled = (u128::from(ticks) * u128::from(to)).div_ceil(u128::from(from.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_up_and_never_overflow() {
        assert_eq!(rescale(62_500_000, 62_500_000, 100_000_000), 100_000_000);
        assert_eq!(rescale(1, 24_000_000, 1_000_000), 1);
        assert_eq!(rescale(25, 24_000_000, 1_000_000), 2);
        assert_eq!(rescale(0, 24_000_000, 1_000_000), 0);
        assert_eq!(rescale(u64::MAX, 1, u32::MAX), u64::MAX);
        assert_eq!(rescale(5, 0, 1), 5, "a stopped clock is no panic");
    }
}
