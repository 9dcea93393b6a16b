// SPDX-License-Identifier: BSD-2-Clause
//! What is shown is what is there.

use proptest::prelude::*;
use state::legal::Illegal;
use state::{Class, Policy, Register};
use vm::PAGE_SIZE;

use super::access::{self, AccessError};
use super::map::{self, Cell};
use super::{diff, fields, json, list, text};
use crate::session::Scratch;
use crate::snapshot::tests::{memory, state, written};
use crate::snapshot::{SnapshotFile, write};

#[test]
fn a_register_is_found_by_name_and_by_identifier_and_an_unknown_one_is_an_error_that_names_it() {
    for register in Register::ALL {
        let identifier = register.identifier().value();
        assert_eq!(access::find(register.name()), Ok(register));
        assert_eq!(access::find(&register.name().to_lowercase()), Ok(register));
        assert_eq!(access::find(&format!("{identifier:#x}")), Ok(register));
        assert_eq!(access::find(&identifier.to_string()), Ok(register));
    }
    let error = access::find("0x6030000000140000").unwrap_err().to_string();
    assert!(error.contains("0x6030000000140000"), "{error}");
}

#[test]
fn timers_are_registers_like_others() {
    let mut state = state(1, 2);
    assert_eq!(
        access::get(&state, 0, Register::CNTVCT_EL0),
        Ok(125_000_000)
    );
    access::set(&mut state, 1, Register::CNTV_CVAL_EL0, 77).unwrap();
    access::set(&mut state, 0, Register::CNTVCT_EL0, 78).unwrap();
    assert_eq!(state.timer.vcpus[1].compare, 77);
    assert_eq!(access::get(&state, 1, Register::CNTVCT_EL0), Ok(78));
    // The condition bit is no state.
    assert!(matches!(
        access::set(&mut state, 0, Register::CNTV_CTL_EL0, 5),
        Err(AccessError::Illegal(Illegal { bits: 4, .. }))
    ));
}

#[test]
fn nothing_is_set_that_a_restore_would_not_write() {
    for register in Register::ALL {
        let mut state = state(1, 1);
        let before = state.clone();
        match (access::get(&state, 0, register), register.policy()) {
            (Ok(_), Policy::Write) => match access::set(&mut state, 0, register, 3) {
                Ok(()) => {}
                Err(error) => {
                    let of_it = |illegal: Illegal| illegal.register == register;
                    assert!(matches!(error, AccessError::Illegal(illegal) if of_it(illegal)));
                    assert_eq!(state, before);
                }
            },
            (Ok(_), _) => {
                let refused = access::set(&mut state, 0, register, 3);
                assert_eq!(refused, Err(AccessError::Constant { register }));
                assert_eq!(state, before);
            }
            (Err(error), _) => assert_eq!(error, AccessError::Absent { register, vcpu: 0 }),
        }
    }
    assert_eq!(
        access::get(&state(1, 2), 2, Register::PC),
        Err(AccessError::NoVcpu { vcpu: 2, vcpus: 2 })
    );
}

#[test]
fn fields_lie_within_their_registers_and_do_not_overlap() {
    for register in Register::ALL {
        let mut taken = 0_u64;
        for field in fields::fields(register) {
            assert!(field.high >= field.low && field.high < register.width().bits());
            let mask = (u64::MAX >> (63 - (field.high - field.low))) << field.low;
            assert_eq!(taken & mask, 0, "{register:?}.{}", field.name);
            taken |= mask;
        }
    }
}

#[test]
fn fields_are_named_as_people_know_them() {
    let describe = |register, value| fields::describe(register, value).join(" ");
    assert_eq!(
        describe(Register::PSTATE, 0x6000_03c5),
        "Z C D A I F M=EL1h"
    );
    assert_eq!(describe(Register::PSTATE, 0x10), "M=User of AArch32");
    assert_eq!(describe(Register::ESR_EL1, 0x5600_0000), "EC=SVC IL");
    assert_eq!(
        describe(Register::MIDR_EL1, 0x410f_d034),
        "Implementer=Arm PartNum=Cortex-A53 Revision=0x4"
    );
    assert_eq!(
        describe(Register::CCSIDR_L1D, 0x700f_e01a),
        "32 KiB, 4 ways, lines of 64 bytes"
    );
    assert_eq!(describe(Register::CNTFRQ_EL0, 62_500_000), "62.500000 MHz");
    assert_eq!(
        describe(Register::DCZID_EL0, 4),
        "BS=0x4 blocks of 64 bytes"
    );
    let tcr = describe(Register::TCR_EL1, 0x0050_0072_b550_3510);
    assert!(tcr.contains("IPS=40 TG1=4K SH1=inner ORGN1=WBWA"), "{tcr}");
    assert!(tcr.ends_with("addresses of 48 bits below, 48 above"));
    assert_eq!(describe(Register::X5, 5), "");
}

