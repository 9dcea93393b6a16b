// SPDX-License-Identifier: BSD-2-Clause
//! The record of the interrupt controller.
//!
//! Responsible for: turning the whole state into [`VgicRecordV1`] and back, losing nothing. It
//! must never accept a record that this machine cannot carry on exactly: one with other
//! interrupts, finer priorities, or more acknowledged interrupts than list registers.

use crate::bank::{Bank, PRIORITY_MASK};
use crate::gic::{Gic, InjectionState, Vcpu};
use crate::interrupt::{
    BANK, PRIVATE_INTERRUPTS, SGI_BITS, SGIS, SHARED_INTERRUPTS, VcpuSet, bits,
};
use channel::vgic::{CpuInterface, LIST_REGISTERS, Refusal};
use channel::{MAX_VCPUS, VcpuId};
use state::{CpuInterfaceV1, InterruptV1, VcpuInterruptsV1, VgicRecordV1};

/// The bits of a virtual `GICC_CTLR` that there are (IHI 0048B, 5.3.1, `GICH_VMCR`): EOImode, CBPR, FIQEn, AckCtl and the
/// two enables. Every combination of active priorities is one that a guest can write.
const INTERFACE_CONTROL: u32 = 0x21f;
/// The greatest binary point.
const BINARY_POINT_MAX: u8 = 7;

const _: () = assert!(
    state::MAX_VCPUS == MAX_VCPUS
        && state::vgic::PRIVATE == PRIVATE_INTERRUPTS
        && state::vgic::MAX_SHARED == SHARED_INTERRUPTS
        && state::vgic::SOFTWARE_GENERATED == SGIS
);

impl Gic {
    /// The record of the whole state. Refused while anything is in a list register, and without
    /// a machine.
    pub fn export(&self) -> Result<VgicRecordV1, Refusal> {
        let mut vcpus = self.all().iter().map(|vcpu| self.vcpu.get(vcpu));
        if self.vcpus == 0 || !vcpus.all(|vcpu| vcpu.shadow.is_empty()) {
            return Err(Refusal::NotCaptured);
        }
        let mut record = VgicRecordV1 {
            control: self.control,
            ..VgicRecordV1::default()
        };
        for vcpu in self.all().iter() {
            let exported = self.export_vcpu(vcpu)?;
            record
                .vcpus
                .push(exported)
                .map_err(|_| Refusal::OutOfRange)?;
        }
        for (index, bank) in self.shared.iter().enumerate() {
            for place in 0..BANK {
                let interrupt = InterruptV1 {
                    targets: self.export_targets(index, place),
                    ..export_interrupt(bank, place)
                };
                record
                    .shared
                    .push(interrupt)
                    .map_err(|_| Refusal::OutOfRange)?;
            }
        }
        Ok(record)
    }

    /// `GICD_ITARGETSR` of a shared interrupt, as a guest reads it.
    fn export_targets(&self, shared_bank: usize, place: usize) -> u8 {
        if self.vcpus <= 1 {
            return 0;
        }
        self.targets_of_bits(shared_bank, 1 << place).bits()
    }

    fn export_vcpu(&self, vcpu: VcpuId) -> Result<VcpuInterruptsV1, Refusal> {
        let own = self.vcpu.get(vcpu);
        let byte = |word: u32| u8::try_from(word).map_err(|_| Refusal::OutOfRange);
        let mut record = VcpuInterruptsV1 {
            pending_sources: own.sources.map(VcpuSet::bits),
            acknowledged: own.acknowledged,
            interface: CpuInterfaceV1 {
                control: own.interface.control,
                priority_mask: byte(own.interface.priority_mask)?,
                binary_point: byte(own.interface.binary_point)?,
                aliased_binary_point: byte(own.interface.aliased_binary_point)?,
                active_priorities: own.interface.active_priorities,
            },
            ..VcpuInterruptsV1::default()
        };
        for (place, interrupt) in record.private.iter_mut().enumerate() {
            *interrupt = export_interrupt(&own.bank, place);
        }
        let generated = record.private.iter_mut().zip(&mut record.active_sources);
        for ((interrupt, exported), source) in generated.zip(own.active_sources) {
            if interrupt.active {
                // Set active by the guest itself, nobody having asked for it: its own.
                let source = source.or_if_empty(VcpuSet::only(vcpu));
                *exported = source.bits();
            }
            interrupt.latched = false;
            interrupt.active = false;
        }
        Ok(record)
    }

