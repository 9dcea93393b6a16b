// SPDX-License-Identifier: BSD-2-Clause
//! Offers the linker script to the crates that depend on this one.
//!
//! A library cannot pass arguments to the linker of the binaries that use it, so each domain's own
//! build script takes `DEP_SEL4_MICROKIT_LINK_SCRIPT` from here and passes it on. On a host there
//! is no such variable, and the domains' tests link as usual.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=link.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = env::var("CARGO_MANIFEST_DIR").expect("Cargo names the package's folder");
        println!("cargo::metadata=link_script={folder}/link.ld");
    }
}
