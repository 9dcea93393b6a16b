// SPDX-License-Identifier: BSD-2-Clause
//! Whatever a guest accesses, and however: a value or its own abort, and the machine continues.

use super::board::{Board, ENTRY, vcpu_id};
use super::store;
use channel::vmm::Phase;
use proptest::prelude::*;

use crate::exit::{Exit, Syndrome};
use crate::lifecycle::machine::Machine;
use crate::port::VcpuRegister;

/// Where the guest's vectors are.
const VECTORS: u64 = 0x4100_0000;
/// The guest's tables, if it has any.
const TABLES: u64 = 0x4200_0000;
/// `SCTLR_EL1.{M, E0E, EE}`.
const MMU: u64 = 1;
const E0E: u64 = 1 << 24;
const EE: u64 = 1 << 25;
/// `PSTATE` at EL0, EL1 with the stack pointer of EL0, and with its own.
const STATES: [u64; 3] = [0x3c0, 0x3c4, 0x3c5];
/// Outside RAM, and no device.
const NOWHERE: u64 = 0x9000_0000;

/// A vCPU about to execute `instruction` at [`ENTRY`].
fn about_to_execute(instruction: u32, control: u64, state: u64) -> (Board, Machine) {
    let (mut board, machine) = Board::booted(1);
    board.ram.insert(ENTRY, instruction.into());
    // The second GiB as a block, the third behind a table that is nowhere, the fourth behind one of level 3.
    let order = |descriptor: u64| match control & EE {
        0 => descriptor,
        _ => descriptor.swap_bytes(),
    };
    for (place, descriptor) in [
        (TABLES + 8, 0x4000_0701),
        (TABLES + 16, NOWHERE | 3),
        (TABLES + 24, (TABLES + 0x1000) | 3),
        (TABLES + 0x1000, NOWHERE | 3),
    ] {
        board.ram.insert(place, order(descriptor));
    }
    let object = &mut board.cores[0].object;
    object.insert(VcpuRegister::SCTLR, control);
    // Both halves 39 bits, 4 KiB granule.
    object.insert(VcpuRegister::TCR, 25 | 25 << 16 | 2 << 30);
    object.insert(VcpuRegister::TTBR0, TABLES);
    object.insert(VcpuRegister::TTBR1, NOWHERE);
    object.insert(VcpuRegister::VBAR, VECTORS);
    object.insert(VcpuRegister::SpEl1, NOWHERE);
    let thread = &mut board.cores[0].thread;
    (thread.program_counter, thread.state) = (ENTRY, state);
    (board, machine)
}

fn abort(board: &mut Board, machine: &mut Machine, ipa: u64, fetch: bool, syndrome: u64) {
    let exit = Exit::Abort {
        program_counter: ENTRY,
        ipa,
        fetch,
        syndrome: Syndrome(syndrome),
    };
    machine.exit(board, vcpu_id(0), exit);
    board.run(machine);
}

/// What became of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was carried out.
    Value,
    /// `ESR_EL1` and `FAR_EL1`.
    Abort(u64, u64),
}

fn outcome(board: &Board, machine: &Machine, state: u64) -> Outcome {
    assert_eq!(
        machine.status().phase,
        Phase::Running,
        "{:?}",
        machine.status()
    );
    let core = &board.cores[0];
    let vector = match state {
        0x3c0 => 0x400,
        0x3c4 => 0,
        _ => 0x200,
    };
    match core.thread.program_counter.checked_sub(VECTORS) {
        None => {
            assert_eq!(
                (core.thread.program_counter, core.thread.state),
                (ENTRY + 4, state)
            );
            Outcome::Value
        }
        Some(offset) => {
            assert_eq!(offset, vector);
            assert_eq!(core.object[&VcpuRegister::ElrEl1], ENTRY);
            assert_eq!(core.object[&VcpuRegister::SpsrEl1], state);
            let of = |register| core.object[&register];
            Outcome::Abort(of(VcpuRegister::ESR), of(VcpuRegister::FAR))
        }
    }
}

/// Whether a device answers an aligned access.
fn answers(ipa: u64, width: u64) -> bool {
    let device =
        (0x0800_0000..0x0801_0000).contains(&ipa) || (0x0900_0000..0x0900_1000).contains(&ipa);
    device && ipa.is_multiple_of(width)
}

