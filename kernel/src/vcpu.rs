// SPDX-License-Identifier: BSD-2-Clause
//! Virtual CPUs: their registers and what of them the processor holds.
//!
//! Responsible for switching between them *lazily*, as seL4 does: when a guest is left for a
//! domain, only what would get in the domain's way is saved ([`is_saved_early`]); all other system
//! registers and the list registers stay in the processor until another virtual CPU needs it. So
//! the saved copy of a loaded virtual CPU is stale, which an injection's check shows.
//!
//! Must never let a domain run under a guest's translation.

use sel4_sys::VCpuRegister;

use crate::identifier::VcpuId;
use crate::interrupt::VIRTUAL_TIMER;
use crate::kernel::Kernel;
use crate::machine::{MOST_LIST_REGISTERS, Machine, VcpuRegisters};
use crate::own::OwnRegisters;

/// `SCTLR_EL1` of a virtual CPU that nobody has written yet: seL4's `SCTLR_EL1_VM`, which is the
/// reserved bits, `CP15BEN`, `nTWI`, `nTWE`, `UCT` and `UCI`; MMU and caches off.
const SCTLR_INITIAL: u64 = 0x30d0_0800 | 1 << 5 | 1 << 16 | 1 << 18 | 1 << 15 | 1 << 26;

/// `GICH_HCR.En`. Nothing else of the register is used; seL4 saves its `EOICount` too, which nobody
/// can read.
const INTERFACE_ENABLE: u32 = 1;

/// `GICH_MISR.EOI`: a list register became empty with an EOI maintenance interrupt.
const STATUS_EOI: u32 = 1;

/// `GICH_LR.State` (IHI 0048B 5.3.11).
const STATE_SHIFT: u32 = 28;
const STATE_MASK: u32 = 3;
const STATE_ACTIVE: u32 = 2;
const STATE_PENDING_AND_ACTIVE: u32 = 3;

/// `GICH_LR.EOI`, of a register without the HW bit.
const LIST_EOI: u32 = 1 << 19;

/// A virtual CPU.
#[derive(Clone, Debug)]
pub struct Vcpu {
    /// System registers by number.
    registers: VcpuRegisters,
    /// What seL4's object lacks.
    own: OwnRegisters,
    /// `GICH_VMCR` and `GICH_APR`.
    interface_state: (u32, u32),
    /// `GICH_LR0` and up.
    list_registers: [u32; MOST_LIST_REGISTERS],
    /// Its virtual timer's interrupt was signalled and not acknowledged.
    pub timer_masked: bool,
}

impl Vcpu {
    /// As seL4 creates one.
    pub const INITIAL: Self = Self {
        registers: {
            let mut registers = [0; VCpuRegister::COUNT];
            registers[VCpuRegister::SCTLR as usize] = SCTLR_INITIAL;
            registers
        },
        own: OwnRegisters::INITIAL,
        interface_state: (0, 0),
        list_registers: [0; MOST_LIST_REGISTERS],
        timer_masked: false,
    };

    /// Whether the *saved copy* of a list register is active and not pending, in which case seL4
    /// refuses to overwrite it.
    #[must_use]
    pub fn is_list_register_active(&self, index: usize) -> bool {
        self.list_registers
            .get(index)
            .is_some_and(|register| register >> STATE_SHIFT & STATE_MASK == STATE_ACTIVE)
    }

    fn register(&self, register: VCpuRegister) -> u64 {
        self.registers[register as usize]
    }

    fn set_register(&mut self, register: VCpuRegister, value: u64) {
        self.registers[register as usize] = value;
    }
}

/// Whether a register is saved as soon as the guest is left, because domains have their own value.
///
/// The virtual timer is not among them, unlike on seL4: programming a timer is what costs most in an
/// emulated world switch. If its interrupt comes while the guest is left, it is masked until the
/// guest is entered again, which nobody can tell from a timer that was off.
#[inline(always)]
#[must_use]
pub fn is_saved_early(register: VCpuRegister) -> bool {
    EARLY.contains(&register)
}

const EARLY: [VCpuRegister; 3] = [
    VCpuRegister::SCTLR,
    VCpuRegister::CPACR,
    VCpuRegister::CNTKCTL_EL1,
];

impl<M: Machine> Kernel<M> {
    /// Makes the processor that of a virtual CPU, or a domain's if there is none.
    pub(crate) fn switch_vcpu(&mut self, vcpu: Option<VcpuId>) {
        match vcpu {
            Some(vcpu) if self.loaded_vcpu != Some(vcpu) => self.load_vcpu(vcpu),
            Some(vcpu) if !self.vcpu_active => self.enter_vcpu(vcpu),
            None if self.vcpu_active => self.leave_vcpu(),
            _ => {}
        }
    }

