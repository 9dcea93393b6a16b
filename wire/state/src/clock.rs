// SPDX-License-Identifier: BSD-2-Clause
//! The clock of the day's part of `vmm-pd`'s record: a PL031 (DDI 0224).
//!
//! Responsible for: the registers of the clock that the guest sees, and what ties it to the guest's count. Never: a time of
//! its own; `timer-pd`'s record has the one count that all of the machine's time comes from.

use serde::{Deserialize, Serialize};

/// The clock. Counts are `CNTVCT_EL0`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClockRecordV1 {
    /// What the clock, in ticks of the counter since 1970, is ahead of the count, modulo 2^64.
    pub ahead: u64,
    /// `RTCMR`.
    pub matching: u32,
    /// `RTCLR`.
    pub loaded: u32,
    /// The count at which `RTCRIS` is set because of `RTCMR`, if that is to come. It may have passed.
    pub due: Option<u64>,
    /// `RTCIMSC`.
    pub unmasked: bool,
    /// `RTCRIS`.
    pub raised: bool,
}
