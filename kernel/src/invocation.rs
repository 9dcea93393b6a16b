// SPDX-License-Identifier: BSD-2-Clause
//! Invocations: what a domain may do to threads, interrupts and virtual CPUs.
//!
//! Responsible for checking arguments in seL4's order with seL4's errors. Must never offer an
//! operation that a Microkit domain does not have; of those that it has, only the ones in
//! `sel4_sys::Invocation` are here, and the others are refused as illegal.

use sel4_sys::{
    FAST_MESSAGE_REGISTERS, Invocation, InvocationLabels, MESSAGE_REGISTERS, MessageInfo,
    SyscallError, context, parameters,
};

use crate::context::{FAULT_PC, NEXT_PC, SPSR, sanitise_spsr};
use crate::identifier::{ThreadId, VcpuId};
use crate::interrupt::{INTERRUPTS, VIRTUAL_TIMER};
use crate::ipc::MESSAGE;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Capability, State};

const fn label(invocation: Invocation) -> u64 {
    InvocationLabels::DEFAULT.label(invocation)
}

const READ_REGISTERS: u64 = label(Invocation::TcbReadRegisters);
const WRITE_REGISTERS: u64 = label(Invocation::TcbWriteRegisters);
const SUSPEND: u64 = label(Invocation::TcbSuspend);
const RESUME: u64 = label(Invocation::TcbResume);
const ACKNOWLEDGE: u64 = label(Invocation::IrqAckIrq);
const INJECT: u64 = label(Invocation::ArmVcpuInjectIrq);
const READ_REGISTER: u64 = label(Invocation::ArmVcpuReadReg);
const WRITE_REGISTER: u64 = label(Invocation::ArmVcpuWriteReg);
const ACKNOWLEDGE_PRIVATE: u64 = label(Invocation::ArmVcpuAckVppi);

/// The highest INTID that there is.
const MAXIMUM_INTID: u64 = INTERRUPTS as u64 - 1;

/// How an invocation that was not refused ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has no answer but that it was done.
    Done,
    /// Its answer is in the caller's registers.
    Answered,
}

/// Why an invocation was refused: the error and the words that explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: SyscallError,
    words: [u64; 2],
    length: usize,
}

impl Refusal {
    pub(crate) const fn with(error: SyscallError, words: [u64; 2], length: usize) -> Self {
        Self {
            error,
            words,
            length,
        }
    }

    const fn bare(error: SyscallError) -> Self {
        Self::with(error, [0, 0], 0)
    }

    const fn range(least: u64, most: u64) -> Self {
        Self::with(SyscallError::RangeError, [least, most], 2)
    }

    pub(crate) fn words(&self) -> &[u64] {
        self.words.get(..self.length).unwrap_or(&self.words)
    }
}

const TRUNCATED: Refusal = Refusal::bare(SyscallError::TruncatedMessage);
const ILLEGAL: Refusal = Refusal::bare(SyscallError::IllegalOperation);
const DELETE_FIRST: Refusal = Refusal::bare(SyscallError::DeleteFirst);

type Result = core::result::Result<Outcome, Refusal>;

impl<M: Machine> Kernel<M> {
    /// Does what the caller's message asks of the object that a capability names.
    pub(crate) fn invoke(
        &mut self,
        caller: ThreadId,
        capability: Capability,
        call: bool,
        first_phase: bool,
    ) -> Result {
        let info = self.message_info(caller);
        match capability {
            Capability::Thread { .. } if first_phase => Err(Refusal::INVALID_CAPABILITY),
            Capability::Thread { thread } => self.invoke_thread(caller, thread, info, call),
            Capability::Vcpu { vcpu } => self.invoke_vcpu(caller, vcpu, info, call),
            Capability::Interrupt { intid } if info.label() == ACKNOWLEDGE => {
                self.machine.unmask_interrupt(u32::from(intid));
                Ok(Outcome::Done)
            }
            Capability::Interrupt { .. } | Capability::AddressSpace => Err(ILLEGAL),
            _ => Err(Refusal::INVALID_CAPABILITY),
        }
    }