    /// Leaves the loaded virtual CPU for a domain: everything else stays in the processor.
    fn leave_vcpu(&mut self) {
        if let Some(vcpu) = self.loaded_vcpu {
            self.machine.set_interface_control(0);
            self.machine.leave_guest(&mut self.vcpus[vcpu].registers);
            #[cfg(feature = "guest-debug")]
            self.machine.disarm(&mut self.vcpus[vcpu].own.switches);
        }
        self.vcpu_active = false;
    }

    /// Returns to the loaded virtual CPU from a domain.
    fn enter_vcpu(&mut self, vcpu: VcpuId) {
        let vcpu = &self.vcpus[vcpu];
        if vcpu.timer_masked != self.timer_masked {
            self.timer_masked = vcpu.timer_masked;
            if vcpu.timer_masked {
                self.machine.mask_interrupt(VIRTUAL_TIMER);
            } else {
                self.machine.unmask_interrupt(VIRTUAL_TIMER);
            }
        }
        #[cfg(feature = "guest-debug")]
        self.machine.arm(&vcpu.own.switches);
        self.machine.enter_guest(&vcpu.registers);
        self.machine.set_interface_control(INTERFACE_ENABLE);
        self.vcpu_active = true;
    }

    /// Saves the loaded virtual CPU in full and loads another.
    fn load_vcpu(&mut self, next: VcpuId) {
        let count = self.machine.list_registers();
        if self.vcpu_active {
            self.leave_vcpu();
        }
        if let Some(previous) = self.loaded_vcpu {
            let previous = &mut self.vcpus[previous];
            previous.interface_state = self.machine.interface_state();
            for (index, register) in previous.list_registers.iter_mut().enumerate().take(count) {
                *register = self.machine.list_register(index);
            }
            self.machine.save_vcpu_registers(&mut previous.registers);
            self.machine.save_own_registers(&mut previous.own);
        }
        let vcpu = &self.vcpus[next];
        let (control, active_priorities) = vcpu.interface_state;
        self.machine.set_interface_state(control, active_priorities);
        for (index, register) in vcpu.list_registers.iter().enumerate().take(count) {
            self.machine.set_list_register(index, *register);
        }
        self.machine.load_vcpu_registers(&vcpu.registers);
        self.machine.load_own_registers(&vcpu.own);
        self.loaded_vcpu = Some(next);
        self.enter_vcpu(next);
    }

    /// Whether the processor, not the saved copy, holds the truth about a register.
    #[inline(always)]
    fn is_in_processor(&self, vcpu: VcpuId, register: VCpuRegister) -> bool {
        self.loaded_vcpu == Some(vcpu) && (self.vcpu_active || !is_saved_early(register))
    }

    /// A register of a virtual CPU by its number.
    #[inline(always)]
    pub(crate) fn read_vcpu_register(&mut self, vcpu: VcpuId, number: u64) -> Option<u64> {
        let register = VCpuRegister::from_number(number)?;
        Some(if self.is_in_processor(vcpu, register) {
            self.machine.vcpu_register(register)
        } else {
            self.vcpus[vcpu].register(register)
        })
    }

    /// Changes a register of a virtual CPU by its number.
    #[inline(always)]
    pub(crate) fn write_vcpu_register(
        &mut self,
        vcpu: VcpuId,
        number: u64,
        value: u64,
    ) -> Option<()> {
        let register = VCpuRegister::from_number(number)?;
        if self.is_in_processor(vcpu, register) {
            self.machine.set_vcpu_register(register, value);
        } else {
            self.vcpus[vcpu].set_register(register, value);
        }
        Some(())
    }

    /// Writes a list register where it is: in the processor or in the saved copy, not both.
    pub(crate) fn write_list_register(&mut self, vcpu: VcpuId, index: usize, value: u32) {
        if self.loaded_vcpu == Some(vcpu) {
            self.machine.set_list_register(index, value);
        } else if let Some(register) = self.vcpus[vcpu].list_registers.get_mut(index) {
            *register = value;
        }
    }

    /// The list register that a maintenance interrupt is about, if it is known. Its EOI bit is
    /// cleared, which ends the interrupt's cause, and the saved copy brought up to date.
    pub(crate) fn take_maintenance(&mut self) -> Option<u8> {
        let (status, ended) = self.machine.maintenance_status();
        let index = ended.trailing_zeros();
        if status & STATUS_EOI == 0 || index as usize >= self.machine.list_registers() {
            return None;
        }
        let index = index as usize;
        let mut value = self.machine.list_register(index);
        if value >> STATE_SHIFT & STATE_MASK != STATE_PENDING_AND_ACTIVE {
            value &= !LIST_EOI;
        }
        self.machine.set_list_register(index, value);
        if let Some(vcpu) = self.loaded_vcpu
            && let Some(register) = self.vcpus[vcpu].list_registers.get_mut(index)
        {
            *register = value;
        }
        u8::try_from(index).ok()
    }
}