/// Addresses in and about the devices, and anywhere.
fn any_address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0x0800_0000..0x0800_1000_u64,
        1 => 0x0800_0ff0..0x0800_1010_u64,
        1 => 0x0800_fff0..0x0801_0010_u64,
        2 => 0x0900_0000..0x0900_0050_u64,
        1 => 0x0900_0fe0..0x0900_1010_u64,
        1 => 0x08ff_fff0..0x0900_0000_u64,
        1 => 0..1_u64 << 40,
    ]
}

/// Instructions of all kinds that access memory, and any word at all.
fn any_instruction() -> impl Strategy<Value = u32> {
    let family = prop::sample::select(vec![
        // Pairs, single registers with an offset, a register, an immediate; structures; exclusive; atomic; maintenance.
        (0x2800_0000_u32, 0xd7ff_ffff_u32),
        (0x3800_0000, 0xc7df_ffff),
        (0x3820_0800, 0xc7df_f3ff),
        (0x3900_0000, 0xc6ff_ffff),
        (0x0c00_0000, 0x41ff_ffff),
        (0x0800_0000, 0xc0ff_ffff),
        (0x3820_0000, 0xc0df_f3ff),
        (0xd50b_7420, 0x0000_0bff),
        (0x0000_0000, 0xffff_ffff),
    ]);
    (family, any::<u32>()).prop_map(|((fixed, free), word)| fixed | word & free)
}

proptest! {
    #[test]
    fn every_access_ends_in_a_value_or_an_abort(
        ipa in any_address(),
        instruction in any_instruction(),
        iss in 0_u64..1 << 25,
        fetch in prop::bool::weighted(0.1),
        control in prop::sample::select(vec![0, MMU, EE, MMU | EE, E0E, MMU | E0E]),
        state in prop::sample::select(STATES.to_vec()),
        base in prop_oneof![Just(0_u64), 0..64_u64, any::<u64>()],
    ) {
        let (mut board, mut machine) = about_to_execute(instruction, control, state);
        // Most registers lead to where the abort struck.
        let thread = &mut board.cores[0].thread;
        thread.general = core::array::from_fn(|number| match number % 3 {
            0 => ipa,
            1 => ipa.wrapping_sub(base),
            _ => base,
        });
        thread.stack_pointer = ipa;
        let class = match (fetch, state == STATES[0]) {
            (true, true) => 0x20,
            (true, false) => 0x21,
            (false, true) => 0x24,
            (false, false) => 0x25,
        };
        abort(&mut board, &mut machine, ipa, fetch, class << 26 | 1 << 25 | iss);
        let outcome = outcome(&board, &machine, state);
        if let Outcome::Abort(syndrome, _) = outcome {
            prop_assert_eq!(syndrome >> 25, class << 1 | 1);
            prop_assert!(matches!(syndrome & 0x3f, 0x10 | 0x14..=0x17));
            prop_assert_eq!(syndrome & (1 << 24 | 1 << 7), 0, "neither ISV nor S1PTW");
        }
        let walk = iss & 1 << 7 != 0;
        if iss & 1 << 24 != 0 && !walk && !fetch {
            let answered = answers(ipa, 1 << (iss >> 22 & 3)) || iss & 1 << 8 != 0 && !answers(ipa, 1);
            prop_assert_eq!(outcome == Outcome::Value, answered);
        }
        if walk || fetch {
            prop_assert_ne!(outcome, Outcome::Value);
        }
    }
}

/// An abort by a load or store of `width` bytes of `x1`; with its description, or without.
fn syndrome(width: u64, write: bool, isv: bool, el0: bool) -> u64 {
    let size = u64::from(width.trailing_zeros());
    let isv = if isv {
        1 << 24 | size << 22 | 1 << 16 | 1 << 15
    } else {
        0
    };
    (if el0 { 0x24 } else { 0x25 }) << 26 | 1 << 25 | isv | u64::from(write) << 6 | 7
}

