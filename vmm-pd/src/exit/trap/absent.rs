// SPDX-License-Identifier: BSD-2-Clause
//! Debug registers and performance monitor on a machine that has neither breakpoints nor counters.
//!
//! Responsible for: what an access to one of their registers gives, as the architecture allows for such a machine
//! (DDI 0487, D24.3 to D24.5 for the registers; D24.2.118 `MDCR_EL2` for what is trapped), and which access asks for
//! something that is not there. A write is ignored; a read gives what the register holds for good. Must never: let a
//! value reach the processor: with a guest's debug state in it, debug exceptions are taken while domains run.

use crate::exit::Syndrome;

/// A system register access, from the syndrome of its trap (DDI 0487, D24.2.40, EC 0x18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SystemAccess {
    /// `op0, op1, CRn, CRm, op2`.
    pub(crate) encoding: [u8; 5],
    /// The general register, 31 for the zero register.
    pub(crate) register: u8,
    /// `MRS`, not `MSR`.
    pub(crate) read: bool,
}

impl SystemAccess {
    pub(crate) fn of(syndrome: Syndrome) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no field has more than 5 bits"
        )]
        let field = |shift: u32, mask: u64| (syndrome.0 >> shift & mask) as u8;
        Self {
            encoding: [
                field(20, 3),
                field(14, 7),
                field(10, 15),
                field(1, 15),
                field(17, 7),
            ],
            register: field(5, 31),
            read: syndrome.0 & 1 == 1,
        }
    }
}

/// What an access is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A read gives this.
    Value(u64),
    /// A write is ignored.
    Ignored,
    /// The same, and what was asked for is missed.
    Missed(Missing),
    /// EL1 takes the trap that its own control register would have caused: EC 0x18, with this access's syndrome.
    TrapToEl1,
    /// There is no such register, or not in this direction.
    Undefined,
}

/// What a guest without debug registers asks for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// `MDSCR_EL1.{SS, KDE, MDE}`, `DBGBCR<n>_EL1.E`, `DBGWCR<n>_EL1.E`.
    DebugExceptions,
    /// `PMCR_EL0.E`, `PMCNTENSET_EL0`.
    Counters,
}

impl Missing {
    /// What the board's console says about it.
    pub(crate) const fn line(self) -> &'static str {
        match self {
            Self::DebugExceptions => {
                "\r\ngodwit: this board keeps single steps and hardware breakpoints from its guest; BRK works\r\n"
            }
            Self::Counters => {
                "\r\ngodwit: this board keeps performance counters from its guest\r\n"
            }
        }
    }

    /// One bit each.
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a register does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reads as a constant, and cannot be written.
    ReadOnly(u64),
    /// Cannot be read.
    WriteOnly,
    /// Reads as a constant; writes are ignored.
    Fixed(u64),
    /// Reads as zero; a write with one of these bits asks for something.
    Asks(u64, Missing),
    /// The same, with what it reads as.
    Control(u64, u64, Missing),
}

/// `MDSCR_EL1.TDCC`, which whoever started the kernel has set for good: the debug communications channel is closed to
/// EL0.
const CHANNEL_CLOSED: u64 = 1 << 12;
/// `MDSCR_EL1.{SS, KDE, MDE}`: what enables debug exceptions.
const ENABLE_EXCEPTIONS: u64 = 1 | 1 << 13 | 1 << 15;
/// `OSLSR_EL1`: there is an OS lock, and it is open. It is closed in truth, which only keeps debug exceptions away.
const LOCK_OPEN: u64 = 1 << 3;
/// `DBGCLAIMSET_EL1`: eight claim bits (DDI 0487, D24.3.9: reads as ones).
const CLAIM_BITS: u64 = 0xff;
/// `DBGAUTHSTATUS_EL1`: Non-secure invasive and non-invasive debug are implemented and disabled.
const AUTHENTICATION: u64 = 0b1010;
/// `DBGBCR<n>_EL1.E`, `DBGWCR<n>_EL1.E`, `PMCR_EL0.E`.
const ENABLE: u64 = 1;

