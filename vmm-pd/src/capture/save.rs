// SPDX-License-Identifier: BSD-2-Clause
//! Capture of one vCPU: the state machine around [`Command::Save`].

use channel::VcpuId;
use channel::timer::VirtualTimer;
use channel::vgic::{CpuInterface, LIST_REGISTERS, ListRegisterEntries, ListRegisterState};
use channel::{Intid, Ticks};
use state::{Register, RegisterFile};

use super::layout::{self, Command, Leave, MAX_INTERRUPTS, progress};
use super::{CaptureError, DataPage, Features, Progress};
use crate::exit::Exit;
use crate::port::{COUNT_ALL, Frame, Port, VcpuRegister};

/// What a capture found, apart from the registers. The vCPU's list registers are empty now, and its timer is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// The virtual timer, for `timer-pd`.
    pub timer: VirtualTimer,
    /// The CPU interface, for `vgic-pd`.
    pub interface: CpuInterface,
    /// Which list register was pending and which active, for `vgic-pd`.
    pub found: ListRegisterState,
}

/// A capture under way.
#[derive(Debug, Clone, Copy)]
pub struct Capture {
    vcpu: VcpuId,
    features: Features,
    entries: ListRegisterEntries,
    /// List registers that became empty after their interrupt was deactivated, one bit each.
    deactivated: u8,
    /// The stub has saved everything; what follows only waits for events.
    settling: bool,
    /// `CNTV_CTL_EL0` as it was.
    timer_control: u32,
    timer_asserted: bool,
}

/// `CNTV_CTL_EL0.{ENABLE, IMASK}`: the bits that are state.
const TIMER_CONTROL: u32 = 0b11;
/// The part of `GICC_IAR` that is the interrupt's number.
const INTID: u64 = 0x3ff;

impl Capture {
    /// Takes what the kernel knows of the suspended `vcpu` into `registers`, and lets it run the stub. `entries` is
    /// `vgic-pd`'s answer to `Request::ListRegisterEntries`; `timer_asserted` says that the timer's interrupt was delivered and
    /// not acknowledged.
    pub fn begin<P: Port + DataPage>(
        port: &mut P,
        vcpu: VcpuId,
        features: Features,
        entries: &ListRegisterEntries,
        timer_asserted: bool,
        registers: &mut RegisterFile,
    ) -> Result<Self, CaptureError> {
        registers.clear();
        save_thread(&port.read(vcpu, COUNT_ALL)?, registers);
        put(registers, Register::MPIDR_EL1, super::identity(vcpu));
        let sctlr = port.read_vcpu(vcpu, VcpuRegister::SCTLR)?;
        put(registers, Register::SCTLR_EL1, sctlr);
        let control = port.read_vcpu(vcpu, VcpuRegister::CntvCtl)?;
        super::park(port, vcpu)?;
        let capture = Self {
            vcpu,
            features,
            entries: *entries,
            deactivated: 0,
            settling: false,
            timer_control: low(control) & TIMER_CONTROL,
            timer_asserted,
        };
        capture.write_page(port);
        super::run(port, vcpu, Command::Save)?;
        Ok(capture)
    }

    fn write_page<P: DataPage>(&self, port: &mut P) {
        let mut occupied = [0; 1 + MAX_INTERRUPTS];
        let [count, list @ ..] = &mut occupied;
        for (word, intid) in list.iter_mut().zip(self.entries.0.iter().flatten()) {
            *word = intid.value().into();
            *count += 1;
        }
        let occupied = occupied.get(..=LIST_REGISTERS).unwrap_or(&occupied);
        port.write_page(self.vcpu, layout::PROGRESS, &[progress::NOTHING]);
        port.write_page(self.vcpu, layout::NOTED, &[0]);
        port.write_page(self.vcpu, layout::OCCUPIED, occupied);
        port.write_page(self.vcpu, layout::BREAKPOINTS, &self.features.words(0));
    }

    /// The vCPU left the stub. When it is done, `registers` (the ones given to [`Self::begin`]) are complete.
    pub fn on_exit<P: Port + DataPage>(
        &mut self,
        port: &mut P,
        exit: Exit,
        registers: &mut RegisterFile,
    ) -> Result<Progress<Captured>, CaptureError> {
        if let Exit::Maintenance(list_register) = exit {
            self.note_end(port, list_register);
            port.resume(self.vcpu)?;
            return Ok(Progress::Running);
        }
        let expected = if self.settling {
            Leave::Waited
        } else {
            Leave::Saved
        };
        if !super::left(port, self.vcpu, exit, expected)? {
            return Ok(Progress::Running);
        }
        if !self.settling && !self.all_accounted_for(port)? {
            // An event may still be on its way. Whether there is one, a run that does nothing else will show.
            self.settling = true;
            super::run(port, self.vcpu, Command::Wait)?;
            return Ok(Progress::Running);
        }
        self.finish(port, registers).map(Progress::Done)
    }

