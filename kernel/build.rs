// SPDX-License-Identifier: BSD-2-Clause
//! Links the kernel's binary where its image is loaded.

fn main() {
    println!("cargo:rerun-if-changed=kernel.ld");
    let bare = std::env::var_os("CARGO_FEATURE_BARE").is_some();
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    if bare {
        println!("cargo:rustc-link-arg-bins=-T{directory}/kernel.ld");
        println!("cargo:rustc-link-arg-bins=--no-rosegment");
    }
}