/// A register by its encoding, if the machine has it.
const fn kind(encoding: [u8; 5]) -> Option<Kind> {
    match encoding {
        [2, ..] => debug(encoding),
        [3, ..] => monitor(encoding),
        _ => None,
    }
}

/// Self-hosted debug (DDI 0487, D24.3). `op1` 1 would be a trace unit's registers, which this machine lacks.
const fn debug(encoding: [u8; 5]) -> Option<Kind> {
    let [_, op1, crn, crm, op2] = encoding;
    Some(match (op1, crn, crm, op2) {
        // MDCCINT, OSDTRRX, OSDTRTX, OSECCR.
        (0, 0, 2, 0) | (0, 0, 0 | 3 | 6, 2) => Kind::Fixed(0),
        // MDSCR.
        (0, 0, 2, 2) => Kind::Control(CHANNEL_CLOSED, ENABLE_EXCEPTIONS, Missing::DebugExceptions),
        // DBGBVR, DBGWVR, DBGBCR, DBGWCR.
        (0, 0, _, 4 | 6) => Kind::Fixed(0),
        (0, 0, _, 5 | 7) => Kind::Asks(ENABLE, Missing::DebugExceptions),
        // MDRAR: there is no debug ROM.
        (0, 1, 0, 0) => Kind::ReadOnly(0),
        // OSLAR, OSLSR, OSDLR, DBGPRCR.
        (0, 1, 0, 4) => Kind::WriteOnly,
        (0, 1, 1, 4) => Kind::ReadOnly(LOCK_OPEN),
        (0, 1, 3 | 4, 4) => Kind::Fixed(0),
        // DBGCLAIMSET, DBGCLAIMCLR, DBGAUTHSTATUS.
        (0, 7, 8, 6) => Kind::Fixed(CLAIM_BITS),
        (0, 7, 9, 6) => Kind::Fixed(0),
        (0, 7, 14, 6) => Kind::ReadOnly(AUTHENTICATION),
        // MDCCSR, DBGDTR, DBGDTRRX and DBGDTRTX: nothing comes, and whatever is sent is gone.
        (3, 0, 1, 0) => Kind::ReadOnly(0),
        (3, 0, 4 | 5, 0) => Kind::Fixed(0),
        _ => return None,
    })
}

/// The performance monitor with `PMCR_EL0.N = 0` (DDI 0487, D24.5), and, on processors that have them, statistical
/// profiling and the trace buffer (D24.6, D24.4), which belong to EL2 here.
const fn monitor(encoding: [u8; 5]) -> Option<Kind> {
    let [_, op1, crn, crm, op2] = encoding;
    Some(match (op1, crn, crm, op2) {
        // PMCR, PMCNTENSET.
        (3, 9, 12, 0) => Kind::Asks(ENABLE, Missing::Counters),
        (3, 9, 12, 1) => Kind::Asks(u64::MAX, Missing::Counters),
        // PMCNTENCLR, PMOVSCLR, PMSELR; PMSWINC; PMCEID0, PMCEID1.
        (3, 9, 12, 2 | 3 | 5) => Kind::Fixed(0),
        (3, 9, 12, 4) => Kind::WriteOnly,
        (3, 9, 12, 6 | 7) => Kind::ReadOnly(0),
        // PMCCNTR, PMXEVTYPER, PMXEVCNTR, PMUSERENR, PMOVSSET.
        (3, 9, 13, 0..=2) | (3, 9, 14, 0 | 3) => Kind::Fixed(0),
        // PMINTENSET, PMINTENCLR, PMMIR.
        (0, 9, 14, 1 | 2) => Kind::Fixed(0),
        (0, 9, 14, 6) => Kind::ReadOnly(0),
        // PMEVCNTR, PMEVTYPER, PMCCFILTR.
        (3, 14, 8..=15, _) => Kind::Fixed(0),
        // Profiling, the profiling buffer, the trace buffer, TRFCR.
        (0, 9, 9..=11, _) | (0, 1, 2, 1) => Kind::Fixed(0),
        _ => return None,
    })
}

