// SPDX-License-Identifier: BSD-2-Clause
//! Restore of one vCPU: the state machine around [`Command::Load`], and the release that lets it run.

use channel::VcpuId;
use channel::timer::VirtualTimer;
use channel::vgic::{Injection, RestorePlan};
use core::ops::Range;
use heapless::Vec;
use state::{Register, RegisterFile};

use super::layout::{self, Command, Leave, MAX_INTERRUPTS, position};
use super::{CaptureError, DataPage, Features, Progress};
use crate::exit::Exit;
use crate::exit::exception::is_32_bit;
use crate::lifecycle::gate::RunPermit;
use crate::port::{COUNT_ALL, COUNT_PROGRAM_COUNTER, Frame, Port, VcpuRegister};

/// A restore under way.
#[derive(Debug)]
pub struct Restore {
    vcpu: VcpuId,
    features: Features,
    /// How many event counters the registers need.
    counters: usize,
    active: Vec<Injection, MAX_INTERRUPTS>,
    timer: VirtualTimer,
    /// The stub has loaded everything, and the vCPU is on its way into a 32-bit program.
    entering: bool,
}

/// A vCPU that holds its whole state apart from what lets it run: translation, timer, program counter.
///
/// It is paused. What is pending for it may be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Restored {
    vcpu: VcpuId,
    timer: VirtualTimer,
}

impl Restore {
    /// Loads a parked vCPU, whatever it was before. A register that `registers` does not have becomes zero: nothing
    /// of another guest's shines through.
    pub fn begin<P: Port + DataPage>(
        port: &mut P,
        vcpu: VcpuId,
        features: Features,
        registers: &RegisterFile,
        timer: &VirtualTimer,
        plan: &RestorePlan,
    ) -> Result<Self, CaptureError> {
        let identity = super::identity(vcpu);
        let recorded = registers.word(Register::MPIDR_EL1);
        if recorded.is_some_and(|recorded| recorded != identity) {
            return Err(CaptureError::Register(Register::MPIDR_EL1));
        }
        let restore = Self {
            vcpu,
            features,
            counters: needed(features, registers)?,
            active: plan.active.injections().collect(),
            timer: *timer,
            entering: false,
        };
        for injection in &restore.active {
            port.inject(*injection)?;
        }
        restore.write_page(port, registers, plan);
        super::run(port, vcpu, Command::Load)?;
        Ok(restore)
    }

    fn write_page<P: DataPage>(&self, port: &mut P, registers: &RegisterFile, plan: &RestorePlan) {
        let vcpu = self.vcpu;
        let timer = [self.timer.compare.0, self.timer.kernel_control.into()];
        let interface = plan.interface.words().map(u64::from);
        port.write_page(vcpu, layout::INTERFACE_WORDS, &interface);
        port.write_page(vcpu, layout::NOTED, &[0]);
        port.write_page(
            vcpu,
            layout::BREAKPOINTS,
            &self.features.words(self.counters),
        );
        port.write_page(vcpu, layout::TIMER, &timer);
        let mut buffer = [0; layout::SAVED.len()];
        for range in self.features.saved(self.counters) {
            let first = layout::REGISTERS + range.start;
            let words = buffer.get_mut(..range.len()).unwrap_or_default();
            let saved = layout::SAVED.get(range).unwrap_or_default();
            for (word, register) in words.iter_mut().zip(saved) {
                *word = registers.word(*register).unwrap_or(0);
            }
            port.write_page(vcpu, first, words);
        }
        write_vectors(port, vcpu, registers);
    }