    fn invoke_thread(
        &mut self,
        caller: ThreadId,
        thread: ThreadId,
        info: MessageInfo,
        call: bool,
    ) -> Result {
        match info.label() {
            READ_REGISTERS => self.read_registers(caller, thread, info, call),
            WRITE_REGISTERS => self.write_registers(caller, thread, info),
            SUSPEND => {
                self.suspend(thread);
                #[cfg(feature = "witness")]
                if self.threads[thread]
                    .vcpu
                    .is_some_and(|vcpu| self.loaded_vcpu == Some(vcpu))
                {
                    self.machine.bear_witness();
                }
                Ok(Outcome::Done)
            }
            RESUME => {
                self.restart(thread);
                Ok(Outcome::Done)
            }
            _ => Err(ILLEGAL),
        }
    }

    fn read_registers(
        &mut self,
        caller: ThreadId,
        thread: ThreadId,
        info: MessageInfo,
        call: bool,
    ) -> Result {
        if info.length() < 2 {
            return Err(TRUNCATED);
        }
        let [flags, count] =
            [parameters::FLAGS, parameters::COUNT].map(|word| self.word(caller, word));
        if count < 1 || count > context::COUNT as u64 {
            return Err(Refusal::range(1, context::COUNT as u64));
        }
        if thread == caller {
            return Err(ILLEGAL);
        }
        if flags & 1 != 0 {
            self.suspend(thread);
        }
        if call {
            let count = usize::try_from(count).unwrap_or(0);
            for index in 0..count.min(FAST_MESSAGE_REGISTERS) {
                let value = self.threads[thread].registers.words[index];
                self.threads[caller].registers.set_x(MESSAGE + index, value);
            }
            if let Some(domain) = caller.domain() {
                let words = self.threads[thread].registers.words.get(..count);
                self.machine.set_message_words(domain, words.unwrap_or(&[]));
            }
            self.set_result(caller, 0, MessageInfo::new(0, 0, 0, count as u64));
        }
        Ok(Outcome::Answered)
    }

    fn write_registers(&mut self, caller: ThreadId, thread: ThreadId, info: MessageInfo) -> Result {
        /// Words before the registers.
        const START: usize = parameters::REGISTERS;
        const { assert!(START + context::COUNT <= MESSAGE_REGISTERS) };
        if info.length() < START as u64 {
            return Err(TRUNCATED);
        }
        let [flags, count] =
            [parameters::FLAGS, parameters::COUNT].map(|word| self.word(caller, word));
        if info.length() - (START as u64) < count {
            return Err(TRUNCATED);
        }
        if thread == caller {
            return Err(ILLEGAL);
        }
        let count = usize::try_from(count).unwrap_or(0).min(context::COUNT);
        // Two words of the message precede the registers, so two are in the caller's registers.
        for index in 0..count.min(FAST_MESSAGE_REGISTERS - START) {
            let value = self.threads[caller].registers.x(MESSAGE + START + index);
            self.threads[thread].registers.words[index] = value;
        }
        if let Some(domain) = caller.domain() {
            let words = self.threads[thread]
                .registers
                .words
                .get_mut(..count)
                .unwrap_or(&mut []);
            if let Some(words) = words.get_mut(FAST_MESSAGE_REGISTERS - START..) {
                self.machine.message_words(domain, words);
            }
        }
        if count > SPSR {
            let virtual_cpu = self.threads[thread].vcpu.is_some();
            let words = &mut self.threads[thread].registers.words;
            words[SPSR] = sanitise_spsr(words[SPSR], virtual_cpu);
        }
        let registers = &mut self.threads[thread].registers.words;
        registers[NEXT_PC] = registers[FAULT_PC];
        if flags & 1 != 0 {
            self.restart(thread);
        }
        Ok(Outcome::Done)
    }

    /// Stops a thread, whatever it does.
    pub(crate) fn suspend(&mut self, thread: ThreadId) {
        self.cancel_wait(thread);
        if self.threads[thread].state == State::Running {
            // So that it continues where it is and does not repeat what it did last.
            let registers = &mut self.threads[thread].registers.words;
            registers[FAULT_PC] = registers[NEXT_PC];
        }
        self.dequeue(thread);
        self.threads[thread].state = State::Inactive;
    }