/// Whether EL0 may have an access at all, and where it then goes. `PMUSERENR_EL0` can be read there (D24.5.23); what
/// `PMUSERENR_EL0` or `MDSCR_EL1.TDCC` keeps from EL0 traps to EL1; everything else is undefined.
const fn from_el0(access: SystemAccess) -> Option<Answer> {
    match access.encoding {
        [3, 3, 9, 14, 0] if access.read => None,
        [3, 3, 9, 14, 0] => Some(Answer::Undefined),
        [2 | 3, 3, ..] => Some(Answer::TrapToEl1),
        _ => Some(Answer::Undefined),
    }
}

/// What an access gives, with the value that a write has. `None`: it is about something else.
pub(crate) const fn answer(access: SystemAccess, from_user: bool, value: u64) -> Option<Answer> {
    let Some(kind) = kind(access.encoding) else {
        return None;
    };
    if from_user && let Some(answer) = from_el0(access) {
        return Some(answer);
    }
    Some(match (kind, access.read) {
        (Kind::ReadOnly(value) | Kind::Fixed(value) | Kind::Control(value, ..), true) => {
            Answer::Value(value)
        }
        (Kind::Asks(..), true) => Answer::Value(0),
        (Kind::WriteOnly, true) | (Kind::ReadOnly(_), false) => Answer::Undefined,
        (Kind::Asks(bits, missing) | Kind::Control(_, bits, missing), false)
            if value & bits != 0 =>
        {
            Answer::Missed(missing)
        }
        (_, false) => Answer::Ignored,
    })
}

#[cfg(test)]
mod tests {
    use register_table::{register_table, remains};

    use super::*;

    fn read(encoding: [u8; 5], from_user: bool) -> Option<Answer> {
        let access = SystemAccess {
            encoding,
            register: 0,
            read: true,
        };
        answer(access, from_user, 0)
    }

    fn write(encoding: [u8; 5], value: u64) -> Option<Answer> {
        let access = SystemAccess {
            encoding,
            register: 0,
            read: false,
        };
        answer(access, false, value)
    }

    macro_rules! encodings {
        ([] $($class:ident $source:ident $policy:ident $reason:literal {
            $($name:ident $kind:ident $identifier:tt;)*
        })*) => {
            [$($((stringify!($name), encoding!($kind $identifier)),)*)*]
        };
    }
    macro_rules! encoding {
        (system($($field:literal),*)) => { Some([$($field),*]) };
        ($kind:ident $identifier:tt) => { None };
    }

    #[test]
    fn what_a_guest_cannot_leave_behind_because_it_traps_is_answered_and_nothing_else_is() {
        let rows = register_table!(encodings)
            .into_iter()
            .zip(remains::REGISTERS);
        for ((name, encoding), (remaining, treatments)) in rows {
            assert_eq!(name, *remaining);
            let Some(encoding) = encoding else { continue };
            let absent = treatments.sel4.0 == remains::Treatment::Trapped;
            assert_eq!(treatments.embedded.0 == remains::Treatment::Trapped, absent);
            assert_eq!(read(encoding, false).is_some(), absent, "{name}");
            if absent {
                assert!(
                    matches!(read(encoding, false), Some(Answer::Value(_))),
                    "{name} reads as something"
                );
            }
        }
    }

