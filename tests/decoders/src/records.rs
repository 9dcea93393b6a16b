// SPDX-License-Identifier: BSD-2-Clause
//! Records, as domains decode what another board sent (`wire/state`).
//!
//! Responsible for: all four kinds, and a register file within them. A decoder has no heap: every list of a record has a
//! fixed capacity.

use state::record::{self, Header, Record, decode, encode};
use state::{MachineRecordV2, TimerRecordV1, VcpusRecordV4, VgicRecordV1};

use crate::allocation::without_heap;
use crate::samples;

/// A record, as it is; or a payload of the kind that the first byte names, to be given a header.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let wrapped;
    let bytes = match choice % 5 {
        0 => bytes,
        kind => {
            wrapped = wrap(kind.into(), bytes);
            &wrapped
        }
    };
    only_canonical::<VcpusRecordV4>(bytes);
    only_canonical::<VgicRecordV1>(bytes);
    only_canonical::<TimerRecordV1>(bytes);
    only_canonical::<MachineRecordV2>(bytes);
    if let Ok(header) = without_heap(|| Header::peek(bytes)) {
        assert!(bytes.len() >= Header::SIZE, "{header:?}");
    }
}

fn only_canonical<T: Record>(bytes: &[u8]) {
    let Ok(record) = without_heap(|| decode::<T>(bytes)) else {
        return;
    };
    if Header::peek(bytes).is_ok_and(|header| header.version != T::VERSION) {
        // Of an earlier version: it would be written as one of this.
        return;
    }
    let mut again = vec![0; record::MAX_SIZE];
    let length = encode(&record, &mut again).expect("what was decoded can be encoded");
    assert_eq!(again.get(..length), Some(bytes));
}

/// The version of a kind that is written.
fn version(kind: u16) -> u16 {
    if kind == VcpusRecordV4::KIND as u16 {
        VcpusRecordV4::VERSION
    } else if kind == MachineRecordV2::KIND as u16 {
        MachineRecordV2::VERSION
    } else {
        1
    }
}

/// A payload with the header that belongs to it.
fn wrap(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = record::MAGIC.to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(version(kind).to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    samples::repair_record(&mut bytes);
    bytes
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let records = samples::records();
    let payloads = records.iter().zip([4_u8, 1, 2, 3]).map(|(record, kind)| {
        let payload = record.iter().skip(Header::SIZE);
        std::iter::once(kind).chain(payload.copied()).collect()
    });
    let whole = records
        .iter()
        .map(|record| std::iter::once(0).chain(record.iter().copied()).collect());
    payloads.chain(whole).collect()
}
