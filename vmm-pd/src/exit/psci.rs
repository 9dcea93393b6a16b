// SPDX-License-Identifier: BSD-2-Clause
//! PSCI 1.1, the SMC calling convention and a hypervisor's own calls, as decisions.
//!
//! Responsible for: what each function number asks for and what each answer is worth
//! (DEN 0022D.b chapter 5, DEN 0028D chapters 2, 5 and 7), and of the calls by which Linux's KVM talks to its guests
//! (`Documentation/virt/kvm/arm/hypercalls.rst`) those that say which processors there are. Must never: touch a vCPU.
//!
//! The guest calls by `SMC`: seL4 takes `HVC` for a system call.

/// Return codes, DEN 0022D.b table 6 and DEN 0028D 7.1, as they stand in `x0`.
pub mod result {
    /// `SUCCESS`.
    pub const SUCCESS: u64 = 0;
    /// `NOT_SUPPORTED`, which is also the answer to every unknown function.
    pub const NOT_SUPPORTED: u64 = u64::MAX;
    /// `INVALID_PARAMETERS`.
    pub const INVALID_PARAMETERS: u64 = u64::MAX - 1;
    /// What PSCI's `INVALID_PARAMETERS` is in the calling convention, with another number.
    pub const INVALID_PARAMETER: u64 = u64::MAX - 2;
    /// `ALREADY_ON`.
    pub const ALREADY_ON: u64 = u64::MAX - 3;
    /// `INTERNAL_FAILURE`.
    pub const INTERNAL_FAILURE: u64 = u64::MAX - 5;
    /// `INVALID_ADDRESS`.
    pub const INVALID_ADDRESS: u64 = u64::MAX - 8;
}

/// `PSCI_VERSION`: 1.1.
const PSCI_VERSION: u64 = 1 << 16 | 1;
/// `SMCCC_VERSION`: 1.1.
const SMCCC_VERSION: u64 = 1 << 16 | 1;
/// `MIGRATE_INFO_TYPE`: no Trusted OS that would need migration (DEN 0022D.b 5.7).
const NO_TRUSTED_OS: u64 = 2;
/// The bit of a function number that says that its arguments have 64 bits (DEN 0028D 2.5).
const SMC64: u32 = 1 << 30;
/// What tells the calls of Linux's KVM from another hypervisor's: 28b46fb6-2ec5-11e9-a9ca-4b564d003a74, as the words that
/// the call for it answers (DEN 0028D 5.4).
const HYPERVISOR: [u64; 4] = [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d];
/// Which of its functions there are, 32 to a word: 0, and 64 and 65 for the processors.
const HYPERVISOR_FEATURES: [u64; 4] = [1, 0, 0b11, 0];
/// The version of the answers about processors: 1.0.
pub const IMPLEMENTATIONS_VERSION: u64 = 1 << 16;

/// Function numbers, DEN 0022D.b chapter 5 and DEN 0028D chapter 7; those with 64-bit arguments
/// have [`SMC64`] set besides.
mod function {
    pub(crate) const PSCI_VERSION: u32 = 0x8400_0000;
    pub(crate) const CPU_SUSPEND: u32 = 0x8400_0001;
    pub(crate) const CPU_OFF: u32 = 0x8400_0002;
    pub(crate) const CPU_ON: u32 = 0x8400_0003;
    pub(crate) const AFFINITY_INFO: u32 = 0x8400_0004;
    pub(crate) const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
    pub(crate) const SYSTEM_OFF: u32 = 0x8400_0008;
    pub(crate) const SYSTEM_RESET: u32 = 0x8400_0009;
    pub(crate) const PSCI_FEATURES: u32 = 0x8400_000a;
    pub(crate) const SMCCC_VERSION: u32 = 0x8000_0000;
    pub(crate) const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
    pub(crate) const HYPERVISOR_UID: u32 = 0x8600_ff01;
    pub(crate) const HYPERVISOR_FEATURES: u32 = 0x8600_0000;
    pub(crate) const DISCOVER_IMPL_VER: u32 = 0xc600_0040;
    pub(crate) const DISCOVER_IMPL_CPUS: u32 = 0xc600_0041;
}

/// What a call asks of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Nothing but this answer.
    Answer(u64),
    /// Nothing but this answer of four words.
    Answers([u64; 4]),
    /// How many implementations of the architecture is the guest to be ready for?
    Implementations,
    /// Which is the one of this number?
    Implementation(u64),
    /// Sleep until an interrupt, then answer [`result::SUCCESS`]. A power-down request is treated
    /// as a standby request, as DEN 0022D.b 5.4.5 allows.
    Suspend,
    /// Switch the calling vCPU off.
    Off,
    /// Switch a vCPU on.
    On {
        /// `MPIDR_EL1` of the vCPU.
        target: u64,
        /// Where it starts.
        entry: u64,
        /// Its `x0`.
        context: u64,
    },
    /// Is a vCPU on (0) or off (1)?
    AffinityInfo {
        /// `MPIDR_EL1` of the vCPU.
        target: u64,
        /// The lowest affinity level asked for.
        level: u64,
    },
    /// Switch the machine off.
    SystemOff,
    /// Start the machine again.
    SystemReset,
}

