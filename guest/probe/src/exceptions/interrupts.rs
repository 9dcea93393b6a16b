//! The interrupt controller's corners, on one vCPU.
//!
//! With interrupts masked in `PSTATE`, what is delivered is seen by reading `GICC_IAR`.

use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::timer;

use super::Checker;

/// The first SPI that is used here.
const FIRST: u32 = 40;
/// `GICC_RPR` when nothing is active.
const IDLE: u32 = 0xff;

pub(super) fn acknowledge() -> u32 {
    gic::read_interface(cpu_interface::IAR)
}

pub(super) fn end(acknowledged: u32) {
    gic::write_interface(cpu_interface::EOIR, acknowledged);
}

/// Enables `intid` for the vCPUs in `targets`, edge-triggered.
pub(super) fn set_up(intid: u32, priority: u8, targets: u8) {
    gic::set_byte(distributor::IPRIORITYR, intid, priority);
    if intid >= 32 {
        gic::set_byte(distributor::ITARGETSR, intid, targets);
        let offset = distributor::ICFGR + (intid as usize / 16) * 4;
        gic::write(offset, gic::read(offset) | 2 << (intid % 16 * 2));
    }
    gic::set_bit(distributor::ISENABLER, intid);
}

fn pend(intid: u32) {
    gic::set_bit(distributor::ISPENDR, intid);
}

fn expect_taken(checker: &mut Checker, expected: u32) {
    let acknowledged = acknowledge();
    checker.expect("GICC_IAR", expected, acknowledged);
    if acknowledged != gic::SPURIOUS {
        end(acknowledged);
    }
}

/// An SGI knows who sent it, also when the sender was written into `GICD_SPENDSGIRn`.
pub(super) fn sgi_source(checker: &mut Checker) {
    const SGI: u32 = 5;
    set_up(SGI, 0x80, 1);
    gic::send(SGI, 1);
    expect_taken(checker, SGI);
    // From vCPU 3, then from 1 and 2 together, of which 2 is taken back.
    gic::set_byte(distributor::SPENDSGIR, SGI, 1 << 3);
    checker.expect(
        "GICD_SPENDSGIR",
        1 << 3,
        gic::byte(distributor::SPENDSGIR, SGI),
    );
    expect_taken(checker, 3 << 10 | SGI);
    gic::set_byte(distributor::SPENDSGIR, SGI, 1 << 1 | 1 << 2);
    gic::set_byte(distributor::CPENDSGIR, SGI, 1 << 2);
    checker.expect(
        "GICD_CPENDSGIR",
        1 << 1,
        gic::byte(distributor::CPENDSGIR, SGI),
    );
    expect_taken(checker, 1 << 10 | SGI);
    expect_taken(checker, gic::SPURIOUS);
    // To all but itself: not to itself (IHI 0048B, 4.3.15).
    gic::write(distributor::SGIR, 1 << 24 | SGI);
    expect_taken(checker, gic::SPURIOUS);
    // Filter 2: to itself, whatever the target list says.
    gic::write(distributor::SGIR, 2 << 24 | SGI);
    expect_taken(checker, SGI);
}

/// Priorities decide, also when they change while interrupts are pending; then numbers.
pub(super) fn priorities(checker: &mut Checker) {
    for (intid, priority) in [(FIRST, 0xa0), (FIRST + 1, 0x80), (FIRST + 2, 0xa0)] {
        set_up(intid, priority, 1);
        pend(intid);
    }
    gic::set_byte(distributor::IPRIORITYR, FIRST + 2, 0x40);
    checker.expect(
        "GICC_HPPIR",
        FIRST + 2,
        gic::read_interface(cpu_interface::HPPIR),
    );
    expect_taken(checker, FIRST + 2);
    gic::set_byte(distributor::IPRIORITYR, FIRST + 1, 0xa0);
    // Of equal priorities, the lower number.
    expect_taken(checker, FIRST);
    expect_taken(checker, FIRST + 1);
    expect_taken(checker, gic::SPURIOUS);
}

/// More pending than any CPU interface has list registers, in order of priority.
pub(super) fn many_pending(checker: &mut Checker) {
    const COUNT: u32 = 20;
    for number in 0..COUNT {
        set_up(FIRST + number, nested_priority(number), 1);
        pend(FIRST + number);
    }
    for number in (0..COUNT).rev() {
        expect_taken(checker, FIRST + number);
    }
    expect_taken(checker, gic::SPURIOUS);
}

