// SPDX-License-Identifier: BSD-2-Clause
//! What snapshots' tests share, and the tests of the file.

mod boards;
mod damage;

use std::path::PathBuf;

use guest_bundle::{Bundle, Contents, RAM_BASE, SegmentContents, encode};
use protocol::fingerprint::{PAGE_SIZE, Page};
use state::vgic::InterruptV1;
use state::{
    CpuInterfaceV1, MachineRecordV2, PowerV1, Register, TimerRecordV1, VcpuInterruptsV1,
    VcpuTimerV1, VcpuV1, VcpusRecordV4, VgicRecordV1,
};

use super::*;
use crate::session::Scratch;

/// A machine in which everything is different everywhere, as far as a guest can be kept.
pub(crate) fn state(pages: u32, vcpus: u8) -> State {
    let mut machine = MachineRecordV2 {
        board: "a_board".try_into().unwrap(),
        ram_base: 0x4000_0000,
        ram_size: u64::from(pages) * PAGE_SIZE as u64,
        vcpus,
        gic_version: 2,
        shared_interrupts: 64,
        ..MachineRecordV2::default()
    };
    for register in Register::ALL {
        if register.source() == state::Source::Probe {
            assert!(
                machine
                    .baseline
                    .constants
                    .set(register, register.index() as u128)
            );
        }
    }
    // Nothing that no guest could be kept with.
    while let Some(feature) = state::coverage::beyond_records(&machine.baseline.constants) {
        assert!(machine.baseline.constants.set(feature.register, 0));
    }
    let frequency = 62_500_000;
    assert!(
        machine
            .baseline
            .constants
            .set_word(Register::CNTFRQ_EL0, frequency.into())
    );
    let vcpu = |number: u64| {
        let mut vcpu = VcpuV1 {
            power: PowerV1::On,
            ..VcpuV1::default()
        };
        let registers = &mut vcpu.registers;
        assert!(registers.set_word(Register::MPIDR_EL1, 0x8000_0000 | number));
        assert!(registers.set_word(Register::PC, 0xffff_8000_1000 + number));
        assert!(registers.set_word(Register::PSTATE, 0x3c5));
        assert!(registers.set_word(Register::SCTLR_EL1, 0x30d0_1805));
        assert!(registers.set(Register::V7, u128::MAX / 3 + u128::from(number)));
        vcpu
    };
    let interrupts = |number: u8| VcpuInterruptsV1 {
        private: std::array::from_fn(|_| InterruptV1 {
            enabled: true,
            priority: 0xa0 + number,
            ..InterruptV1::default()
        }),
        interface: CpuInterfaceV1 {
            control: 1,
            priority_mask: 0xf0,
            ..CpuInterfaceV1::default()
        },
        ..VcpuInterruptsV1::default()
    };
    let timer = |number: u64| VcpuTimerV1 {
        control: 1,
        compare: 125_000_000 + 62_500 * (number + 1),
        ..VcpuTimerV1::default()
    };
    State {
        taken_us: 1_700_000_000_000_000,
        running: true,
        machine,
        vcpus: VcpusRecordV4 {
            bundle: Bundle::parse(
                bundle(pages).as_flattened(),
                u64::from(pages) * PAGE_SIZE as u64,
            )
            .unwrap()
            .identity(),
            vcpus: (0..u64::from(vcpus)).map(vcpu).collect(),
            ..VcpusRecordV4::default()
        },
        vgic: VgicRecordV1 {
            control: 1,
            vcpus: (0..vcpus).map(interrupts).collect(),
            shared: (0..64).map(|_| InterruptV1::default()).collect(),
        },
        timer: TimerRecordV1 {
            frequency,
            count: 125_000_000,
            vcpus: (0..u64::from(vcpus)).map(timer).collect(),
        },
    }
}

/// What a guest with so many pages of RAM is started from.
pub(crate) fn bundle(pages: u32) -> Vec<Page> {
    let data: Vec<u8> = (0..PAGE_SIZE / 2)
        .flat_map(|at| [at.to_le_bytes()[0], 7])
        .collect();
    let contents = Contents {
        vcpus: 1,
        ram_size: u64::from(pages) * PAGE_SIZE as u64,
        entry: RAM_BASE,
        device_tree: RAM_BASE,
        segments: vec![SegmentContents {
            ipa: RAM_BASE,
            data: &data[..PAGE_SIZE - 100],
            mem_size: PAGE_SIZE as u64,
        }],
    };
    let mut bytes = encode(&contents).unwrap();
    bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    bytes.as_chunks().0.to_vec()
}

/// Memory with pages of zeros, pages alike, and others.
pub(crate) fn memory(pages: u32) -> CapturedMemory {
    let mut memory = CapturedMemory::new(pages);
    for page in 0..pages {
        let fill = match page % 4 {
            0 => 0,
            1 => 0x55,
            _ => u8::try_from(page % 251).unwrap().max(1),
        };
        let mut contents = [fill; PAGE_SIZE];
        contents[7] = if page % 4 == 3 { 0xee } else { fill };
        assert!(memory.put(page, &contents));
    }
    memory
}

