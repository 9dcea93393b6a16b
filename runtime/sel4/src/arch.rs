// SPDX-License-Identifier: BSD-2-Clause
//! The `svc` instruction: one function for each shape of system call.
//!
//! Register use as `sel4_sys::Syscall` documents. Each block names the IPC buffer as an operand
//! that it does not read, because the kernel may read and write that memory.

use sel4_sys::{MessageInfo, Syscall};

use crate::{IpcBuffer, Word};

/// The message registers that are machine registers.
pub(crate) type FastRegisters = [Word; crate::NUM_FAST_MESSAGE_REGISTERS];

/// What a receiving system call delivers.
pub(crate) struct Received {
    pub(crate) info: MessageInfo,
    pub(crate) badge: Word,
    pub(crate) registers: FastRegisters,
}

/// Sends, and does not wait for an answer.
///
/// `ipc_buffer` must be this thread's.
#[inline(always)]
pub(crate) fn send(
    syscall: Syscall,
    destination: Word,
    info: MessageInfo,
    registers: FastRegisters,
    ipc_buffer: &mut IpcBuffer,
) {
    let [mr0, mr1, mr2, mr3] = registers;
    #[cfg(target_os = "none")]
    // SAFETY: a sending system call preserves every register; the kernel reads memory through the
    // IPC buffer only, which the exclusive reference covers.
    unsafe {
        core::arch::asm!(
            "svc #0",
            "/* {} */",
            in(reg) core::ptr::from_mut(ipc_buffer),
            in("x0") destination,
            in("x1") info.word(),
            in("x2") mr0,
            in("x3") mr1,
            in("x4") mr2,
            in("x5") mr3,
            in("x7") syscall.word(),
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_os = "none"))]
    no_kernel((syscall, destination, info, mr0, mr1, mr2, mr3, ipc_buffer))
}

/// Receives, or sends and then receives.
///
/// `source_or_destination` is the capability in `x0`: the one to send to for `Call`, the one to
/// receive from otherwise. `send_destination` is `x8`, which only the `NBSend` combinations use.
///
/// `ipc_buffer` must be this thread's.
#[inline(always)]
pub(crate) fn receive(
    syscall: Syscall,
    source_or_destination: Word,
    info: MessageInfo,
    registers: FastRegisters,
    reply: Word,
    send_destination: Word,
    ipc_buffer: &mut IpcBuffer,
) -> Received {
    let [mr0, mr1, mr2, mr3] = registers;
    #[cfg(target_os = "none")]
    {
        let (out_badge, out_info): (Word, Word);
        let (out0, out1, out2, out3): (Word, Word, Word, Word);
        // SAFETY: a receiving system call changes x0 to x5 only; the kernel writes memory through
        // the IPC buffer only, which the exclusive reference covers.
        unsafe {
            core::arch::asm!(
                "svc #0",
                "/* {} */",
                in(reg) core::ptr::from_mut(ipc_buffer),
                inout("x0") source_or_destination => out_badge,
                inout("x1") info.word() => out_info,
                inout("x2") mr0 => out0,
                inout("x3") mr1 => out1,
                inout("x4") mr2 => out2,
                inout("x5") mr3 => out3,
                in("x6") reply,
                in("x7") syscall.word(),
                in("x8") send_destination,
                options(nostack, preserves_flags),
            );
        }
        Received {
            info: MessageInfo::from_word(out_info),
            badge: out_badge,
            registers: [out0, out1, out2, out3],
        }
    }
    #[cfg(not(target_os = "none"))]
    no_kernel((
        syscall,
        source_or_destination,
        info,
        (mr0, mr1, mr2, mr3, reply, send_destination, ipc_buffer),
    ))
}

/// Calls the kernel with nothing but a word.
#[inline(always)]
pub(crate) fn simple(syscall: Syscall, argument: Word) {
    #[cfg(target_os = "none")]
    // SAFETY: `Yield` and `DebugPutChar`, which are all that come here, touch no memory of the
    // caller's; of the registers, they may change x0.
    unsafe {
        core::arch::asm!(
            "svc #0",
            inout("x0") argument => _,
            in("x7") syscall.word(),
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(target_os = "none"))]
    no_kernel((syscall, argument))
}

/// A host has no kernel to call: the host's tests end before here.
#[cfg(not(target_os = "none"))]
fn no_kernel<T>(_arguments: T) -> ! {
    panic!("a system call of seL4 on a host");
}
