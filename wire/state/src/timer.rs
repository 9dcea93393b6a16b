// SPDX-License-Identifier: BSD-2-Clause
//! The record of `timer-pd`: the machine's time, and each vCPU's virtual timer.
//!
//! Responsible for: time as the guest sees it (DDI 0487, D11.2). Never: an offset, or a board's own count.

use crate::MAX_VCPUS;
use crate::record::{Kind, Record, RecordError, sealed};
use crate::register::Register;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// What `timer-pd` exports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimerRecordV1 {
    /// `CNTFRQ_EL0`: counts a second.
    pub frequency: u32,
    /// `CNTVCT_EL0`, one count for all vCPUs, at which the machine is paused.
    pub count: u64,
    /// Each vCPU's timer, in the order of their numbers.
    pub vcpus: Vec<VcpuTimerV1, MAX_VCPUS>,
}

/// A vCPU's virtual timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VcpuTimerV1 {
    /// `CNTV_CTL_EL0`: bit 0 enabled, bit 1 masked. Bit 2 is a condition, not state.
    pub control: u32,
    /// `CNTV_CVAL_EL0`.
    pub compare: u64,
    /// `CNTKCTL_EL1`.
    pub kernel_control: u32,
    /// Its interrupt was delivered, and the guest has not ended it: the interrupt's line is high.
    pub asserted: bool,
}

/// `CNTV_CTL_EL0.{ENABLE, IMASK}`.
const CONTROL: u32 = 0b11;

impl TimerRecordV1 {
    /// The value of a register of [`Class::Timer`](crate::Class::Timer), if there is such a vCPU. The count is the same
    /// for all.
    pub fn register(&self, vcpu: usize, register: Register) -> Option<u64> {
        let this = self.vcpus.get(vcpu)?;
        match register {
            Register::CNTV_CTL_EL0 => Some(this.control.into()),
            Register::CNTV_CVAL_EL0 => Some(this.compare),
            Register::CNTKCTL_EL1 => Some(this.kernel_control.into()),
            Register::CNTVCT_EL0 => Some(self.count),
            _ => None,
        }
    }

    /// Sets a register of [`Class::Timer`](crate::Class::Timer). False, and nothing changed, if there is no such register
    /// or vCPU, or the value has bits that are not state.
    #[must_use]
    pub fn set_register(&mut self, vcpu: usize, register: Register, value: u128) -> bool {
        let (Some(this), Ok(word)) = (self.vcpus.get_mut(vcpu), u64::try_from(value)) else {
            return false;
        };
        let narrow = u32::try_from(word).ok();
        match (register, narrow) {
            (Register::CNTV_CTL_EL0, Some(control)) if control & !CONTROL == 0 => {
                this.control = control;
            }
            (Register::CNTKCTL_EL1, Some(control)) => this.kernel_control = control,
            (Register::CNTV_CVAL_EL0, _) => this.compare = word,
            (Register::CNTVCT_EL0, _) => self.count = word,
            _ => return false,
        }
        true
    }
}

impl sealed::Sealed for TimerRecordV1 {}

impl Record for TimerRecordV1 {
    const KIND: Kind = Kind::Timer;
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), RecordError> {
        let out_of_range = |field, value: u64| Err(RecordError::Range { field, value });
        if self.frequency == 0 {
            return out_of_range("CNTFRQ_EL0", 0);
        }
        if self.vcpus.is_empty() {
            return out_of_range("vcpus", 0);
        }
        match self
            .vcpus
            .iter()
            .find(|timer| timer.control & !CONTROL != 0)
        {
            Some(timer) => out_of_range("CNTV_CTL_EL0", timer.control.into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registers_of_the_timer_can_be_set_and_only_to_what_is_state() {
        let mut record = TimerRecordV1 {
            frequency: 1,
            vcpus: [VcpuTimerV1::default(); 2].into_iter().collect(),
            ..TimerRecordV1::default()
        };
        let before = record.clone();
        for (vcpu, register, value) in [
            (0, Register::CNTV_CTL_EL0, 4),
            (0, Register::CNTKCTL_EL1, 1 << 32),
            (1, Register::CNTV_CVAL_EL0, 1 << 64),
            (2, Register::CNTV_CVAL_EL0, 1),
            (2, Register::CNTVCT_EL0, 1),
            (0, Register::CNTFRQ_EL0, 1),
            (0, Register::X0, 1),
        ] {
            assert!(!record.set_register(vcpu, register, value), "{register:?}");
            assert_eq!(record, before, "{register:?}");
        }
        for (vcpu, register, value) in [
            (0, Register::CNTV_CTL_EL0, 3),
            (1, Register::CNTKCTL_EL1, u32::MAX.into()),
            (1, Register::CNTV_CVAL_EL0, u64::MAX),
            (0, Register::CNTVCT_EL0, u64::MAX - 1),
        ] {
            assert!(
                record.set_register(vcpu, register, value.into()),
                "{register:?}"
            );
            assert_eq!(record.register(vcpu, register), Some(value));
        }
        assert_eq!(record.register(1, Register::CNTV_CTL_EL0), Some(0));
        assert_eq!(record.register(1, Register::CNTVCT_EL0), Some(u64::MAX - 1));
        assert_eq!(record.register(0, Register::X0), None);
    }
}
