// SPDX-License-Identifier: BSD-2-Clause
//! Golden bytes: every version of each record, as every build from now on must read it, and write the last.
//!
//! A test here that fails says that the format has changed. Then the version must change too.

use core::fmt::Debug;

use crate::record::{Record, decode, encode};
use crate::*;

/// Whitespace apart, a record's bytes in hexadecimal.
fn bytes(golden: &str) -> Vec<u8> {
    let digits: Vec<char> = golden.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn is_golden<T: Record + PartialEq + Debug>(record: &T, golden: &str) {
    let mut written = vec![0; record::MAX_SIZE];
    let length = encode(record, &mut written).unwrap();
    written.truncate(length);
    let hexadecimal: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, bytes(golden), "written: {hexadecimal}");
    assert_eq!(decode::<T>(&bytes(golden)).as_ref(), Ok(record));
}

#[test]
fn timer() {
    let timer = TimerRecordV1 {
        frequency: 62_500_000,
        count: 0x0123_4567_89ab_cdef,
        vcpus: [
            VcpuTimerV1 {
                control: 1,
                compare: u64::MAX,
                kernel_control: 0x2d6,
                asserted: true,
            },
            VcpuTimerV1::default(),
        ]
        .into_iter()
        .collect(),
    };
    is_golden(
        &timer,
        "
         475753520300010020000000eea81f74a0d9e61def9bafcdf8acd191010201ffffffffffffffffff
         01d6050100000000",
    );
}

#[test]
fn vgic() {
    let mut first = VcpuInterruptsV1 {
        interface: CpuInterfaceV1 {
            control: 0x207,
            priority_mask: 0xf0,
            binary_point: 2,
            aliased_binary_point: 3,
            active_priorities: 0x8000_0001,
        },
        ..VcpuInterruptsV1::default()
    };
    first.private[27] = InterruptV1 {
        enabled: true,
        line: true,
        active: true,
        priority: 0xa0,
        ..InterruptV1::default()
    };
    first.pending_sources[5] = 0b10;
    first.active_sources[7] = 0b01;
    let shared = InterruptV1 {
        enabled: true,
        latched: true,
        group1: true,
        edge: true,
        priority: 0x58,
        targets: 0b10,
        ..InterruptV1::default()
    };
    let vgic = VgicRecordV1 {
        control: 3,
        vcpus: [first, VcpuInterruptsV1::default()].into_iter().collect(),
        shared: [InterruptV1::default(), shared].into_iter().collect(),
    };
    is_golden(
        &vgic,
        "
         47575352020001002a010000ce6d9d19030200000000000000000000000000000000000000000000
         00000000000000000000000000000000000000000000000000000000000000000000000000000000
         000000000000000000000000000000000000000da000000000000000000000000000000000000002
         00000000000000000000000000000000000100000000000000000000000000000000008704f00203
         81808080080000000000000000000000000000000000000000000000000000000000000000000000
         00000000000000000000000000000000000000000000000000000000000000000000000000000000
         00000000000000000000000000000000000000000000000000000000000000000000000000000000
         00000000000000000000000000000000000000000000000000000002000000335802",
    );
}

const VCPUS_1: &str = "
         475753520100010098000000719c24c10301000001000c80804000bc8040ffffffffffffffffff01
         c08040f8acd1918180e0ffff01c28040c587808006c4804080a080808080e0ffff01d08140f7ccd5
         a2b4c6c88880deb7de9af1d9a2a302d5814080808018ac804e808080800485804f80808080088081
         4f8db3c0860382bd4f80fe01c0be4f4d028080a08004bc150000000000000000008106700d011250
         3001020802618a10";

