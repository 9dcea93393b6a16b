// SPDX-License-Identifier: BSD-2-Clause
//! Capture and restore of a vCPU's whole state on a kernel that gives out only part of it.
//!
//! seL4 hands a VMM the thread's registers and a few system registers; across cores, it answers the others with stale
//! values and drops writes to them. What is missing (vector registers, the exception and translation registers, debug,
//! performance monitor, and which list register is pending and which active), the stopped vCPU itself tells: a small
//! position-independent program, the *stub*, runs on it at EL1, saves or loads everything, and leaves with an `SMC`.
//!
//! Responsible for: the order of those steps, as state machines over a [`Port`], and for believing
//! nothing that comes back in a data page: the guest can write there while it runs. Must never: run guest code (the
//! stub has all exceptions masked and its own vectors), decide what a list register's state means (`vgic-pd` does), or
//! know the offset of time.
//!
//! # How to use it
//!
//! 1. Once at start-up, with no guest: [`set_up`] for each vCPU; then [`Probe::begin`], and each exit to
//!    [`Probe::on_exit`], until it is done. It gives the board's constants, and [`Features::of`] them what the stub may
//!    touch.
//! 2. To stop: suspend *all* vCPUs, freeze time, then [`Capture::begin`] for each, one after the other.
//! 3. To continue, with all vCPUs still suspended: [`Restore::begin`] for each; inject what `vgic-pd` says is pending; when all are [`Restored`] and the
//!    timer's gate has opened, [`Restored::give_time`] for each, and then [`Ready::release`]. No vCPU runs before that.
//! 4. While the guest runs, one vCPU alone may go through all of this to have its list registers chosen anew
//!    (`stop/rearrange.rs`). Time runs then, with the offset that it has; the other vCPUs do, too, and may write into
//!    the data page meanwhile, as any guest may.
//! 5. When a guest is gone (off, failed, discarded) or starts again: [`Clean`] for each vCPU that ran or was injected
//!    into, before the next guest uses it.
//!
//! An exit of a vCPU without an armed stub is the guest's, even if it looks like the stub's.

mod clean;
pub mod layout;
mod probe;
mod restore;
mod save;

use channel::VcpuId;
use channel::vgic::CpuInterface;
use core::ops::Range;
use state::{Register, RegisterFile};
use thiserror::Error;
use vm::SCTLR_EL1_RESET;

use crate::exit::{Exit, Syndrome};
use crate::port::{Frame, KernelError, Port, VcpuRegister, count_for};
use layout::{Command, Leave, position};

pub use clean::Clean;
pub use probe::Probe;
pub use restore::{Ready, Restore, Restored};
pub use save::{Capture, Captured};

/// The stub's data pages, one for each vCPU.
///
/// A page is ordinary memory to us and uncached to the stub. Whoever implements this copies word by word (the stub and
/// a guest may write at any time), cleans what was written to the point of coherency, and cleans and invalidates
/// before it reads.
pub trait DataPage {
    /// Writes `words` into the page of `vcpu`, from word `first` on.
    fn write_page(&mut self, vcpu: VcpuId, first: usize, words: &[u64]);
    /// Reads words out of the page of `vcpu`, from word `first` on.
    fn read_page(&mut self, vcpu: VcpuId, first: usize, words: &mut [u64]);
}

/// Why a capture or a restore cannot continue. The vCPU's state is then lost, and with it the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CaptureError {
    /// The kernel refused what it never should.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An exit that the stub cannot have caused.
    #[error("the capture stub left with {0:?}")]
    Exit(Exit),
    /// An exception inside the stub.
    #[error("exception {syndrome:#x} at {address:#x} inside the capture stub")]
    Exception {
        /// `ESR_EL1`.
        syndrome: u64,
        /// `ELR_EL1`.
        address: u64,
    },
    /// A word of the data page cannot have been written by the stub.
    #[error("{field} is {value:#x} in the capture stub's page")]
    Page {
        /// What the word is.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// What the stub acknowledged is not what was injected or known to be in a list register.
    #[error("interrupt {intid} was not expected in a list register")]
    Interrupt {
        /// The answer of `GICC_IAR`.
        intid: u64,
    },
    /// A register that a restore needs is missing, or is not this vCPU's.
    #[error("{0:?} is missing or not this vCPU's")]
    Register(Register),
}

