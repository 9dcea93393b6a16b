// SPDX-License-Identifier: BSD-2-Clause
//! The hardware under the kernel's decisions, and the entries into them.
//!
//! Responsible for [`Machine`] on QEMU's `virt`, for the one kernel object, and for turning an
//! exception's syndrome into what the library knows it as. Must never be entered twice at a time:
//! one processor, all interrupts masked.

use core::cell::UnsafeCell;
use core::fmt::Write;
use core::ptr::NonNull;

use aarch64_cpu::registers::{CPTR_EL2, FAR_EL2, Readable, VTTBR_EL2, Writeable};
use kernel::budget::Ticks;
use kernel::identifier::{DomainId, Identifier, Table, VmId};
use kernel::machine::{FloatingPoint, Machine, Space, VcpuRegisters};
use kernel::object::Fault;
use kernel::own::OwnRegisters;
#[cfg(feature = "guest-debug")]
use kernel::own::Switches;
use kernel::report::Report;
use kernel::{Kernel, interrupt};
use sel4_sys::{FAST_MESSAGE_REGISTERS, IpcBuffer, MESSAGE_REGISTERS, VCpuRegister};

use crate::console::Console;
use crate::entry;
use crate::gic::Gic;
use crate::own_registers;
use crate::registers::{self, read_register, write_register};

/// `CPTR_EL2` without traps but the reserved bits (DDI 0487, D17.2.36, without VHE).
const CPTR_RESERVED: u64 = 0x33ff;
/// `CPTR_EL2.TFP`: FP and SIMD instructions of EL0 and EL1 trap.
const CPTR_TRAP_FLOATING_POINT: u64 = 1 << 10;

/// A domain as the hardware knows it.
#[derive(Clone, Copy)]
pub(crate) struct DomainMemory {
    /// `VTTBR_EL2`.
    pub(crate) translation: u64,
    /// Its IPC buffer, at its physical address.
    pub(crate) ipc_buffer: Option<NonNull<IpcBuffer>>,
    /// Its name in the boot description.
    pub(crate) name: &'static str,
}

/// The hardware.
pub(crate) struct Hardware {
    pub(crate) console: Console,
    pub(crate) gic: Gic,
    pub(crate) domains: Table<DomainMemory, { DomainId::COUNT }>,
    /// `VTTBR_EL2` of each VM.
    pub(crate) vms: Table<u64, { VmId::COUNT }>,
    #[cfg(feature = "witness")]
    witness: crate::witness::Witness,
}

impl Hardware {
    /// # Safety
    ///
    /// As [`Console::new`] and [`Gic::new`].
    const unsafe fn new() -> Self {
        let domain = DomainMemory {
            translation: 0,
            ipc_buffer: None,
            name: "?",
        };
        // SAFETY: the caller's promise.
        let (console, gic) = unsafe { (Console::new(), Gic::new()) };
        Self {
            console,
            gic,
            domains: Table::new([domain; DomainId::COUNT]),
            vms: Table::new([0; VmId::COUNT]),
            #[cfg(feature = "witness")]
            witness: crate::witness::Witness::new(),
        }
    }
}

impl Hardware {
    /// The words of the message in a domain's IPC buffer: [`MESSAGE_REGISTERS`] of them.
    ///
    /// They are the domain's own memory, as the boot description was checked for, and mapped. The
    /// domain does not run meanwhile, but nobody else is kept from writing: each access is
    /// volatile, and what was read is used as it was read.
    #[inline(always)]
    fn message(&self, domain: DomainId) -> Option<*mut u64> {
        let buffer = self.domains[domain].ipc_buffer?;
        // SAFETY: the field is inside the buffer.
        Some(unsafe { (&raw mut (*buffer.as_ptr()).msg).cast() })
    }
}

impl Machine for Hardware {
    #[inline(always)]
    fn time(&mut self) -> Ticks {
        // In order: an entry is charged up to the entry, not to some moment before.
        registers::synchronise();
        read_register!("cntpct_el0")
    }

    #[inline(always)]
    fn set_deadline(&mut self, deadline: Ticks) {
        // SAFETY: the timer only interrupts.
        unsafe { write_register!("cnthp_cval_el2", deadline) }
    }

    #[inline(always)]
    fn message_word(&self, domain: DomainId, index: usize) -> u64 {
        match self.message(domain) {
            // SAFETY: the index is within the array; see `message`.
            Some(message) if index < MESSAGE_REGISTERS => unsafe {
                message.add(index).read_volatile()
            },
            _ => 0,
        }
    }

    #[inline(always)]
    fn set_message_word(&mut self, domain: DomainId, index: usize, value: u64) {
        if let Some(message) = self.message(domain)
            && index < MESSAGE_REGISTERS
        {
            // SAFETY: the index is within the array; see `message`.
            unsafe { message.add(index).write_volatile(value) }
        }
    }

