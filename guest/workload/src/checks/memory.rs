// SPDX-License-Identifier: BSD-2-Clause
//! Memory holds what was written into it: 8 MiB, verified and rewritten without a pause, page by page.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Context;
use crate::options::Options;
use crate::worker::Worker;
use guest_runtime::pattern::mix;

/// Words of a page.
const PAGE_WORDS: usize = 4096 / size_of::<u64>();
const PAGES_PER_MIB: usize = 256;

pub(super) fn run(context: &Context, worker: &Worker, options: &Options) {
    let mut memory = vec![0; options.writer_mib * PAGES_PER_MIB * PAGE_WORDS];
    for (number, page) in memory.chunks_exact_mut(PAGE_WORDS).enumerate() {
        write(page, options.seed, 0, number);
    }
    let start = Instant::now();
    let mut written: u64 = 0;
    for generation in 1_u64.. {
        for (number, page) in memory.chunks_exact_mut(PAGE_WORDS).enumerate() {
            // Nothing that the compiler remembers of the page survives here: it has to be read.
            let page = black_box(page);
            let wrong = verify(page, options.seed, generation - 1, number);
            worker.expect(wrong.is_none(), || {
                format!(
                    "page {number}, generation {}, word {wrong:?}",
                    generation - 1
                )
            });
            write(page, options.seed, generation, number);
            worker.round();
            written += 1;
            pace(options.writer_rate, written, start);
        }
        context.counters.observe(worker);
    }
}

/// Waits until `pages` are due at `rate` MiB/s; 0 is no limit.
fn pace(rate: u64, pages: u64, start: Instant) {
    if rate == 0 {
        return;
    }
    let due = Duration::from_micros(pages * 1_000_000 / (rate * PAGES_PER_MIB as u64));
    std::thread::sleep(due.saturating_sub(start.elapsed()));
}

fn word(seed: u64, generation: u64, page: usize, position: usize) -> u64 {
    let place = (page * PAGE_WORDS + position) as u64;
    mix(seed ^ generation.rotate_left(40) ^ place)
}

fn write(page: &mut [u64], seed: u64, generation: u64, number: usize) {
    for (position, value) in page.iter_mut().enumerate() {
        *value = word(seed, generation, number, position);
    }
}

/// The position of the first word that is not what [`write()`] wrote.
fn verify(page: &[u64], seed: u64, generation: u64, number: usize) -> Option<usize> {
    page.iter()
        .enumerate()
        .position(|(position, value)| *value != word(seed, generation, number, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_place_or_generation_is_noticed() {
        let mut page = vec![0; PAGE_WORDS];
        write(&mut page, 1, 5, 9);
        assert_eq!(verify(&page, 1, 5, 9), None);
        assert_eq!(verify(&page, 1, 4, 9), Some(0));
        assert_eq!(verify(&page, 1, 5, 8), Some(0));
        page[PAGE_WORDS - 1] ^= 1 << 63;
        assert_eq!(verify(&page, 1, 5, 9), Some(PAGE_WORDS - 1));
    }
}
