// SPDX-License-Identifier: BSD-2-Clause
//! `cargo fuzz run bundles`: see `tests/decoders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (decoders::target("bundles").run)(data));