#[test]
fn a_person_finds_registers_interrupts_timers_and_memory() {
    let (_scratch, path) = written(256);
    let file = SnapshotFile::open(&path).unwrap();
    let text = text::snapshot(&file, text::Detail::default());
    for wanted in [
        "2 vCPUs, 1 MiB of RAM at 0x40000000, GICv2 with 64 shared interrupts",
        "vCPU 1: on",
        "PSTATE             0x00000000000003c5 D A I F M=EL1h",
        "PMR 0xf0",
        "PPI 27, virtual timer  enabled, level, priority 0xa1",
        "time: 125000000 ticks of 62.500000 MHz, 2s",
        "vCPU 1: on, at 125125000, due in 2ms",
        "256 pages of 4 KiB: 64 zero, 192 used, of which 64 are like others",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
    }
    let all = text::snapshot(&file, text::Detail { all: true });
    assert!(all.contains("SPI 95") && !text.contains("SPI 95"));
}

#[test]
fn a_vcpu_that_hangs_is_said_to_and_no_other() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("snapshot");
    let (mut state, mut memory) = (state(4, 2), memory(4));
    let mut page = [0; PAGE_SIZE];
    page[8..12].copy_from_slice(&0x1400_0000_u32.to_le_bytes());
    assert!(memory.put(1, &page));
    for (vcpu, at) in state.vcpus.vcpus.iter_mut().zip([0x4000_1008, 0x4000_1010]) {
        for (register, value) in [
            (Register::PC, at),
            (Register::SCTLR_EL1, 0),
            (Register::TCR_EL1, 0),
            (Register::TTBR0_EL1, 0),
            (Register::TTBR1_EL1, 0),
            (Register::VBAR_EL1, 0),
            (Register::ELR_EL1, 0),
            (Register::SPSR_EL1, 0),
            (Register::ESR_EL1, 0),
        ] {
            assert!(vcpu.registers.set_word(register, value));
        }
    }
    write(&path, &state, &memory).unwrap();
    let file = SnapshotFile::open(&path).unwrap();
    let text = text::snapshot(&file, text::Detail::default());
    assert_eq!(
        text.matches("endless loop at 0x40001008").count(),
        1,
        "{text}"
    );
    let value = json::snapshot(&file);
    assert!(value["vcpus"][0]["hangs"].is_string() && value["vcpus"][1]["hangs"].is_null());
}

#[test]
fn a_program_finds_the_same() {
    let (_scratch, path) = written(256);
    let file = SnapshotFile::open(&path).unwrap();
    let value = json::snapshot(&file);
    let registers = &value["vcpus"][1]["registers"];
    assert_eq!(registers["PC"]["value"], "0x0000ffff80001001");
    assert_eq!(registers["PC"]["id"], "0x6030000000100040");
    assert_eq!(
        value["interrupts"]["vcpus"][1]["private"][27]["priority"],
        0xa1
    );
    assert_eq!(value["timer"]["vcpus"][0]["ticks_left"], 62_500);
    assert_eq!(value["memory"]["counts"]["zero"], 64);
    // Every register of the records is there.
    for (register, _) in file.state().vcpus.vcpus[0].registers.iter() {
        assert!(
            value["vcpus"][0]["registers"]
                .get(register.name())
                .is_some()
        );
    }
}

#[test]
fn the_list_has_every_register() {
    let (text, json) = (list::text(), list::json());
    for (index, register) in Register::ALL.into_iter().enumerate() {
        assert!(text.contains(&format!("{:#018x}", register.identifier().value())));
        assert_eq!(json[index]["name"], register.name());
    }
}

#[test]
fn equal_snapshots_do_not_differ() {
    let (_scratch, path) = written(37);
    let (a, b) = (
        SnapshotFile::open(&path).unwrap(),
        SnapshotFile::open(&path).unwrap(),
    );
    let diff = diff::compare(&a, &b).unwrap();
    assert!(diff.is_empty());
    assert_eq!(diff.text(), "memory: 0 of 37 pages differ\n");
}