    /// A list register became empty. Before the stub's acknowledgements were over, the guest had ended its interrupt.
    fn note_end<P: DataPage>(&mut self, port: &mut P, list_register: u64) {
        let reached = super::read_word(port, self.vcpu, layout::PROGRESS);
        if list_register < LIST_REGISTERS as u64 && reached != progress::NOTHING {
            self.deactivated |= 1 << list_register;
        }
    }

    /// Whether every occupied list register has reported its end.
    fn all_accounted_for<P: DataPage>(&self, port: &mut P) -> Result<bool, CaptureError> {
        let value = super::read_word(port, self.vcpu, layout::PROGRESS);
        if value != progress::DONE {
            return Err(CaptureError::Page {
                field: "progress",
                value,
            });
        }
        let mut occupied = self.occupied();
        Ok(occupied.all(|(register, _)| self.deactivated & 1 << register != 0))
    }

    fn occupied(&self) -> impl Iterator<Item = (usize, Intid)> + '_ {
        let slots = self.entries.0.iter().enumerate();
        slots.filter_map(|(register, entry)| Some((register, (*entry)?)))
    }

    fn finish<P: DataPage>(
        &self,
        port: &mut P,
        registers: &mut RegisterFile,
    ) -> Result<Captured, CaptureError> {
        let found = self.found(&super::read_notes(port, self.vcpu)?)?;
        let interface = super::read_interface(port, self.vcpu)?;
        let timer = self.read_timer(port);
        self.read_registers(port, registers)?;
        read_vectors(port, self.vcpu, registers);
        Ok(Captured {
            timer,
            interface,
            found,
        })
    }

    /// Acknowledged: it was pending. Deactivated and not acknowledged: it was active. Neither: the guest had ended it,
    /// and the event that says so was lost or came while the stub still acknowledged.
    fn found(&self, notes: &[u64]) -> Result<ListRegisterState, CaptureError> {
        let mut found = ListRegisterState::default();
        for note in notes {
            let register = self
                .occupied()
                .find(|(_, intid)| u64::from(intid.value()) == note & INTID)
                .map(|(register, _)| register)
                .ok_or(CaptureError::Interrupt { intid: *note })?;
            found.pending |= 1 << register;
        }
        if found.pending & !self.deactivated != 0 {
            let value = found.pending.into();
            return Err(CaptureError::Page {
                field: "list registers that stay occupied",
                value,
            });
        }
        found.active = self.deactivated & !found.pending;
        Ok(found)
    }

    fn read_timer<P: DataPage>(&self, port: &mut P) -> VirtualTimer {
        let mut words = [0; 2];
        port.read_page(self.vcpu, layout::TIMER, &mut words);
        let [compare, kernel_control] = words;
        VirtualTimer {
            control: self.timer_control,
            compare: Ticks(compare),
            // Its high half is reserved, and yet a guest may be able to write it.
            kernel_control: low(kernel_control),
            asserted: self.timer_asserted,
        }
    }

    fn read_registers<P: DataPage>(
        &self,
        port: &mut P,
        registers: &mut RegisterFile,
    ) -> Result<(), CaptureError> {
        let counters = self.features.read_counters(port, self.vcpu)?;
        let mut buffer = [0; layout::SAVED.len()];
        for range in self.features.saved(counters) {
            let first = layout::REGISTERS + range.start;
            let words = buffer.get_mut(..range.len()).unwrap_or_default();
            port.read_page(self.vcpu, first, words);
            let saved = layout::SAVED.get(range).unwrap_or_default();
            for (register, value) in saved.iter().zip(words) {
                if !registers.set_word(*register, *value) {
                    return Err(CaptureError::Page {
                        field: register.name(),
                        value: *value,
                    });
                }
            }
        }
        Ok(())
    }
}

fn read_vectors<P: DataPage>(port: &mut P, vcpu: VcpuId, registers: &mut RegisterFile) {
    let mut vectors = [0; 64];
    port.read_page(vcpu, layout::VECTORS, &mut vectors);
    for (number, halves) in vectors.chunks_exact(2).enumerate() {
        if let (Some(register), [low, high]) = (Register::vector(number), halves) {
            let fits = registers.set(register, u128::from(*low) | u128::from(*high) << 64);
            debug_assert!(fits, "a vector register has 128 bits");
        }
    }
}

/// Sets a register of 64 bits.
fn put(registers: &mut RegisterFile, register: Register, value: u64) {
    let fits = registers.set_word(register, value);
    debug_assert!(fits, "{register:?} has 64 bits");
}

/// The low half of a register whose high half is reserved.
fn low(value: u64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is what is meant"
    )]
    let low = value as u32;
    low
}

fn save_thread<F: Frame>(frame: &F, registers: &mut RegisterFile) {
    for number in 0..31u8 {
        if let Some(register) = Register::general(number.into()) {
            put(registers, register, frame.general(number));
        }
    }
    let [user, read_only] = frame.thread_pointers();
    put(registers, Register::SP_EL0, frame.stack_pointer());
    put(registers, Register::PC, frame.program_counter());
    put(registers, Register::PSTATE, frame.state());
    put(registers, Register::TPIDR_EL0, user);
    put(registers, Register::TPIDRRO_EL0, read_only);
}
