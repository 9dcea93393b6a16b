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
#[cfg(any(feature = "bcm-timer", feature = "ttc", feature = "meson-timer"))]
use external_timer::ExternalTimer as Board;
#[cfg(not(any(feature = "bcm-timer", feature = "ttc", feature = "meson-timer")))]
use generic_timer::GenericTimer as Board;
use region::Region;
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
    export: Region,
    import: Region,
    /// What was imported last, out of the peer domain's reach.
    copy: [u8; MAX_RECORD],
}

impl Regions for Memory {
    fn export(&mut self) -> &mut [u8] {
        // SAFETY: no other domain can write the region (`system.xml`), and this domain only through the slice that
        // borrows `self`.
        unsafe { self.export.owned() }
    }

    fn import(&mut self, length: usize) -> Option<&[u8]> {
        let copy = self.copy.get_mut(..length)?;
        self.import.get(0, copy).then_some(&*copy)
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
    // SAFETY: the regions are mapped and as long (`system.xml`), and no reference points into them.
    let record = |base| unsafe { Region::new(base, RECORD_REGION) };
    let memory = Memory {
        export: record(memory_region_symbol!(timer_export: *mut u8)),
        import: record(memory_region_symbol!(timer_import: *mut u8)),
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
