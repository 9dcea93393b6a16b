// SPDX-License-Identifier: BSD-2-Clause
use std::collections::BTreeMap;

use super::*;

/// Where the tests' programs are.
const BASE: u64 = 0x4400_0000;
const WFE: u32 = 0xd503_205f;
const WFI: u32 = 0xd503_207f;
const NOP: u32 = 0xd503_201f;
const ISB: u32 = 0xd503_3fdf;
const DSB: u32 = 0xd503_3f9f;
/// `PSTATE`: EL1 with its own stack, everything masked.
const EL1_MASKED: u64 = 0x3c5;

/// `B` over so many instructions.
const fn branch(instructions: i32) -> u32 {
    0x1400_0000 | instructions.cast_unsigned() & 0x03ff_ffff
}

struct Guest {
    words: BTreeMap<u64, u32>,
    registers: Registers,
}

impl Guest {
    /// Runs at the first of these instructions, masked.
    fn at(program: &[u32]) -> Self {
        Self {
            words: (0..)
                .step_by(4)
                .map(|it| BASE + it)
                .zip(program.iter().copied())
                .collect(),
            registers: Registers {
                program_counter: BASE,
                state: EL1_MASKED,
                vectors: 0x4008_0000,
                ..Registers::default()
            },
        }
    }

    fn hang(&self) -> Option<Hang> {
        self.registers.hang(|ipa| {
            let low = self.words.get(&ipa)?;
            let high = self.words.get(&(ipa + 4)).copied().unwrap_or(0);
            Some(u64::from(*low) | u64::from(high) << 32)
        })
    }
}

#[test]
fn a_branch_to_itself_is_endless_while_interrupts_are_masked() {
    let mut guest = Guest::at(&[branch(0)]);
    let hang = Hang::Loop {
        at: BASE,
        after: None,
    };
    assert_eq!(guest.hang(), Some(hang));
    assert_eq!(
        hang.to_string(),
        "endless loop at 0x44000000, with all interrupts masked"
    );
    // Debug exceptions and SError are nobody's to send here.
    guest.registers.state = 0b11 << 6 | 5;
    assert_eq!(guest.hang(), Some(hang));
    for unmasked in [0x305, 0x345, 0x385] {
        guest.registers.state = unmasked;
        assert_eq!(guest.hang(), None, "{unmasked:#x}");
    }
}

#[test]
fn a_loop_of_waits_is_the_same_wherever_in_it_the_vcpu_is() {
    let program = [NOP, WFE, DSB, ISB, WFI, branch(-3)];
    for start in 0..6 {
        let mut guest = Guest::at(&program);
        guest.registers.program_counter += 4 * start;
        let hang = Hang::Loop {
            at: BASE + 8,
            after: None,
        };
        assert_eq!(guest.hang(), Some(hang), "{start}");
    }
}

#[test]
fn an_idle_guest_that_waits_with_interrupts_masked_continues() {
    // As Linux does (cpu_do_idle): DSB, WFI, and then it unmasks them.
    for unmask in [0xd503_42ff_u32, 0xd65f_03c0, 0xd51b_4220] {
        let mut guest = Guest::at(&[DSB, WFI, unmask]);
        for at in 0..3 {
            guest.registers.program_counter = BASE + 4 * at;
            assert_eq!(guest.hang(), None);
        }
    }
}

#[test]
fn a_loop_that_looks_at_something_may_end() {
    let look = [
        0x3940_0020, // ldrb w0, [x1]
        0xb5ff_ffe0, // cbnz x0, -4
        0xd53b_e040, // mrs x0, cntvct_el0
        0x3600_0000, // tbz w0, #0, .
        0x5400_0001, // b.ne .
        0xd61f_0000, // br x0
        0x9400_0000, // bl .: writes x30
        0x0000_0000, // udf
        0xd400_0003, // smc
    ];
    for instruction in look {
        let guest = Guest::at(&[WFE, instruction, branch(-2)]);
        assert_eq!(guest.hang(), None, "{instruction:#010x}");
    }
}

#[test]
fn a_loop_longer_than_is_looked_at_is_not_judged() {
    let mut program = vec![NOP; 40];
    program.push(branch(-40));
    assert_eq!(Guest::at(&program).hang(), None);
}

#[test]
fn what_cannot_be_read_is_not_judged() {
    assert_eq!(Guest::at(&[]).hang(), None);
    assert_eq!(Guest::at(&[NOP]).hang(), None);
    let mut narrow = Guest::at(&[branch(0)]);
    narrow.registers.state |= 1 << 4;
    assert_eq!(narrow.hang(), None);
}