    /// The vCPU left the stub. `registers` are the ones given to [`Self::begin`].
    pub fn on_exit<P: Port + DataPage>(
        &mut self,
        port: &mut P,
        exit: Exit,
        registers: &RegisterFile,
    ) -> Result<Progress<Restored>, CaptureError> {
        if self.entering && is_arrival(&exit) {
            return self.arrived(port, registers).map(Progress::Done);
        }
        if !super::left(port, self.vcpu, exit, Leave::Loaded)? {
            return Ok(Progress::Running);
        }
        self.check_notes(&super::read_notes(port, self.vcpu)?)?;
        if self.features.read_counters(port, self.vcpu)? < self.counters {
            return Err(CaptureError::Register(Register::PMCR_EL0));
        }
        if runs_32_bit(registers) {
            self.enter(port, registers)?;
            return Ok(Progress::Running);
        }
        Ok(Progress::Done(self.done()))
    }

    const fn done(&self) -> Restored {
        Restored {
            vcpu: self.vcpu,
            timer: self.timer,
        }
    }

    /// Brings the vCPU into the state of a 32-bit program, which the kernel keeps for a thread and does not let anybody
    /// write: with all general registers in place, its one instruction is an `ERET` to an address where nothing is. That
    /// the fetch aborts at stage 2 leaves everything as it is. Nothing can come in between: no interrupt is pending
    /// yet, and the timer is off.
    fn enter<P: Port>(
        &mut self,
        port: &mut P,
        registers: &RegisterFile,
    ) -> Result<(), CaptureError> {
        let state = registers.word(Register::PSTATE).unwrap_or(0);
        port.write_vcpu(self.vcpu, VcpuRegister::ElrEl1, layout::NOWHERE)?;
        port.write_vcpu(self.vcpu, VcpuRegister::SpsrEl1, state)?;
        let mut frame = load_thread::<P::Frame>(registers);
        frame.set_program_counter(layout::RETURN);
        frame.set_state(super::STATE);
        self.entering = true;
        Ok(port.write(self.vcpu, &mut frame, COUNT_ALL, true)?)
    }

    /// It is there; what the way took is put back.
    fn arrived<P: Port>(
        &self,
        port: &mut P,
        registers: &RegisterFile,
    ) -> Result<Restored, CaptureError> {
        for (target, register) in [
            (VcpuRegister::ElrEl1, Register::ELR_EL1),
            (VcpuRegister::SpsrEl1, Register::SPSR_EL1),
        ] {
            port.write_vcpu(self.vcpu, target, registers.word(register).unwrap_or(0))?;
        }
        Ok(self.done())
    }

    /// Each active interrupt was acknowledged, and nothing else was.
    fn check_notes(&mut self, notes: &[u64]) -> Result<(), CaptureError> {
        for note in notes {
            let position = self
                .active
                .iter()
                .position(|injection| u64::from(injection.intid.value()) == *note)
                .ok_or(CaptureError::Interrupt { intid: *note })?;
            self.active.swap_remove(position);
        }
        match self.active.first() {
            Some(missing) => Err(CaptureError::Interrupt {
                intid: missing.intid.value().into(),
            }),
            None => Ok(()),
        }
    }
}

/// A vCPU that has its time too, and only waits to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ready {
    vcpu: VcpuId,
}

impl Restored {
    /// Gives the vCPU its time and translation. Only when `timer-pd` has opened its gate, which it does when all vCPUs are in
    /// place.
    pub fn give_time<P: Port>(
        self,
        port: &mut P,
        registers: &RegisterFile,
        time: RunPermit,
    ) -> Result<Ready, CaptureError> {
        let Self { vcpu, timer } = self;
        let word = |register| registers.word(register).unwrap_or(0);
        for (register, value) in [
            (VcpuRegister::Cntvoff, time.offset().0),
            (VcpuRegister::SCTLR, word(Register::SCTLR_EL1)),
            (VcpuRegister::CntvCtl, timer.control.into()),
        ] {
            port.write_vcpu(vcpu, register, value)?;
        }
        if !timer.asserted {
            // Its event may have been lost when the vCPU was stopped, and the kernel still hold it masked.
            port.acknowledge_timer(vcpu)?;
        }
        Ok(Ready { vcpu })
    }
}

