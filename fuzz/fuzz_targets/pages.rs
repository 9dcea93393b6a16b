// SPDX-License-Identifier: BSD-2-Clause
//! `cargo fuzz run pages`: see `tests/decoders`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| (decoders::target("pages").run)(data));
