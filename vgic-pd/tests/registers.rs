// SPDX-License-Identifier: BSD-2-Clause
//! Each family of distributor registers (IHI 0048B, 4.3).

mod machine;

use channel::vgic::Refusal;
use machine::{Machine, id};

#[test]
fn constants_describe_the_machine() {
    for (vcpus, type_word) in [(1, 0x008), (2, 0x028), (3, 0x048), (4, 0x068)] {
        let mut machine = Machine::new(vcpus);
        assert_eq!(
            machine.read(0, 0x004),
            type_word,
            "288 interrupts, no security"
        );
        assert_eq!(machine.read(0, 0x008), 0x4700_043b);
        assert_eq!(machine.read(0, 0xfe8), 0x2b, "architecture revision 2");
        machine.write(0, 0x004, u32::MAX);
        machine.write(0, 0xfe8, 0);
        assert_eq!(
            (machine.read(0, 0x004), machine.read(0, 0xfe8)),
            (type_word, 0x2b)
        );
    }
}

#[test]
fn control_has_an_enable_for_each_group_and_no_more() {
    let mut machine = Machine::new(2);
    assert_eq!(machine.read(0, 0), 0);
    machine.write(0, 0, u32::MAX);
    assert_eq!((machine.read(0, 0), machine.read(1, 0)), (3, 3));
    machine.write_byte(1, 0, 2);
    assert_eq!(machine.read(0, 0), 2);
    machine.write_byte(1, 1, 0xff);
    assert_eq!(machine.read(0, 0), 2);
}

#[test]
fn set_and_clear_registers_show_and_change_one_set_of_bits() {
    let mut machine = Machine::new(2);
    for (set, clear, private) in [(0x100, 0x180, 0xffff), (0x200, 0x280, 0), (0x300, 0x380, 0)] {
        for bank in [1, 8] {
            let (set, clear) = (set + 4 * bank, clear + 4 * bank);
            machine.write(0, set, 0xff00_00ff);
            machine.write(1, clear, 0x0f00_00f0);
            assert_eq!(machine.read(0, set), 0xf000_000f, "{set:#x}");
            assert_eq!(machine.read(1, clear), 0xf000_000f, "{clear:#x}");
            machine.write(0, set, 0);
            machine.write(0, clear, 0);
            assert_eq!(
                machine.read(1, set),
                0xf000_000f,
                "writing zeros does nothing"
            );
            machine.write_byte(0, clear + 3, 0xff);
            assert_eq!(machine.read(1, set), 0x0000_000f);
            assert_eq!(machine.read_byte(0, set), 0x0f);
        }
        machine.write(0, set, 0xffff_0000);
        assert_eq!(machine.read(0, set), 0xffff_0000 | private);
        assert_eq!(machine.read(1, set), private, "bank 0 is each vCPU's own");
    }
}

#[test]
fn bits_beyond_the_last_interrupt_are_reserved() {
    let mut machine = Machine::new(1);
    for family in [0x080, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380] {
        machine.write(0, family + 0x24, u32::MAX);
        assert_eq!(machine.read(0, family + 0x24), 0, "{family:#x}");
    }
    for first in [
        0x520, 0x7fc, 0x920, 0xbfc, 0xc48, 0xd00, 0xe00, 0xf04, 0xf30, 0x1000, 0xfffc,
    ] {
        machine.write(0, first, u32::MAX);
        assert_eq!(machine.read(0, first), 0, "{first:#x}");
    }
}

#[test]
fn software_generated_interrupts_are_always_enabled() {
    let mut machine = Machine::new(1);
    machine.write(0, 0x180, u32::MAX);
    assert_eq!(
        (machine.read(0, 0x100), machine.read(0, 0x180)),
        (0xffff, 0xffff)
    );
}

#[test]
fn software_generated_interrupts_have_no_pending_bits_to_write() {
    let mut machine = Machine::new(2);
    machine.write(0, 0x200, 0xffff);
    assert_eq!(machine.read(0, 0x200), 0);
    machine.send(1, 0b01, 3);
    machine.write(0, 0x280, 0xffff);
    assert_eq!(machine.read(0, 0x200), 1 << 3);
}

#[test]
fn groups_are_plain_bits() {
    let mut machine = Machine::new(2);
    machine.write(0, 0x084, 0x1234_5678);
    machine.write_byte(1, 0x085, 0xff);
    assert_eq!(machine.read(0, 0x084), 0x1234_ff78);
    machine.write(1, 0x080, 5);
    assert_eq!((machine.read(0, 0x080), machine.read(1, 0x080)), (0, 5));
}

#[test]
fn priorities_have_five_bits_in_any_access() {
    let mut machine = Machine::new(2);
    machine.write(0, 0x420, 0xff07_0881);
    assert_eq!(machine.read(1, 0x420), 0xf800_0880);
    machine.write_byte(1, 0x421, 0xa7);
    assert_eq!(machine.read(0, 0x420), 0xf800_a080);
    assert_eq!(machine.read_byte(0, 0x421), 0xa0);
    machine.write_byte(1, 0x41f, 0x48);
    assert_eq!(
        (machine.read_byte(0, 0x41f), machine.read_byte(1, 0x41f)),
        (0, 0x48)
    );
    machine.write_byte(0, 0x51f, 0xf8);
    assert_eq!(
        machine.read(0, 0x51c),
        0xf800_0000,
        "the last interrupt has one"
    );
}

