// SPDX-License-Identifier: BSD-2-Clause
//! A state of interrupts that survives a move or does not: active ones nested by priority, active and pending again,
//! active with their priority dropped, pending behind a running priority, behind a mask, from several sources, and
//! disabled.
//!
//! | interrupt | priority | state while registers are held |
//! |---|---|---|
//! | timer | `0x20` | off, or ends the holding |
//! | console | `0x20` | off, or ends the parking |
//! | SGI 4 | `0x40` | active, its priority dropped (`EOImode` 1 only) |
//! | SPI 40 + vCPU | `0x60` | active, and pending again |
//! | SGI 2 | `0x80` | pending |
//! | SGI 3 | `0x90` | pending from every vCPU |
//! | SGI 1 | `0xa0` | active (interrupted by SPI 40 + vCPU), and pending again |
//! | PPI 20, SPI 48 + vCPU | `0xb0` | pending, the lower number first |
//! | PPI 21 | `0xc0` | pending, but disabled |
//! | SPI 56 + vCPU | `0xe8` | pending, but masked by `GICC_PMR` |
//!
//! `few` leaves out what does not fit into four list registers.

use guest_runtime::console::Console;
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::timer;

use super::view::{State, View};
use crate::controller::Controller;
use crate::report::Reporter;

/// How many interrupts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Amount {
    /// The timer only.
    None,
    /// SGI 1, SGI 2 and SPI 40 + vCPU.
    Few,
    /// All but the PPIs: QEMU's own distributor, unlike one that a hypervisor emulates, loses what a guest with several
    /// vCPUs writes to `GICD_ISPENDR0`.
    Shared,
    /// All.
    Many,
}

const TIMER_PRIORITY: u8 = 0x20;
const MASKED_PRIORITY: u8 = 0xe8;
/// `GICC_RPR` when nothing is active (IHI 0048B, 4.4.6).
const IDLE: u32 = 0xff;
/// `GICC_IAR.Interrupt_ID`.
const INTID: u32 = 0x3ff;
/// `GICC_PMR` that lets everything through that is used here.
const PMR_OPEN: u32 = 0xf8;

/// The console's, from the guest's machine as documented.
pub(crate) const CONSOLE_INTID: u32 = 33;
const SGI_INTERRUPTED: u32 = 1;
const SGI_PENDING: u32 = 2;
const SGI_FROM_ALL: u32 = 3;
const SGI_DROPPED: u32 = 4;
const PPI_PENDING: u32 = 20;
const PPI_DISABLED: u32 = 21;
/// The first of four SPIs, one a vCPU.
const SPI_ACTIVE: u32 = 40;
const SPI_PENDING: u32 = 48;
const SPI_MASKED: u32 = 56;

/// One round's interrupts of one vCPU.
#[derive(Debug)]
pub(crate) struct Interrupts {
    vcpu: u32,
    vcpus: u32,
    amount: Amount,
    eoi_mode: bool,
    bpr: u32,
    pmr: u32,
    controller: Controller,
    view: View,
}

/// Makes all SPIs that are used here edge-triggered: what is pending stays so until it is taken.
pub(crate) fn make_edge_triggered() {
    for word in [2, 3] {
        let offset = distributor::ICFGR + word * 4;
        // SPI 33 is the console's and keeps its level.
        let edge = if word == 2 { 0xaaaa_0000 } else { 0xaaaa_aaaa };
        gic::write(offset, gic::read(offset) | edge);
    }
}

/// Acknowledges the timer's interrupt, switches the timer off, ends the interrupt; what `GICC_IAR` said.
pub(crate) fn take_timer() -> u32 {
    let acknowledged = gic::read_interface(cpu_interface::IAR);
    timer::set_control(0);
    end_urgent(acknowledged);
    acknowledged
}

fn end_urgent(acknowledged: u32) {
    if acknowledged != gic::SPURIOUS {
        gic::write_interface(cpu_interface::EOIR, acknowledged);
        if gic::read_interface(cpu_interface::CTLR) & gic::EOI_MODE != 0 {
            gic::write_interface(cpu_interface::DIR, acknowledged);
        }
    }
}

