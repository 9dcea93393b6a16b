// SPDX-License-Identifier: BSD-2-Clause
//! What a guest could have, and what it could not.

use proptest::prelude::*;

use crate::legal::{Illegal, Processor, check_timer_change, legal};
use crate::register::Policy;
use crate::{
    BaselineV1, PowerV1, Register, RegisterFile, TimerRecordV1, VcpuTimerV1, VcpuV1, VcpusRecordV4,
};

/// A Cortex-A53 as QEMU has it: AArch32 at EL0, no feature beyond Armv8.0.
fn small() -> RegisterFile {
    constants(&[
        (Register::ID_AA64PFR0_EL1, 0x2222),
        (Register::ID_AA64DFR0_EL1, 0x1030_5106),
        (Register::MDRAR_EL1, 0),
    ])
}

/// A processor that has all that the rules ask for, but AArch32.
fn large() -> RegisterFile {
    constants(&[
        (Register::ID_AA64PFR0_EL1, 0x0001_0001_0011_1111),
        (Register::ID_AA64PFR1_EL1, 0x0000_0010_0100_0221),
        (Register::ID_AA64ISAR1_EL1, 0x10),
        (Register::ID_AA64MMFR1_EL1, 0x0010_0000),
        (Register::ID_AA64MMFR2_EL1, 0x10),
        (Register::ID_AA64DFR0_EL1, 0x1030_5606),
        (Register::MDRAR_EL1, 0),
    ])
}

fn constants(values: &[(Register, u64)]) -> RegisterFile {
    let mut constants = RegisterFile::new();
    for (register, value) in values {
        assert!(constants.set_word(*register, *value));
    }
    constants
}

/// A vCPU that has every register of the table, at rest in EL1.
fn registers() -> RegisterFile {
    let mut registers = RegisterFile::new();
    for register in Register::ALL {
        let value = match register {
            Register::PSTATE => 0x3c5,
            Register::MPIDR_EL1 => 1 << 31,
            Register::OSLSR_EL1 => 8,
            Register::PMCR_EL0 => 0x4103_3000,
            _ => 0,
        };
        let belongs = register.policy() == Policy::Write || register == Register::MPIDR_EL1;
        if belongs {
            assert!(registers.set(register, value));
        }
    }
    registers
}

/// What a record says of a guest whose first vCPU has this.
fn recorded(constants: &RegisterFile, values: &[(Register, u64)]) -> Result<(), Illegal> {
    let mut vcpu = VcpuV1 {
        power: PowerV1::On,
        registers: registers(),
        ..VcpuV1::default()
    };
    for (register, value) in values {
        assert!(
            vcpu.registers.set(*register, (*value).into()),
            "{register:?}"
        );
    }
    let record = VcpusRecordV4 {
        vcpus: [vcpu].into_iter().collect(),
        ..VcpusRecordV4::default()
    };
    Processor::of(constants).check(&record)
}

/// What an operator hears who gives a register this value.
fn set(constants: &RegisterFile, register: Register, value: u64) -> Result<(), Illegal> {
    Processor::of(constants).check_change(0, register, value.into(), &registers())
}

/// Values that no guest of a Cortex-A53 has, with the bits that are wrong.
const IMPOSSIBLE: [(Register, u64, u64); 18] = [
    // EL2h, EL2t, EL3h, reserved; AArch32's Supervisor, Hypervisor and System.
    (Register::PSTATE, 0x3c9, 0x9),
    (Register::PSTATE, 0x3c8, 0x8),
    (Register::PSTATE, 0x3cd, 0xd),
    (Register::PSTATE, 0x3c1, 0x1),
    (Register::PSTATE, 0x3d3, 0x13),
    (Register::PSTATE, 0x3da, 0x1a),
    (Register::PSTATE, 0x3df, 0x1f),
    // PAN, UAO, SSBS, what is reserved, the upper half.
    (Register::PSTATE, 0x0040_03c5, 0x0040_0000),
    (Register::PSTATE, 0x0080_03c5, 0x0080_0000),
    (Register::PSTATE, 0x1005, 0x1000),
    (Register::PSTATE, 0x0800_0025, 0x0800_0020),
    (Register::PSTATE, 1 << 32 | 5, 1 << 32),
    (Register::SCTLR_EL1, 1 << 43 | 0x30d0_0800, 1 << 43),
    (Register::VBAR_EL1, 0x4000_0011, 0x11),
    (Register::CSSELR_EL1, 0x12, 0x10),
    (Register::OSLSR_EL1, 0xd, 5),
    (Register::FPSR, 0x0400_0020, 0x0400_0020),
    (Register::PMUSERENR_EL0, 0x80, 0x80),
];