#[test]
fn targets_of_private_interrupts_are_the_reader() {
    let mut machine = Machine::new(4);
    machine.write(2, 0x800, u32::MAX);
    for (vcpu, word) in [0x0101_0101, 0x0202_0202, 0x0404_0404, 0x0808_0808]
        .into_iter()
        .enumerate()
    {
        for offset in (0x800..0x820).step_by(4) {
            assert_eq!(machine.read(vcpu, offset), word);
        }
    }
}

#[test]
fn targets_are_vcpus_that_exist() {
    let mut machine = Machine::new(3);
    assert_eq!(machine.read(0, 0x820), 0);
    machine.write(0, 0x820, 0xff04_0280);
    assert_eq!(machine.read(2, 0x820), 0x0704_0200);
    machine.write_byte(1, 0x822, 1);
    assert_eq!(machine.read(2, 0x820), 0x0701_0200);
    machine.write_byte(1, 0x91f, 2);
    assert_eq!(machine.read_byte(0, 0x91f), 2);
}

#[test]
fn a_sole_vcpu_is_the_target_of_everything_and_the_registers_are_zero() {
    let mut machine = Machine::new(1);
    machine.write(0, 0x820, u32::MAX);
    for offset in (0x800..0x920).step_by(4) {
        assert_eq!(machine.read(0, offset), 0);
    }
    machine.write(0, 0x104, 1);
    machine.write(0, 0, 1);
    machine.set_line(0, 32, true);
    assert_eq!(machine.in_flight(0), [32]);
}

#[test]
fn triggers_can_be_chosen_for_shared_interrupts_only() {
    let mut machine = Machine::new(2);
    for offset in (0xc00..0xc48).step_by(4) {
        machine.write(0, offset, u32::MAX);
    }
    assert_eq!(
        machine.read(0, 0xc00),
        0xaaaa_aaaa,
        "SGIs are edge-triggered"
    );
    assert_eq!(
        machine.read(1, 0xc04),
        0,
        "private peripherals are level-sensitive"
    );
    assert_eq!(
        machine.read(1, 0xc08),
        0xaaaa_aaaa,
        "the lower bits are reserved"
    );
    machine.write_byte(1, 0xc45, 0x08);
    assert_eq!(machine.read(0, 0xc44), 0xaaaa_08aa);
}

#[test]
fn an_sgi_goes_where_the_filter_says() {
    let pending = |machine: &mut Machine| [0, 1, 2, 3].map(|vcpu| machine.read(vcpu, 0x200));
    for (value, expected) in [
        (0x000a_0005, [0, 1 << 5, 0, 1 << 5]),
        (0x00f0_0005, [0; 4]),
        (0x01ff_000f, [1 << 15, 1 << 15, 0, 1 << 15]),
        (0x0200_0000, [0, 0, 1, 0]),
        (0x03ff_0000, [0; 4]),
    ] {
        let mut machine = Machine::new(4);
        machine.write(2, 0xf00, value);
        assert_eq!(pending(&mut machine), expected, "{value:#x}");
        assert_eq!(machine.read(0, 0xf00), 0, "write-only");
    }
    let mut machine = Machine::new(4);
    machine.write_byte(0, 0xf02, 0xff);
    assert_eq!(pending(&mut machine), [0; 4], "a word or nothing");
}

#[test]
fn an_sgi_is_pending_from_each_source() {
    let mut machine = Machine::new(4);
    for from in [1, 2, 3] {
        machine.send(from, 0b0001, 6);
    }
    assert_eq!(machine.read(0, 0xf24), 0x000e_0000);
    assert_eq!(machine.read_byte(0, 0xf16), 0x0e);
    machine.write_byte(0, 0xf16, 0x04);
    assert_eq!(machine.read(0, 0xf24), 0x000a_0000);
    assert_eq!(machine.read(0, 0x200), 1 << 6);
    machine.write_byte(0, 0xf26, 0xf1);
    assert_eq!(
        machine.read_byte(0, 0xf26),
        0x0b,
        "only vCPUs that exist ask"
    );
    machine.write(0, 0xf14, u32::MAX);
    assert_eq!((machine.read(0, 0xf24), machine.read(0, 0x200)), (0, 0));
    assert_eq!(machine.read(1, 0xf24), 0);
}

#[test]
fn halfwords_are_two_bytes() {
    let mut machine = Machine::new(1);
    machine.gic.write(id(0), 0x422, 2, 0xa8b0).unwrap();
    assert_eq!(machine.read(0, 0x420), 0xa8b0_0000);
    assert_eq!(machine.gic.read(id(0), 0x422, 2).unwrap().value, 0xa8b0);
}

#[test]
fn accesses_that_no_machine_makes_are_refused_and_change_nothing() {
    let mut machine = Machine::new(2);
    let before = machine.gic;
    for (vcpu, offset, width) in [
        (2, 0, 4),
        (0, 0x1_0000, 4),
        (0, 0xffff_fffc, 4),
        (0, 2, 4),
        (0, 1, 2),
        (0, 0, 8),
        (0, 0, 3),
        (0, 0, 0),
    ] {
        let read = machine.gic.read(id(vcpu), offset, width);
        assert_eq!(read, Err(Refusal::OutOfRange), "{offset:#x} {width}");
        let write = machine.gic.write(id(vcpu), offset, width, u32::MAX);
        assert_eq!(write, Err(Refusal::OutOfRange), "{offset:#x} {width}");
    }
    assert_eq!(machine.gic, before);
    assert_eq!(machine.gic.0.reset(5), Err(Refusal::OutOfRange));
    assert_eq!(machine.gic, before);
}
