// SPDX-License-Identifier: BSD-2-Clause
//! The system counter with a timer of the board's own, where the kernel keeps the generic timer's
//! physical timer to itself.
//!
//! Responsible for: telling the board's timer when to interrupt, in its own ticks. Its clock need
//! not be exact: it may interrupt early, and is set again for the rest.

use channel::Ticks;
use core::ptr::NonNull;
use drivers::{Alarm, Mmio, rescale};
#[cfg(any(feature = "ttc", feature = "meson-timer"))]
use sel4_microkit::var;
use timer_pd::board::BoardTimer;

/// Bytes of the region with the device (`system.xml`).
const DEVICE_SIZE: usize = 0x1000;

/// The board's timer.
#[cfg(feature = "bcm-timer")]
pub(crate) type ExternalTimer = WithAlarm<drivers::BcmTimer<Mmio>>;
/// The board's timer.
#[cfg(feature = "ttc")]
pub(crate) type ExternalTimer = WithAlarm<drivers::Ttc<Mmio>>;
/// The board's timer.
#[cfg(feature = "meson-timer")]
pub(crate) type ExternalTimer = WithAlarm<drivers::MesonTimer<Mmio>>;

/// The counter and a timer.
pub(crate) struct WithAlarm<A>(A);

impl ExternalTimer {
    /// The timer whose registers are mapped at `device`. Called once.
    pub(crate) fn of_board(device: NonNull<u32>) -> Self {
        // SAFETY: `system.xml` maps the device there, uncached, for this domain alone; it accesses
        // no memory, and this runs once.
        let registers = unsafe { Mmio::new(device, DEVICE_SIZE) };
        #[cfg(feature = "bcm-timer")]
        let alarm = drivers::BcmTimer::new(registers);
        #[cfg(feature = "ttc")]
        let alarm = {
            let clock = *var!(device_clock: u64 = 0);
            drivers::Ttc::new(registers, u32::try_from(clock).unwrap_or(u32::MAX))
        };
        #[cfg(feature = "meson-timer")]
        let alarm = {
            let offset = *var!(device_offset: u64 = 0);
            drivers::MesonTimer::new(registers, usize::try_from(offset).unwrap_or(DEVICE_SIZE))
        };
        Self(alarm)
    }
}

impl<A: Alarm> BoardTimer for WithAlarm<A> {
    fn frequency(&self) -> u32 {
        counter::frequency()
    }

    #[inline]
    fn now(&self) -> Ticks {
        Ticks(counter::count())
    }

    fn set(&mut self, deadline: Option<Ticks>) {
        let after = deadline.map(|deadline| {
            let ticks = deadline.0.saturating_sub(counter::count());
            rescale(ticks, counter::frequency(), self.0.frequency())
        });
        self.0.set(after);
    }
}
