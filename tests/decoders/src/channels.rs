// SPDX-License-Identifier: BSD-2-Clause
//! Messages between domains (`runtime/channel`), as the kernel delivers them: a label and words.

use channel::timer::{self, VirtualTimer};
use channel::vgic::{self, ListRegisterEntries, RestorePlan};
use channel::vmm::{self, Status};
use channel::{Message, ProtocolError};

use crate::allocation::without_heap;

/// A label of two bytes, then words: each a byte that says how many bytes of it follow.
pub(crate) fn run(data: &[u8]) {
    let Some((label, rest)) = data.split_first_chunk() else {
        return;
    };
    let label = u64::from(u16::from_le_bytes(*label));
    let words = words_of(rest);
    let Ok(message) = without_heap(|| Message::received(label, &words)) else {
        return;
    };
    canonical(&message, vmm::Request::decode, vmm::Request::encode);
    canonical(&message, vgic::Request::decode, vgic::Request::encode);
    canonical(&message, timer::Request::decode, timer::Request::encode);
    canonical(&message, Status::decode, Status::encode);
    canonical(&message, vmm::decode_statistics, vmm::encode_statistics);
    canonical(&message, vmm::decode_answer, |value| vmm::answer(*value));
    canonical(&message, VirtualTimer::decode, VirtualTimer::encode);
    canonical(&message, timer::decode_answer, |value| {
        timer::answer(*value)
    });
    canonical(&message, vgic::Answer::decode, vgic::Answer::encode);
    canonical(
        &message,
        ListRegisterEntries::decode,
        ListRegisterEntries::encode,
    );
    canonical(&message, RestorePlan::decode, RestorePlan::encode);
}

/// What decodes is what we would have sent.
fn canonical<T: core::fmt::Debug>(
    message: &Message,
    decode: impl FnOnce(&Message) -> Result<T, ProtocolError>,
    encode: impl FnOnce(&T) -> Message,
) {
    if let Ok(decoded) = without_heap(|| decode(message)) {
        assert_eq!(encode(&decoded), *message, "{decoded:?}");
    }
}

fn words_of(mut rest: &[u8]) -> Vec<u64> {
    let mut words = Vec::new();
    while let Some((length, tail)) = rest.split_first() {
        let (bytes, tail) = tail.split_at(usize::from(length % 9).min(tail.len()));
        rest = tail;
        let mut word = [0; 8];
        for (place, byte) in word.iter_mut().zip(bytes) {
            *place = *byte;
        }
        words.push(u64::from_le_bytes(word));
    }
    words
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Every label that a request or an answer has, with no words to as many as any message has.
    let labels = (0_u16..=12).chain([0xffe, 0xfff]);
    labels
        .flat_map(|label| {
            (0..10_u8).map(move |count| {
                let words = (0..count).flat_map(|word| [1, word % 4]);
                label.to_le_bytes().into_iter().chain(words).collect()
            })
        })
        .collect()
}
