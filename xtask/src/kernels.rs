// SPDX-License-Identifier: BSD-2-Clause
//! On which kernels something is done.

use clap::ValueEnum;
use image::Kernel;

use crate::workspace::{NO_SDK, microkit_sdk};

/// One kernel, or those that there are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kernels {
    /// The embedded kernel.
    Embedded,
    /// seL4, with the Microkit SDK.
    Sel4,
    /// seL4 too where there is an SDK.
    Available,
}

impl Kernels {
    /// Which these are; says so if seL4 is not among them for want of an SDK.
    pub(crate) fn list(self) -> Vec<Kernel> {
        match self {
            Self::Embedded => vec![Kernel::Embedded],
            Self::Sel4 => vec![Kernel::Sel4],
            Self::Available if microkit_sdk().is_some() => vec![Kernel::Embedded, Kernel::Sel4],
            Self::Available => {
                println!("seL4: skipped, {NO_SDK}");
                vec![Kernel::Embedded]
            }
        }
    }
}
