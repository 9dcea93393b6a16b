//! A state of interrupts that survives a move or does not: active ones nested by priority, active and pending again,
//! active with their priority dropped, pending behind a running priority, behind a mask, from several sources, and
//! disabled.
//!
//! | interrupt | priority | state while registers are held |
//! |---|---|---|
//! | timer | `0x20` | off, or ends the holding |
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

use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::timer;

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
/// `GICC_PMR` that lets everything through that is used here.
const PMR_OPEN: u32 = 0xf8;

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

/// Words of the snapshot.
const SNAPSHOT: usize = 39;

/// One round's interrupts of one vCPU.
#[derive(Debug)]
pub(crate) struct Interrupts {
    vcpu: u32,
    vcpus: u32,
    amount: Amount,
    eoi_mode: bool,
    bpr: u32,
    pmr: u32,
    snapshot: [u32; SNAPSHOT],
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
    if acknowledged != gic::SPURIOUS {
        gic::write_interface(cpu_interface::EOIR, acknowledged);
        if gic::read_interface(cpu_interface::CTLR) & gic::EOI_MODE != 0 {
            gic::write_interface(cpu_interface::DIR, acknowledged);
        }
    }
    acknowledged
}

impl Interrupts {
    /// Chooses how the interface is set up.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "vCPU numbers, and a few random bits"
    )]
    pub(crate) const fn new(vcpu: usize, vcpus: usize, amount: Amount, random: u64) -> Self {
        Self {
            vcpu: vcpu as u32,
            vcpus: vcpus as u32,
            amount,
            eoi_mode: random & 1 != 0,
            // Group priorities of 5, 4 or 3 bits: all that tell the priorities above apart.
            bpr: 2 + (random >> 1) as u32 % 3,
            // Masks MASKED_PRIORITY, lets the others through.
            pmr: 0xd0 + 8 * ((random >> 8) as u32 & 3),
            snapshot: [0; SNAPSHOT],
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
            gic::send(SGI_FROM_ALL, (1 << self.vcpus) - 1);
        }
    }

    /// Remembers everything, once every vCPU has sent.
    pub(crate) fn remember(&mut self, reporter: Reporter) {
        self.snapshot = self.read();
        if self.amount >= Amount::Shared {
            let sources = gic::byte(distributor::SPENDSGIR, SGI_FROM_ALL);
            let all = (1_u32 << self.vcpus) - 1;
            reporter.expect("GICD_SPENDSGIR3", all, u32::from(sources));
        }
        if self.amount > Amount::None {
            reporter.expect("GICC_RPR", 0x60, gic::read_interface(cpu_interface::RPR));
        }
    }

    /// Reports what is no longer as it was.
    pub(crate) fn compare(&self, reporter: Reporter) {
        let found = self.read();
        for (index, (expected, found)) in self.snapshot.iter().zip(&found).enumerate() {
            reporter.expect(format_args!("gic[{}]", NAMES[index]), *expected, *found);
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
            for (name, base) in [
                ("GICD_ISACTIVER at the end", distributor::ISACTIVER),
                ("GICD_ISPENDR at the end", distributor::ISPENDR),
            ] {
                let left = gic::read(base + word * 4) & self.mask(word);
                reporter.expect(name, 0, left);
            }
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
        if self.amount == Amount::Many {
            self.take_and_end(reporter, "PPI 20", PPI_PENDING);
        }
        self.take_and_end(reporter, "SPI 48", SPI_PENDING + self.vcpu);
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
        let mut sources = 0_u32;
        for _ in 0..self.vcpus {
            let acknowledged = gic::read_interface(cpu_interface::IAR);
            if acknowledged & 0x3ff == SGI_FROM_ALL {
                sources |= 1 << (acknowledged >> 10);
                self.end(acknowledged);
            }
        }
        reporter.expect("sources of SGI 3", (1 << self.vcpus) - 1, sources);
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

    /// Everything that the guest can read about its interrupts, by name in [`NAMES`].
    fn read(&self) -> [u32; SNAPSHOT] {
        let mut words = [0; SNAPSHOT];
        let mut values = [
            cpu_interface::CTLR,
            cpu_interface::PMR,
            cpu_interface::BPR,
            cpu_interface::RPR,
            cpu_interface::HPPIR,
            cpu_interface::APR0,
        ]
        .into_iter()
        .map(gic::read_interface)
        .chain([gic::read(distributor::CTLR)])
        .chain(
            [
                (distributor::ISENABLER, 0),
                (distributor::ISENABLER, 1),
                (distributor::ISPENDR, 0),
                (distributor::ISPENDR, 1),
                (distributor::ISACTIVER, 0),
                (distributor::ISACTIVER, 1),
            ]
            .into_iter()
            .map(|(base, word)| gic::read(base + word * 4) & self.mask(word)),
        )
        .chain((0..8).map(|word| gic::read(distributor::IPRIORITYR + word * 4)))
        .chain(
            self.spis()
                .map(|intid| u32::from(gic::byte(distributor::IPRIORITYR, intid))),
        )
        .chain(
            self.spis()
                .map(|intid| u32::from(gic::byte(distributor::ITARGETSR, intid))),
        )
        .chain((0..4).map(|word| gic::read(distributor::SPENDSGIR + word * 4)))
        .chain((0..4).map(|word| gic::read(distributor::CPENDSGIR + word * 4)))
        .chain((0..4).map(|word| gic::read(distributor::ICFGR + word * 4)));
        for word in &mut words {
            *word = values.next().unwrap_or(0);
        }
        words
    }

    fn spis(&self) -> impl Iterator<Item = u32> {
        let vcpu = self.vcpu;
        [SPI_ACTIVE, SPI_PENDING, SPI_MASKED]
            .into_iter()
            .map(move |first| first + vcpu)
    }

    /// The bits of a bitmap word that are this vCPU's own, except the timer's, whose line follows the clock.
    fn mask(&self, word: usize) -> u32 {
        match word {
            0 => !(1 << gic::TIMER_INTID),
            _ => self.spis().map(|intid| 1 << (intid % 32)).sum(),
        }
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

    /// What `GICC_IAR` reads for an SGI that the vCPU sent to itself.
    const fn own(&self, sgi: u32) -> u32 {
        self.vcpu << 10 | sgi
    }

    fn take(&self, reporter: Reporter, name: &str, expected: u32) -> u32 {
        let acknowledged = gic::read_interface(cpu_interface::IAR);
        reporter.expect(format_args!("GICC_IAR for {name}"), expected, acknowledged);
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

/// The words of the snapshot.
static NAMES: [&str; SNAPSHOT] = [
    "GICC_CTLR",
    "GICC_PMR",
    "GICC_BPR",
    "GICC_RPR",
    "GICC_HPPIR",
    "GICC_APR0",
    "GICD_CTLR",
    "GICD_ISENABLER0",
    "GICD_ISENABLER1",
    "GICD_ISPENDR0",
    "GICD_ISPENDR1",
    "GICD_ISACTIVER0",
    "GICD_ISACTIVER1",
    "GICD_IPRIORITYR0",
    "GICD_IPRIORITYR1",
    "GICD_IPRIORITYR2",
    "GICD_IPRIORITYR3",
    "GICD_IPRIORITYR4",
    "GICD_IPRIORITYR5",
    "GICD_IPRIORITYR6",
    "GICD_IPRIORITYR7",
    "priority of SPI 40",
    "priority of SPI 48",
    "priority of SPI 56",
    "targets of SPI 40",
    "targets of SPI 48",
    "targets of SPI 56",
    "GICD_SPENDSGIR0",
    "GICD_SPENDSGIR1",
    "GICD_SPENDSGIR2",
    "GICD_SPENDSGIR3",
    "GICD_CPENDSGIR0",
    "GICD_CPENDSGIR1",
    "GICD_CPENDSGIR2",
    "GICD_CPENDSGIR3",
    "GICD_ICFGR0",
    "GICD_ICFGR1",
    "GICD_ICFGR2",
    "GICD_ICFGR3",
];