#[test]
fn a_vector_that_is_a_loop_says_what_led_to_it() {
    let mut guest = Guest::at(&[0xd51c_1100, branch(0)]);
    guest.registers.vectors = BASE;
    guest.registers.program_counter = BASE + 4;
    guest.registers.return_address = BASE;
    let text = guest.hang().unwrap().to_string();
    assert_eq!(
        text,
        "endless loop at 0x44000004, with all interrupts masked; it is the vector of an exception: undefined instruction \
         at 0x44000000 (0xd51c1100: EL2 is asked for, and guests run at EL1)"
    );
}

/// A guest without vectors that has taken an exception: nothing is at 0x200.
fn without_vectors() -> Guest {
    let mut guest = Guest::at(&[]);
    guest.registers = Registers {
        program_counter: 0x200,
        return_address: 0x200,
        state: EL1_MASKED,
        saved_state: EL1_MASKED,
        syndrome: 0x8600_0010,
        ..Registers::default()
    };
    guest
}

#[test]
fn a_guest_without_vectors_takes_its_exception_over_and_over() {
    let guest = without_vectors();
    let hang = guest.hang().unwrap();
    assert_eq!(
        hang.to_string(),
        "takes the same exception over and over, from its own vector: instruction abort at 0x200"
    );
    let first = Taken {
        at: BASE,
        syndrome: 0x0200_0000,
        instruction: Some(0),
    };
    let text = hang.after(Some(first)).to_string();
    assert!(
        text.ends_with(
            "; the first was: undefined instruction at 0x44000000 (0x00000000: memory that is zero)"
        ),
        "{text}"
    );
}

#[test]
fn an_exception_from_elsewhere_is_a_guests_daily_work() {
    for (return_address, saved_state, program_counter) in [
        (BASE, EL1_MASKED, 0x200),  // of the kernel, about to be handled
        (0x200, EL1_MASKED, BASE),  // the handler is under way
        (0x200, 0x305, 0x200),      // interrupts were not masked, as they are in a vector
        (0x400, 0x3c0, 0x400),      // from EL0
        (0x400, EL1_MASKED, 0x400), // another's vector
        (0x280, EL1_MASKED, 0x280), // an interrupt's
    ] {
        let mut guest = without_vectors();
        guest.registers.return_address = return_address;
        guest.registers.saved_state = saved_state;
        guest.registers.program_counter = program_counter;
        assert_eq!(guest.hang(), None, "{return_address:#x} {saved_state:#x}");
    }
}

#[test]
fn whatever_asks_for_another_level_is_said_to() {
    let text = |instruction| {
        let taken = Taken {
            at: BASE,
            syndrome: 0x0200_0000,
            instruction: Some(instruction),
        };
        taken.to_string()
    };
    for (instruction, wants) in [
        (0xd51c_1100, "EL2"), // msr hcr_el2, x0
        (0xd53c_c000, "EL2"), // mrs x0, vbar_el2
        (0xd50c_871f, "EL2"), // tlbi alle2
        (0xd51e_1100, "EL3"), // msr scr_el3, x0
        (0xd400_0002, "HVC"), // hvc #0
    ] {
        assert!(text(instruction).contains(wants), "{instruction:#010x}");
    }
    // msr sctlr_el1, x0; msr daifset, #2; add x0, x0, #1.
    for instruction in [0xd518_1000, 0xd503_42df, 0x9100_0400] {
        assert!(!text(instruction).contains("asked"), "{instruction:#010x}");
    }
}

#[test]
fn a_hang_travels_as_words() {
    let taken = Taken {
        at: 1,
        syndrome: u64::MAX,
        instruction: Some(0),
    };
    let unread = Taken {
        instruction: None,
        ..taken
    };
    for hang in [
        Hang::Loop { at: 0, after: None },
        Hang::Loop {
            at: 7,
            after: Some(unread),
        },
        Hang::Vector { taken, first: None },
        Hang::Vector {
            taken: unread,
            first: Some(taken),
        },
    ] {
        assert_eq!(Hang::from_words(hang.words()), Some(hang));
    }
    assert_eq!(Hang::from_words([0; WORDS]), None);
    let mut without = Hang::Vector { taken, first: None }.words();
    without[2] = 0;
    assert_eq!(Hang::from_words(without), None);
}