impl Call {
    /// The call that function number `x0` with arguments `x1`–`x3` makes.
    #[inline]
    pub fn decode(x0: u64, arguments: impl FnOnce() -> [u64; 3]) -> Self {
        // The function number has 32 bits (DEN 0028D 3.1); the rest of x0 is not looked at.
        let number = (x0 & 0xffff_ffff) as u32;
        match number {
            function::PSCI_VERSION => return Self::Answer(PSCI_VERSION),
            function::SMCCC_VERSION => return Self::Answer(SMCCC_VERSION),
            function::CPU_OFF => return Self::Off,
            function::SYSTEM_OFF => return Self::SystemOff,
            function::SYSTEM_RESET => return Self::SystemReset,
            function::MIGRATE_INFO_TYPE => return Self::Answer(NO_TRUSTED_OS),
            function::HYPERVISOR_UID => return Self::Answers(HYPERVISOR),
            function::HYPERVISOR_FEATURES => return Self::Answers(HYPERVISOR_FEATURES),
            function::DISCOVER_IMPL_VER => return Self::Implementations,
            function::DISCOVER_IMPL_CPUS => return Self::Implementation(arguments()[0]),
            _ => {}
        }
        let mut arguments = arguments();
        if number & SMC64 == 0 {
            arguments = arguments.map(|argument| argument & 0xffff_ffff);
        }
        let [first, second, third] = arguments;
        match number & !SMC64 {
            function::CPU_SUSPEND => Self::Suspend,
            function::CPU_ON => Self::On {
                target: first,
                entry: second,
                context: third,
            },
            function::AFFINITY_INFO => Self::AffinityInfo {
                target: first,
                level: second,
            },
            function::PSCI_FEATURES if number & SMC64 == 0 => Self::Answer(psci_feature(first)),
            function::SMCCC_ARCH_FEATURES if number & SMC64 == 0 => {
                Self::Answer(architecture_feature(first))
            }
            _ => Self::Answer(result::NOT_SUPPORTED),
        }
    }
}

/// `PSCI_FEATURES`: zero for what there is.
fn psci_feature(queried: u64) -> u64 {
    let number = (queried & 0xffff_ffff) as u32;
    match number {
        function::PSCI_VERSION
        | function::CPU_OFF
        | function::MIGRATE_INFO_TYPE
        | function::SYSTEM_OFF
        | function::SYSTEM_RESET
        | function::PSCI_FEATURES
        | function::SMCCC_VERSION => result::SUCCESS,
        number => match number & !SMC64 {
            function::CPU_SUSPEND | function::CPU_ON | function::AFFINITY_INFO => result::SUCCESS,
            _ => result::NOT_SUPPORTED,
        },
    }
}

/// `SMCCC_ARCH_FEATURES`: the architecture calls that there are. No work-around is offered: a
/// guest must not rely on one that the next board does not have.
fn architecture_feature(queried: u64) -> u64 {
    match (queried & 0xffff_ffff) as u32 {
        function::SMCCC_VERSION | function::SMCCC_ARCH_FEATURES => result::SUCCESS,
        _ => result::NOT_SUPPORTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u64, arguments: [u64; 3]) -> Call {
        Call::decode(number, || arguments)
    }

    #[test]
    fn unknown_functions_are_not_supported() {
        for number in [
            0x8400_000b,
            0xc400_0000,
            0x8600_ff00,
            0x8600_0001,
            // The calls about processors pass 64 bits.
            0x8600_0040,
            0x8600_0041,
            0xc600_0042,
            0,
            0xffff_ffff,
        ] {
            assert_eq!(
                call(number, [0; 3]),
                Call::Answer(result::NOT_SUPPORTED),
                "{number:#x}"
            );
        }
    }

    #[test]
    fn the_hypervisors_features_are_the_calls_that_exist() {
        assert!(matches!(call(0x8600_ff01, [0; 3]), Call::Answers(_)));
        let Call::Answers(words) = call(0x8600_0000, [0; 3]) else {
            panic!("no features");
        };
        for function in 0..128_u64 {
            let promised =
                words[usize::try_from(function / 32).unwrap()] >> (function % 32) & 1 == 1;
            let calls = [0x8600_0000, 0xc600_0000].map(|owner| call(owner | function, [0; 3]));
            let exists = calls
                .iter()
                .any(|it| *it != Call::Answer(result::NOT_SUPPORTED));
            assert_eq!(promised, exists, "{function}");
        }
        assert_eq!(call(0xc600_0041, [7, 0, 0]), Call::Implementation(7));
    }

    #[test]
    fn only_the_64_bit_call_passes_64_bit_arguments() {
        let arguments = [0x1_0000_0001, 0x2_4000_0000, u64::MAX];
        assert_eq!(
            call(0x8400_0003, arguments),
            Call::On {
                target: 1,
                entry: 0x4000_0000,
                context: 0xffff_ffff
            }
        );
        assert_eq!(
            call(0xc400_0003, arguments),
            Call::On {
                target: 0x1_0000_0001,
                entry: 0x2_4000_0000,
                context: u64::MAX
            }
        );
    }

    #[test]
    fn what_features_promises_exists() {
        for number in 0x8400_0000..0x8400_0020_u64 {
            for number in [number, number | 1 << 30] {
                let promised = call(0x8400_000a, [number, 0, 0]) == Call::Answer(result::SUCCESS);
                let exists =
                    call(number, [0x8400_0000, 0, 0]) != Call::Answer(result::NOT_SUPPORTED);
                assert_eq!(promised, exists, "{number:#x}");
            }
        }
    }

    #[test]
    fn the_upper_half_of_the_function_number_is_ignored() {
        assert_eq!(call(0xdead_beef_8400_0008, [0; 3]), Call::SystemOff);
    }
}