#[test]
fn what_no_guest_can_have_is_refused_by_its_name_and_bits() {
    for (register, value, bits) in IMPOSSIBLE {
        let illegal = Illegal {
            vcpu: 0,
            register,
            value,
            bits,
        };
        assert_eq!(recorded(&small(), &[(register, value)]), Err(illegal));
        let told = set(&small(), register, value).expect_err("the operator hears it too");
        assert_eq!(told.register, register);
        let text = told.to_string();
        let said = [register.name(), &format!("{value:#x}"), legal(register)];
        assert!(said.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn another_vcpus_number_and_a_misaligned_start_are_refused() {
    let refused = |registers: &[(Register, u64)]| {
        recorded(&small(), registers).expect_err("refused").register
    };
    assert_eq!(
        refused(&[(Register::MPIDR_EL1, 1 << 31 | 1)]),
        Register::MPIDR_EL1
    );
    // A monitor with six counters has no seventh.
    assert_eq!(
        refused(&[(Register::PMCNTENSET_EL0, 1 << 6)]),
        Register::PMCNTENSET_EL0
    );
    assert_eq!(
        refused(&[(Register::PMCR_EL0, 0x4103_3002)]),
        Register::PMCR_EL0
    );
    let mut record = VcpusRecordV4::default();
    let starting = VcpuV1 {
        power: PowerV1::OnPending {
            entry: 0x4000_0002,
            context: 0,
        },
        ..VcpuV1::default()
    };
    assert!(record.vcpus.push(starting).is_ok());
    let illegal = Processor::of(&small()).check(&record).expect_err("refused");
    assert_eq!((illegal.register, illegal.bits), (Register::PC, 2));
}

#[test]
fn a_32_bit_program_is_legal_where_the_processor_runs_it_and_its_counter_fits() {
    let thumb = [
        (Register::PSTATE, 0x0600_fe30_u64),
        (Register::PC, 0x0001_2346),
    ];
    assert_eq!(recorded(&small(), &thumb), Ok(()));
    let refused = recorded(&large(), &thumb).expect_err("no AArch32 there");
    assert_eq!(
        (refused.register, refused.bits & 0x1f),
        (Register::PSTATE, 0x10)
    );
    for (state, counter, bits) in [
        (0x10, 0x0001_2346, 2),
        (0x30, 0x0001_2347, 1),
        (0x10, 1 << 32, 1 << 32),
    ] {
        let values = [(Register::PSTATE, state), (Register::PC, counter)];
        let refused = recorded(&small(), &values).expect_err("a counter of another state");
        assert_eq!((refused.register, refused.bits), (Register::PC, bits));
    }
    // Set one after the other, the state is refused while the counter is not one of its own.
    let mut all = registers();
    assert!(all.set_word(Register::PC, 0xffff_8000_0000_1000));
    let change = Processor::of(&small()).check_change(0, Register::PSTATE, 0x10, &all);
    assert_eq!(change.expect_err("refused").register, Register::PC);
}

#[test]
fn what_a_processor_has_is_legal_there() {
    for (register, value) in [
        // PAN, UAO, DIT, SSBS, BTYPE, TCO, ALLINT.
        (Register::PSTATE, 0x03c0_3c05),
        (Register::SCTLR_EL1, 0xc800_2000 | 0x3ff << 35),
        (Register::CPACR_EL1, 0x1333_0000),
        (Register::CSSELR_EL1, 0x12),
        (Register::FPCR, 0x07c8_0000),
        (Register::PMEVCNTR0_EL0, u64::MAX),
    ] {
        assert_eq!(set(&large(), register, value), Ok(()), "{register:?}");
        assert!(set(&small(), register, value).is_err(), "{register:?}");
    }
}

#[test]
fn what_a_guest_wrote_into_reserved_bits_travels_and_no_operator_sets_it() {
    for (register, value) in [
        (Register::TCR_EL1, 1 << 63),
        (Register::ESR_EL1, 1 << 60),
        (Register::CONTEXTIDR_EL1, 1 << 32),
        (Register::SPSR_EL1, 0x3c9),
        (Register::CPACR_EL1, 1 << 40),
        (Register::VBAR_EL1, 0x4000_0400),
        (Register::MDSCR_EL1, 1 << 40),
        (Register::CSSELR_EL1, 0xe),
        (Register::ACTLR_EL1, 1),
    ] {
        assert_eq!(
            recorded(&small(), &[(register, value)]),
            Ok(()),
            "{register:?}"
        );
        let refused = set(&small(), register, value).expect_err("refused");
        assert_eq!(refused.register, register);
        // It may stay as it is.
        let mut has = registers();
        assert!(has.set_word(register, value));
        let same = Processor::of(&small()).check_change(0, register, value.into(), &has);
        assert_eq!(same, Ok(()), "{register:?}");
    }
}

#[test]
fn what_is_constant_of_a_register_stays() {
    // The number of counters.
    let refused = set(&small(), Register::PMCR_EL0, 0x4103_3800).expect_err("refused");
    assert_eq!(
        (refused.register, refused.bits),
        (Register::PMCR_EL0, 0x800)
    );
    assert_eq!(set(&small(), Register::PMCR_EL0, 0x4103_3041), Ok(()));
    assert_eq!(set(&small(), Register::OSLSR_EL1, 0xa), Ok(()));
    let refused = set(&small(), Register::OSLSR_EL1, 2).expect_err("refused");
    assert_eq!((refused.register, refused.bits), (Register::OSLSR_EL1, 8));
}

#[test]
fn a_timers_registers_are_held_to_their_fields() {
    let record = TimerRecordV1 {
        frequency: 1,
        vcpus: [VcpuTimerV1::default()].into_iter().collect(),
        ..TimerRecordV1::default()
    };
    let change = |register, value| check_timer_change(&record, 0, register, value);
    for (register, value) in [
        (Register::CNTV_CTL_EL0, 4),
        (Register::CNTKCTL_EL1, 1 << 10),
    ] {
        let refused = change(register, value).expect_err("refused");
        assert_eq!(
            (refused.register, u128::from(refused.bits)),
            (register, value)
        );
    }
    for (register, value) in [
        (Register::CNTV_CTL_EL0, 3),
        (Register::CNTKCTL_EL1, 0x2_03ff),
        (Register::CNTV_CVAL_EL0, u128::from(u64::MAX)),
        (Register::CNTVCT_EL0, u128::from(u64::MAX)),
    ] {
        assert_eq!(change(register, value), Ok(()), "{register:?}");
    }
}

proptest! {
    /// Every value that may be set may be in a record, and what is legal for the small processor is for one that has more.
    #[test]
    fn what_an_operator_may_set_is_what_a_guest_could_have(index in 0..Register::ALL.len(), value: u64) {
        let register = Register::ALL[index];
        let value = if register.width() == crate::Width::W32 { value & 0xffff_ffff } else { value };
        if register.policy() == Policy::Write && set(&small(), register, value).is_ok() {
            prop_assert_eq!(recorded(&small(), &[(register, value)]), Ok(()));
        }
    }
}

/// What becomes of a `PSTATE` on a processor, of a guest that relies on another one.
fn adopted(guest: Option<&RegisterFile>, here: &RegisterFile, state: u64) -> u64 {
    let mut vcpu = VcpuV1 {
        power: PowerV1::On,
        registers: registers(),
        ..VcpuV1::default()
    };
    assert!(vcpu.registers.set_word(Register::PSTATE, state));
    let mut record = VcpusRecordV4 {
        vcpus: [vcpu].into_iter().collect(),
        baseline: guest.map_or_else(BaselineV1::default, BaselineV1::of),
        ..VcpusRecordV4::default()
    };
    Processor::of(here).adopt(&mut record);
    record.vcpus[0].registers.word(Register::PSTATE).unwrap()
}

// Pitfall: Linux sets SSBS for every program, and a guest that had been on a core with SSBS could not go back.
#[test]
fn what_linux_sets_for_every_program_is_dropped_where_it_does_nothing() {
    const SSBS: u64 = 1 << 12;
    let (small, large) = (small(), large());
    assert_eq!(adopted(Some(&small), &small, SSBS | 1 << 29), 1 << 29);
    assert_eq!(adopted(Some(&small), &small, SSBS << 11 | 0x10), 0x10);
    // Where there is such a bit, the guest keeps it.
    assert_eq!(adopted(Some(&small), &large, SSBS), SSBS);
    // A guest that relies on it, or of which nobody knows, is not changed, and refused.
    assert_eq!(adopted(Some(&large), &small, SSBS), SSBS);
    assert_eq!(adopted(None, &small, SSBS), SSBS);
    assert!(recorded(&small, &[(Register::PSTATE, SSBS)]).is_err());
    // Nothing else goes: PAN, UAO, and the bit that means UAO in AArch64.
    for bit in [22, 23] {
        assert_eq!(adopted(Some(&small), &small, 1 << bit), 1 << bit);
    }
}
