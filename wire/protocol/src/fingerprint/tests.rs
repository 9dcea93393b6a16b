// SPDX-License-Identifier: BSD-2-Clause
//! Fingerprints tell pages apart whose differences are of the kinds that guests produce.

use super::*;
use proptest::prelude::*;

type Words = [u64; PAGE_SIZE / 8];

fn page_of(words: &Words) -> Page {
    let mut page = [0; PAGE_SIZE];
    for (bytes, word) in page.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    page
}

/// The function that the module's documentation warns of.
fn tempting(words: &Words) -> [u64; 2] {
    let (mut front, mut back) = (1_u64, 2_u64);
    for pair in words.chunks_exact(2) {
        let product = u128::from(front ^ pair[0]) * u128::from(GOLDEN);
        (front, back) = (back ^ pair[1] ^ high_half(product), low_half(product));
    }
    [front, back]
}

/// Changes as programs make them: the same small change in several places, moved words, swapped
/// words, sign and top bits, adjacent ones counting in step.
fn typical_changes(words: &Words) -> Vec<Words> {
    let mut changes = Vec::new();
    for delta in [1, 2, 0xff, 1 << 31, 1 << 32, 1 << 63, u64::MAX] {
        for distance in [1, 2, 3, 8, 16, 17, 256] {
            for start in [0, 1, 15, 16, 63, 200] {
                let mut flipped = *words;
                flipped[start] ^= delta;
                flipped[start + distance] ^= delta;
                let mut moved = *words;
                moved[start] = moved[start].wrapping_add(delta);
                moved[start + distance] = moved[start + distance].wrapping_sub(delta);
                let mut swapped = *words;
                swapped[start] ^= delta;
                swapped.swap(start, start + distance);
                changes.extend([flipped, moved, swapped]);
            }
        }
    }
    let mut rotated = *words;
    rotated.rotate_left(2);
    changes.push(rotated);
    changes.retain(|change| change != words);
    changes
}

#[test]
fn typical_changes_change_the_fingerprint_under_every_key() {
    for (number, fill) in [0, 1, 0x0101_0101_0101_0101, u64::MAX]
        .into_iter()
        .enumerate()
    {
        let words = [fill; PAGE_SIZE / 8];
        let before = page_of(&words);
        for change in typical_changes(&words) {
            let after = page_of(&change);
            for seed in 0..4 {
                let key = Key::new([seed, number as u64]);
                assert_ne!(key.fingerprint_of(&before), key.fingerprint_of(&after));
            }
        }
    }
}

#[test]
fn the_same_test_catches_the_tempting_function() {
    let words = [0; PAGE_SIZE / 8];
    let missed = typical_changes(&words)
        .iter()
        .filter(|change| tempting(change) == tempting(&words))
        .count();
    assert!(missed > 0);
}

/// The construction with 8-bit words, where all keys can be tried: no pair of strips may collide
/// under more than 8 of the 256 values of the deciding key, as the proof says.
#[test]
fn the_bound_of_the_proof_holds_for_all_keys_of_the_miniature() {
    let product = |x: u8, first: u8, y: u8, second: u8| {
        let product = u16::from(x.wrapping_add(first)) * u16::from(y.wrapping_add(second));
        product.to_le_bytes()
    };
    let mut worst = 0;
    for (x, other_x) in [(0, 1), (0, 128), (3, 131), (7, 250), (255, 0)] {
        for difference in [0, 1, 2, 127, 128, 255_u8] {
            for first in 0..=255 {
                // How often each difference of the two sums occurs, over the deciding key.
                let mut counts = std::collections::HashMap::<[u8; 2], u32>::new();
                for second in 0..=255 {
                    let one = product(x, first, 9, second);
                    let other = product(other_x, first, 9_u8.wrapping_add(difference), second);
                    let gap = [one[0].wrapping_sub(other[0]), one[1].wrapping_sub(other[1])];
                    *counts.entry(gap).or_default() += 1;
                }
                worst = worst.max(counts.into_values().max().unwrap_or_default());
            }
        }
    }
    assert!((1..=8).contains(&worst), "{worst} of 256 keys");
}

#[test]
fn fingerprints_of_counted_pages_look_random() {
    let key = Key::new([1, 2]);
    let mut words = [0; PAGE_SIZE / 8];
    let mut ones = [0_u32; 128];
    let pages = 4096_u32;
    let mut seen = std::collections::HashSet::new();
    for number in 0..pages {
        words[300] = number.into();
        let Fingerprint([low, high]) = key.fingerprint_of(&page_of(&words));
        assert!(seen.insert([low, high]));
        for (bit, ones) in ones.iter_mut().enumerate() {
            let half = if bit < 64 { low } else { high };
            *ones += u32::from(half >> (bit % 64) & 1 == 1);
        }
    }
    // The upper bits of the upper half grow with the product, so only the lower half is uniform
    // in each of its bits for a change of a few bits; that all are distinct is what matters.
    let uniform = ones[8..64]
        .iter()
        .filter(|ones| ones.abs_diff(pages / 2) < pages / 8)
        .count();
    assert!(uniform > 48, "{ones:?}");
}

#[test]
fn words_given_in_pairs_and_bytes_agree() {
    let words: Words = core::array::from_fn(|index| split_mix(index as u64));
    let key = Key::new([5, 6]);
    assert_eq!(
        key.fingerprint(|pair| (words[2 * pair], words[2 * pair + 1])),
        key.fingerprint_of(&page_of(&words))
    );
}

#[test]
fn keys_of_different_seeds_have_nothing_in_common() {
    let keys = [[0, 0], [1, 0], [0, 1], [GOLDEN, 0], [0, GOLDEN]].map(Key::new);
    let mut words: Vec<u64> = keys
        .iter()
        .flat_map(|key| key.strip.iter().chain(&key.page).copied())
        .collect();
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count);
}

proptest! {
    #[test]
    fn any_change_is_seen(seed in any::<[u64; 2]>(), fill in any::<u8>(),
                          changes in prop::collection::vec((0..PAGE_SIZE, any::<u8>()), 1..20)) {
        let before = [fill; PAGE_SIZE];
        let mut after = before;
        for (index, byte) in changes {
            after[index] = byte;
        }
        let key = Key::new(seed);
        prop_assert_eq!(
            before == after,
            key.fingerprint_of(&before) == key.fingerprint_of(&after)
        );
    }

    #[test]
    fn a_checksum_sees_every_change_of_one_byte(
        mut bytes in prop::collection::vec(any::<u8>(), 1..100),
        index in any::<prop::sample::Index>(), change in 1..=255_u8,
    ) {
        let before = checksum(&bytes);
        let index = index.index(bytes.len());
        bytes[index] ^= change;
        prop_assert_ne!(before, checksum(&bytes));
    }

    #[test]
    fn a_checksum_sees_zeros_added(bytes in prop::collection::vec(any::<u8>(), 0..50),
                                   more in 1_usize..20) {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + more, 0);
        prop_assert_ne!(checksum(&bytes), checksum(&longer));
    }
}
