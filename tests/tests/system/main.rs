// SPDX-License-Identifier: BSD-2-Clause
//! Whole systems in QEMU: a module for each promise that the project makes.
//!
//! Responsible for: every test on each kernel. Those that need seL4 have `sel4` in their name, and want a Microkit SDK;
//! without one, run with `-- --skip sel4`. [`upstream`] wants rust-sel4 besides. Never: asserts how long something takes,
//! only what happens and in which order.

mod attack;
mod boot;
mod buffers;
mod console;
mod cores;
mod day;
mod debug;
mod debuggers;
mod demo;
mod destinations;
mod ended;
mod firmware;
mod hangs;
mod hotplug;
mod idle;
mod isolation;
mod large_guest;
mod link_cut;
mod moves;
mod operator;
mod parked;
mod peer_domains;
mod physical_timer;
mod probe;
mod programs;
mod registers;
mod restarts;
mod review;
mod scripts;
mod shell;
mod snapshots;
mod systemd;
mod upstream;
mod witness;
mod zcu102;

/// Makes tests of functions that take the kernel: `<module>::embedded::<name>` and `<module>::sel4::<name>`.
macro_rules! on_both_kernels {
    ($($(#[$documentation:meta])* fn $name:ident($kernel:ident) $body:block)*) => {
        $(
            $(#[$documentation])*
            fn $name($kernel: image::Kernel) -> anyhow::Result<()> $body
        )*

        mod embedded {
            $(
                #[test]
                fn $name() -> anyhow::Result<()> {
                    super::$name(image::Kernel::Embedded)
                }
            )*
        }

        mod sel4 {
            $(
                #[test]
                fn $name() -> anyhow::Result<()> {
                    super::$name(image::Kernel::Sel4)
                }
            )*
        }
    };
}

use on_both_kernels;
