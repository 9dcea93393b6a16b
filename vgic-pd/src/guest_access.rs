// SPDX-License-Identifier: BSD-2-Clause
//! The guest's reads and writes of the distributor.
//!
//! Responsible for: what each register does (IHI 0048B, 4.3), and which of its words the
//! published view shows. It must never refuse what a guest may do: reserved registers read as
//! zero, writes to them do nothing.

use crate::bank::Bank;
use crate::gic::Gic;
use crate::interrupt::{BANK, SGI_BITS, VcpuSet, bits};
use crate::register::{self, Access, PRIVATE_BYTE_WORDS, Register};
use channel::VcpuId;
use channel::vgic::{Answer, DISTRIBUTOR_SIZE, Refusal, view_readable};

/// The first four bytes as a word, the first lowest.
fn word_of(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes
        .take(4)
        .zip([0, 8, 16, 24])
        .fold(0, |word, (byte, shift)| word | u32::from(byte) << shift)
}

/// The bytes of a written word that the access touches.
fn lanes(access: Access, value: u32) -> impl Iterator<Item = Option<u8>> {
    let touched = access.mask.to_le_bytes();
    value
        .to_le_bytes()
        .into_iter()
        .zip(touched)
        .map(|(byte, mask)| (mask != 0).then_some(byte))
}

/// The lower sixteen bits, each as the upper of two: the layout of `GICD_ICFGRn`.
fn spread(bits: u32) -> u32 {
    (0..16).fold(0, |word, bit| word | (bits >> bit & 1) << (2 * bit + 1))
}

/// The inverse of [`spread`]; lower bits of the pairs are ignored.
fn gather(word: u32) -> u32 {
    (0..16).fold(0, |bits, bit| bits | (word >> (2 * bit + 1) & 1) << bit)
}

/// The written bits of a bank without the SGIs, which `GICD_ISPENDR0` and `GICD_ICPENDR0` cannot
/// change (IHI 0048B, 4.3.7).
const fn not_sgis(bank: usize, value: u32) -> u32 {
    if bank == 0 { value & !SGI_BITS } else { value }
}

/// What a write leaves to be done.
#[derive(Debug, Clone, Copy, Default)]
struct Effect {
    /// vCPUs that may have something to be delivered now.
    touched: VcpuSet,
    /// vCPUs in whose list registers may now be what does not belong there.
    suspect: VcpuSet,
}

impl Effect {
    const NONE: Self = Self {
        touched: VcpuSet::EMPTY,
        suspect: VcpuSet::EMPTY,
    };
}

impl Gic {
    /// A guest's read of `width` bytes (1, 2 or 4, aligned). The answer's value is what it reads.
    pub fn read(
        &mut self,
        vcpu: VcpuId,
        offset: u32,
        width: u8,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.check(vcpu)?;
        let access = Access::new(offset, width)?;
        let word = self.word(vcpu, Register::at(access.word));
        answer.restart(access.extract(word).into());
        self.arrive(vcpu);
        self.fill_owed(answer);
        Ok(())
    }

    /// A guest's write. The answer's value is 0; its [`Answer::rearrange`] has the vCPUs in whose list
    /// registers an interrupt sits that no longer belongs there.
    pub fn write(
        &mut self,
        vcpu: VcpuId,
        offset: u32,
        width: u8,
        value: u32,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.check(vcpu)?;
        let access = Access::new(offset, width)?;
        let effect = self.write_word(vcpu, access, access.place(value));
        answer.restart(0);
        self.arrive(vcpu);
        self.needs_delivery = self.needs_delivery.or(effect.touched);
        self.suspect = self.suspect.or(effect.suspect);
        self.fill_owed(answer);
        Ok(())
    }

    /// A register's word as a vCPU reads it.
    pub(crate) fn word(&self, vcpu: VcpuId, register: Register) -> u32 {
        match register {
            Register::Control => self.control,
            Register::Type => register::type_word(self.vcpus),
            Register::Implementer => register::IMPLEMENTER,
            Register::Group(bank) => self.bank(vcpu, bank).group,
            Register::SetEnable(bank) | Register::ClearEnable(bank) => {
                self.bank(vcpu, bank).enabled
            }
            Register::SetPending(bank) | Register::ClearPending(bank) => {
                self.bank(vcpu, bank).pending()
            }
            Register::SetActive(bank) | Register::ClearActive(bank) => {
                self.bank(vcpu, bank).shown_active()
            }
            Register::Priority(word) => {
                let (bank, place) = (4 * word / BANK, 4 * word % BANK);
                word_of(self.bank(vcpu, bank).priorities.iter().skip(place).copied())
            }
            Register::Targets(word) => self.targets_word(vcpu, word),
            Register::Configuration(word) => {
                let edge = self.bank(vcpu, word / 2).edge;
                spread(edge >> (16 * (word % 2)))
            }
            Register::ClearSgi(word) | Register::SetSgi(word) => {
                let sources = self.vcpu.get(vcpu).sources.iter();
                word_of(sources.skip(4 * word).map(|set| set.bits()))
            }
            Register::Identification(word) => register::identification(word),
            Register::Generate | Register::Reserved => 0,
        }
    }

