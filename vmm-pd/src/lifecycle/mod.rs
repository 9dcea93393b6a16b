// SPDX-License-Identifier: BSD-2-Clause
//! What becomes of a machine and its vCPUs as a whole: boot, run, pause, restore, end.

pub mod gate;
pub mod machine;
pub(crate) mod stop;
