//! Invocations of threads, vCPUs and interrupt handlers.
//!
//! An invocation may change the message registers: read a received message before invoking
//! anything, and write a reply after.

use sel4_sys::{Invocation, MessageInfo, Syscall, context};

use crate::arch::{self, FastRegisters, Received};
use crate::{
    Error, IpcBuffer, Result, UserContext, VCpuReg, Word, cap, patched, with_ipc_buffer_mut,
};

/// How many registers a thread has.
const ALL_REGISTERS: Word = context::COUNT as Word;

/// How many words a write of registers has before the registers.
const WRITE_HEADER: usize = 2;

/// How many registers such a message has in machine registers.
const WRITE_FAST: usize = crate::NUM_FAST_MESSAGE_REGISTERS - WRITE_HEADER;

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
        with_ipc_buffer_mut(|buffer| {
            let mrs = [suspend.into(), count, 0, 0];
            let reply = invoke(buffer, self.bits(), Invocation::TcbReadRegisters, 2, mrs);
            Error::wrap(reply.info.label())?;
            let mut registers = UserContext::default();
            let words = registers.inner_mut().words_mut();
            let count = register_count(count);
            let fast = count.min(reply.registers.len());
            words[..fast].copy_from_slice(&reply.registers[..fast]);
            words[fast..count].copy_from_slice(&buffer.msg_regs()[fast..count]);
            Ok(registers)
        })
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
        let words = regs.inner().words();
        with_ipc_buffer_mut(|buffer| {
            let length = register_count(count);
            if length > WRITE_FAST {
                buffer.msg_regs_mut()[WRITE_HEADER + WRITE_FAST..WRITE_HEADER + length]
                    .copy_from_slice(&words[WRITE_FAST..length]);
            }
            let mrs = [resume.into(), count, words[0], words[1]];
            let length = WRITE_HEADER + length;
            let reply = invoke(
                buffer,
                self.bits(),
                Invocation::TcbWriteRegisters,
                length,
                mrs,
            );
            Error::wrap(reply.info.label())
        })
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
        with_ipc_buffer_mut(|buffer| read_vcpu_register(buffer, self.bits(), field.into_sys()))
    }

    /// Writes a system register.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the kernel lacks the register.
    #[inline(always)]
    pub fn vcpu_write_regs(self, field: VCpuReg, value: Word) -> Result<()> {
        with_ipc_buffer_mut(|buffer| {
            write_vcpu_register(buffer, self.bits(), field.into_sys(), value)
        })
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
        let word = Word::from(virq)
            | (Word::from(priority) << 16)
            | (Word::from(group) << 24)
            | (Word::from(index) << 32);
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
fn simple(service: Word, invocation: Invocation, length: usize, mrs: FastRegisters) -> Result<()> {
    let reply = with_ipc_buffer_mut(|buffer| invoke(buffer, service, invocation, length, mrs));
    Error::wrap(reply.info.label())
}

/// Invokes a capability; `buffer` must be this thread's.
#[inline(always)]
fn invoke(
    buffer: &mut IpcBuffer,
    service: Word,
    invocation: Invocation,
    length: usize,
    mrs: FastRegisters,
) -> Received {
    let info = MessageInfo::new(patched::label(invocation), 0, 0, length as Word);
    arch::receive(Syscall::Call, service, info, mrs, 0, 0, buffer)
}

/// How many registers to move when asked for `count`: no more than there are.
#[inline(always)]
fn register_count(count: Word) -> usize {
    usize::try_from(count).map_or(context::COUNT, |count| count.min(context::COUNT))
}
