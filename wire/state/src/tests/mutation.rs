// SPDX-License-Identifier: BSD-2-Clause
//! Decoders against bytes that are almost records: what real ones become when bytes are changed, lost, added or swapped
//! and the header is made to fit. No panic, and nothing is accepted that is not how we would have written it.
//!
//! Arbitrary bytes rarely get past the first field; these get everywhere. A decoder allocates nothing, here as in a
//! domain: all of a record's lists have a fixed capacity.

use super::roundtrip::{any_machine, any_timer, any_vcpus, any_vgic, bytes_of, wrap};
use crate::record::{Header, Record, decode};
use proptest::prelude::*;

/// Something that happens to bytes.
#[derive(Debug, Clone)]
enum Damage {
    Change(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Swap(prop::sample::Index, prop::sample::Index),
    Truncate(prop::sample::Index),
}

fn any_damage() -> impl Strategy<Value = Vec<Damage>> {
    let index = any::<prop::sample::Index>;
    // Bytes that end, lengthen and overflow variable-length integers more often than others.
    let byte = prop_oneof![
        any::<u8>(),
        Just(0),
        Just(1),
        Just(0x7f),
        Just(0x80),
        Just(0xff)
    ];
    let one = prop_oneof![
        (index(), byte.clone()).prop_map(|(at, byte)| Damage::Change(at, byte)),
        (index(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        index().prop_map(Damage::Remove),
        (index(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        (index(), index()).prop_map(|(a, b)| Damage::Swap(a, b)),
        index().prop_map(Damage::Truncate),
    ];
    prop::collection::vec(one, 1..4)
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        let length = bytes.len();
        match one {
            _ if length == 0 => {}
            Damage::Change(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Damage::Remove(at) => drop(bytes.remove(at.index(length))),
            Damage::Insert(at, byte) => bytes.insert(at.index(length + 1), *byte),
            Damage::Swap(a, b) => bytes.swap(a.index(length), b.index(length)),
            Damage::Truncate(at) => bytes.truncate(at.index(length + 1)),
        }
    }
    bytes
}

/// What decodes is what we would have written.
fn only_canonical<T: Record>(record: &T, damage: &[Damage]) {
    let payload = bytes_of(record)[Header::SIZE..].to_vec();
    let bytes = wrap(T::KIND as u16, T::VERSION, &damaged(payload, damage));
    if let Ok(accepted) = decode::<T>(&bytes) {
        assert_eq!(bytes_of(&accepted), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_record_of_vcpus_is_refused_or_canonical(record in any_vcpus(), damage in any_damage()) {
        only_canonical(&*record, &damage);
    }

    #[test]
    fn a_damaged_record_of_interrupts_is_refused_or_canonical(record in any_vgic(), damage in any_damage()) {
        only_canonical(&record, &damage);
    }

    #[test]
    fn a_damaged_record_of_time_is_refused_or_canonical(record in any_timer(), damage in any_damage()) {
        only_canonical(&record, &damage);
    }

    #[test]
    fn a_damaged_description_is_refused_or_canonical(record in any_machine(), damage in any_damage()) {
        only_canonical(&record, &damage);
    }
}
