// SPDX-License-Identifier: BSD-2-Clause
//! Signs of life, of this domain and of those that it can call.
//!
//! In the place of `serial-pd`: every byte that is typed is answered with a line. In the place of `migration-pd`: every
//! byte that comes over the link is answered; `t` and `g` by a call to `timer-pd` or `vgic-pd` first. In the place of
//! `vmm-pd`: every byte that `serial-pd` passes on is answered. After `p`, both
//! pester their peer domains; after `n`, they leave nonsense in their rings; after `m`, they tell the monitor what only the
//! kernel should; after `d`, they die.

use channel::ids;
use channel::ring::Duplex;
use drivers::{Mmio, Pl011, Uart as _};
use sel4_microkit::{Channel, ChannelSet, MessageInfo};

use crate::regions::region;

/// Sizes of the regions, as `system.xml` has them.
const UART_SIZE: usize = 0x1000;
const CONSOLE_RING: usize = 0x4000;
/// The UART's clock in hertz, and the line's speed; QEMU heeds neither.
const CLOCK: u32 = 24_000_000;
const BAUD: u32 = 115_200;
/// A request that no domain understands: each answers that.
const NO_REQUEST: u64 = 0xffff;

/// Where signs of life go.
pub(crate) enum Witness {
    Console(Pl011<Mmio>),
    /// Rings with the domain at the other end of the channel.
    Rings(Duplex, Channel),
}

impl Witness {
    /// For the domain of this name; none if it has no way to say anything.
    pub(crate) fn new(name: &str) -> Option<Self> {
        match name {
            "serial_pd" => Some(console()),
            "migration_pd" => rings(
                ("migration_to_link", region("migration_to_link_size")),
                ("link_to_migration", region("link_to_migration_size")),
                ids::migration::LINK,
            ),
            "vmm_pd" => rings(
                ("vmm_to_serial", CONSOLE_RING),
                ("serial_to_vmm", CONSOLE_RING),
                ids::vmm::SERIAL,
            ),
            _ => None,
        }
    }

    /// Takes in what has come; answers if it is to.
    pub(crate) fn notified(&mut self, channels: ChannelSet, answer: bool) {
        match self {
            Self::Console(uart) => {
                uart.acknowledge();
                let mut byte = [0];
                while uart.receive(&mut byte) == 1 {
                    if answer {
                        uart.transmit(b"witness\n");
                        Channel::new(ids::serial::VMM).notify();
                    }
                }
                let interrupt = Channel::new(ids::serial::INTERRUPT);
                if channels.contains(interrupt) {
                    let _ = interrupt.irq_ack();
                }
            }
            Self::Rings(rings, peer) => {
                if answer {
                    answer_peer(rings, *peer);
                }
            }
        }
    }
}

fn console() -> Witness {
    let registers = core::ptr::NonNull::new(region("console_uart") as *mut u32);
    let registers = registers.unwrap_or_else(|| panic!("no UART"));
    // SAFETY: `system.xml` maps the UART's registers there, uncached, and this runs once.
    let registers = unsafe { Mmio::new(registers, UART_SIZE) };
    let mut uart = Pl011::new(registers, CLOCK, BAUD);
    uart.interrupt_on_input(true);
    Witness::Console(uart)
}

fn rings(own: (&str, usize), peer: (&str, usize), channel: usize) -> Option<Witness> {
    let base = |name| core::ptr::NonNull::new(region(name) as *mut u8);
    // SAFETY: `system.xml` maps both regions with these sizes, the first for this domain alone to write, and this runs
    // once.
    let mut rings = unsafe { Duplex::new(base(own.0)?, own.1, base(peer.0)?, peer.1) }.ok()?;
    let _ = rings.consumer.wait(0);
    Some(Witness::Rings(rings, Channel::new(channel)))
}

fn answer_peer(rings: &mut Duplex, peer: Channel) {
    loop {
        let mut byte = [0];
        while rings.consumer.pop(&mut byte) == Ok(1) {
            let answer: &[u8] = match byte[0] {
                b't' => call(ids::migration::TIMER, b"timer\n"),
                b'g' => call(ids::migration::VGIC, b"vgic\n"),
                b'p' => {
                    crate::pester::pester(rings);
                    continue;
                }
                b'n' => {
                    crate::pester::nonsense();
                    return;
                }
                b'm' => {
                    crate::pester::monitor(rings);
                    continue;
                }
                b'd' => {
                    crate::attack::die();
                    return;
                }
                _ => b"witness\n",
            };
            let _ = rings.producer.push(answer);
        }
        let sent = rings.producer.notify_due();
        if sent | rings.consumer.notify_due() {
            peer.notify();
        }
        if rings.consumer.wait(0) != Ok(true) {
            return;
        }
    }
}

/// Calls a peer domain, and gives its name if it answers.
fn call(channel: usize, name: &'static [u8]) -> &'static [u8] {
    Channel::new(channel).pp_call(MessageInfo::new(NO_REQUEST, 0));
    name
}
