// SPDX-License-Identifier: BSD-2-Clause
//! A small machine in which much is different from zero, and its records.

use crc::{CRC_32_ISO_HDLC, Crc};
use state::record::{self, Record, encode};
use state::vgic::InterruptV1;
use state::{
    ClockRecordV1, ConsoleRecordV1, ConsoleRecordV2, MachineRecordV2, PowerV1, Register,
    TimerRecordV1, VcpuInterruptsV1, VcpuTimerV1, VcpuV1, VcpusRecordV4, VgicRecordV1,
};

/// Pages of the machine's RAM: few, so that a snapshot of it is small.
pub(crate) const PAGES: u32 = 5;
/// `CNTFRQ_EL0`.
const FREQUENCY: u32 = 62_500_000;

pub(crate) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

pub(crate) fn machine() -> MachineRecordV2 {
    let mut machine = MachineRecordV2 {
        board: "board".try_into().unwrap_or_default(),
        ram_base: 0x4000_0000,
        ram_size: u64::from(PAGES) * 4096,
        vcpus: 2,
        gic_version: 2,
        shared_interrupts: 2,
        ..MachineRecordV2::default()
    };
    let constants = &mut machine.baseline.constants;
    assert!(constants.set_word(Register::CNTFRQ_EL0, FREQUENCY.into()));
    assert!(constants.set_word(Register::MIDR_EL1, 0x410f_d034));
    machine
}

pub(crate) fn vcpus() -> VcpusRecordV4 {
    let mut on = VcpuV1 {
        power: PowerV1::On,
        waiting: true,
        ..VcpuV1::default()
    };
    assert!(on.registers.set_word(Register::PC, 0xffff_8000_1000));
    assert!(on.registers.set(Register::V7, u128::MAX / 3));
    assert!(on.registers.set_word(Register::MPIDR_EL1, 0x8000_0000));
    let pending = VcpuV1 {
        power: PowerV1::OnPending {
            entry: 0x4008_0000,
            context: 7,
        },
        ..VcpuV1::default()
    };
    VcpusRecordV4 {
        vcpus: [on, pending].into_iter().collect(),
        console: ConsoleRecordV2 {
            device: ConsoleRecordV1 {
                received: [0x41, 0x142].into_iter().collect(),
                ..ConsoleRecordV1::default()
            },
            unsent: [b'z'].into_iter().collect(),
            waiting: [b'a', b'b'].into_iter().collect(),
        },
        bundle: 99,
        clock: ClockRecordV1 {
            ahead: 1 << 56,
            due: Some(1 << 40),
            unmasked: true,
            ..ClockRecordV1::default()
        },
        baseline: machine().baseline,
    }
}

pub(crate) fn vgic() -> VgicRecordV1 {
    let shared = InterruptV1 {
        enabled: true,
        active: true,
        priority: 0xa0,
        targets: 2,
        ..InterruptV1::default()
    };
    let mut vcpu = VcpuInterruptsV1::default();
    vcpu.pending_sources[3] = 2;
    let mut other = vcpu.clone();
    other.acknowledged[1] = 1;
    VgicRecordV1 {
        control: 1,
        vcpus: [vcpu, other].into_iter().collect(),
        shared: [shared, InterruptV1::default()].into_iter().collect(),
    }
}

pub(crate) fn timer() -> TimerRecordV1 {
    let vcpu = VcpuTimerV1 {
        control: 1,
        compare: 125_062_500,
        kernel_control: 2,
        asserted: true,
    };
    TimerRecordV1 {
        frequency: FREQUENCY,
        count: 125_000_000,
        vcpus: [vcpu, VcpuTimerV1::default()].into_iter().collect(),
    }
}

/// The machine, its vCPUs, its interrupt controller and its time.
pub(crate) fn records() -> [Vec<u8>; 4] {
    [
        bytes(&machine()),
        bytes(&vcpus()),
        bytes(&vgic()),
        bytes(&timer()),
    ]
}

fn bytes(record: &impl Record) -> Vec<u8> {
    let mut bytes = vec![0; record::MAX_SIZE];
    let length = encode(record, &mut bytes).expect("a sample is a record");
    bytes.truncate(length);
    bytes
}

/// Gives a record the checksum that it should have.
pub(crate) fn repair_record(bytes: &mut [u8]) {
    let Some((head, payload)) = bytes.split_at_mut_checked(16) else {
        return;
    };
    let mut digest = CHECKSUM.digest();
    let (summed, place) = head.split_at_mut(12);
    digest.update(summed);
    digest.update(payload);
    place.copy_from_slice(&digest.finalize().to_le_bytes());
}
