// SPDX-License-Identifier: BSD-2-Clause
//! What debuggers do by `ptrace(2)`.

use anyhow::{Context as _, ensure};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;

use crate::child::{BUSY, CALLING, Child, landmark_one};

/// `BRK #0` (DDI 0487, C6.2).
const BRK: u32 = 0xd420_0000;

/// Where the landmark is.
fn landmark() -> u64 {
    landmark_one as *const () as u64
}

/// Puts a breakpoint at the landmark; what was there.
fn set_breakpoint(child: &Child) -> anyhow::Result<i64> {
    // The loader has not put it elsewhere: a static program has its fixed place.
    let at = landmark() as ptrace::AddressType;
    let word = ptrace::read(child.0, at)?;
    ptrace::write(child.0, at, word & !0xffff_ffff | i64::from(BRK))?;
    Ok(word)
}

/// Resumes the child to the breakpoint.
fn go_to_breakpoint(child: &Child) -> anyhow::Result<libc::user_regs_struct> {
    ptrace::cont(child.0, None)?;
    let status = child.wait()?;
    let hit = WaitStatus::Stopped(child.0, Signal::SIGTRAP);
    ensure!(status == hit, "{status:?}");
    let registers = ptrace::getregs(child.0)?;
    ensure!(registers.pc == landmark(), "at {:#x}", registers.pc);
    Ok(registers)
}

/// Steps; between two of them the child is stopped by a signal if the step has not stopped it.
pub(crate) fn steps(count: u64) -> anyhow::Result<String> {
    let child = Child::start(BUSY)?;
    // Past what the C library does first.
    let word = set_breakpoint(&child)?;
    go_to_breakpoint(&child)?;
    ptrace::write(child.0, landmark() as ptrace::AddressType, word)?;
    let mut stepped = 0;
    for number in 0..count {
        ptrace::step(child.0, None).with_context(|| format!("step {number}"))?;
        kill(child.0, Signal::SIGSTOP)?;
        match child.wait()? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {
                stepped += 1;
                // The signal was sent, too, and comes first at the next step.
                ptrace::cont(child.0, None)?;
                let status = child.wait()?;
                let stopped = WaitStatus::Stopped(child.0, Signal::SIGSTOP);
                ensure!(status == stopped, "{status:?}");
            }
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
            status => anyhow::bail!("after step {number}: {status:?}"),
        }
    }
    Ok(format!("steps asked={count} stepped={stepped}"))
}

/// Lets the child run into a breakpoint; each must hit, there and nowhere else.
pub(crate) fn breakpoints(count: u64) -> anyhow::Result<String> {
    let child = Child::start(CALLING)?;
    set_breakpoint(&child)?;
    for number in 0..count {
        let registers = go_to_breakpoint(&child);
        let mut registers = registers.with_context(|| format!("breakpoint {number}"))?;
        // Back to the caller: the landmark's work is of no importance.
        registers.pc = registers.regs[30];
        ptrace::setregs(child.0, registers)?;
    }
    Ok(format!("breakpoints hit={count}"))
}

/// `struct user_hwdebug_state` (`arch/arm64/include/uapi/asm/ptrace.h`), with room for as many as the processor can have.
#[repr(C)]
struct HardwareBreakpoints {
    information: u32,
    padding: u32,
    registers: [HardwareBreakpoint; 16],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct HardwareBreakpoint {
    address: u64,
    control: u32,
    padding: u32,
}

/// `NT_ARM_HW_BREAK` (`include/uapi/linux/elf.h`).
const NT_ARM_HW_BREAK: libc::c_int = 0x402;
/// Enabled, for EL0, all four bytes of an instruction (DDI 0487, `DBGBCRn_EL1`).
const EXECUTE: u32 = 1 | 2 << 1 | 0xf << 5;
/// System calls of the child: it passes the landmark before each.
const PASSES: u64 = 100;

/// Sets a hardware breakpoint, if Linux takes it, and lets the child pass it.
pub(crate) fn hardware_breakpoint() -> anyhow::Result<String> {
    let child = Child::start(CALLING)?;
    let empty = HardwareBreakpoint {
        address: 0,
        control: 0,
        padding: 0,
    };
    let mut state = HardwareBreakpoints {
        information: 0,
        padding: 0,
        registers: [empty; 16],
    };
    state.registers[0] = HardwareBreakpoint {
        address: landmark(),
        control: EXECUTE,
        padding: 0,
    };
    let mut vector = libc::iovec {
        iov_base: (&raw mut state).cast(),
        // The head and one breakpoint.
        iov_len: 8 + 16,
    };
    // SAFETY: the vector and what it names outlive the call, which reads as many bytes as it says.
    let set = unsafe {
        libc::ptrace(
            libc::PTRACE_SETREGSET,
            child.0.as_raw(),
            NT_ARM_HW_BREAK,
            &raw mut vector,
        )
    };
    if set != 0 {
        let error = std::io::Error::last_os_error();
        return Ok(format!("hardware taken=0 hit=0 ({error})"));
    }
    let (mut calls, mut hit) = (0, 0);
    while calls < 2 * PASSES {
        ptrace::syscall(child.0, None)?;
        match child.wait()? {
            WaitStatus::PtraceSyscall(_) => calls += 1,
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {
                hit += 1;
                break;
            }
            status => anyhow::bail!("{status:?}"),
        }
    }
    Ok(format!("hardware taken=1 hit={hit}"))
}

/// Stops the child at each of its system calls and each return from one.
pub(crate) fn system_calls(count: u64) -> anyhow::Result<String> {
    let child = Child::start(CALLING)?;
    let parent = u64::from(std::process::id());
    let mut answered = 0;
    for number in 0..2 * count {
        ptrace::syscall(child.0, None)?;
        let status = child.wait()?;
        let stopped = WaitStatus::PtraceSyscall(child.0);
        ensure!(status == stopped, "stop {number}: {status:?}");
        // The first ones are the C library's.
        let returned = number % 2 == 1;
        answered += u64::from(returned && ptrace::getregs(child.0)?.regs[0] == parent);
    }
    ensure!(answered + 64 > count, "{answered} of {count} were getppid");
    Ok(format!(
        "system-calls stops={} answered={answered}",
        2 * count
    ))
}
