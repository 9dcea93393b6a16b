// SPDX-License-Identifier: BSD-2-Clause
//! Which registers of the table the kernel switches between virtual CPUs.
//!
//! Responsible for: the one list from which saving, loading, reading and writing are generated, each register with its
//! row of the table, which gives the instructions; seL4's, in seL4's numbers. Must never name a register that the
//! table lacks: that does not compile.

/// Hands the list to the macro `$callback`. A row is
/// `<seL4's register> <the table's> (<another name for the instruction>) <bits>,`.
///
/// Another name is needed where the guest's own register is not what the kernel sets: `MPIDR_EL1` shows a guest
/// `VMPIDR_EL2`, `CNTVCT_EL0` counts from `CNTVOFF_EL2`, and `SP_EL1` has an encoding at EL2 only. The width is how
/// many bits seL4 moves.
#[macro_export]
macro_rules! switched_registers {
    ($callback:ident) => {
        $callback! {
            SCTLR SCTLR_EL1 () 64,
            CPACR CPACR_EL1 () 64,
            TTBR0 TTBR0_EL1 () 64,
            TTBR1 TTBR1_EL1 () 64,
            TCR TCR_EL1 () 64,
            MAIR MAIR_EL1 () 64,
            AMAIR AMAIR_EL1 () 64,
            CIDR CONTEXTIDR_EL1 () 32,
            ACTLR ACTLR_EL1 () 64,
            AFSR0 AFSR0_EL1 () 32,
            AFSR1 AFSR1_EL1 () 32,
            ESR ESR_EL1 () 32,
            FAR FAR_EL1 () 64,
            PAR PAR_EL1 () 64,
            VBAR VBAR_EL1 () 64,
            TPIDR_EL1 TPIDR_EL1 () 64,
            VMPIDR_EL2 MPIDR_EL1 ("vmpidr_el2") 64,
            SP_EL1 SP_EL1 ("sp_el1") 64,
            ELR_EL1 ELR_EL1 () 64,
            SPSR_EL1 SPSR_EL1 () 64,
            CNTV_CVAL CNTV_CVAL_EL0 () 64,
            CNTVOFF CNTVCT_EL0 ("cntvoff_el2") 64,
            CNTKCTL_EL1 CNTKCTL_EL1 () 64,
            // Last: it switches the timer on.
            CNTV_CTL CNTV_CTL_EL0 () 64,
        }
    };
}

#[cfg(test)]
mod tests {
    use register_table::register_table;
    use register_table::remains::{self, Treatment};
    use sel4_sys::VCpuRegister;

    macro_rules! list {
        ($($register:ident $row:ident ($($name:literal)?) $bits:literal,)*) => {
            [$((VCpuRegister::$register, stringify!($row), $bits),)*]
        };
    }
    const LIST: [(VCpuRegister, &str, u32); VCpuRegister::COUNT] = switched_registers!(list);

    macro_rules! rows {
        ([] $($class:ident $source:ident $policy:ident $reason:literal {
            $($name:ident $kind:ident $identifier:tt;)*
        })*) => {
            [$($((stringify!($name), stringify!($class), stringify!($source), stringify!($policy)),)*)*]
        };
    }

    /// What of a virtual CPU's state is not in the list, and who switches it.
    fn elsewhere(name: &str, class: &str, source: &str) -> Option<&'static str> {
        match (name, class, source) {
            (_, "Core" | "System", "Thread") => Some("the thread's context"),
            (_, "FloatingPoint", _) => Some("floating_point.rs, lazily"),
            ("CSSELR_EL1", ..) => Some("own.rs"),
            (_, "Debug" | "Pmu", _) => Some("own.rs, where a guest has them at all"),
            _ => None,
        }
    }

    #[test]
    fn every_register_of_the_table_that_is_state_is_switched_or_somebody_elses() {
        for (name, class, source, policy) in register_table!(rows) {
            let listed = LIST.iter().any(|(_, row, _)| *row == name);
            let state = policy == "Write" || name == "MPIDR_EL1";
            match elsewhere(name, class, source) {
                Some(who) => assert!(!listed, "{name} belongs to {who}"),
                None => assert_eq!(listed, state, "{name}"),
            }
        }
    }

    #[test]
    fn what_is_said_to_be_switched_when_a_guest_is_left_is() {
        for (row, (remaining, treatments)) in
            register_table!(rows).into_iter().zip(remains::REGISTERS)
        {
            let (name, class, source, _) = row;
            assert_eq!(name, *remaining);
            // That the number is the core's own, a guest sees; what it is, the table says of constants.
            if class == "Constant" {
                continue;
            }
            let listed = LIST.iter().any(|(_, row, _)| *row == name) && name != "CNTVCT_EL0";
            let kept = elsewhere(name, class, source);
            let by_both = listed || kept.is_some_and(|who| !who.contains("own.rs"));
            let switched = |treatment| treatment == Treatment::Switched;
            assert_eq!(switched(treatments.sel4.0), by_both, "{name} on seL4");
            let here = by_both || name == "CSSELR_EL1";
            assert_eq!(switched(treatments.embedded.0), here, "{name} here");
        }
    }

    #[test]
    fn every_register_of_sel4s_is_switched_once_and_the_timer_last() {
        for register in VCpuRegister::ALL {
            let count = LIST.iter().filter(|entry| entry.0 == register).count();
            assert_eq!(count, 1, "{register:?}");
        }
        assert_eq!(LIST[VCpuRegister::COUNT - 1].0, VCpuRegister::CNTV_CTL);
    }
}