    #[test]
    fn what_is_not_there_is_undefined_and_not_zero() {
        assert_eq!(read([2, 1, 0, 0, 0], false), None, "a trace unit's");
        assert_eq!(
            read([2, 0, 1, 0, 4], false),
            Some(Answer::Undefined),
            "OSLAR_EL1 is read"
        );
        assert_eq!(
            write([2, 0, 1, 1, 4], 0),
            Some(Answer::Undefined),
            "OSLSR_EL1 is written"
        );
        assert_eq!(
            read([3, 3, 9, 12, 4], false),
            Some(Answer::Undefined),
            "PMSWINC_EL0 is read"
        );
        for other in [
            [3, 3, 14, 2, 1],
            [3, 0, 12, 11, 5],
            [3, 1, 15, 2, 0],
            [1, 0, 7, 6, 2],
        ] {
            assert_eq!(read(other, false), None, "{other:?}");
        }
    }

    #[test]
    fn an_open_os_lock_and_a_closed_channel_are_what_a_kernel_finds() {
        assert_eq!(
            read([2, 0, 1, 1, 4], false),
            Some(Answer::Value(0b1000)),
            "OSLSR_EL1"
        );
        assert_eq!(
            read([2, 0, 0, 2, 2], false),
            Some(Answer::Value(1 << 12)),
            "MDSCR_EL1"
        );
        assert_eq!(
            write([2, 0, 1, 0, 4], 0),
            Some(Answer::Ignored),
            "OSLAR_EL1"
        );
        assert_eq!(
            read([3, 3, 9, 12, 0], false),
            Some(Answer::Value(0)),
            "PMCR_EL0"
        );
    }

    #[test]
    fn only_what_asks_for_an_event_is_missed() {
        let missed = |missing| Some(Answer::Missed(missing));
        let mdscr = [2, 0, 0, 2, 2];
        assert_eq!(
            write(mdscr, 1 << 12),
            Some(Answer::Ignored),
            "a kernel that boots"
        );
        for bit in [0, 13, 15] {
            assert_eq!(write(mdscr, 1 << bit), missed(Missing::DebugExceptions));
        }
        assert_eq!(
            write([2, 0, 0, 3, 5], 0x1e4),
            Some(Answer::Ignored),
            "DBGBCR3_EL1"
        );
        assert_eq!(
            write([2, 0, 0, 3, 5], 0x1e5),
            missed(Missing::DebugExceptions)
        );
        assert_eq!(
            write([2, 0, 0, 1, 7], 1),
            missed(Missing::DebugExceptions),
            "DBGWCR1_EL1"
        );
        assert_eq!(
            write([3, 3, 9, 12, 0], 0x46),
            Some(Answer::Ignored),
            "PMCR_EL0"
        );
        assert_eq!(write([3, 3, 9, 12, 0], 1), missed(Missing::Counters));
        assert_eq!(write([3, 3, 9, 12, 1], 1 << 31), missed(Missing::Counters));
    }

    #[test]
    fn el0_gets_what_a_closed_monitor_and_channel_give_it() {
        assert_eq!(
            read([3, 3, 9, 14, 0], true),
            Some(Answer::Value(0)),
            "PMUSERENR_EL0"
        );
        for closed in [
            [3, 3, 9, 13, 0],
            [3, 3, 14, 8, 0],
            [2, 3, 0, 1, 0],
            [2, 3, 0, 5, 0],
        ] {
            assert_eq!(read(closed, true), Some(Answer::TrapToEl1), "{closed:?}");
        }
        for el1 in [[2, 0, 0, 2, 2], [2, 0, 1, 1, 4], [3, 0, 9, 14, 1]] {
            assert_eq!(read(el1, true), Some(Answer::Undefined), "{el1:?}");
        }
    }

    #[test]
    fn a_syndrome_is_taken_apart() {
        let syndrome = Syndrome(0x18 << 26 | 2 << 20 | 2 << 17 | 2 << 1 | 5 << 5 | 1);
        let access = SystemAccess::of(syndrome);
        assert_eq!(access.encoding, [2, 0, 0, 2, 2]);
        assert_eq!((access.register, access.read), (5, true));
    }
}
