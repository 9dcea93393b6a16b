//! Trapped system register accesses.
//!
//! Responsible for: what seL4's configuration of `HCR_EL2` and `MDCR_EL2` sends here (DDI 0487,
//! D24.2.40, "ISS encoding for an exception from MSR, MRS, or System instruction execution").
//! Must never: give a guest a register that moves with the board.

use channel::VcpuId;

use crate::exit::Syndrome;
use crate::machine::{Machine, MachineError};
use crate::port::{Frame, Port, count_for};

/// `op0` of the debug registers.
const DEBUG: u64 = 2;
/// `op0` of the system registers.
const SYSTEM: u64 = 3;
/// `CRn` of the performance monitors.
const PERFORMANCE_MONITORS: u64 = 9;
/// `CRn` of the performance monitors' counters.
const PERFORMANCE_COUNTERS: u64 = 14;
/// `CRm` from which `CRn` 14 holds event counters and not timers.
const FIRST_COUNTER: u64 = 8;
/// `op0` of system instructions such as `DC ISW`.
const INSTRUCTION: u64 = 1;

/// A register that a guest may expect and that this machine does not implement reads as zero and
/// ignores writes; the identification registers already say that it is not there.
const fn reads_as_zero(syndrome: Syndrome) -> bool {
    let op0 = (syndrome.0 >> 20) & 3;
    let crn = (syndrome.0 >> 10) & 0xf;
    let crm = (syndrome.0 >> 1) & 0xf;
    match op0 {
        DEBUG | INSTRUCTION => true,
        SYSTEM => {
            crn == PERFORMANCE_MONITORS || crn == PERFORMANCE_COUNTERS && crm >= FIRST_COUNTER
        }
        _ => false,
    }
}

impl Machine {
    /// A system register access was trapped.
    pub(crate) fn system_register<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        if !reads_as_zero(syndrome) {
            return self.undefined_instruction(port, vcpu, None);
        }
        let register = ((syndrome.0 >> 5) & 0x1f) as u8;
        let is_read = syndrome.0 & 1 == 1;
        let count = if is_read { count_for(register) } else { 1 };
        let mut frame = port.read(vcpu, count)?;
        frame.set_program_counter(frame.program_counter().wrapping_add(4));
        if is_read && register < 31 {
            frame.set_general(register, 0);
        }
        Ok(port.write(vcpu, &mut frame, count, true)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The syndrome of an access to the register with this encoding.
    fn access(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> Syndrome {
        Syndrome(0x18 << 26 | op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1)
    }

    #[test]
    fn absent_debug_and_performance_registers_read_as_zero() {
        assert!(reads_as_zero(access(2, 0, 1, 0, 4)), "OSLAR_EL1");
        assert!(reads_as_zero(access(3, 3, 9, 12, 0)), "PMCR_EL0");
        assert!(reads_as_zero(access(3, 3, 14, 15, 7)), "PMCCFILTR_EL0");
        assert!(reads_as_zero(access(1, 0, 7, 6, 2)), "DC ISW");
    }

    #[test]
    fn the_physical_timer_and_everything_unknown_is_undefined() {
        assert!(!reads_as_zero(access(3, 3, 14, 2, 1)), "CNTP_CTL_EL0");
        assert!(!reads_as_zero(access(3, 0, 12, 11, 5)), "ICC_SGI1R_EL1");
        assert!(!reads_as_zero(access(3, 1, 15, 2, 0)), "CPUACTLR_EL1");
    }
}