/// One of each power state, with registers of each width.
fn some_vcpus() -> heapless::Vec<VcpuV1, MAX_VCPUS> {
    let mut on = VcpuV1 {
        power: PowerV1::On,
        waiting: true,
        ..VcpuV1::default()
    };
    for (register, value) in [
        (Register::X0, 0),
        (Register::X30, u128::from(u64::MAX)),
        (Register::PC, 0xffff_8000_1234_5678),
        (Register::PSTATE, 0x6000_03c5),
        (Register::V31, 0x0123_4567_89ab_cdef_0011_2233_4455_6677),
        (Register::FPCR, 0x0300_0000),
        (Register::SCTLR_EL1, 0x30d0_198d),
        (Register::SP_EL1, 0xffff_8000_0000_1000),
        (Register::TPIDR_EL0, 0x7f00),
        (Register::DBGBVR5_EL1, 0x4000_0000),
        (Register::PMEVCNTR0_EL0, 77),
        (Register::MPIDR_EL1, 0x8000_0000),
    ] {
        assert!(on.registers.set(register, value));
    }
    let pending = VcpuV1 {
        power: PowerV1::OnPending {
            entry: 0x4008_0000,
            context: 0xabc,
        },
        ..VcpuV1::default()
    };
    [on, pending, VcpuV1::default()].into_iter().collect()
}

fn some_console() -> ConsoleRecordV1 {
    ConsoleRecordV1 {
        control: 0x301,
        line_control: 0x70,
        integer_baud_rate: 13,
        fractional_baud_rate: 1,
        fifo_levels: 0x12,
        interrupt_mask: 0x50,
        raw_interrupts: 0x30,
        dma_control: 1,
        low_power: 2,
        receive_status: 8,
        received: [b'a'.into(), 0x80a].into_iter().collect(),
    }
}

#[test]
fn vcpus_of_version_2_are_read_with_a_clock_that_begins_in_1970() {
    let record = VcpusRecordV4 {
        vcpus: some_vcpus(),
        console: some_waiting_console(),
        bundle: 0x1234_5678_9abc,
        ..VcpusRecordV4::default()
    };
    let golden = "
         4757535201000200a8000000cf699b550301000001000c80804000bc8040ffffffffffffffffff01
         c08040f8acd1918180e0ffff01c28040c587808006c4804080a080808080e0ffff01d08140f7ccd5
         a2b4c6c88880deb7de9af1d9a2a302d5814080808018ac804e808080800485804f80808080088081
         4f8db3c0860382bd4f80fe01c0be4f4d028080a08004bc150000000000000000008106700d011250
         3001020802618a10027880057479706564bcb5e2b3c5c604";
    assert_eq!(decode::<VcpusRecordV4>(&bytes(golden)), Ok(record));
}

const VCPUS_3: &str = "
         4757535201000300c0000000326175df0301000001000c80804000bc8040ffffffffffffffffff01
         c08040f8acd1918180e0ffff01c28040c587808006c4804080a080808080e0ffff01d08140f7ccd5
         a2b4c6c88880deb7de9af1d9a2a302d5814080808018ac804e808080800485804f80808080088081
         4f8db3c0860382bd4f80fe01c0be4f4d028080a08004bc150000000000000000008106700d011250
         3001020802618a10027880057479706564bcb5e2b3c5c604ef9bafcdf8acd1910180e2cfaa060501
         8080808080200100";

fn some_clock() -> ClockRecordV1 {
    ClockRecordV1 {
        ahead: 0x0123_4567_89ab_cdef,
        matching: 0x6553_f100,
        loaded: 5,
        due: Some(1 << 40),
        unmasked: true,
        raised: false,
    }
}

fn some_waiting_console() -> ConsoleRecordV2 {
    ConsoleRecordV2 {
        device: some_console(),
        unsent: [b'x', 0x80].into_iter().collect(),
        waiting: b"typed".iter().copied().collect(),
    }
}

#[test]
fn vcpus_of_version_3_are_read_without_a_baseline() {
    let record = VcpusRecordV4 {
        vcpus: some_vcpus(),
        console: some_waiting_console(),
        bundle: 0x1234_5678_9abc,
        clock: some_clock(),
        ..VcpusRecordV4::default()
    };
    assert_eq!(decode::<VcpusRecordV4>(&bytes(VCPUS_3)), Ok(record));
}