#[test]
fn big_endian_data_is_swapped_and_the_instructions_and_the_order_of_a_pair_are_not() {
    // GICD_IPRIORITYR of 64 and following; ldr x1, [x2], #8; str x1, [x2], #8 and narrower.
    const PRIORITIES: u64 = 0x0800_0440;
    for (width, load, store_word) in [
        (1_u64, 0x3840_8441_u32, 0x3800_8441_u32),
        (2, 0x7840_8441, 0x7800_8441),
        (4, 0xb840_8441, 0xb800_8441),
        (8, 0xf840_8441, 0xf800_8441),
    ] {
        for (control, state, big) in [
            (0, STATES[2], false),
            (E0E, STATES[2], false),
            (EE, STATES[0], false),
            (EE, STATES[2], true),
            (MMU | EE, STATES[1], true),
            (E0E, STATES[0], true),
        ] {
            for isv in [false, true] {
                let (mut board, mut machine) = about_to_execute(store_word, control, state);
                let value = 0x1020_3040_5060_7080_u64;
                let el0 = state == STATES[0];
                board.cores[0].thread.general[1..3].copy_from_slice(&[value, PRIORITIES]);
                let stored = syndrome(width, true, isv, el0);
                abort(&mut board, &mut machine, PRIORITIES, false, stored);
                assert_eq!(outcome(&board, &machine, state), Outcome::Value);
                let unused = 64 - 8 * width;
                let low = value << unused >> unused;
                let swapped = low.swap_bytes() >> unused;
                // What a little-endian guest finds there, word by word.
                let found =
                    u64::from(board.word(PRIORITIES)) | u64::from(board.word(PRIORITIES + 4)) << 32;
                assert_eq!(
                    found,
                    if big { swapped } else { low },
                    "{width} {control:#x} {state:#x}"
                );
                board.ram.insert(ENTRY, load.into());
                let thread = &mut board.cores[0].thread;
                thread.program_counter = ENTRY;
                thread.general[1..3].copy_from_slice(&[0, PRIORITIES]);
                abort(
                    &mut board,
                    &mut machine,
                    PRIORITIES,
                    false,
                    syndrome(width, false, isv, el0),
                );
                assert_eq!(
                    board.cores[0].thread.general[1], low,
                    "{width} {control:#x} {state:#x}"
                );
            }
        }
    }
}

#[test]
fn an_abort_on_a_table_walk_says_at_which_level_and_names_the_address() {
    // ldr x1, [x2, #16]; str q1, [x2, #16]; and the fetch itself.
    let levels = [
        (0xffff_ffc0_0000_0008_u64, 1),
        (0x8000_1008, 2),
        (0xc000_0008, 3),
    ];
    for (address, level) in levels {
        for (instruction, write) in [(0xf940_0841_u32, 0_u64), (0x3d80_0441, 1)] {
            for control in [MMU, MMU | EE] {
                let (mut board, mut machine) = about_to_execute(instruction, control, STATES[2]);
                board.cores[0].thread.general[2] = address - 16;
                // Without a translation, seL4 gives only the place in the page.
                let ipa = address & 0xfff;
                let struck = 0x25 << 26 | 1 << 25 | 1 << 7 | write << 6 | 6;
                abort(&mut board, &mut machine, ipa, false, struck);
                let expected = 0x25 << 26 | 1 << 25 | write << 6 | 0x14 | level;
                let found = outcome(&board, &machine, STATES[2]);
                assert_eq!(found, Outcome::Abort(expected, address));
            }
        }
    }
}

#[test]
fn an_abort_on_the_walk_for_a_fetch_says_the_level_too() {
    let (mut board, mut machine) = about_to_execute(0, MMU, STATES[0]);
    let address = 0x8000_1008_u64;
    let exit = Exit::Abort {
        program_counter: address,
        ipa: address & 0xfff,
        fetch: true,
        syndrome: Syndrome(0x20 << 26 | 1 << 25 | 1 << 7 | 6),
    };
    board.cores[0].thread.program_counter = address;
    machine.exit(&mut board, vcpu_id(0), exit);
    let object = &board.cores[0].object;
    assert_eq!(object[&VcpuRegister::ESR], 0x20 << 26 | 1 << 25 | 0x16);
    assert_eq!(object[&VcpuRegister::FAR], address);
    assert_eq!(object[&VcpuRegister::ElrEl1], address);
}