impl Ready {
    /// Gives the vCPU its thread's registers, and with `run` resumes it. Only when all vCPUs have their time.
    pub fn release<P: Port>(
        self,
        port: &mut P,
        registers: &RegisterFile,
        run: bool,
    ) -> Result<(), CaptureError> {
        let mut frame = load_thread::<P::Frame>(registers);
        // One in a 32-bit program has everything else already: seL4 takes no such state from us.
        let count = if runs_32_bit(registers) {
            COUNT_PROGRAM_COUNTER
        } else {
            COUNT_ALL
        };
        Ok(port.write(self.vcpu, &mut frame, count, run)?)
    }
}

/// Whether a vCPU with these registers runs a 32-bit program.
fn runs_32_bit(registers: &RegisterFile) -> bool {
    registers.word(Register::PSTATE).is_some_and(is_32_bit)
}

/// The exit of a vCPU that has got to where nothing is.
fn is_arrival(exit: &Exit) -> bool {
    matches!(
        exit,
        Exit::Abort {
            program_counter: layout::NOWHERE,
            fetch: true,
            ..
        }
    )
}

/// How many event counters `registers` need. What else they have of what the stub loads, the processor must have.
pub(super) fn needed(features: Features, registers: &RegisterFile) -> Result<usize, CaptureError> {
    let [first, second, third] = features.saved(usize::MAX);
    let beyond = [
        first.end..second.start,
        second.end..third.start,
        third.end..layout::SAVED.len(),
    ];
    for range in beyond {
        if let Some(register) = registers.last_in(rows(range)) {
            return Err(CaptureError::Register(register));
        }
    }
    let counters = rows(COUNTERS..layout::SAVED.len());
    let last = registers.last_in(counters.clone());
    Ok(last.map_or(0, |last| (last.index() - counters.start) / 2 + 1))
}

/// Where the registers from the first that a processor may lack on are in [`layout::SAVED`], and where the event counters.
const OPTIONAL: usize = position(Register::MDCCINT_EL1);
const COUNTERS: usize = position(Register::PMEVCNTR0_EL0);

/// The rows of the table that hold this part of [`layout::SAVED`], all of it at [`OPTIONAL`] or beyond.
const fn rows(part: Range<usize>) -> Range<usize> {
    const FIRST: usize = Register::MDCCINT_EL1.index();
    FIRST + part.start - OPTIONAL..FIRST + part.end - OPTIONAL
}

#[expect(clippy::indexing_slicing, reason = "below its length")]
const _: () = {
    let mut at = OPTIONAL;
    while at < layout::SAVED.len() {
        assert!(layout::SAVED[at].index() == rows(at..at).start);
        at += 1;
    }
};

fn write_vectors<P: DataPage>(port: &mut P, vcpu: VcpuId, registers: &RegisterFile) {
    let mut vectors = [0; 64];
    for (number, halves) in vectors.chunks_exact_mut(2).enumerate() {
        let value = Register::vector(number).and_then(|register| registers.get(register));
        if let (Some(value), [low, high]) = (value, halves) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the low half is what is meant"
            )]
            let low_half = value as u64;
            let high_half = (value >> 64) as u64;
            (*low, *high) = (low_half, high_half);
        }
    }
    port.write_page(vcpu, layout::VECTORS, &vectors);
}

fn load_thread<F: Frame>(registers: &RegisterFile) -> F {
    let word = |register| registers.word(register).unwrap_or(0);
    let mut frame = F::default();
    for number in 0..31u8 {
        if let Some(register) = Register::general(number.into()) {
            frame.set_general(number, word(register));
        }
    }
    frame.set_stack_pointer(word(Register::SP_EL0));
    frame.set_program_counter(word(Register::PC));
    frame.set_state(word(Register::PSTATE));
    frame.set_thread_pointers([word(Register::TPIDR_EL0), word(Register::TPIDRRO_EL0)]);
    frame
}