/// More active than any CPU interface has list registers: each interrupts the one before.
pub(super) fn many_active(checker: &mut Checker) {
    const COUNT: u32 = 20;
    for number in 0..COUNT {
        let intid = FIRST + number;
        set_up(intid, nested_priority(number), 1);
        pend(intid);
        checker.expect("GICC_IAR", intid, acknowledge());
        let running = gic::read_interface(cpu_interface::RPR);
        checker.expect("GICC_RPR", u32::from(nested_priority(number)), running);
    }
    for number in (0..COUNT).rev() {
        let intid = FIRST + number;
        checker.expect(
            "GICD_ISACTIVER",
            1,
            u8::from(gic::bit(distributor::ISACTIVER, intid)),
        );
        end(intid);
        checker.expect(
            "GICD_ISACTIVER after",
            0,
            u8::from(gic::bit(distributor::ISACTIVER, intid)),
        );
    }
    checker.expect("GICC_RPR", IDLE, gic::read_interface(cpu_interface::RPR));
    expect_taken(checker, gic::SPURIOUS);
}

/// The higher `number`, the more urgent; 20 of them fit.
fn nested_priority(number: u32) -> u8 {
    (0xf0 - number * 8).to_le_bytes()[0]
}

/// With `EOImode` 1 interrupts are deactivated in any order, and none comes again before.
pub(super) fn split_end(checker: &mut Checker) {
    const COUNT: u32 = 8;
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0 | gic::EOI_MODE);
    for number in 0..COUNT {
        let intid = FIRST + number;
        set_up(intid, 0x80, 1);
        pend(intid);
        checker.expect("GICC_IAR", intid, acknowledge());
        end(intid);
        // Still active: pending again, it does not come.
        pend(intid);
        checker.expect("GICC_IAR while active", gic::SPURIOUS, acknowledge());
    }
    checker.expect("GICC_RPR", IDLE, gic::read_interface(cpu_interface::RPR));
    for number in [3, 0, 7, 1, 6, 2, 5, 4] {
        let intid = FIRST + number;
        gic::write_interface(cpu_interface::DIR, intid);
        checker.expect("GICC_IAR after DIR", intid, acknowledge());
        end(intid);
        gic::write_interface(cpu_interface::DIR, intid);
    }
    checker.expect("GICC_IAR at the end", gic::SPURIOUS, acknowledge());
}

/// What is switched off is not delivered, and not lost.
pub(super) fn switches(checker: &mut Checker) {
    set_up(FIRST, 0x80, 1);
    gic::write(distributor::CTLR, 0);
    pend(FIRST);
    expect_taken(checker, gic::SPURIOUS);
    gic::write(distributor::CTLR, 1);
    gic::set_bit(distributor::ICENABLER, FIRST);
    expect_taken(checker, gic::SPURIOUS);
    checker.expect(
        "GICD_ISPENDR while disabled",
        1,
        u8::from(gic::bit(distributor::ISPENDR, FIRST)),
    );
    gic::set_bit(distributor::ISENABLER, FIRST);
    gic::write_interface(cpu_interface::PMR, 0x80);
    expect_taken(checker, gic::SPURIOUS);
    gic::write_interface(cpu_interface::PMR, 0xf8);
    expect_taken(checker, FIRST);
    pend(FIRST);
    gic::set_bit(distributor::ICPENDR, FIRST);
    expect_taken(checker, gic::SPURIOUS);
    // Deactivated from outside.
    pend(FIRST);
    checker.expect("GICC_IAR", FIRST, acknowledge());
    gic::set_bit(distributor::ICACTIVER, FIRST);
    checker.expect(
        "GICD_ISACTIVER",
        0,
        u8::from(gic::bit(distributor::ISACTIVER, FIRST)),
    );
    end(FIRST);
    checker.expect("GICC_RPR", IDLE, gic::read_interface(cpu_interface::RPR));
}

/// A timer that is due while its interrupt is disabled disturbs nobody, and is delivered when it is enabled.
pub(super) fn timer_masked(checker: &mut Checker) {
    gic::set_byte(distributor::IPRIORITYR, gic::TIMER_INTID, 0x20);
    gic::set_bit(distributor::ICENABLER, gic::TIMER_INTID);
    let undisturbed = time_of_work();
    timer::set_compare(timer::counter());
    timer::set_control(timer::ENABLE);
    let disabled = time_of_work();
    checker.expect("GICC_IAR while disabled", gic::SPURIOUS, acknowledge());
    gic::set_bit(distributor::ISENABLER, gic::TIMER_INTID);
    // Now it waits behind PSTATE only.
    let masked = time_of_work();
    for (name, time) in [("disabled", disabled), ("masked", masked)] {
        // An exit for each instruction would make it thousands of times slower.
        if time > undisturbed * 50 + timer::ticks(20_000) {
            checker.fail(format_args!(
                "work took {time} ticks while the timer was {name}, else {undisturbed}"
            ));
        }
    }
    checker.expect("GICC_IAR", gic::TIMER_INTID, acknowledge());
    timer::set_control(0);
    end(gic::TIMER_INTID);
    expect_taken(checker, gic::SPURIOUS);
}

/// Ticks that a million turns of a loop take.
fn time_of_work() -> u64 {
    let start = timer::counter();
    for turn in 0..1_000_000_u32 {
        core::hint::black_box(turn);
    }
    timer::counter() - start
}