#[test]
fn vcpus_of_version_4() {
    let record = VcpusRecordV4 {
        vcpus: some_vcpus(),
        console: some_waiting_console(),
        bundle: 0x1234_5678_9abc,
        clock: some_clock(),
        baseline: some_baseline(),
    };
    is_golden(
        &record,
        "
         4757535201000400f60000006a769ff90301000001000c80804000bc8040ffffffffffffffffff01
         c08040f8acd1918180e0ffff01c28040c587808006c4804080a080808080e0ffff01d08140f7ccd5
         a2b4c6c88880deb7de9af1d9a2a302d5814080808018ac804e808080800485804f80808080088081
         4f8db3c0860382bd4f80fe01c0be4f4d028080a08004bc150000000000000000008106700d011250
         3001020802618a10027880057479706564bcb5e2b3c5c604ef9bafcdf8acd1910180e2cfaa060501
         8080808080200100058080449ac0bf800780804fb4a0bf8804a0804fa20481b04f848092a20880be
         4fa0d9e61d02b4a0bf880480010083a1bf8804000001",
    );
}

#[test]
fn vcpus_of_version_1_are_read_with_nothing_waiting() {
    let record = VcpusRecordV4 {
        vcpus: some_vcpus(),
        console: ConsoleRecordV2 {
            device: some_console(),
            ..ConsoleRecordV2::default()
        },
        ..VcpusRecordV4::default()
    };
    assert_eq!(decode::<VcpusRecordV4>(&bytes(VCPUS_1)), Ok(record));
}

const MACHINE_1: &str = "
         475753520400010044000000194f9e601171656d755f766972745f61617263683634808080800480
         80804004028002058080449ac0bf800780804fb4a0bf8804a0804fa20481b04f848092a20880be4f
         a0d9e61d";

fn some_constants() -> RegisterFile {
    let mut constants = RegisterFile::new();
    for (register, value) in [
        (Register::MIDR_EL1, 0x410f_d034),
        (Register::CNTFRQ_EL0, 62_500_000),
        (Register::CTR_EL0, 0x8444_8004),
        (Register::CCSIDR_L1D, 0x700f_e01a),
        (Register::ID_AA64PFR0_EL1, 0x222),
    ] {
        assert!(constants.set_word(register, value));
    }
    constants
}

fn some_baseline() -> BaselineV1 {
    let implementation = |midr, revidr| ImplementationV1 {
        midr,
        revidr,
        aidr: 0,
    };
    BaselineV1 {
        constants: some_constants(),
        implementations: [
            implementation(0x410f_d034, 0x80),
            implementation(0x410f_d083, 0),
        ]
        .into_iter()
        .collect(),
        told: true,
    }
}

#[test]
fn machine_of_version_2() {
    let machine = MachineRecordV2 {
        board: "qemu_virt_aarch64".try_into().unwrap(),
        ram_base: 0x4000_0000,
        ram_size: 128 << 20,
        vcpus: 4,
        gic_version: 2,
        shared_interrupts: 256,
        baseline: some_baseline(),
    };
    is_golden(
        &machine,
        "
         4757535204000200550000007004d2a41171656d755f766972745f61617263683634808080800480
         80804004028002058080449ac0bf800780804fb4a0bf8804a0804fa20481b04f848092a20880be4f
         a0d9e61d02b4a0bf880480010083a1bf8804000001",
    );
}

#[test]
fn machine_of_version_1_is_read_as_what_a_guest_was_started_on() {
    let machine = MachineRecordV2 {
        board: "qemu_virt_aarch64".try_into().unwrap(),
        ram_base: 0x4000_0000,
        ram_size: 128 << 20,
        vcpus: 4,
        gic_version: 2,
        shared_interrupts: 256,
        baseline: BaselineV1::of(&some_constants()),
    };
    assert_eq!(decode::<MachineRecordV2>(&bytes(MACHINE_1)), Ok(machine));
}