/// A snapshot in a directory of its own.
pub(crate) fn written(pages: u32) -> (Scratch, PathBuf) {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("snapshot");
    write(&path, &state(pages, 2), &memory(pages)).unwrap();
    (scratch, path)
}

/// The same with what the guest is started from.
pub(crate) fn written_with_bundle(pages: u32) -> (Scratch, PathBuf) {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("snapshot");
    let mut memory = memory(pages);
    let bundle = bundle(pages);
    memory.add_bundle(u32::try_from(bundle.len()).unwrap());
    for (number, page) in (pages..).zip(&bundle) {
        assert!(memory.put(number, page));
    }
    write(&path, &state(pages, 2), &memory).unwrap();
    (scratch, path)
}

#[test]
fn what_a_guest_is_started_from_is_read_as_well() {
    let (scratch, path) = written_with_bundle(37);
    let file = SnapshotFile::open(&path).unwrap();
    file.verify().unwrap();
    assert_eq!(file.pages(), 37);
    let expected = bundle(37);
    let found = file.bundle().unwrap();
    assert_eq!(found.identity, state(37, 2).vcpus.bundle);
    assert_eq!(found.pages as usize, expected.len());
    let mut page = [0; PAGE_SIZE];
    for (number, expected) in (37..).zip(&expected) {
        file.read(number, &mut page).unwrap();
        assert_eq!(page, *expected, "page {number}");
    }
    let copy = scratch.path().join("copy");
    write(&copy, file.state(), &file).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&copy).unwrap());
}

#[test]
fn what_is_written_is_read() {
    let (_scratch, path) = written(37);
    let file = SnapshotFile::open(&path).unwrap();
    assert_eq!(file.state(), &state(37, 2));
    assert_eq!(file.pages(), 37);
    let memory = memory(37);
    let (mut here, mut there) = ([1; PAGE_SIZE], [2; PAGE_SIZE]);
    for page in 0..37 {
        assert_eq!(
            file.read(page, &mut here).unwrap(),
            memory.read(page, &mut there).unwrap()
        );
        assert_eq!(here, there, "page {page}");
    }
    file.verify().unwrap();
}

#[test]
fn pages_of_zeros_are_not_stored_and_pages_alike_once() {
    let (_scratch, path) = written(37);
    let file = SnapshotFile::open(&path).unwrap();
    assert_eq!(file.kind(0), PageKind::Zero);
    assert!(matches!(file.kind(1), PageKind::Used { slot: 1, .. }));
    assert_eq!(file.kind(1), file.kind(5));
    assert_ne!(file.kind(2), file.kind(3));
    // Nine of 37 are alike, ten are zero.
    assert_eq!(file.stored(), 37 - 10 - 9 + 1);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < (u64::from(file.stored()) + 4) * PAGE_SIZE as u64);
}

#[test]
fn a_stored_page_lies_where_a_mapping_can_show_it() {
    let (_scratch, path) = written(37);
    let bytes = std::fs::read(&path).unwrap();
    let offset = usize::try_from(u64::from_le_bytes(bytes[48..56].try_into().unwrap())).unwrap();
    assert_eq!(offset % PAGE_SIZE, 0);
    let mut page = [0; PAGE_SIZE];
    let file = SnapshotFile::open(&path).unwrap();
    assert!(file.read(1, &mut page).unwrap());
    assert_eq!(bytes[offset..offset + PAGE_SIZE], page);
}

#[test]
fn a_snapshot_of_nothing_but_zeros_is_a_snapshot() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("empty");
    write(&path, &state(3, 1), &CapturedMemory::new(3)).unwrap();
    let file = SnapshotFile::open(&path).unwrap();
    assert_eq!((file.pages(), file.stored()), (3, 0));
    file.verify().unwrap();
}

#[test]
fn a_snapshot_written_from_a_snapshot_is_the_same_file() {
    let (scratch, path) = written(37);
    let file = SnapshotFile::open(&path).unwrap();
    let copy = scratch.path().join("copy");
    write(&copy, file.state(), &file).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&copy).unwrap());
}

#[test]
fn nothing_is_left_under_the_name_when_writing_fails() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("snapshot");
    let mut broken = state(3, 1);
    broken.timer.frequency = 0;
    assert!(matches!(
        write(&path, &broken, &CapturedMemory::new(3)),
        Err(FileError::Record {
            part: Part::Timer,
            ..
        })
    ));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

// Pitfall: The guest's clock was behind by the downtime, and nobody had chosen that.
#[test]
fn the_guests_clock_is_frozen_unless_the_operator_wants_it_to_advance() {
    let mut here = state(1, 1);
    restore::advance_clock(&mut here, Advance::None);
    assert_eq!(here, state(1, 1));
    restore::advance_clock(&mut here, Advance::By(Duration::from_millis(1500)));
    assert_eq!(here.timer.count, 125_000_000 + 93_750_000);
    let mut here = state(1, 1);
    restore::advance_clock(&mut here, Advance::SinceTaken);
    // It was taken in November 2023.
    assert!(here.timer.count > 62_500_000 * 60 * 60 * 24 * 365);
}
