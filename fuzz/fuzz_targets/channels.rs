// SPDX-License-Identifier: BSD-2-Clause
//! `cargo fuzz run channels`: see `tests/decoders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (decoders::target("channels").run)(data));