    #[inline(always)]
    fn message_words(&self, domain: DomainId, words: &mut [u64]) {
        let Some(message) = self.message(domain) else {
            return;
        };
        let most = MESSAGE_REGISTERS - FAST_MESSAGE_REGISTERS;
        for (index, word) in words.iter_mut().take(most).enumerate() {
            // SAFETY: the index is within the array; see `message`.
            *word = unsafe { message.add(FAST_MESSAGE_REGISTERS + index).read_volatile() };
        }
    }

    #[inline(always)]
    fn set_message_words(&mut self, domain: DomainId, words: &[u64]) {
        let Some(message) = self.message(domain) else {
            return;
        };
        let words = words.iter().enumerate().take(MESSAGE_REGISTERS);
        for (index, word) in words.skip(FAST_MESSAGE_REGISTERS) {
            // SAFETY: the index is within the array; see `message`.
            unsafe { message.add(index).write_volatile(*word) }
        }
    }

    #[inline(always)]
    fn unmask_interrupt(&mut self, intid: u32) {
        self.gic.unmask(intid);
    }

    #[inline(always)]
    fn mask_interrupt(&mut self, intid: u32) {
        self.gic.mask(intid);
    }

    #[inline(always)]
    fn acknowledge_interrupt(&mut self) -> Option<u32> {
        self.gic.acknowledge()
    }

    #[inline(always)]
    fn end_interrupt(&mut self, intid: u32) {
        if intid == interrupt::KERNEL_TIMER {
            // The line must be low by now, or the interrupt comes again.
            registers::synchronise();
        }
        self.gic.end(intid);
    }

    #[inline(always)]
    fn enter_space(&mut self, space: Space) {
        VTTBR_EL2.set(match space {
            Space::Domain(domain) => self.domains[domain].translation,
            Space::Vm(vm) => self.vms[vm],
        });
    }

    #[inline(always)]
    fn thread_pointers(&mut self) -> (u64, u64) {
        (read_register!("tpidr_el0"), read_register!("tpidrro_el0"))
    }

    #[inline(always)]
    fn set_thread_pointers(&mut self, read_write: u64, read_only: u64) {
        // SAFETY: the kernel does not use these registers.
        unsafe {
            write_register!("tpidr_el0", read_write);
            write_register!("tpidrro_el0", read_only);
        }
    }

    #[inline(always)]
    fn trap_floating_point(&mut self, trap: bool) {
        CPTR_EL2.set(if trap {
            CPTR_RESERVED | CPTR_TRAP_FLOATING_POINT
        } else {
            CPTR_RESERVED
        });
    }

    fn save_floating_point(&mut self, registers: &mut FloatingPoint) {
        registers::synchronise();
        crate::floating_point::save(registers);
    }

    fn load_floating_point(&mut self, registers: &FloatingPoint) {
        registers::synchronise();
        crate::floating_point::load(registers);
    }

    #[inline(always)]
    fn enter_guest(&mut self, registers: &VcpuRegisters) {
        registers::enter_guest(registers);
    }

    #[inline(always)]
    fn leave_guest(&mut self, registers: &mut VcpuRegisters) {
        #[cfg(feature = "witness")]
        self.witness.look();
        registers::leave_guest(registers);
    }

    #[inline(always)]
    fn vcpu_register(&mut self, register: VCpuRegister) -> u64 {
        registers::read_vcpu_register(register)
    }

    #[inline(always)]
    fn set_vcpu_register(&mut self, register: VCpuRegister, value: u64) {
        registers::write_vcpu_register(register, value);
    }

    fn save_vcpu_registers(&mut self, registers: &mut VcpuRegisters) {
        registers::save_vcpu_registers(registers);
    }

    fn load_vcpu_registers(&mut self, registers: &VcpuRegisters) {
        registers::load_vcpu_registers(registers);
    }

    #[inline(always)]
    fn save_own_registers(&mut self, own: &mut OwnRegisters) {
        own_registers::save(own);
    }

    #[inline(always)]
    fn load_own_registers(&mut self, own: &OwnRegisters) {
        own_registers::load(own);
    }

    #[cfg(feature = "guest-debug")]
    fn disarm(&mut self, switches: &mut Switches) {
        own_registers::disarm(switches);
    }

    #[cfg(feature = "guest-debug")]
    fn arm(&mut self, switches: &Switches) {
        own_registers::arm(switches);
    }

    #[inline(always)]
    fn list_registers(&self) -> usize {
        self.gic.list_registers()
    }

    #[inline(always)]
    fn set_interface_control(&mut self, value: u32) {
        self.gic.set_interface_control(value);
    }

    fn interface_state(&mut self) -> (u32, u32) {
        self.gic.interface_state()
    }

    fn set_interface_state(&mut self, control: u32, active_priorities: u32) {
        self.gic.set_interface_state(control, active_priorities);
    }

    fn list_register(&mut self, index: usize) -> u32 {
        self.gic.list_register(index)
    }

    fn set_list_register(&mut self, index: usize, value: u32) {
        self.gic.set_list_register(index, value);
    }

