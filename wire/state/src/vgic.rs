// SPDX-License-Identifier: BSD-2-Clause
//! The record of `vgic-pd`: the interrupt controller as the architecture defines its state (IHI 0048B).
//!
//! Responsible for: each interrupt's and each CPU interface's state. Never: list registers, or anything else that
//! says how some board accelerates a GIC.

use crate::MAX_VCPUS;
use crate::record::{Kind, Record, RecordError, sealed};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// The most shared interrupts that a record describes.
pub const MAX_SHARED: usize = 256;
/// Interrupts that each vCPU has of its own: 16 software generated, 16 private peripheral.
pub const PRIVATE: usize = 32;
/// Software generated interrupts, of which each vCPU may have one from every vCPU.
pub const SOFTWARE_GENERATED: usize = 16;

/// Words of a bitmap over all interrupts, INTID 0 lowest.
pub const BITMAP: usize = (PRIVATE + MAX_SHARED) / 32;

/// What `vgic-pd` exports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VgicRecordV1 {
    /// `GICD_CTLR`.
    pub control: u32,
    /// Each vCPU's own interrupts and its CPU interface, in the order of their numbers.
    pub vcpus: Vec<VcpuInterruptsV1, MAX_VCPUS>,
    /// The shared interrupts from INTID 32 on.
    pub shared: Vec<InterruptV1, MAX_SHARED>,
}

/// What is banked for a vCPU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VcpuInterruptsV1 {
    /// INTID 0 to 31. Their `targets` are zero: a private interrupt has its vCPU and no choice. Of a software
    /// generated one, the two arrays below say what is pending and active, and `latched` and `active` are false.
    pub private: [InterruptV1; PRIVATE],
    /// For each software generated interrupt, one bit for each vCPU that it is pending from (`GICD_SPENDSGIR`).
    pub pending_sources: [u8; SOFTWARE_GENERATED],
    /// For each software generated interrupt that is active, one bit for each vCPU that it is active from.
    pub active_sources: [u8; SOFTWARE_GENERATED],
    /// The interrupts that this vCPU has acknowledged and not deactivated, one bit each. Every one of them is active,
    /// and a shared one is acknowledged by one vCPU alone. An interrupt can be active without: the guest set it so
    /// through `GICD_ISACTIVER`.
    pub acknowledged: [u32; BITMAP],
    /// The CPU interface.
    pub interface: CpuInterfaceV1,
}

/// An interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "InterruptWire", try_from = "InterruptWire")]
pub struct InterruptV1 {
    /// `GICD_ISENABLER`.
    pub enabled: bool,
    /// The pending latch: set by an edge or by a write to `GICD_ISPENDR`.
    pub latched: bool,
    /// The input line is high. A level-triggered interrupt is pending while it is, or while the latch is set.
    pub line: bool,
    /// `GICD_ISACTIVER`.
    pub active: bool,
    /// `GICD_IGROUPR`.
    pub group1: bool,
    /// `GICD_ICFGR`: edge-triggered, not level-sensitive.
    pub edge: bool,
    /// `GICD_IPRIORITYR`.
    pub priority: u8,
    /// `GICD_ITARGETSR`.
    pub targets: u8,
}

/// A vCPU's CPU interface, apart from its interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuInterfaceV1 {
    /// `GICC_CTLR`.
    pub control: u32,
    /// `GICC_PMR`.
    pub priority_mask: u8,
    /// `GICC_BPR`.
    pub binary_point: u8,
    /// `GICC_ABPR`.
    pub aliased_binary_point: u8,
    /// `GICC_APR0`.
    pub active_priorities: u32,
}

/// An interrupt as bytes: the flags of [`flag`], priority, targets.
type InterruptWire = (u8, u8, u8);

/// Bits of an interrupt's first byte.
mod flag {
    pub(super) const ENABLED: u8 = 1 << 0;
    pub(super) const LATCHED: u8 = 1 << 1;
    pub(super) const LINE: u8 = 1 << 2;
    pub(super) const ACTIVE: u8 = 1 << 3;
    pub(super) const GROUP1: u8 = 1 << 4;
    pub(super) const EDGE: u8 = 1 << 5;
    pub(super) const ALL: u8 = (1 << 6) - 1;
}

