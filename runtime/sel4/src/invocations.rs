// SPDX-License-Identifier: BSD-2-Clause
//! Invocations of threads, vCPUs and interrupt handlers.
//!
//! An invocation may change the message registers: read a received message before invoking
//! anything, and write a reply after.

use sel4_sys::{Invocation, MessageInfo, Syscall, context, parameters};

use crate::arch::{self, FastRegisters, Received};
use crate::state::Loan;
use crate::sys::seL4_UserContext;
use crate::{Error, IpcBuffer, Result, UserContext, VCpuReg, Word, cap, patched};

/// How many registers a thread has.
const ALL_REGISTERS: Word = context::COUNT as Word;

/// How many words a message that writes registers has before them.
const WRITE_HEADER: usize = parameters::REGISTERS;

impl cap::Tcb {
    /// Reads the first `count` registers in the order of the fields of
    /// [`crate::sys::seL4_UserContext`], suspending the thread first if asked to.
    ///
    /// The others are 0. (The original leaves them unspecified.)
    ///
    /// # Errors
    ///
    /// [`Error::RangeError`] if `count` is 0 or above 36, [`Error::IllegalOperation`] for the
    /// caller's own thread.
    #[inline(always)]
    pub fn tcb_read_registers(self, suspend: bool, count: Word) -> Result<UserContext> {
        let mut buffer = Loan::take();
        let mrs = register_access(suspend, count);
        let reply = invoke(
            &mut buffer,
            self.bits(),
            Invocation::TcbReadRegisters,
            2,
            mrs,
        );
        Error::wrap(reply.info.label())?;
        let registers = seL4_UserContext::take_message(count, &reply.registers, buffer.msg_regs());
        Ok(UserContext(registers))
    }

    /// Reads all registers, suspending the thread first if asked to.
    ///
    /// # Errors
    ///
    /// [`Error::IllegalOperation`] for the caller's own thread.
    #[inline(always)]
    pub fn tcb_read_all_registers(self, suspend: bool) -> Result<UserContext> {
        self.tcb_read_registers(suspend, ALL_REGISTERS)
    }

    /// Writes the first `count` registers in the order of the fields of
    /// [`crate::sys::seL4_UserContext`], and resumes the thread if asked to.
    ///
    /// `regs` is `&mut` because it is in the original; it is not changed.
    ///
    /// # Errors
    ///
    /// [`Error::IllegalOperation`] for the caller's own thread, [`Error::TruncatedMessage`] if
    /// `count` is above 36.
    #[inline(always)]
    pub fn tcb_write_registers(
        self,
        resume: bool,
        count: Word,
        regs: &mut UserContext,
    ) -> Result<()> {
        let mut buffer = Loan::take();
        let mut mrs = register_access(resume, count);
        regs.0
            .put_message::<WRITE_HEADER>(count, &mut mrs, buffer.msg_regs_mut());
        let length = WRITE_HEADER as Word + count.min(ALL_REGISTERS);
        let reply = invoke(
            &mut buffer,
            self.bits(),
            Invocation::TcbWriteRegisters,
            length,
            mrs,
        );
        Error::wrap(reply.info.label())
    }

    /// Writes all registers, and resumes the thread if asked to.
    ///
    /// # Errors
    ///
    /// [`Error::IllegalOperation`] for the caller's own thread.
    #[inline(always)]
    pub fn tcb_write_all_registers(self, resume: bool, regs: &mut UserContext) -> Result<()> {
        self.tcb_write_registers(resume, ALL_REGISTERS, regs)
    }

    /// Lets the thread run on from its program counter, whatever it was waiting for.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCapability`] if there is no thread.
    #[inline(always)]
    pub fn tcb_resume(self) -> Result<()> {
        simple(self.bits(), Invocation::TcbResume, 0, [0; 4])
    }

    /// Stops the thread.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCapability`] if there is no thread.
    #[inline(always)]
    pub fn tcb_suspend(self) -> Result<()> {
        simple(self.bits(), Invocation::TcbSuspend, 0, [0; 4])
    }
}

