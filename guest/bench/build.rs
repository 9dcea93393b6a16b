// SPDX-License-Identifier: BSD-2-Clause
//! Links the guest as a flat binary.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/guest.ld");
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=-T{script}");
    println!("cargo::rustc-link-arg-bins=--oformat=binary");
}
