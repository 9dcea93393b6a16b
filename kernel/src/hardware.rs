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
use kernel::context::Context;
use kernel::identifier::{DomainId, Identifier, Table, VmId};
use kernel::machine::{FloatingPoint, Machine, Space, VcpuRegisters};
use kernel::object::Fault;
use kernel::report::Report;
use kernel::{Kernel, interrupt};
use sel4_sys::{IpcBuffer, VCpuRegister};

use crate::console::Console;
use crate::gic::Gic;
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
        }
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
        let Some(buffer) = self.domains[domain].ipc_buffer else {
            return 0;
        };
        // SAFETY: the page was checked to be the domain's own memory and is mapped. The domain
        // does not run meanwhile, and the word is copied before it is used.
        let message = unsafe { &raw const (*buffer.as_ptr()).msg };
        if index < sel4_sys::MESSAGE_REGISTERS {
            // SAFETY: the index is within the array.
            unsafe { message.cast::<u64>().add(index).read_volatile() }
        } else {
            0
        }
    }

    #[inline(always)]
    fn set_message_word(&mut self, domain: DomainId, index: usize, value: u64) {
        let Some(buffer) = self.domains[domain].ipc_buffer else {
            return;
        };
        // SAFETY: as in `message_word`.
        let message = unsafe { &raw mut (*buffer.as_ptr()).msg };
        if index < sel4_sys::MESSAGE_REGISTERS {
            // SAFETY: the index is within the array.
            unsafe { message.cast::<u64>().add(index).write_volatile(value) }
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
    fn enter_guest(&mut self) {
        registers::enter_guest();
    }

    #[inline(always)]
    fn leave_guest(&mut self) {
        registers::leave_guest();
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
    fn list_registers(&self) -> usize {
        self.gic.list_registers()
    }

    #[inline(always)]
    fn interface_control(&mut self) -> u32 {
        self.gic.interface_control()
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
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.get() }
    }
}

/// Leaves the kernel: the registers of the thread that goes on, after idling if there is none.
#[inline(always)]
pub(crate) fn resume(kernel: &mut Kernel<Hardware>) -> *mut Context {
    loop {
        if let Some(registers) = kernel.finish() {
            return registers;
        }
        // Wakes up for an interrupt although it is masked.
        aarch64_cpu::asm::wfi();
        kernel.interrupt();
    }
}

/// An `svc` of a domain or an `hvc` of a guest.
pub(crate) extern "C" fn enter_system_call() -> *mut Context {
    // SAFETY: the one call of this entry.
    let kernel = unsafe { KERNEL.get() };
    kernel.system_call();
    resume(kernel)
}

/// An interrupt while a thread ran.
pub(crate) extern "C" fn enter_interrupt() -> *mut Context {
    // SAFETY: the one call of this entry.
    let kernel = unsafe { KERNEL.get() };
    kernel.interrupt();
    resume(kernel)
}

/// Anything else that trapped.
pub(crate) extern "C" fn enter_fault(syndrome: u64) -> *mut Context {
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
const CLASS_INSTRUCTION_ABORT: u64 = 0x20;
const CLASS_DATA_ABORT: u64 = 0x24;
/// `ESR_EL2` of an instruction that does not exist: class 0, instruction length 32 bits.
const SYNDROME_UNKNOWN: u64 = 1 << 25;

/// An abort. The address that a fetch failed at is the program counter.
#[inline(always)]
fn memory_fault(kernel: &Kernel<Hardware>, syndrome: u64, fetch: bool) -> Fault {
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

/// The kernel itself took an exception. Nothing can go on.
pub(crate) extern "C" fn own_fault(syndrome: u64, pc: u64, address: u64) -> ! {
    panic!("exception in the kernel, syndrome {syndrome:#x} at pc {pc:#x}, address {address:#x}");
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing else runs any more. The UART is mapped or the MMU off.
    let mut console = unsafe { Console::new() };
    let _ = writeln!(console, "godwit kernel: {information}");
    loop {
        aarch64_cpu::asm::wfi();
    }
}
