// SPDX-License-Identifier: BSD-2-Clause
//! Links the domain with sel4-microkit's linker script, which exists for the bare target only.

fn main() {
    if let Ok(script) = std::env::var("DEP_SEL4_MICROKIT_LINK_SCRIPT") {
        println!("cargo::rustc-link-arg-bins=-T{script}");
        println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
    }
}