    /// `GICD_ITARGETSRn`: one's own number for private interrupts, zero if there is one vCPU.
    fn targets_word(&self, vcpu: VcpuId, word: usize) -> u32 {
        if self.vcpus <= 1 {
            return 0;
        }
        let Some(shared) = word.checked_sub(PRIVATE_BYTE_WORDS) else {
            return u32::from(VcpuSet::only(vcpu).bits()) * 0x0101_0101;
        };
        let (bank, place) = (4 * shared / BANK, 4 * shared % BANK);
        self.all().iter().fold(0, |result, target| {
            let targeted = self.vcpu.get(target).targeted.get(bank);
            let four = targeted.map_or(0, |word| word >> place);
            let lanes = (0..4).filter(|lane| four & (1 << lane) != 0);
            lanes.fold(result, |result, lane| {
                result | u32::from(VcpuSet::only(target).bits()) << (8 * lane)
            })
        })
    }

    fn write_word(&mut self, vcpu: VcpuId, access: Access, value: u32) -> Effect {
        match Register::at(access.word) {
            Register::Control => self.write_control(access, value),
            Register::Group(bank) => self.write_bank(vcpu, bank, |bank| {
                bank.group = bank.group & !access.mask | value;
            }),
            Register::SetEnable(bank) => self.write_bank(vcpu, bank, |bank| bank.enabled |= value),
            Register::ClearEnable(number) => self.write_bank(vcpu, number, |bank| {
                let permanent = if number == 0 { SGI_BITS } else { 0 };
                bank.enabled &= !value | permanent;
            }),
            Register::SetPending(number) => self.write_bank(vcpu, number, |bank| {
                bank.latch |= not_sgis(number, value);
            }),
            Register::ClearPending(number) => self.write_bank(vcpu, number, |bank| {
                bank.latch &= !not_sgis(number, value);
                bank.resident_latch &= !not_sgis(number, value);
            }),
            Register::SetActive(bank) => self.write_bank(vcpu, bank, |bank| {
                bank.active |= value;
                bank.deactivated &= !value;
            }),
            Register::ClearActive(bank) => self.clear_active(vcpu, bank, value),
            Register::Priority(word) => self.write_priorities(vcpu, word, access, value),
            Register::Targets(word) => self.write_targets(word, access, value),
            Register::Configuration(word) => self.write_configuration(word, access, value),
            Register::Generate if access.is_word() => self.generate(vcpu, value),
            Register::ClearSgi(word) => self.write_sources(vcpu, word, value, false),
            Register::SetSgi(word) => self.write_sources(vcpu, word, value, true),
            _ => Effect::NONE,
        }
    }

    fn write_control(&mut self, access: Access, value: u32) -> Effect {
        self.control = (self.control & !access.mask | value) & 3;
        self.recompute_all();
        Effect {
            touched: self.all(),
            suspect: self.all(),
        }
    }

    /// Changes a bank; whoever may get what became deliverable by it is touched.
    fn write_bank(&mut self, vcpu: VcpuId, bank: usize, change: impl FnOnce(&mut Bank)) -> Effect {
        self.change(vcpu, bank, change);
        let ready = self.bank(vcpu, bank).ready;
        let touched = match bank.checked_sub(1) {
            _ if ready == 0 => VcpuSet::EMPTY,
            None => VcpuSet::only(vcpu),
            Some(shared) => self.targets_of_bits(shared, ready),
        };
        Effect {
            touched,
            suspect: self.holders(vcpu, bank),
        }
    }

    /// The vCPUs that may have interrupts of a bank in list registers.
    fn holders(&self, vcpu: VcpuId, bank: usize) -> VcpuSet {
        match bank {
            _ if self.bank(vcpu, bank).resident == 0 => VcpuSet::EMPTY,
            0 => VcpuSet::only(vcpu),
            _ => self.all(),
        }
    }

    fn clear_active(&mut self, vcpu: VcpuId, bank: usize, value: u32) -> Effect {
        let holders = if bank == 0 {
            VcpuSet::only(vcpu)
        } else {
            self.all()
        };
        for holder in holders.iter() {
            let own = self.vcpu.get_mut(holder);
            if let Some(word) = own.acknowledged.get_mut(bank) {
                *word &= !value;
            }
            if bank == 0 {
                for sgi in bits(value & SGI_BITS) {
                    if let Some(source) = own.active_sources.get_mut(sgi as usize) {
                        *source = VcpuSet::EMPTY;
                    }
                }
            }
        }
        self.write_bank(vcpu, bank, |bank| {
            bank.active &= !value;
            bank.deactivated |= bank.resident & value;
        })
    }

    fn write_priorities(
        &mut self,
        vcpu: VcpuId,
        word: usize,
        access: Access,
        value: u32,
    ) -> Effect {
        let (number, place) = (4 * word / BANK, 4 * word % BANK);
        self.write_bank(vcpu, number, |bank| {
            for (place, lane) in (place..).zip(lanes(access, value)) {
                if let Some(byte) = lane {
                    bank.set_priority(place, byte);
                }
            }
        })
    }