/// Lets the console interrupt whoever is parked, before anything else.
pub(crate) fn listen() {
    gic::set_byte(distributor::IPRIORITYR, CONSOLE_INTID, TIMER_PRIORITY);
    gic::set_byte(distributor::ITARGETSR, CONSOLE_INTID, 1);
    gic::set_bit(distributor::ISENABLER, CONSOLE_INTID);
    Console::interrupt_when_typed(true);
}

/// Acknowledges the console's interrupt, keeps the console from raising it again, ends it; what `GICC_IAR` said. What
/// was typed is still there.
pub(crate) fn take_console() -> u32 {
    let acknowledged = gic::read_interface(cpu_interface::IAR);
    Console::interrupt_when_typed(false);
    end_urgent(acknowledged);
    acknowledged
}

impl Interrupts {
    /// Chooses how the interface is set up.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "vCPU numbers, and a few random bits"
    )]
    pub(crate) const fn new(
        vcpu: usize,
        vcpus: usize,
        amount: Amount,
        controller: Controller,
        random: u64,
    ) -> Self {
        Self {
            vcpu: vcpu as u32,
            vcpus: vcpus as u32,
            amount,
            eoi_mode: random & 1 != 0,
            // Group priorities of 5, 4 or 3 bits: all that tell the priorities above apart.
            bpr: 2 + (random >> 1) as u32 % 3,
            // Masks MASKED_PRIORITY, lets the others through.
            pmr: 0xd0 + 8 * ((random >> 8) as u32 & 3),
            controller,
            view: View::EMPTY,
        }
    }

    /// Takes the vCPU's own interrupts into their states.
    pub(crate) fn take_own(&mut self, reporter: Reporter) {
        self.set_up();
        reporter.expect(
            "GICC_RPR idle",
            IDLE,
            gic::read_interface(cpu_interface::RPR),
        );
        if self.amount == Amount::None {
            return;
        }
        if self.drops_priority() {
            self.send_own(SGI_DROPPED);
            let acknowledged = self.take(reporter, "SGI 4", self.own(SGI_DROPPED));
            gic::write_interface(cpu_interface::EOIR, acknowledged);
        }
        self.send_own(SGI_INTERRUPTED);
        self.take(reporter, "SGI 1", self.own(SGI_INTERRUPTED));
        self.pend(SPI_ACTIVE);
        self.take(reporter, "SPI 40", SPI_ACTIVE + self.vcpu);
        // Pending again, then others pending.
        self.send_own(SGI_INTERRUPTED);
        self.pend(SPI_ACTIVE);
        self.send_own(SGI_PENDING);
        if self.amount == Amount::Many {
            gic::set_bit(distributor::ISPENDR, PPI_PENDING);
            gic::set_bit(distributor::ISPENDR, PPI_DISABLED);
        }
        if self.amount >= Amount::Shared {
            self.pend(SPI_PENDING);
            self.pend(SPI_MASKED);
        }
    }

    /// Sends SGI 3 to every vCPU.
    pub(crate) fn send_to_all(&self) {
        if self.amount >= Amount::Shared {
            gic::send(SGI_FROM_ALL, self.all());
        }
    }

    /// Remembers everything, once every vCPU has sent.
    pub(crate) fn remember(&mut self, reporter: Reporter) {
        self.view = View::read(self.spis());
        self.compare(reporter);
        if self.amount >= Amount::Shared && self.controller == Controller::Physical {
            let sources = gic::byte(distributor::SPENDSGIR, SGI_FROM_ALL);
            reporter.expect("GICD_SPENDSGIR3", self.all(), u32::from(sources));
        }
        if self.amount > Amount::None {
            reporter.expect("GICC_RPR", 0x60, gic::read_interface(cpu_interface::RPR));
        }
    }

    /// Reports what is no longer as it was.
    pub(crate) fn compare(&self, reporter: Reporter) {
        self.view
            .compare(&View::read(self.spis()), self.controller, reporter);
        for word in [0, 1] {
            State::read(word, self.mask(word)).compare(
                &self.state(word),
                word,
                self.controller,
                reporter,
            );
        }
    }

    /// What is active and what is pending while registers are held.
    fn state(&self, word: usize) -> State {
        let [active_spi, pending_spi, masked_spi] = self.spis().map(|intid| 1 << (intid % 32));
        let all = self.amount >= Amount::Shared;
        let when = |condition: bool, bits: u32| if condition { bits } else { 0 };
        if self.amount == Amount::None {
            State::default()
        } else if word == 0 {
            State {
                active: 1 << SGI_INTERRUPTED | when(self.drops_priority(), 1 << SGI_DROPPED),
                pending: 1 << SGI_INTERRUPTED
                    | 1 << SGI_PENDING
                    | when(all, 1 << SGI_FROM_ALL)
                    | when(
                        self.amount == Amount::Many,
                        1 << PPI_PENDING | 1 << PPI_DISABLED,
                    ),
            }
        } else {
            State {
                active: active_spi,
                pending: active_spi | when(all, pending_spi | masked_spi),
            }
        }
    }

    /// Ends everything that is active, takes everything that is pending, in the order that the architecture gives.
    pub(crate) fn finish(&self, reporter: Reporter) {
        match self.amount {
            Amount::None => {}
            Amount::Few => self.finish_few(reporter),
            Amount::Shared | Amount::Many => self.finish_many(reporter),
        }
        self.take(reporter, "nothing", gic::SPURIOUS);
        reporter.expect(
            "GICC_RPR at the end",
            IDLE,
            gic::read_interface(cpu_interface::RPR),
        );
        for word in [0, 1] {
            let read = || State::read(word, self.mask(word));
            let left = self.controller.patiently(read, State::is_idle);
            left.compare(&State::default(), word, self.controller, reporter);
        }
    }

    fn finish_few(&self, reporter: Reporter) {
        self.end_spi(reporter);
        self.take_and_end(reporter, "SGI 2", self.own(SGI_PENDING));
        self.end_interrupted(reporter);
    }

    fn finish_many(&self, reporter: Reporter) {
        self.end_spi(reporter);
        self.take_and_end(reporter, "SGI 2", self.own(SGI_PENDING));
        self.take_from_all(reporter);
        self.end_interrupted(reporter);
        self.take_equals(reporter);
        self.take(reporter, "nothing yet", gic::SPURIOUS);
        if self.amount == Amount::Many {
            gic::set_bit(distributor::ISENABLER, PPI_DISABLED);
            self.take_and_end(reporter, "PPI 21", PPI_DISABLED);
        }
        gic::write_interface(cpu_interface::PMR, PMR_OPEN);
        self.take_and_end(reporter, "SPI 56", SPI_MASKED + self.vcpu);
        if self.drops_priority() {
            gic::write_interface(cpu_interface::DIR, self.own(SGI_DROPPED));
        }
    }

    /// Ends SPI 40, which is active and hides itself, and takes it again.
    fn end_spi(&self, reporter: Reporter) {
        let spi = SPI_ACTIVE + self.vcpu;
        reporter.expect("GICC_RPR", 0x60, gic::read_interface(cpu_interface::RPR));
        self.take(reporter, "nothing above SPI 40", gic::SPURIOUS);
        self.end(spi);
        reporter.expect("GICC_RPR", 0xa0, gic::read_interface(cpu_interface::RPR));
        self.take_and_end(reporter, "SPI 40 again", spi);
    }

    /// Ends SGI 1, which SPI 40 had interrupted, and takes it again.
    fn end_interrupted(&self, reporter: Reporter) {
        self.take(reporter, "nothing above SGI 1", gic::SPURIOUS);
        self.end(self.own(SGI_INTERRUPTED));
        reporter.expect("GICC_RPR", IDLE, gic::read_interface(cpu_interface::RPR));
        self.take_and_end(reporter, "SGI 1 again", self.own(SGI_INTERRUPTED));
    }

    /// Takes SGI 3 once from each vCPU; among themselves they have no order.
    fn take_from_all(&self, reporter: Reporter) {
        let (mut sources, mut taken) = (0_u32, 0);
        for _ in 0..self.vcpus {
            let acknowledged = self.controller.acknowledge();
            if acknowledged & INTID == SGI_FROM_ALL {
                sources |= 1 << (acknowledged >> 10);
                taken += 1;
                self.end(acknowledged);
            }
        }
        reporter.expect("deliveries of SGI 3", self.vcpus, taken);
        if self.controller == Controller::Physical {
            reporter.expect("sources of SGI 3", self.all(), sources);
        }
    }

    /// Takes PPI 20 and SPI 48, whose priorities are equal: a distributor goes by number, list registers by any order
    /// (IHI 0048B, 3.3 and 5.2.2).
    fn take_equals(&self, reporter: Reporter) {
        let spi = SPI_PENDING + self.vcpu;
        if self.amount != Amount::Many {
            self.take_and_end(reporter, "SPI 48", spi);
        } else if self.controller == Controller::Physical {
            self.take_and_end(reporter, "PPI 20", PPI_PENDING);
            self.take_and_end(reporter, "SPI 48", spi);
        } else {
            let mut taken = [gic::SPURIOUS; 2];
            for acknowledged in &mut taken {
                *acknowledged = self.controller.acknowledge();
                self.end(*acknowledged);
            }
            taken.sort_unstable();
            reporter.expect("GICC_IAR for PPI 20", PPI_PENDING, taken[0]);
            reporter.expect("GICC_IAR for SPI 48", spi, taken[1]);
        }
    }

    fn set_up(&self) {
        let vcpu = self.vcpu;
        let priorities = [
            (SGI_INTERRUPTED, 0xa0),
            (SGI_PENDING, 0x80),
            (SGI_FROM_ALL, 0x90),
            (SGI_DROPPED, 0x40),
            (PPI_PENDING, 0xb0),
            (PPI_DISABLED, 0xc0),
            (SPI_ACTIVE + vcpu, 0x60),
            (SPI_PENDING + vcpu, 0xb0),
            (SPI_MASKED + vcpu, MASKED_PRIORITY),
            (gic::TIMER_INTID, TIMER_PRIORITY),
        ];
        for (intid, priority) in priorities {
            gic::set_byte(distributor::IPRIORITYR, intid, priority);
            if intid >= 32 {
                gic::set_byte(distributor::ITARGETSR, intid, 1 << vcpu);
            }
            let enable = match intid {
                PPI_DISABLED => distributor::ICENABLER,
                _ => distributor::ISENABLER,
            };
            gic::set_bit(enable, intid);
        }
        let mode = if self.eoi_mode { gic::EOI_MODE } else { 0 };
        gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0 | mode);
        gic::write_interface(cpu_interface::BPR, self.bpr);
        gic::write_interface(cpu_interface::PMR, self.pmr);
    }

    const fn drops_priority(&self) -> bool {
        self.eoi_mode && matches!(self.amount, Amount::Shared | Amount::Many)
    }

    fn send_own(&self, sgi: u32) {
        gic::send(sgi, 1 << self.vcpu);
    }

    fn pend(&self, first: u32) {
        gic::set_bit(distributor::ISPENDR, first + self.vcpu);
    }

    /// What `GICC_IAR` of a physical controller reads for an SGI that the vCPU sent to itself.
    const fn own(&self, sgi: u32) -> u32 {
        self.vcpu << 10 | sgi
    }

    /// The vCPU's own three SPIs.
    const fn spis(&self) -> [u32; 3] {
        [
            SPI_ACTIVE + self.vcpu,
            SPI_PENDING + self.vcpu,
            SPI_MASKED + self.vcpu,
        ]
    }

    /// The bits of a bitmap word that are this vCPU's own, except the timer's, whose line follows the clock.
    fn mask(&self, word: usize) -> u32 {
        match word {
            0 => !(1 << gic::TIMER_INTID),
            _ => self.spis().map(|intid| 1 << (intid % 32)).iter().sum(),
        }
    }

    /// A bit for each vCPU.
    const fn all(&self) -> u32 {
        (1 << self.vcpus) - 1
    }

    fn take(&self, reporter: Reporter, name: &str, expected: u32) -> u32 {
        let acknowledged = match expected {
            gic::SPURIOUS => gic::read_interface(cpu_interface::IAR),
            _ => self.controller.acknowledge(),
        };
        let shown = self.controller.shown(acknowledged);
        reporter.expect(
            format_args!("GICC_IAR for {name}"),
            self.controller.shown(expected),
            shown,
        );
        acknowledged
    }

    fn take_and_end(&self, reporter: Reporter, name: &str, expected: u32) {
        let acknowledged = self.take(reporter, name, expected);
        if acknowledged != gic::SPURIOUS {
            self.end(acknowledged);
        }
    }

    fn end(&self, acknowledged: u32) {
        gic::write_interface(cpu_interface::EOIR, acknowledged);
        if self.eoi_mode {
            gic::write_interface(cpu_interface::DIR, acknowledged);
        }
    }
}
