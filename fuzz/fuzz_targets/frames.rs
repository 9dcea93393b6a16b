// SPDX-License-Identifier: BSD-2-Clause
//! `cargo fuzz run frames`: see `tests/decoders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (decoders::target("frames").run)(data));