    fn write_targets(&mut self, word: usize, access: Access, value: u32) -> Effect {
        let Some(shared) = word.checked_sub(PRIVATE_BYTE_WORDS) else {
            return Effect::NONE;
        };
        if self.vcpus <= 1 {
            return Effect::NONE;
        }
        let (bank, place) = (4 * shared / BANK, 4 * shared % BANK);
        let all = self.all();
        for (bit, lane) in (place..).zip(lanes(access, value)) {
            let Some(byte) = lane else { continue };
            for vcpu in all.iter() {
                if let Some(targeted) = self.vcpu.get_mut(vcpu).targeted.get_mut(bank) {
                    *targeted &= !(1 << bit);
                    if VcpuSet::from_bits(byte).contains(vcpu) {
                        *targeted |= 1 << bit;
                    }
                }
            }
        }
        Effect {
            touched: all,
            suspect: self.holders(Self::ANY, bank + 1),
        }
    }

    /// `GICD_ICFGRn`: for SGIs and, as the specification allows, for private peripherals the
    /// trigger is fixed.
    fn write_configuration(&mut self, word: usize, access: Access, value: u32) -> Effect {
        if word < 2 {
            return Effect::NONE;
        }
        let shift = 16 * (word % 2);
        let (mask, edge) = (gather(access.mask) << shift, gather(value) << shift);
        self.write_bank(Self::ANY, word / 2, |bank| {
            bank.edge = bank.edge & !mask | edge & mask;
        })
    }

    /// `GICD_SGIR`.
    fn generate(&mut self, vcpu: VcpuId, value: u32) -> Effect {
        let [sgi, _, list, filter] = value.to_le_bytes();
        let own = VcpuSet::only(vcpu);
        let targets = match filter & 3 {
            0 => VcpuSet::from_bits(list).and(self.all()),
            1 => self.all().without(own),
            2 => own,
            _ => VcpuSet::EMPTY,
        };
        for target in targets.iter() {
            self.change_sources(target, usize::from(sgi & 0xf), |sources| sources.or(own));
        }
        Effect {
            touched: targets,
            ..Effect::NONE
        }
    }

    /// `GICD_SPENDSGIRn` and `GICD_CPENDSGIRn`: a byte for each SGI, a bit for each source.
    fn write_sources(&mut self, vcpu: VcpuId, word: usize, value: u32, set: bool) -> Effect {
        for (sgi, byte) in (4 * word..).zip(value.to_le_bytes()) {
            let named = VcpuSet::from_bits(byte).and(self.all());
            self.change_sources(vcpu, sgi, |sources| {
                if set {
                    sources.or(named)
                } else {
                    sources.without(named)
                }
            });
            if !set {
                self.clear_source_in_flight(vcpu, sgi, named);
            }
        }
        Effect {
            touched: VcpuSet::only(vcpu),
            suspect: self.holders(vcpu, 0),
        }
    }

    /// Changes who has asked for an SGI, and its latch with it.
    pub(crate) fn change_sources(
        &mut self,
        vcpu: VcpuId,
        sgi: usize,
        change: impl FnOnce(VcpuSet) -> VcpuSet,
    ) {
        let Some(sources) = self.vcpu.get_mut(vcpu).sources.get_mut(sgi) else {
            return;
        };
        *sources = change(*sources);
        let latched = *sources != VcpuSet::EMPTY;
        self.change(vcpu, 0, |bank| {
            bank.latch &= !(1 << sgi);
            bank.latch |= u32::from(latched) << sgi;
        });
    }

    /// An SGI that is in flight for one of these sources is not to become pending again.
    fn clear_source_in_flight(&mut self, vcpu: VcpuId, sgi: usize, sources: VcpuSet) {
        let own = self.vcpu.get(vcpu);
        let cleared = own.shadow.entries().flatten().any(|entry| {
            entry.interrupt.intid().index() == sgi && sources.and(entry.source) != VcpuSet::EMPTY
        });
        if cleared {
            self.change(vcpu, 0, |bank| bank.resident_latch &= !(1 << sgi));
        }
    }

    /// The words of the published view that a write at `offset` can have changed.
    #[inline]
    pub(crate) fn view_after_write(offset: u32) -> impl Iterator<Item = u32> {
        let word = offset & !3;
        let words = match Register::at(word) {
            Register::SetEnable(_) => [Some(word), Some(word + 0x80)],
            Register::ClearEnable(_) => [Some(word), Some(word - 0x80)],
            Register::Control
            | Register::Group(_)
            | Register::Priority(_)
            | Register::Targets(_)
            | Register::Configuration(_) => [Some(word), None],
            _ => [None, None],
        };
        words.into_iter().flatten()
    }

    /// All words of the view that are not always zero.
    pub(crate) fn view_offsets() -> impl Iterator<Item = u32> {
        (0..DISTRIBUTOR_SIZE)
            .step_by(4)
            .filter(|word| view_readable(*word) && Register::at(*word) != Register::Reserved)
    }
}