    /// Lets a thread that is stopped or waits continue at its fault address.
    pub(crate) fn restart(&mut self, thread: ThreadId) {
        if self.threads[thread].is_runnable() {
            return;
        }
        self.cancel_wait(thread);
        self.threads[thread].state = State::Restart;
        self.delay_if_exhausted(thread);
        if self.is_schedulable(thread) {
            self.consider(thread);
        }
    }

    fn invoke_vcpu(
        &mut self,
        caller: ThreadId,
        vcpu: VcpuId,
        info: MessageInfo,
        call: bool,
    ) -> Result {
        let needed = match info.label() {
            INJECT | READ_REGISTER | ACKNOWLEDGE_PRIVATE => 1,
            WRITE_REGISTER => 2,
            _ => return Err(ILLEGAL),
        };
        if info.length() < needed {
            return Err(TRUNCATED);
        }
        let (first, second) = (self.word(caller, 0), self.word(caller, 1));
        match info.label() {
            INJECT => self.inject(vcpu, first),
            READ_REGISTER => {
                let value = self
                    .read_vcpu_register(vcpu, first)
                    .ok_or(INVALID_REGISTER)?;
                if call {
                    self.set_word(caller, 0, value);
                    self.set_result(caller, 0, MessageInfo::new(0, 0, 0, 1));
                }
                Ok(Outcome::Answered)
            }
            WRITE_REGISTER => {
                self.write_vcpu_register(vcpu, first, second)
                    .ok_or(INVALID_REGISTER)?;
                Ok(Outcome::Done)
            }
            _ => self.acknowledge_private(vcpu, first),
        }
    }

    /// Makes an interrupt pending in a list register, with an event when the guest ends it.
    fn inject(&mut self, vcpu: VcpuId, word: u64) -> Result {
        let field = |shift: u32, mask: u64| word >> shift & mask;
        let intid = field(parameters::INJECT_INTID, 0xffff);
        let priority = field(parameters::INJECT_PRIORITY, 0xff);
        let group = field(parameters::INJECT_GROUP, 0xff);
        let index = field(parameters::INJECT_INDEX, 0xff);
        let registers = self.machine.list_registers() as u64;
        for (value, most) in [
            (intid, 0x3ff),
            (priority, 31),
            (group, 1),
            (index, registers.saturating_sub(1)),
        ] {
            if value > most {
                return Err(Refusal::range(0, most));
            }
        }
        let index = usize::try_from(index).unwrap_or(0);
        if self.vcpus[vcpu].is_list_register_active(index) {
            return Err(DELETE_FIRST);
        }
        self.write_list_register(vcpu, index, pending(intid, priority, group));
        Ok(Outcome::Done)
    }

    /// Lets a private interrupt of a virtual CPU be signalled again.
    fn acknowledge_private(&mut self, vcpu: VcpuId, intid: u64) -> Result {
        if intid > MAXIMUM_INTID {
            return Err(Refusal::range(0, MAXIMUM_INTID));
        }
        if intid != u64::from(VIRTUAL_TIMER) {
            return Err(Refusal::with(SyscallError::InvalidArgument, [0, 0], 1));
        }
        self.vcpus[vcpu].timer_masked = false;
        Ok(Outcome::Done)
    }
}

/// A register number that does not exist: the first argument, counted from one.
const INVALID_REGISTER: Refusal = Refusal::with(SyscallError::InvalidArgument, [1, 0], 1);

/// `GICH_LR` of a pending interrupt with an EOI maintenance interrupt (IHI 0048B 5.3.11).
fn pending(intid: u64, priority: u64, group: u64) -> u32 {
    const STATE_PENDING: u64 = 1 << 28;
    const EOI: u64 = 1 << 19;
    let value = group << 30 | STATE_PENDING | priority << 23 | EOI | intid;
    u32::try_from(value).unwrap_or(0)
}
