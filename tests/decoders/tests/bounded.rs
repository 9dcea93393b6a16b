// SPDX-License-Identifier: BSD-2-Clause
//! Every decoder against bytes that are almost what they should be: the bounded run that goes with all other tests.
//!
//! The same inputs each time. `GODWIT_FUZZ_SEED` gives others, and `GODWIT_FUZZ_RUNS` more.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use decoders::mutate::{Random, mutated};
use decoders::{TARGETS, target};

/// Inputs a target, unless the environment says otherwise.
const RUNS: u64 = 4000;
/// Inputs that were changed and changed again are kept, so many of them.
const KEPT: usize = 64;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        let number = text.parse();
        number.unwrap_or_else(|error| panic!("{variable}={text}: {error}"))
    })
}

fn survives(name: &str, share: u64) {
    let target = target(name);
    let seeds = (target.seeds)();
    for seed in &seeds {
        tried(target.run, seed);
    }
    let mut random = Random::new(number("GODWIT_FUZZ_SEED", 1));
    let mut kept = seeds.clone();
    for _ in 0..number("GODWIT_FUZZ_RUNS", RUNS) / share {
        let from = &kept[random.below(kept.len())];
        let input = mutated(from, &seeds, &mut random);
        tried(target.run, &input);
        if kept.len() < seeds.len() + KEPT {
            kept.push(input);
        } else if random.below(4) == 0 {
            // What is changed over and over is soon nothing like a seed any more: those stay.
            let place = seeds.len() + random.below(KEPT);
            kept[place] = input;
        }
    }
}

fn tried(run: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        let bytes: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("the input was {bytes}");
        resume_unwind(panic);
    }
}

macro_rules! survivors {
    ($($test:ident: $name:literal / $share:literal;)*) => {
        $(#[test]
        fn $test() {
            survives($name, $share);
        })*

        /// Each target of the library has a test here, and a program in `fuzz/` that does nothing but call it.
        #[test]
        fn every_target_is_run_and_can_be_fuzzed() {
            let fuzz = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");
            let read = |path: String| std::fs::read_to_string(path).expect("it is there");
            let manifest = read(format!("{fuzz}/Cargo.toml"));
            assert!(TARGETS.iter().map(|target| target.name).eq([$($name),*]));
            for target in TARGETS {
                let name = target.name;
                let program = read(format!("{fuzz}/fuzz_targets/{name}.rs"));
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
                assert!(program.contains(&format!("decoders::target(\"{name}\").run")), "{name}");
            }
        }
    };
}

survivors! {
    records_are_refused_or_canonical: "records" / 1;
    snapshots_are_refused_or_canonical: "snapshots" / 4;
    frames_are_found_or_skipped: "frames" / 1;
    messages_are_refused_or_canonical: "messages" / 1;
    pages_are_refused_or_canonical: "pages" / 2;
    lines_recover_from_anything: "lines" / 4;
    bundles_are_refused_or_safe: "bundles" / 1;
    channels_are_refused_or_canonical: "channels" / 1;
}