impl cap::VCpu {
    /// Reads a system register.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the kernel lacks the register.
    #[inline(always)]
    pub fn vcpu_read_regs(self, field: VCpuReg) -> Result<Word> {
        read_vcpu_register(&mut Loan::take(), self.bits(), field.into_sys())
    }

    /// Writes a system register.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the kernel lacks the register.
    #[inline(always)]
    pub fn vcpu_write_regs(self, field: VCpuReg, value: Word) -> Result<()> {
        write_vcpu_register(&mut Loan::take(), self.bits(), field.into_sys(), value)
    }

    /// Unmasks a private interrupt of the vCPU, after the kernel has reported it pending.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] unless `irq` is one that the kernel reports.
    #[inline(always)]
    pub fn vcpu_ack_vppi(self, irq: Word) -> Result<()> {
        simple(self.bits(), Invocation::ArmVcpuAckVppi, 1, [irq, 0, 0, 0])
    }

    /// Puts an interrupt into a list register, pending.
    ///
    /// # Errors
    ///
    /// [`Error::RangeError`] if `virq` is above 1023, `priority` above 31, `group` above 1 or
    /// there is no list register `index`; [`Error::DeleteFirst`] if the list register is in use.
    #[inline(always)]
    pub fn vcpu_inject_irq(self, virq: u16, priority: u8, group: u8, index: u8) -> Result<()> {
        let word = (Word::from(virq) << parameters::INJECT_INTID)
            | (Word::from(priority) << parameters::INJECT_PRIORITY)
            | (Word::from(group) << parameters::INJECT_GROUP)
            | (Word::from(index) << parameters::INJECT_INDEX);
        simple(
            self.bits(),
            Invocation::ArmVcpuInjectIrq,
            1,
            [word, 0, 0, 0],
        )
    }
}

impl cap::IrqHandler {
    /// Unmasks the interrupt.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCapability`] if there is no such interrupt.
    #[inline(always)]
    pub fn irq_handler_ack(self) -> Result<()> {
        simple(self.bits(), Invocation::IrqAckIrq, 0, [0; 4])
    }
}

/// What comes before a thread's registers: the only flag, and how many they are.
#[inline(always)]
fn register_access(flag: bool, count: Word) -> FastRegisters {
    let mut mrs = [0; 4];
    mrs[parameters::FLAGS] = flag.into();
    mrs[parameters::COUNT] = count;
    mrs
}

/// Reads the system register that has a number.
#[inline(always)]
pub(crate) fn read_vcpu_register(buffer: &mut IpcBuffer, vcpu: Word, number: Word) -> Result<Word> {
    let reply = invoke(
        buffer,
        vcpu,
        Invocation::ArmVcpuReadReg,
        1,
        [number, 0, 0, 0],
    );
    Error::wrap(reply.info.label()).map(|()| reply.registers[0])
}

/// Writes the system register that has a number.
#[inline(always)]
pub(crate) fn write_vcpu_register(
    buffer: &mut IpcBuffer,
    vcpu: Word,
    number: Word,
    value: Word,
) -> Result<()> {
    let reply = invoke(
        buffer,
        vcpu,
        Invocation::ArmVcpuWriteReg,
        2,
        [number, value, 0, 0],
    );
    Error::wrap(reply.info.label())
}

/// Invokes a capability with a message in machine registers, and expects no answer.
#[inline(always)]
fn simple(service: Word, invocation: Invocation, length: Word, mrs: FastRegisters) -> Result<()> {
    let reply = invoke(&mut Loan::take(), service, invocation, length, mrs);
    Error::wrap(reply.info.label())
}

/// Invokes a capability; `buffer` must be this thread's.
#[inline(always)]
fn invoke(
    buffer: &mut IpcBuffer,
    service: Word,
    invocation: Invocation,
    length: Word,
    mrs: FastRegisters,
) -> Received {
    let info = MessageInfo::new(patched::label(invocation), 0, 0, length);
    arch::receive(Syscall::Call, service, info, mrs, 0, 0, buffer)
}