#[test]
fn an_unaligned_access_is_the_guests_abort_and_names_the_address() {
    // ldr w1, [x2]
    let (mut board, mut machine) = about_to_execute(0xb940_0041, MMU, STATES[2]);
    board.cores[0].thread.general[2] = 0x4800_0201;
    abort(
        &mut board,
        &mut machine,
        0x0800_0201,
        false,
        syndrome(4, false, true, false),
    );
    let expected = 0x25 << 26 | 1 << 25 | 0x10;
    let found = outcome(&board, &machine, STATES[2]);
    assert_eq!(found, Outcome::Abort(expected, 0x4800_0201));
}

#[test]
fn an_address_that_the_instruction_does_not_tell_is_said_to_be_unknown() {
    // An add, which cannot have aborted.
    let (mut board, mut machine) = about_to_execute(0x8b01_0000, MMU, STATES[2]);
    abort(
        &mut board,
        &mut machine,
        0x0800_0200,
        false,
        syndrome(4, false, false, false),
    );
    let expected = 0x25 << 26 | 1 << 25 | 1 << 10 | 0x10;
    let found = outcome(&board, &machine, STATES[2]);
    assert_eq!(found, Outcome::Abort(expected, 0));
}

#[test]
fn a_pair_that_leaves_the_device_or_has_become_another_instruction_does_nothing() {
    // stp x1, x3, [x2, #-8]: the second half is behind the console.
    for (ipa, instruction, written) in [
        (0x0900_0ff8_u64, 0xa93f_8c41_u32, true),
        (0x0800_fff8, 0xa93f_8c41, true),
        (0x0800_0440, 0xa940_0c41, true),
    ] {
        let (mut board, mut machine) = about_to_execute(instruction, 0, STATES[2]);
        board.cores[0].thread.general[1..4].copy_from_slice(&[u64::MAX, ipa + 8, u64::MAX]);
        abort(
            &mut board,
            &mut machine,
            ipa,
            false,
            syndrome(8, written, false, false),
        );
        let found = outcome(&board, &machine, STATES[2]);
        assert!(matches!(found, Outcome::Abort(..)), "{ipa:#x}");
        assert_eq!(board.word(0x0800_0440), 0);
    }
}

#[test]
fn maintenance_by_address_is_done_wherever_there_is_no_memory() {
    for ipa in [0x0800_0100, 0x0900_0000, NOWHERE, 0x1000_0000] {
        // dc civac, x2
        let (mut board, mut machine) = about_to_execute(0xd50b_7e22, 0, STATES[2]);
        let maintenance = syndrome(1, true, false, false) | 1 << 8;
        abort(&mut board, &mut machine, ipa, false, maintenance);
        assert_eq!(outcome(&board, &machine, STATES[2]), Outcome::Value);
    }
}

#[test]
fn a_trapped_instruction_of_any_class_ends_in_the_guests_exception() {
    for class in (0..64).filter(|class| !matches!(class, 0x01 | 0x17 | 0x18)) {
        let (mut board, mut machine) = about_to_execute(0, 0, STATES[2]);
        let trapped = Exit::decode(crate::exit::label::VCPU_FAULT, |_| class << 26 | 1 << 25);
        machine.exit(&mut board, vcpu_id(0), trapped);
        assert_eq!(machine.status().phase, Phase::Running, "class {class:#x}");
        assert_eq!(board.cores[0].thread.program_counter, VECTORS + 0x200);
    }
}

impl Board {
    /// A word of the distributor's published view, for the first vCPU.
    fn word(&self, ipa: u64) -> u32 {
        use crate::port::Port as _;
        self.view(vcpu_id(0), u32::try_from(ipa - 0x0800_0000).unwrap())
    }
}

#[test]
fn priorities_are_published_for_what_these_tests_compare() {
    let (mut board, mut machine) = about_to_execute(0, 0, STATES[2]);
    store(&mut board, &mut machine, 0, 0x0800_0440, 0x1020_3040);
    assert_eq!(board.word(0x0800_0440), 0x1020_3040);
}
