// SPDX-License-Identifier: BSD-2-Clause
//! `timer-pd`, the shell: requests from channels, the board's timer and its interrupt.
//!
//! Responsible for: the memory regions, channels and the interrupt that `system.xml` gives this
//! domain. Must never: decide.
#![no_std]
#![no_main]

use memory_functions as _;

#[cfg(any(feature = "bcm-timer", feature = "ttc", feature = "meson-timer"))]
mod external_timer;
#[cfg(not(any(feature = "bcm-timer", feature = "ttc", feature = "meson-timer")))]
mod generic_timer;

use channel::{Message, ids, microkit};
use core::ptr::NonNull;
use core::slice;
#[cfg(any(feature = "bcm-timer", feature = "ttc", feature = "meson-timer"))]
use external_timer::ExternalTimer as Board;
#[cfg(not(any(feature = "bcm-timer", feature = "ttc", feature = "meson-timer")))]
use generic_timer::GenericTimer as Board;
use sel4_microkit::{
    Channel, ChannelSet, Handler, IrqAckError, MessageInfo, debug_println, memory_region_symbol,
    protection_domain,
};
use timer_pd::{Caller, MAX_RECORD, Regions, Service};

/// Bytes of the regions for records (`system.xml`).
const RECORD_REGION: usize = 0x1000;

const _: () = assert!(MAX_RECORD <= RECORD_REGION);

/// The regions as they are mapped.
struct Memory {
    export: NonNull<u8>,
    import: NonNull<u8>,
    /// What was imported last, out of the peer domain's reach.
    copy: [u8; MAX_RECORD],
}

impl Regions for Memory {
    fn export(&mut self) -> &mut [u8] {
        // SAFETY: the region is mapped, writable and as long; no other domain can write it
        // (`system.xml`), and this domain only through the slice that borrows `self`.
        unsafe { slice::from_raw_parts_mut(self.export.as_ptr(), RECORD_REGION) }
    }

    fn import(&mut self, length: usize) -> Option<&[u8]> {
        let copy = self.copy.get_mut(..length)?;
        for (offset, byte) in copy.iter_mut().enumerate() {
            // SAFETY: `offset` is below MAX_RECORD, and the region is mapped, readable and at
            // least as long. Volatile, because the peer domain may write meanwhile: each byte is
            // read once, and what it says is checked afterwards.
            *byte = unsafe { self.import.add(offset).read_volatile() };
        }
        Some(copy)
    }
}

/// The domain.
struct Timer {
    service: Service<Board, Memory>,
    /// The message that is being handled.
    message: Message,
    /// Whether the timer has interrupted yet.
    came: bool,
}

#[protection_domain]
fn init() -> Timer {
    let memory = Memory {
        export: memory_region_symbol!(timer_export: *mut u8),
        import: memory_region_symbol!(timer_import: *mut u8),
        copy: [0; MAX_RECORD],
    };
    let device = memory_region_symbol!(timer_device: *mut u32);
    Timer {
        service: Service::new(Board::of_board(device), memory),
        message: Message::new(0),
        came: false,
    }
}

impl Timer {
    /// Says on a debug kernel's console by which interrupt the timer came first: on some boards nobody
    /// knows before.
    fn say_which(&mut self, interrupt: Channel) {
        if !self.came {
            self.came = true;
            debug_println!(
                "timer-pd: the timer interrupts by number {} of board.toml",
                interrupt.index()
            );
        }
    }
}

impl Handler for Timer {
    type Error = IrqAckError;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), IrqAckError> {
        for interrupt in ids::timer::INTERRUPTS.map(Channel::new) {
            if channels.contains(interrupt) {
                if self.service.interrupt() {
                    Channel::new(ids::timer::VMM).notify();
                    self.say_which(interrupt);
                }
                interrupt.irq_ack()?;
            }
        }
        Ok(())
    }

    #[inline]
    fn protected(
        &mut self,
        channel: Channel,
        info: MessageInfo,
    ) -> Result<MessageInfo, IrqAckError> {
        let caller = match channel.index() {
            ids::timer::VMM => Some(Caller::Vmm),
            ids::timer::MIGRATION => Some(Caller::Migration),
            _ => None,
        };
        match (caller, microkit::take_into(&info, &mut self.message)) {
            (Some(caller), Ok(())) => self.service.handle(caller, &mut self.message),
            _ => self.message = Message::not_understood(),
        }
        Ok(microkit::put(&self.message))
    }
}
