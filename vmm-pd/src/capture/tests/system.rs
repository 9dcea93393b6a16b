// SPDX-License-Identifier: BSD-2-Clause
//! One vCPU's interrupts: the real `vgic-pd`, the real capture and restore, and a CPU interface register by register.
//!
//! Responsible for: what a guest, its devices and the kernel do to them, and the cut: capture, record, bytes, record,
//! restore on another board that was used before. Never: decides what is right.

use channel::VcpuId;
use channel::timer::VirtualTimer;
use channel::vgic::{Answer, LIST_REGISTERS};
use state::{RegisterFile, VgicRecordV1, record};
use vgic_pd::Gic;

use super::fake::Fake;
use super::interface::{VirtualInterface, control, list};
use crate::capture::{Capture, Features, Progress, Restore};

pub(super) const VCPU: VcpuId = match VcpuId::new(0) {
    Some(vcpu) => vcpu,
    None => unreachable!(),
};

/// Distributor registers (IHI 0048B, 4.3).
pub(super) mod distributor {
    pub(crate) const CTLR: u32 = 0;
    pub(crate) const IGROUPR: u32 = 0x080;
    pub(crate) const ISENABLER: u32 = 0x100;
    pub(crate) const ISPENDR: u32 = 0x200;
    pub(crate) const IPRIORITYR: u32 = 0x400;
    pub(crate) const ICFGR: u32 = 0xc00;
    pub(crate) const SGIR: u32 = 0xf00;
}

/// A board with one vCPU, which is paused.
#[derive(Debug, Clone, Copy)]
pub(super) struct System {
    pub(super) gic: Gic,
    pub(super) hardware: VirtualInterface,
    /// How often what waited was more urgent than what was in a list register.
    pub(super) rearranged: usize,
}

/// An interrupt in a list register: INTID, priority's upper five bits, group, state.
pub(super) type Held = (u32, u32, u32, u32);

/// What of a CPU interface a guest can find out, now or later.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) held: Vec<Held>,
    pub(super) control: u32,
    pub(super) active_priorities: u32,
}

impl System {
    /// A guest that has switched everything on; shared interrupts are edge-triggered.
    pub(super) fn new() -> Self {
        let mut gic = Gic::new();
        gic.reset(1).unwrap();
        let mut system = Self {
            gic,
            hardware: VirtualInterface::default(),
            rearranged: 0,
        };
        for bank in 0..9 {
            system.write(distributor::ISENABLER + 4 * bank, u32::MAX);
            system.write(distributor::ICFGR + 8 * bank, u32::MAX);
            system.write(distributor::ICFGR + 8 * bank + 4, u32::MAX);
        }
        system.write(distributor::CTLR, 3);
        system
            .hardware
            .set_ctlr(control::GROUP_0 | control::GROUP_1 | control::ACKNOWLEDGE_BOTH);
        system.hardware.set_pmr(0xff);
        system
    }