    fn maintenance_status(&mut self) -> (u32, u64) {
        self.gic.maintenance_status()
    }

    #[cfg(feature = "witness")]
    fn bear_witness(&mut self) {
        self.witness.tell(&mut self.gic, &mut self.console);
    }

    #[cold]
    fn report(&mut self, report: &Report) {
        let name = self.domains[report.domain()].name;
        // The console's write never fails.
        let _ = writeln!(self.console, "{}", report.line(name));
    }
}

/// The kernel, to be touched by the entries below and at start-up only.
pub(crate) struct Cell(UnsafeCell<Kernel<Hardware>>);

// SAFETY: one processor, and the kernel is not interrupted.
unsafe impl Sync for Cell {}

// SAFETY: the only console and GIC besides the panic handler's, which runs last. The devices are
// mapped before the kernel starts.
pub(crate) static KERNEL: Cell = Cell(UnsafeCell::new(Kernel::new(unsafe { Hardware::new() })));

impl Cell {
    /// The kernel.
    ///
    /// # Safety
    ///
    /// No other reference to it may be in use: one call an entry.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "that is what the safety contract is about"
    )]
    pub(crate) unsafe fn get(&self) -> &mut Kernel<Hardware> {
        // Hidden, so that the kernel's fields are reached by offsets from one register.
        let kernel = core::hint::black_box(self.0.get());
        // SAFETY: the caller's promise.
        unsafe { &mut *kernel }
    }
}

/// Ends an entry: leaves the kernel for the thread that continues.
#[inline(never)]
pub(crate) fn resume(kernel: &mut Kernel<Hardware>) -> ! {
    match kernel.finish() {
        Some(registers) => entry::leave(registers),
        None => idle(kernel),
    }
}

/// Waits until there is a thread to continue.
#[cold]
fn idle(kernel: &mut Kernel<Hardware>) -> ! {
    loop {
        // Wakes up for an interrupt although it is masked.
        aarch64_cpu::asm::wfi();
        kernel.interrupt();
        if let Some(registers) = kernel.finish() {
            entry::leave(registers);
        }
    }
}

/// An `svc` of a domain or an `hvc` of a guest.
pub(crate) extern "C" fn enter_system_call() -> ! {
    // SAFETY: the one call of this entry.
    let kernel = unsafe { KERNEL.get() };
    kernel.system_call();
    if let Some(registers) = kernel.finish_undisturbed() {
        entry::leave(registers);
    }
    resume(kernel)
}

/// An interrupt while a thread ran.
pub(crate) extern "C" fn enter_interrupt() -> ! {
    // SAFETY: the one call of this entry.
    let kernel = unsafe { KERNEL.get() };
    kernel.interrupt();
    resume(kernel)
}

/// Anything else that trapped. No class that a Cortex-A53 reports uses the syndrome's upper half.
pub(crate) extern "C" fn enter_fault(syndrome: u32) -> ! {
    // SAFETY: the one call of this entry.
    let kernel = unsafe { KERNEL.get() };
    let fault = match syndrome >> 26 {
        CLASS_INSTRUCTION_ABORT => memory_fault(kernel, syndrome, true),
        CLASS_DATA_ABORT => memory_fault(kernel, syndrome, false),
        _ if syndrome == SYNDROME_UNKNOWN => Fault::UserException { syndrome },
        _ => Fault::Trap { syndrome },
    };
    kernel.fault(fault);
    resume(kernel)
}

/// `ESR_EL2.EC` of an abort from EL0 or EL1 (DDI 0487, D17.2.37).
const CLASS_INSTRUCTION_ABORT: u32 = 0x20;
const CLASS_DATA_ABORT: u32 = 0x24;
/// `ESR_EL2` of an instruction that does not exist: class 0, instruction length 32 bits.
const SYNDROME_UNKNOWN: u32 = 1 << 25;

/// An abort. The address that a fetch failed at is the program counter.
#[inline(always)]
fn memory_fault(kernel: &Kernel<Hardware>, syndrome: u32, fetch: bool) -> Fault {
    let address = if fetch {
        read_register!("elr_el2")
    } else {
        FAR_EL2.get()
    };
    let address = if kernel.is_guest_active() {
        registers::translate_guest(address)
    } else {
        address
    };
    Fault::Memory {
        address,
        syndrome,
        fetch,
    }
}

/// The kernel itself took an exception. Nothing can continue.
pub(crate) extern "C" fn own_fault(syndrome: u64, pc: u64, address: u64) -> ! {
    panic!("exception in the kernel, syndrome {syndrome:#x} at pc {pc:#x}, address {address:#x}");
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing else runs any more. The UART is mapped or the MMU off.
    let mut console = unsafe { Console::new() };
    let _ = writeln!(console, "godwit kernel: {information}");
    halt();
}

/// Stops for good.
pub(crate) fn halt() -> ! {
    loop {
        aarch64_cpu::asm::wfi();
    }
}