#[test]
fn what_differs_is_named_with_both_values() {
    let (scratch, path) = written(37);
    let (mut changed, mut pages) = (state(37, 2), memory(37));
    access::set(&mut changed, 1, Register::PC, 0x1234).unwrap();
    changed.vgic.shared[1].latched = true;
    changed.timer.vcpus[0].asserted = true;
    assert!(pages.put(6, &[9; 4096]) && pages.put(5, &[0; 4096]));
    let other = scratch.path().join("other");
    write(&other, &changed, &pages).unwrap();
    let (a, b) = (
        SnapshotFile::open(&path).unwrap(),
        SnapshotFile::open(&other).unwrap(),
    );
    let diff = diff::compare(&a, &b).unwrap();
    let names: Vec<(&str, &str)> = diff
        .changes
        .iter()
        .map(|change| (&*change.place, &*change.name))
        .collect();
    assert_eq!(
        names,
        [
            ("vCPU 1", "PC"),
            ("shared interrupts", "SPI 33, console"),
            ("time", "vCPU 0")
        ]
    );
    assert_eq!(map::ranges(&diff.pages), [(5, 6)]);
    let text = diff.text();
    assert!(
        text.contains("0x0000ffff80001001 → 0x0000000000001234"),
        "{text}"
    );
    assert_eq!(diff.json()["pages"][0][1], 6);
}

#[test]
fn the_same_change_of_interrupts_in_a_row_is_said_once() {
    let (scratch, path) = written(1);
    let mut changed = state(1, 2);
    for interrupt in &mut changed.vgic.shared[8..] {
        interrupt.priority = 0xa0;
    }
    changed.vgic.shared[20].targets = 1;
    let other = scratch.path().join("other");
    write(&other, &changed, &memory(1)).unwrap();
    let open = |path| SnapshotFile::open(path).unwrap();
    let diff = diff::compare(&open(&path), &open(&other)).unwrap();
    assert_eq!(diff.changes.len(), 56);
    let text = diff.text();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .map(|line| line.split("  ").next().unwrap_or_default())
        .collect();
    assert_eq!(names, ["SPI 40 to 51", "SPI 52", "SPI 53 to 95"]);
}

#[test]
fn where_there_is_one_vcpu_no_interrupt_has_targets() {
    let place = |vcpus| {
        let (scratch, _) = written(1);
        let mut state = state(1, vcpus);
        state.vgic.shared[1].enabled = true;
        let path = scratch.path().join("enabled");
        write(&path, &state, &memory(1)).unwrap();
        text::snapshot(&SnapshotFile::open(&path).unwrap(), text::Detail::default())
    };
    let line = "SPI 33, console        enabled, level, priority 0x00";
    assert!(place(1).contains(&format!("{line}\n")));
    assert!(place(2).contains(&format!("{line}, to no vCPU\n")));
}

#[test]
fn a_machine_with_another_number_of_vcpus_differs_in_those_that_it_has_not() {
    let changes = diff::changes(&state(1, 1), &state(1, 2));
    assert!(!changes.is_empty());
    for change in changes {
        let second = change.place.contains("vCPU 1") || change.name == "vCPU 1";
        let count = change.name == "vCPUs";
        assert!(second && change.before.is_none() || count, "{change:?}");
    }
}

#[test]
fn the_picture_shows_what_is_used_and_where() {
    let mut cells = vec![Cell::Nothing; 32_768];
    cells[1024..2048].fill(Cell::Used);
    cells[2048..2064].fill(Cell::Alike);
    cells[2064] = Cell::Used;
    let picture = map::picture(&cells, 0x4000_0000);
    let lines: Vec<&str> = picture.lines().collect();
    assert_eq!(lines.len(), 33);
    assert_eq!(lines[0], format!("  0x0040000000 {}", "·".repeat(64)));
    assert_eq!(lines[1], format!("  0x0040400000 {}", "█".repeat(64)));
    assert_eq!(lines[2], format!("  0x0040800000 =░{}", "·".repeat(62)));
    assert_eq!(map::picture(&[], 0).lines().count(), 1);
}

proptest! {
    /// Whatever register a change is in, the comparison finds it, and nothing else.
    #[test]
    fn a_changed_register_is_found(index in 0..Register::ALL.len(), bit in 0u32..2) {
        let register = Register::ALL[index];
        let (before, mut after) = (state(1, 1), state(1, 1));
        if let Ok(value) = access::get(&before, 0, register) {
            let changed = value ^ 1 << bit;
            if access::set(&mut after, 0, register, changed).is_ok() {
                let changes = diff::changes(&before, &after);
                prop_assert_eq!(changes.len(), 1);
                prop_assert!(
                    changes[0].name == register.name() || register.class() == Class::Timer
                );
            }
        }
    }
}