impl From<InterruptV1> for InterruptWire {
    fn from(interrupt: InterruptV1) -> Self {
        let flags = [
            (interrupt.enabled, flag::ENABLED),
            (interrupt.latched, flag::LATCHED),
            (interrupt.line, flag::LINE),
            (interrupt.active, flag::ACTIVE),
            (interrupt.group1, flag::GROUP1),
            (interrupt.edge, flag::EDGE),
        ];
        let set = flags.into_iter().filter(|(set, _)| *set);
        let byte = set.fold(0, |byte, (_, bit)| byte | bit);
        (byte, interrupt.priority, interrupt.targets)
    }
}

impl TryFrom<InterruptWire> for InterruptV1 {
    type Error = &'static str;

    fn try_from((flags, priority, targets): InterruptWire) -> Result<Self, &'static str> {
        if flags & !flag::ALL != 0 {
            return Err("interrupt flags");
        }
        Ok(Self {
            enabled: flags & flag::ENABLED != 0,
            latched: flags & flag::LATCHED != 0,
            line: flags & flag::LINE != 0,
            active: flags & flag::ACTIVE != 0,
            group1: flags & flag::GROUP1 != 0,
            edge: flags & flag::EDGE != 0,
            priority,
            targets,
        })
    }
}

impl VcpuInterruptsV1 {
    fn check(&self, vcpus: usize) -> Result<(), RecordError> {
        let out_of_range = |field, value: u8| {
            Err(RecordError::Range {
                field,
                value: value.into(),
            })
        };
        if let Some(interrupt) = self.private.iter().find(|interrupt| interrupt.targets != 0) {
            return out_of_range("targets of a private interrupt", interrupt.targets);
        }
        let mut generated = self.private.iter().take(SOFTWARE_GENERATED);
        if generated.any(|interrupt| interrupt.latched || interrupt.active) {
            return out_of_range("state of a software generated interrupt", 1);
        }
        if self.acknowledges_inactive() {
            return out_of_range("acknowledged interrupt that is not active", 1);
        }
        let mut sources = self.pending_sources.iter().chain(&self.active_sources);
        match sources.find(|sources| **sources >> vcpus != 0) {
            Some(sources) => out_of_range("sources of a software generated interrupt", *sources),
            None => Ok(()),
        }
    }
}

impl VcpuInterruptsV1 {
    /// Whether a private interrupt is acknowledged and not active.
    fn acknowledges_inactive(&self) -> bool {
        let generated = self.active_sources.iter().map(|sources| *sources != 0);
        let others = self.private.iter().skip(SOFTWARE_GENERATED);
        let active = generated.chain(others.map(|interrupt| interrupt.active));
        let word = self.acknowledged.first().copied().unwrap_or(0);
        active
            .zip(0..)
            .any(|(active, bit)| !active && word & 1 << bit != 0)
    }
}

impl VgicRecordV1 {
    /// Whether a shared interrupt is acknowledged and not active, or acknowledged by two vCPUs.
    fn acknowledges_wrongly(&self) -> bool {
        let words = (1..BITMAP).map(|word| {
            let active = self.shared.iter().skip(32 * (word - 1)).take(32).zip(0..);
            let active = active
                .filter(|(interrupt, _)| interrupt.active)
                .fold(0, |bits, (_, bit)| bits | 1_u32 << bit);
            (word, active)
        });
        words.into_iter().any(|(word, mut left)| {
            self.vcpus.iter().any(|vcpu| {
                let acknowledged = vcpu.acknowledged.get(word).copied().unwrap_or(0);
                let wrong = acknowledged & !left != 0;
                left &= !acknowledged;
                wrong
            })
        })
    }
}

impl sealed::Sealed for VgicRecordV1 {}

impl Record for VgicRecordV1 {
    const KIND: Kind = Kind::Vgic;
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), RecordError> {
        if self.vcpus.is_empty() {
            return Err(RecordError::Range {
                field: "vcpus",
                value: 0,
            });
        }
        self.vcpus
            .iter()
            .try_for_each(|vcpu| vcpu.check(self.vcpus.len()))?;
        if self.acknowledges_wrongly() {
            return Err(RecordError::Range {
                field: "acknowledged shared interrupts",
                value: 1,
            });
        }
        let targets = self.shared.iter().map(|interrupt| interrupt.targets);
        match targets
            .into_iter()
            .find(|targets| targets >> self.vcpus.len() != 0)
        {
            Some(targets) => Err(RecordError::Range {
                field: "targets of a shared interrupt",
                value: targets.into(),
            }),
            None => Ok(()),
        }
    }
}
