// SPDX-License-Identifier: BSD-2-Clause
//! Records: what goes in comes out, in one form only.

use crate::baseline::MAX_IMPLEMENTATIONS;
use crate::record::{Header, Kind, Record, RecordError, decode, encode};
use crate::vgic::{self, PRIVATE, SOFTWARE_GENERATED};
use crate::*;
use proptest::prelude::*;

/// Space for any record.
const ROOM: usize = record::MAX_SIZE;

pub(super) fn bytes_of<T: Record>(record: &T) -> Vec<u8> {
    let mut bytes = vec![0; ROOM];
    let length = encode(record, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// A record around any payload, with a header that fits it.
pub(super) fn wrap(kind: u16, version: u16, payload: &[u8]) -> Vec<u8> {
    let mut head = record::MAGIC.to_vec();
    head.extend(kind.to_le_bytes());
    head.extend(version.to_le_bytes());
    head.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    digest.update(&head);
    digest.update(payload);
    head.extend(digest.finalize().to_le_bytes());
    head.extend(payload);
    head
}

fn any_registers(which: fn(Register) -> bool) -> impl Strategy<Value = RegisterFile> {
    let values = prop::collection::vec(any::<(bool, u128)>(), REGISTER_COUNT);
    values.prop_map(move |values| {
        let mut file = RegisterFile::new();
        for (register, (present, value)) in Register::ALL.into_iter().zip(values) {
            let value = value & (u128::MAX >> (128 - register.width().bits()));
            if present && which(register) {
                assert!(file.set(register, value));
            }
        }
        file
    })
}

fn any_power() -> impl Strategy<Value = PowerV1> {
    prop_oneof![
        Just(PowerV1::Off),
        Just(PowerV1::On),
        any::<(u64, u64)>().prop_map(|(entry, context)| PowerV1::OnPending { entry, context }),
    ]
}

fn belongs_to_vcpu(register: Register) -> bool {
    register == Register::MPIDR_EL1 || !matches!(register.class(), Class::Constant | Class::Timer)
}

/// Boxed, because it is large and moved about a lot before it is used.
pub(super) fn any_vcpus() -> impl Strategy<Value = Box<VcpusRecordV4>> {
    let vcpu = (any_power(), any::<bool>(), any_registers(belongs_to_vcpu));
    let received = prop::collection::vec(0u16..0x1000, 0..=16);
    let waiting = (
        prop::collection::vec(any::<u8>(), 0..=16),
        prop::collection::vec(any::<u8>(), 0..600),
    );
    let vcpus = prop::collection::vec(vcpu, 1..=4);
    let rest = (any::<u64>(), any_clock(), any_baseline());
    (vcpus, received, waiting, 0u16..0x800, rest).prop_map(
        |(vcpus, received, (unsent, waiting), raw_interrupts, (bundle, clock, baseline))| {
            Box::new(VcpusRecordV4 {
                vcpus: vcpus
                    .into_iter()
                    .map(|(power, waiting, registers)| VcpuV1 {
                        power,
                        waiting,
                        registers,
                        ..VcpuV1::default()
                    })
                    .collect(),
                console: ConsoleRecordV2 {
                    device: ConsoleRecordV1 {
                        raw_interrupts,
                        received: received.into_iter().collect(),
                        ..ConsoleRecordV1::default()
                    },
                    unsent: unsent.into_iter().collect(),
                    waiting: waiting.into_iter().collect(),
                },
                bundle,
                clock,
                baseline,
            })
        },
    )
}

fn any_clock() -> impl Strategy<Value = ClockRecordV1> {
    let registers = any::<(u32, u32, bool, bool)>();
    (any::<u64>(), any::<Option<u64>>(), registers).prop_map(
        |(ahead, due, (matching, loaded, unmasked, raised))| ClockRecordV1 {
            ahead,
            matching,
            loaded,
            due,
            unmasked,
            raised,
        },
    )
}

fn any_interrupt(targets: core::ops::Range<u8>) -> impl Strategy<Value = InterruptV1> {
    (any::<[bool; 6]>(), any::<u8>(), targets).prop_map(
        |([enabled, latched, line, active, group1, edge], priority, targets)| InterruptV1 {
            enabled,
            latched,
            line,
            active,
            group1,
            edge,
            priority,
            targets,
        },
    )
}

fn any_banked() -> impl Strategy<Value = VcpuInterruptsV1> {
    let private = prop::collection::vec(any_interrupt(0..1), PRIVATE);
    let sources = prop::array::uniform16(0u8..2);
    (
        private,
        sources.clone(),
        sources,
        any::<(u32, u8, u8, u8, u32)>(),
    )
        .prop_map(|(mut private, pending_sources, active_sources, words)| {
            for interrupt in &mut private[..SOFTWARE_GENERATED] {
                interrupt.latched = false;
                interrupt.active = false;
            }
            let mut acknowledged = [0; vgic::BITMAP];
            acknowledged[0] = (0..SOFTWARE_GENERATED)
                .filter(|sgi| active_sources[*sgi] != 0)
                .fold(0, |bits, sgi| bits | 1 << sgi);
            VcpuInterruptsV1 {
                private: private.try_into().unwrap(),
                pending_sources,
                active_sources,
                acknowledged,
                interface: CpuInterfaceV1 {
                    control: words.0,
                    priority_mask: words.1,
                    binary_point: words.2,
                    aliased_binary_point: words.3,
                    active_priorities: words.4,
                },
            }
        })
}

pub(super) fn any_vgic() -> impl Strategy<Value = VgicRecordV1> {
    let vcpus = prop::collection::vec(any_banked(), 1..=4);
    let shared = prop::collection::vec(any_interrupt(0..2), 0..=256);
    (any::<u32>(), vcpus, shared).prop_map(|(control, vcpus, shared)| VgicRecordV1 {
        control,
        vcpus: vcpus.into_iter().collect(),
        shared: shared.into_iter().collect(),
    })
}

pub(super) fn any_timer() -> impl Strategy<Value = TimerRecordV1> {
    let vcpu = (0u32..4, any::<(u64, u32, bool)>());
    (1u32.., any::<u64>(), prop::collection::vec(vcpu, 1..=4)).prop_map(
        |(frequency, count, vcpus)| TimerRecordV1 {
            frequency,
            count,
            vcpus: vcpus
                .into_iter()
                .map(
                    |(control, (compare, kernel_control, asserted))| VcpuTimerV1 {
                        control,
                        compare,
                        kernel_control,
                        asserted,
                    },
                )
                .collect(),
        },
    )
}

/// Of everything as much as there is room for.
fn widest_baseline() -> BaselineV1 {
    let mut baseline = BaselineV1 {
        told: true,
        ..BaselineV1::default()
    };
    for register in Register::ALL {
        if register.class() == Class::Constant {
            let value = u128::MAX >> (128 - register.width().bits());
            assert!(baseline.constants.set(register, value));
        }
    }
    let every = ImplementationV1 {
        midr: u64::MAX,
        revidr: u64::MAX,
        aidr: u64::MAX,
    };
    baseline.implementations = core::iter::repeat_n(every, MAX_IMPLEMENTATIONS).collect();
    baseline
}

fn any_baseline() -> impl Strategy<Value = BaselineV1> {
    let constants = any_registers(|register| register.class() == Class::Constant);
    let implementations = prop::collection::vec(any::<[u64; 3]>(), 0..=MAX_IMPLEMENTATIONS);
    (constants, implementations, any::<bool>()).prop_map(|(constants, implementations, told)| {
        let implementations = implementations.into_iter();
        let implementation =
            |[midr, revidr, aidr]: [u64; 3]| ImplementationV1 { midr, revidr, aidr };
        BaselineV1 {
            constants,
            implementations: implementations.map(implementation).collect(),
            told,
        }
    })
}

pub(super) fn any_machine() -> impl Strategy<Value = MachineRecordV2> {
    (
        "[a-z0-9_]{0,32}",
        0u64..1 << 40,
        0u64..1 << 40,
        1u8..=4,
        any_baseline(),
    )
        .prop_map(
            |(board, ram_base, ram_size, vcpus, baseline)| MachineRecordV2 {
                board: board.as_str().try_into().unwrap(),
                ram_base,
                ram_size,
                vcpus,
                gic_version: 2,
                shared_interrupts: 256,
                baseline,
            },
        )
}

fn comes_back<T: Record + PartialEq + core::fmt::Debug>(record: &T) {
    let bytes = bytes_of(record);
    let header = Header::peek(&bytes).unwrap();
    assert_eq!((header.kind, header.version), (T::KIND, T::VERSION));
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(record));
    for shorter in [0, 3, Header::SIZE, bytes.len() - 1] {
        assert!(decode::<T>(&bytes[..shorter]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn records_come_back_as_they_were(
        vcpus in any_vcpus(), vgic in any_vgic(), timer in any_timer(), machine in any_machine(),
    ) {
        comes_back(&*vcpus);
        comes_back(&vgic);
        comes_back(&timer);
        comes_back(&machine);
    }

    #[test]
    fn a_changed_bit_is_noticed(timer in any_timer(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = bytes_of(&timer);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode::<TimerRecordV1>(&bytes).is_err());
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = wrap(Kind::Timer as u16, 1, &payload);
        if let Ok(record) = decode::<TimerRecordV1>(&bytes) {
            prop_assert_eq!(bytes_of(&record), bytes);
        }
        for version in 1..=4 {
            let _ = decode::<VcpusRecordV4>(&wrap(Kind::Vcpus as u16, version, &payload));
        }
        let _ = decode::<VgicRecordV1>(&wrap(Kind::Vgic as u16, 1, &payload));
        for version in 1..=2 {
            let _ = decode::<MachineRecordV2>(&wrap(Kind::Machine as u16, version, &payload));
        }
    }
}

/// A timer record's payload: frequency 1, count 0, one vCPU.
const TIMER: [u8; 7] = [1, 0, 1, 0, 0, 0, 0];

#[test]
fn an_overlong_integer_is_refused() {
    assert!(decode::<TimerRecordV1>(&wrap(3, 1, &TIMER)).is_ok());
    let overlong = [0x81, 0x00, 0, 1, 0, 0, 0, 0];
    assert_eq!(
        decode::<TimerRecordV1>(&wrap(3, 1, &overlong)),
        Err(RecordError::NotCanonical { kind: Kind::Timer })
    );
}

#[test]
fn trailing_bytes_are_refused() {
    let longer: Vec<u8> = TIMER.into_iter().chain([0]).collect();
    assert_eq!(
        decode::<TimerRecordV1>(&wrap(3, 1, &longer)),
        Err(RecordError::Trailing {
            kind: Kind::Timer,
            left: 1
        })
    );
}

#[test]
fn unknown_kinds_and_versions_are_told_apart_and_named() {
    assert_eq!(
        decode::<TimerRecordV1>(&wrap(99, 1, &TIMER)),
        Err(RecordError::UnknownKind { kind: 99 })
    );
    assert_eq!(
        decode::<TimerRecordV1>(&wrap(3, 2, &TIMER)),
        Err(RecordError::UnknownVersion {
            kind: Kind::Timer,
            version: 2
        })
    );
    assert_eq!(
        decode::<TimerRecordV1>(&wrap(2, 1, &TIMER)),
        Err(RecordError::WrongKind {
            expected: Kind::Timer,
            found: Kind::Vgic
        })
    );
    let mut foreign = wrap(3, 1, &TIMER);
    foreign[0] = b'X';
    assert!(matches!(
        decode::<TimerRecordV1>(&foreign),
        Err(RecordError::NotARecord { .. })
    ));
}

/// A vCPU record's payload with these registers, given as encoded pairs.
fn with_registers(count: u8, pairs: &[u8]) -> Vec<u8> {
    let mut payload = vec![1, 0, 0, 0, 0, 0, count];
    payload.extend(pairs);
    payload.extend([0; 11]);
    wrap(Kind::Vcpus as u16, 1, &payload)
}

#[test]
fn a_record_of_an_earlier_version_says_what_that_version_could_and_nothing_else() {
    let good = with_registers(0, &[]);
    let payload = &good[Header::SIZE..];
    let read = |version: u16, more: &[u8]| {
        let bytes = wrap(Kind::Vcpus as u16, version, &[payload, more].concat());
        decode::<VcpusRecordV4>(&bytes)
    };
    let expected = read(1, &[]).unwrap();
    // Each version's own zeros, and none of the next.
    for (version, zeros) in [(1, 0), (2, 3), (3, 9), (4, 12)] {
        assert_eq!(read(version, &vec![0; zeros]).as_ref(), Ok(&expected));
        for wrong in (0..14).filter(|wrong| *wrong != zeros) {
            assert!(read(version, &vec![0; wrong]).is_err(), "{version} {wrong}");
        }
    }
    // One byte that is unsent, or two that wait, and are of the zeros.
    for more in [&[1][..], &[0, 2]] {
        assert_eq!(
            read(1, more),
            Err(RecordError::NotCanonical { kind: Kind::Vcpus }),
            "{more:?}"
        );
    }
    assert!(matches!(
        read(5, &[0; 12]),
        Err(RecordError::UnknownVersion { .. })
    ));
    assert!(matches!(
        read(0, &[]),
        Err(RecordError::UnknownVersion { .. })
    ));
}

// Pitfall: Unknown registers were dropped.
#[test]
fn unknown_unordered_and_misplaced_registers_are_named() {
    // X0, X1: keys 0x10_0000 and 0x10_0002 as variable-length integers, value 5.
    let (x0, x1) = ([0x80, 0x80, 0x40, 5], [0x82, 0x80, 0x40, 5]);
    let good = with_registers(2, &[x0, x1].concat());
    let record = decode::<VcpusRecordV4>(&good).unwrap();
    assert_eq!(record.vcpus[0].registers.word(Register::X1), Some(5));
    assert_eq!(
        decode::<VcpusRecordV4>(&with_registers(2, &[x1, x0].concat())),
        Err(RecordError::RegisterOrder { key: 0x10_0000 })
    );
    assert_eq!(
        decode::<VcpusRecordV4>(&with_registers(2, &[x0, x0].concat())),
        Err(RecordError::RegisterOrder { key: 0x10_0000 })
    );
    assert_eq!(
        decode::<VcpusRecordV4>(&with_registers(1, &[0x81, 0x80, 0x40, 5])),
        Err(RecordError::UnknownRegister { key: 0x10_0001 })
    );
    let mut record = VcpusRecordV4::default();
    record.vcpus.push(VcpuV1::default()).unwrap();
    assert!(record.vcpus[0].registers.set(Register::CNTFRQ_EL0, 1));
    assert_eq!(
        encode(&record, &mut [0; 256]),
        Err(RecordError::Misplaced {
            register: "CNTFRQ_EL0"
        })
    );
}

#[test]
fn the_largest_record_fits_its_region() {
    let mut full = VcpuV1 {
        power: PowerV1::OnPending {
            entry: u64::MAX,
            context: u64::MAX,
        },
        ..VcpuV1::default()
    };
    let mut cortex_a53 = VcpuV1::default();
    for register in Register::ALL.into_iter().filter(|r| belongs_to_vcpu(*r)) {
        let value = u128::MAX >> (128 - register.width().bits());
        assert!(full.registers.set(register, value));
        let pair = |first: Register| (register.index() - first.index()) / 2;
        let absent = match register.source() {
            Source::StubBreakpoints => pair(Register::DBGBVR0_EL1) >= 6,
            Source::StubWatchpoints => pair(Register::DBGWVR0_EL1) >= 4,
            Source::StubCounters => pair(Register::PMEVCNTR0_EL0) >= 6,
            _ => false,
        };
        if !absent {
            assert!(cortex_a53.registers.set(register, value));
        }
    }
    let record = |vcpu: VcpuV1, count, waiting| VcpusRecordV4 {
        vcpus: core::iter::repeat_n(vcpu, count).collect(),
        console: ConsoleRecordV2 {
            device: ConsoleRecordV1 {
                received: [0xfff; 16].into_iter().collect(),
                ..ConsoleRecordV1::default()
            },
            unsent: [0xff; 16].into_iter().collect(),
            waiting: core::iter::repeat_n(0xff, waiting).collect(),
        },
        bundle: u64::MAX,
        clock: ClockRecordV1 {
            ahead: u64::MAX,
            due: Some(u64::MAX),
            ..ClockRecordV1::default()
        },
        baseline: widest_baseline(),
    };
    let largest = record(full, MAX_VCPUS, console::MAX_WAITING);
    assert!(bytes_of(&largest).len() <= record::MAX_SIZE);
    let one = bytes_of(&record(cortex_a53, 1, 0)).len();
    assert!(one < 3300, "a Cortex-A53's worst case has {one} bytes");
}