impl CaptureError {
    /// What to tell `migration-pd`: a number for the kind of error in the top byte, below it what it is about.
    pub fn detail(self) -> u64 {
        let (kind, about) = match self {
            Self::Kernel(error) => (1, (error.operation as u64) << 32 | error.code),
            Self::Exit(
                Exit::SecureMonitorCall(Syndrome(syndrome))
                | Exit::SystemRegister(Syndrome(syndrome)),
            ) => (2, syndrome),
            Self::Exit(Exit::Abort { ipa, .. }) => (3, ipa),
            Self::Exit(_) => (4, 0),
            Self::Exception { syndrome, .. } => (5, syndrome),
            Self::Page { value, .. } => (6, value),
            Self::Interrupt { intid } => (7, intid),
            Self::Register(register) => (8, register.key().into()),
        };
        kind << 56 | about & 0x00ff_ffff_ffff_ffff
    }
}

/// How far a run of the stub is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// The vCPU runs the stub; another exit will follow.
    Running,
    /// Done; the vCPU is stopped.
    Done(T),
}

/// What of a processor's optional registers the stub saves and loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// How many breakpoints; zero leaves the debug registers alone.
    breakpoints: u8,
    /// How many watchpoints.
    watchpoints: u8,
    /// There is a performance monitor.
    monitor: bool,
}

/// The most event counters that there can be (`PMCR_EL0.N`; the cycle counter is not one of them).
const MAX_COUNTERS: usize = 31;

/// `PSTATE` while the stub runs: EL1 with its own stack, everything masked.
const STATE: u64 = 0x3c5;

impl Features {
    /// What the processor with these constants has (DDI 0487, D24.3.11 `ID_AA64DFR0_EL1`).
    pub fn of(constants: &RegisterFile) -> Self {
        let debug = constants
            .word(Register::ID_AA64DFR0_EL1)
            .filter(|_| constants.contains(Register::MDRAR_EL1));
        let count = |shift: u32| {
            debug.map_or(0, |debug| {
                u8::try_from(debug >> shift & 0xf).unwrap_or(0) + 1
            })
        };
        Self {
            breakpoints: count(12),
            watchpoints: count(20),
            monitor: constants.contains(Register::PMCEID0_EL0),
        }
    }

    /// Whether there is a place for each of these registers, as far as can be told before they are loaded.
    pub fn hold(self, registers: &RegisterFile) -> bool {
        restore::needed(self, registers).is_ok()
    }

    /// The words that tell the stub, from [`layout::BREAKPOINTS`] on, with how many event counters there are to load.
    fn words(self, counters: usize) -> [u64; 3] {
        let monitor = if self.monitor { 1 + counters as u64 } else { 0 };
        [self.breakpoints.into(), self.watchpoints.into(), monitor]
    }

    /// Which of [`layout::SAVED`] the stub saves and loads on a processor with these many event counters.
    fn saved(self, counters: usize) -> [Range<usize>; 3] {
        const DEBUG: usize = position(Register::MDCCINT_EL1);
        const BREAKPOINTS: usize = position(Register::DBGBVR0_EL1);
        const WATCHPOINTS: usize = position(Register::DBGWVR0_EL1);
        const MONITOR: usize = position(Register::PMCR_EL0);
        const COUNTERS: usize = position(Register::PMEVCNTR0_EL0);
        let first = match usize::from(self.breakpoints) {
            0 => DEBUG,
            pairs => BREAKPOINTS + 2 * pairs,
        };
        let monitor = if self.monitor {
            MONITOR..COUNTERS + 2 * counters.min(MAX_COUNTERS)
        } else {
            MONITOR..MONITOR
        };
        let watchpoints = 2 * usize::from(self.watchpoints);
        [0..first, WATCHPOINTS..WATCHPOINTS + watchpoints, monitor]
    }

    /// How many event counters the stub has found.
    fn read_counters<P: DataPage>(self, port: &mut P, vcpu: VcpuId) -> Result<usize, CaptureError> {
        if !self.monitor {
            return Ok(0);
        }
        match read_word(port, vcpu, layout::COUNTERS) {
            found if (1..=1 + MAX_COUNTERS as u64).contains(&found) => {
                Ok(usize::try_from(found - 1).unwrap_or(0))
            }
            value => Err(CaptureError::Page {
                field: "number of event counters",
                value,
            }),
        }
    }
}

/// `MPIDR_EL1` as a vCPU reads it; bit 31 is RES1 (DDI 0487, D24.2.118).
pub const fn identity(vcpu: VcpuId) -> u64 {
    1 << 31 | vcpu.index() as u64
}