    /// Takes over a record, all or nothing. Every vCPU is then as after a capture.
    ///
    /// Refused while a vCPU is there that can have interrupts in list registers, and if the
    /// record describes another machine.
    pub fn import(&mut self, record: &VgicRecordV1) -> Result<(), Refusal> {
        if !self.is_quiescent() {
            return Err(Refusal::NotCaptured);
        }
        let mut imported = Self::new();
        imported.vcpus = record.vcpus.len();
        imported.control = record.control;
        if imported.vcpus == 0
            || imported.control & !3 != 0
            || record.shared.len() != SHARED_INTERRUPTS
        {
            return Err(Refusal::BadRecord);
        }
        for (vcpu, exported) in imported.vcpu.0.iter_mut().zip(&record.vcpus) {
            *vcpu = import_vcpu(exported)?;
        }
        for (index, interrupt) in record.shared.iter().enumerate() {
            imported.import_shared(index, interrupt)?;
        }
        imported.target_sole_vcpu();
        imported.recompute_all();
        *self = imported;
        Ok(())
    }

    fn import_shared(&mut self, index: usize, record: &InterruptV1) -> Result<(), Refusal> {
        let (number, place) = (index / BANK, index % BANK);
        let bank = self.shared.get_mut(number).ok_or(Refusal::BadRecord)?;
        import_interrupt(bank, place, record)?;
        for vcpu in VcpuSet::from_bits(record.targets).iter() {
            let targeted = &mut self.vcpu.get_mut(vcpu).targeted;
            let word = targeted.get_mut(number).ok_or(Refusal::BadRecord)?;
            *word |= 1 << place;
        }
        Ok(())
    }
}

fn export_interrupt(bank: &Bank, place: usize) -> InterruptV1 {
    let is = |word: u32| word & (1 << place) != 0;
    InterruptV1 {
        enabled: is(bank.enabled),
        latched: is(bank.latch),
        line: is(bank.level),
        active: is(bank.active),
        group1: is(bank.group),
        edge: is(bank.edge),
        priority: bank.priority(place),
        targets: 0,
    }
}

fn import_interrupt(bank: &mut Bank, place: usize, record: &InterruptV1) -> Result<(), Refusal> {
    if record.priority & !PRIORITY_MASK != 0 {
        return Err(Refusal::BadRecord);
    }
    bank.set_priority(place, record.priority);
    let fields = [
        (&mut bank.enabled, record.enabled),
        (&mut bank.latch, record.latched),
        (&mut bank.level, record.line),
        (&mut bank.active, record.active),
        (&mut bank.group, record.group1),
        (&mut bank.edge, record.edge),
    ];
    for (word, set) in fields {
        *word |= u32::from(set) << place;
    }
    Ok(())
}

fn import_vcpu(record: &VcpuInterruptsV1) -> Result<Vcpu, Refusal> {
    let mut bank = Bank::EMPTY;
    for (place, interrupt) in record.private.iter().enumerate() {
        import_interrupt(&mut bank, place, interrupt)?;
    }
    // What is fixed here must be so there: SGIs always enabled and without a line, the trigger of
    // all private interrupts.
    if bank.enabled & SGI_BITS != SGI_BITS || bank.edge != SGI_BITS || bank.level & SGI_BITS != 0 {
        return Err(Refusal::BadRecord);
    }
    let acknowledged = (record.acknowledged.iter()).flat_map(|word| bits(*word));
    let one_source = |sources: &u8| sources.count_ones() <= 1;
    if acknowledged.count() > LIST_REGISTERS || !record.active_sources.iter().all(one_source) {
        return Err(Refusal::BadRecord);
    }
    let CpuInterfaceV1 {
        control,
        priority_mask,
        binary_point,
        aliased_binary_point,
        active_priorities: _,
    } = record.interface;
    if control & !INTERFACE_CONTROL != 0
        || priority_mask & !PRIORITY_MASK != 0
        || binary_point.max(aliased_binary_point) > BINARY_POINT_MAX
    {
        return Err(Refusal::BadRecord);
    }
    for (sgi, (pending, active)) in
        (record.pending_sources.iter().zip(&record.active_sources)).enumerate()
    {
        bank.latch |= u32::from(*pending != 0) << sgi;
        bank.active |= u32::from(*active != 0) << sgi;
    }
    Ok(Vcpu {
        bank,
        sources: record.pending_sources.map(VcpuSet::from_bits),
        active_sources: record.active_sources.map(VcpuSet::from_bits),
        acknowledged: record.acknowledged,
        interface: CpuInterface {
            control: record.interface.control,
            priority_mask: record.interface.priority_mask.into(),
            binary_point: record.interface.binary_point.into(),
            aliased_binary_point: record.interface.aliased_binary_point.into(),
            active_priorities: record.interface.active_priorities,
        },
        injection: InjectionState::Captured,
        ..Vcpu::RESET
    })
}