    fn carry_out(&mut self, answer: &Answer) {
        assert!(!answer.more(), "one vCPU's injections fit into an answer");
        for injection in answer.injections() {
            self.hardware.inject(injection);
        }
        if answer.rearrange() != 0 {
            let (registers, timer) = self.empty();
            self.fill(&registers, &timer);
            self.rearranged += 1;
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u32) {
        let mut answer = Answer::new(0);
        self.gic.write(VCPU, offset, 4, value, &mut answer).unwrap();
        self.carry_out(&answer);
    }

    pub(super) fn write_byte(&mut self, offset: u32, value: u32) {
        let mut answer = Answer::new(0);
        self.gic.write(VCPU, offset, 1, value, &mut answer).unwrap();
        self.carry_out(&answer);
    }

    /// Priority (the upper five bits) and group.
    pub(super) fn arrange(&mut self, intid: u32, priority: u32, group: u32) {
        self.write_byte(distributor::IPRIORITYR + intid, priority << 3);
        let offset = distributor::IGROUPR + 4 * (intid / 32);
        let mut answer = Answer::new(0);
        self.gic.read(VCPU, offset, 4, &mut answer).unwrap();
        let word = u32::try_from(answer.value).unwrap() & !(1 << (intid % 32));
        self.write(offset, word | group << (intid % 32));
    }

    /// The guest makes an interrupt pending: an SGI to itself, or through `GICD_ISPENDR`.
    pub(super) fn pend(&mut self, intid: u32) {
        match intid {
            0..16 => self.write(distributor::SGIR, 1 << 16 | intid),
            _ => self.write(distributor::ISPENDR + 4 * (intid / 32), 1 << (intid % 32)),
        }
    }

    /// The kernel reports ends, and what is due follows.
    pub(super) fn wait(&mut self) {
        while let Some(register) = self.hardware.take_maintenance() {
            let mut answer = Answer::new(0);
            let register = u8::try_from(register).unwrap();
            self.gic.maintenance(VCPU, register, &mut answer).unwrap();
            self.carry_out(&answer);
        }
    }

    /// What a guest can find out.
    pub(super) fn seen(&self) -> Seen {
        let mut held: Vec<_> = (self.hardware.list.iter())
            .filter(|register| **register & list::STATE != 0)
            .map(|register| {
                (
                    register & (list::SOURCE | list::INTID),
                    (register & list::PRIORITY) >> list::PRIORITY_SHIFT,
                    u32::from(register & list::GROUP_1 != 0),
                    register & list::STATE,
                )
            })
            .collect();
        held.sort_unstable();
        Seen {
            held,
            control: self.hardware.control,
            active_priorities: self.hardware.active_priorities,
        }
    }

    /// The guest is stopped here: its registers, and the record.
    fn capture(mut self) -> (RegisterFile, VirtualTimer, VgicRecordV1) {
        let (registers, timer) = self.empty();
        (registers, timer, self.gic.export().unwrap())
    }

    /// The vCPU is captured.
    fn empty(&mut self) -> (RegisterFile, VirtualTimer) {
        let mut core = Fake::parked(VCPU, RegisterFile::new());
        core.hardware = Some(self.hardware);
        let mut registers = RegisterFile::new();
        let entries = self.gic.entries(VCPU, true).unwrap();
        let begin = Capture::begin(
            &mut core,
            VCPU,
            Features::default(),
            &entries,
            false,
            &mut registers,
        );
        let mut capture = begin.unwrap();
        let captured = loop {
            let exit = core.next_exit();
            if let Progress::Done(captured) =
                capture.on_exit(&mut core, exit, &mut registers).unwrap()
            {
                break captured;
            }
        };
        self.hardware = core.hardware.unwrap();
        let left = self.hardware.list.map(|register| register & list::STATE);
        assert_eq!(
            left, [0; LIST_REGISTERS],
            "a capture empties the list registers"
        );
        let mut answer = Answer::new(0);
        self.gic
            .captured(VCPU, captured.interface, captured.found, &mut answer)
            .unwrap();
        assert_eq!(answer.injections().count(), 0);
        (registers, captured.timer)
    }

    /// The record that a capture here gives.
    pub(super) fn record(&self) -> VgicRecordV1 {
        self.capture().2
    }

    /// Stopped here, continued on another board: that board, and the record.
    pub(super) fn cut(&self) -> (Self, VgicRecordV1) {
        let (registers, timer, record) = self.capture();
        (Self::load(&record, &registers, &timer), record)
    }

    /// A board that continues from a record.
    pub(super) fn restored(record: &VgicRecordV1) -> Self {
        Self::load(record, &RegisterFile::new(), &VirtualTimer::default())
    }

    fn load(record: &VgicRecordV1, registers: &RegisterFile, timer: &VirtualTimer) -> Self {
        let arrived: VgicRecordV1 = record::decode(&encoded(record)).unwrap();
        assert_eq!(&arrived, record);

        let mut there = used_board();
        there.gic.import(&arrived).unwrap();
        there.fill(registers, timer);
        there
    }

    /// The captured vCPU is restored.
    fn fill(&mut self, registers: &RegisterFile, timer: &VirtualTimer) {
        let plan = self.gic.restore(VCPU).unwrap();
        let mut core = Fake::parked(VCPU, RegisterFile::new());
        core.hardware = Some(self.hardware);
        let mut restore = Restore::begin(
            &mut core,
            VCPU,
            Features::default(),
            registers,
            timer,
            &plan,
        )
        .unwrap();
        loop {
            let exit = core.next_exit();
            if let Progress::Done(_) = restore.on_exit(&mut core, exit, registers).unwrap() {
                break;
            }
        }
        self.hardware = core.hardware.unwrap();
        let mut answer = Answer::new(0);
        self.gic.refill(VCPU, &mut answer).unwrap();
        assert_eq!(answer.rearrange(), 0, "the most urgent ones are in");
        self.carry_out(&answer);
    }
}

/// A record's bytes.
pub(super) fn encoded(record: &VgicRecordV1) -> Vec<u8> {
    let mut bytes = vec![0; vgic_pd::MAX_RECORD];
    let length = record::encode(record, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// A board that ran something else: nothing is as after reset but the list registers, which a guest's end empties.
fn used_board() -> System {
    static USED: std::sync::OnceLock<Gic> = std::sync::OnceLock::new();
    let gic = *USED.get_or_init(|| {
        let mut gic = Gic::new();
        gic.reset(4).unwrap();
        let mut answer = Answer::new(0);
        for vcpu in VcpuId::all() {
            for offset in (0..0x1000).step_by(4) {
                gic.write(vcpu, offset, 4, 0xa5a5_a5a5, &mut answer)
                    .unwrap();
            }
        }
        for vcpu in VcpuId::all() {
            let interface = channel::vgic::CpuInterface::from_words([3, 0x50, 4, 5, 0xdead_beef]);
            let nothing = channel::vgic::ListRegisterState::default();
            gic.captured(vcpu, interface, nothing, &mut answer).unwrap();
        }
        gic
    });
    let mut hardware = VirtualInterface {
        // Empty, and not zero.
        list: [0x3f; LIST_REGISTERS],
        ..VirtualInterface::default()
    };
    hardware.set_ctlr(control::GROUP_1 | control::COMMON_BINARY_POINT);
    hardware.set_pmr(0x58);
    hardware.set_binary_point(6);
    hardware.set_aliased_binary_point(5);
    hardware.active_priorities = 0xdead_beef;
    System {
        gic,
        hardware,
        rearranged: 0,
    }
}