/// Lets the stopped `vcpu` run the stub. Its other registers are left as they are.
fn run<P: Port>(port: &mut P, vcpu: VcpuId, command: Command) -> Result<(), CaptureError> {
    let mut frame = P::Frame::default();
    frame.set_program_counter(layout::CODE);
    frame.set_state(STATE);
    frame.set_general(0, command as u64);
    frame.set_general(1, layout::data(vcpu));
    frame.set_general(2, layout::INTERFACE);
    Ok(port.write(vcpu, &mut frame, count_for(2), true)?)
}

/// Sets up a vCPU on which nothing has run yet: who it is, for good, and parked.
///
/// # Errors
///
/// The kernel refuses.
pub fn set_up<P: Port>(port: &mut P, vcpu: VcpuId) -> Result<(), CaptureError> {
    port.write_vcpu(vcpu, VcpuRegister::VMPIDR, identity(vcpu))?;
    park(port, vcpu)
}

/// Stage 1 off and no timer, as the stub needs it. A vCPU is parked until a guest runs on it, and again from its capture
/// or cleaning on.
fn park<P: Port>(port: &mut P, vcpu: VcpuId) -> Result<(), CaptureError> {
    port.write_vcpu(vcpu, VcpuRegister::SCTLR, SCTLR_EL1_RESET)?;
    Ok(port.write_vcpu(vcpu, VcpuRegister::CntvCtl, 0)?)
}

/// Lets the parked `vcpu` run the stub for nothing: it leaves again when every thread that is more urgent has had its turn.
///
/// # Errors
///
/// The kernel refuses.
pub fn wait<P: Port>(port: &mut P, vcpu: VcpuId) -> Result<(), CaptureError> {
    run(port, vcpu, Command::Wait)
}

/// A vCPU after [`wait`] left the stub; true if it is done with it.
///
/// # Errors
///
/// It did not leave as it should.
pub fn waited<P: Port>(port: &mut P, vcpu: VcpuId, exit: Exit) -> Result<bool, CaptureError> {
    left(port, vcpu, exit, Leave::Waited)
}

/// Handles an exit that is the same in every run. True if the stub has left as `expected`; false if it continues.
fn left<P: Port + DataPage>(
    port: &mut P,
    vcpu: VcpuId,
    exit: Exit,
    expected: Leave,
) -> Result<bool, CaptureError> {
    match exit {
        Exit::SecureMonitorCall(syndrome) if syndrome.immediate() == expected as u16 => Ok(true),
        Exit::SecureMonitorCall(syndrome) if syndrome.immediate() == Leave::Faulted as u16 => {
            let mut words = [0; 2];
            port.read_page(vcpu, layout::FAULT, &mut words);
            let [syndrome, address] = words;
            Err(CaptureError::Exception { syndrome, address })
        }
        // From before the timer was switched off; the interrupt's line is low by now.
        Exit::Timer => {
            port.acknowledge_timer(vcpu)?;
            port.resume(vcpu)?;
            Ok(false)
        }
        exit => Err(CaptureError::Exit(exit)),
    }
}

/// Reads one word of a data page.
fn read_word<P: DataPage>(port: &mut P, vcpu: VcpuId, at: usize) -> u64 {
    let mut word = 0;
    port.read_page(vcpu, at, core::slice::from_mut(&mut word));
    word
}

/// What a run acknowledged: the answers of `GICC_IAR`, checked only for their number.
fn read_notes<P: DataPage>(
    port: &mut P,
    vcpu: VcpuId,
) -> Result<heapless::Vec<u64, { layout::MAX_INTERRUPTS }>, CaptureError> {
    let mut words = [0; 1 + layout::MAX_INTERRUPTS];
    port.read_page(vcpu, layout::NOTED, &mut words);
    let [count, notes @ ..] = words;
    let noted = usize::try_from(count)
        .ok()
        .and_then(|count| notes.get(..count));
    let noted = noted.ok_or(CaptureError::Page {
        field: "number of acknowledged interrupts",
        value: count,
    })?;
    Ok(noted.iter().copied().collect())
}

/// The words of a CPU interface in the data page.
const INTERFACE_COUNT: usize = 5;

fn read_interface<P: DataPage>(port: &mut P, vcpu: VcpuId) -> Result<CpuInterface, CaptureError> {
    let mut words = [0; INTERFACE_COUNT];
    port.read_page(vcpu, layout::INTERFACE_WORDS, &mut words);
    let mut narrow = [0; INTERFACE_COUNT];
    for (narrow, value) in narrow.iter_mut().zip(words) {
        *narrow = u32::try_from(value).map_err(|_| CaptureError::Page {
            field: "CPU interface register",
            value,
        })?;
    }
    Ok(CpuInterface::from_words(narrow))
}

#[cfg(test)]
pub(crate) mod tests;
